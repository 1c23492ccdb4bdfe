//! What others do in the project, and other nodes.

use freshet::pubsub::contract::{BUDGET, Harness, event, keyed, numbers, open_topic, publish, read_all, soon, unique};
use freshet_tests::cloud_pubsub::CloudPubSub;
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::{BasePublisher, TopicAdmin};
use google_cloud_pubsub::model::Message;

use super::{NODE, PROJECT, harness, numbers_of, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_publish_comes_to_every_node_once() {
    let emulator = CloudPubSub::shared().await;
    let topic = unique("foreign");
    let (data_1, data_2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engines = [
        open(emulator.endpoint(), data_1.path(), NODE),
        open(emulator.endpoint(), data_2.path(), "node-2"),
    ];
    let sinks = [
        open_topic(&engines[0], &topic).await,
        open_topic(&engines[1], &topic).await,
    ];
    let publishers = BasePublisher::builder()
        .with_endpoint(emulator.endpoint())
        .with_credentials(anonymous::Builder::new().build())
        .build()
        .await
        .unwrap();
    let publisher = publishers
        .publisher(format!("projects/{PROJECT}/topics/freshet.{topic}"))
        .build();
    let message = |data: &str| Message::new().set_data(data.as_bytes().to_vec()).set_ordering_key("k");
    let named = |data: &str| message(data).set_attributes([("ce-id", "one"), ("ce-type", "theirs")]);
    for message in [message("no JSON"), named("1"), named("1"), message("{\"a\":1}")] {
        publisher.publish(message).await.unwrap();
    }
    for (engine, sink) in engines.iter().zip(&sinks) {
        let events = sink.events(3).await;
        let events: Vec<_> = events.iter().map(event).collect();
        let data: Vec<&str> = events.iter().map(|event| event.data.get()).collect();
        assert_eq!(data, ["\"no JSON\"", "1", "{\"a\":1}"]);
        assert_eq!((&*events[1].id, &*events[1].kind), ("one", "theirs"));
        let log = sink.got().log.unwrap();
        assert!(events.iter().all(|event| event.epoch == log.epoch));
        assert_eq!(
            read_all(engine, &topic, 0, 0, BUDGET).await.len(),
            3,
            "the fourth was known"
        );
    }
    let [first, second] = sinks.map(|sink| sink.got().log.unwrap().epoch);
    assert_ne!(first, second, "each node's log is its own");
    for engine in engines {
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_there_is_made_again_and_the_log_goes_on() {
    let node = harness("deleted").await;
    let engine = node.open().await;
    let topic = unique("deleted");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..5)).await;
    let topics = TopicAdmin::builder()
        .with_endpoint(node.endpoint().await)
        .with_credentials(anonymous::Builder::new().build())
        .build()
        .await
        .unwrap();
    let name = format!("projects/{PROJECT}/topics/freshet.{topic}");
    topics.delete_topic().set_topic(name).send().await.unwrap();
    soon("a publish", async || {
        engine.publish(&topic, keyed("after", "{\"n\":5}")).await
    })
    .await;
    assert_eq!(numbers_of(&sink.events(6).await), [0, 1, 2, 3, 4, 5]);
    assert_eq!(sink.got().logs, 1, "it is the same log");
    engine.close().await;
}
