//! What comes again, and what begins again.

use std::time::Duration;

use freshet::pubsub::contract::{BUDGET, Harness, event, keyed, numbers, open_topic, publish, read_all, unique};
use freshet_tests::cloud_pubsub::CloudPubSub;
use freshet_tests::proxy::Proxy;

use super::{NODE, harness, numbers_of, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_when_the_process_ended_comes_again_and_is_one_event() {
    let emulator = CloudPubSub::shared().await;
    let topic = unique("again");
    let others_data = tempfile::tempdir().unwrap();
    let other = open(emulator.endpoint(), others_data.path(), "node-2");
    open_topic(&other, &topic).await;

    // The process is a runtime of its own, which can end at once with all that is in it.
    let proxy = Proxy::start(emulator.address(), Duration::from_millis(500), Duration::ZERO).await;
    let data = tempfile::tempdir().unwrap();
    let (endpoint, folder, name) = (
        format!("http://{}", proxy.address),
        data.path().to_owned(),
        topic.clone(),
    );
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let begin = move || {
        let opened = process.block_on(async {
            let engine = open(endpoint, &folder, NODE);
            let sink = open_topic(&engine, &name).await;
            publish(&engine, &name, numbers(0..1)).await;
            (engine, sink)
        });
        (process, opened)
    };
    let (process, (engine, sink)) = tokio::task::spawn_blocking(begin).await.unwrap();
    // What comes is spooled, and the acknowledgement, which is half a second on its way, does not arrive any more.
    publish(&other, &topic, numbers(1..20)).await;
    sink.events(2).await;
    proxy.lose();
    let before = sink.got().events;
    tokio::task::spawn_blocking(move || {
        drop(process);
        drop(engine);
    })
    .await
    .unwrap();

    let engine = open(emulator.endpoint(), data.path(), NODE);
    let sink = open_topic(&engine, &topic).await;
    // Of the same key: it comes after what comes again.
    publish(&other, &topic, numbers(20..21)).await;
    assert_eq!(numbers_of(&sink.events(1).await), [20]);
    let all = read_all(&engine, &topic, 0, 0, BUDGET).await;
    assert_eq!(numbers_of(&all), (0..21).collect::<Vec<_>>());
    for (before, now) in before.iter().zip(&all) {
        assert_eq!((before.offset, &before.json), (now.offset, &now.json));
    }
    engine.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_comes_twice_is_one_event_also_after_the_process() {
    let node = harness("twice").await;
    let topic = unique("twice");
    let before = node.open().await;
    open_topic(&before, &topic).await;
    let first = publish(&before, &topic, keyed("key-1", "1")).await;
    before.close().await;
    let engine = node.open().await;
    open_topic(&engine, &topic).await;
    let second = publish(&engine, &topic, keyed("key-1", "1")).await;
    assert_eq!((second[0].offset, second[0].epoch), (first[0].offset, first[0].epoch));
    assert_eq!(read_all(&engine, &topic, 0, 0, BUDGET).await.len(), 1);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_and_epoch_are_those_of_the_data_folder() {
    let node = harness("folder").await;
    let topic = unique("folder");
    let engine = node.open().await;
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..30)).await;
    let before = sink.events(30).await;
    engine.close().await;

    let engine = node.open().await;
    let sink = open_topic(&engine, &topic).await;
    let log = sink.got().log.unwrap();
    assert_eq!(log.epoch, event(&before[0]).epoch);
    assert_eq!((log.partitions[0].first, log.partitions[0].next), (0, 30));
    let all = read_all(&engine, &topic, 0, 0, BUDGET).await;
    let bytes = |events: &[_]| {
        events
            .iter()
            .map(|event: &freshet::pubsub::Stored| event.json.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(bytes(&all), bytes(&before));
    assert_eq!(publish(&engine, &topic, numbers(30..31)).await[0].offset, 30);
    engine.close().await;

    // The same node with an empty folder has another log, in which what it acknowledged before is not.
    let empty = tempfile::tempdir().unwrap();
    let engine = open(node.endpoint().await, empty.path(), NODE);
    let sink = open_topic(&engine, &topic).await;
    let another = sink.got().log.unwrap();
    assert_ne!(another.epoch, log.epoch);
    let receipt = &publish(&engine, &topic, numbers(31..32)).await[0];
    assert_eq!((receipt.epoch, receipt.offset), (another.epoch, 0));
    assert_eq!(numbers_of(&sink.events(1).await), [31]);
    engine.close().await;
}
