//! What becomes of topics in the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet::pubsub::contract::{
    event, numbers, open_topic, publication, publish, read_all, record, soon, spec, unique,
};
use freshet::pubsub::{Budget, PubSub, TopicSpec};
use freshet_tests::kafka::Kafka;
use freshet_tests::{SOON, within};
use freshet_wire::{EngineState, Retention, TopicKind};
use rdkafka::admin::{AlterConfig, ConfigSource, NewPartitions, ResourceSpecifier};

use super::{admin, config, make_topic, open, open_with, options, produce, producer};

const BUDGET: Budget = Budget {
    events: 1000,
    bytes: 1 << 20,
};

/// What is set for a topic in the cluster.
async fn settings(brokers: &str, topic: &str) -> BTreeMap<String, String> {
    let asked = ResourceSpecifier::Topic(topic);
    let told = admin(brokers).describe_configs([&asked], &options()).await.unwrap();
    let entries = told.into_iter().next().unwrap().unwrap().entries.into_iter();
    entries
        .filter(|entry| matches!(entry.source, ConfigSource::DynamicTopic))
        .map(|entry| (entry.name, entry.value.unwrap_or_default()))
        .collect()
}

/// Waits until the engine says that its state is this, in these words.
async fn says(engine: &Arc<dyn PubSub>, state: EngineState, words: &str) {
    let mut status = engine.status();
    let said = async {
        let said = status.wait_for(|engine| engine.state == state && engine.detail.contains(words));
        said.await.unwrap();
    };
    within(2 * SOON, &format!("the engine to say {state:?} {words}"), said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_as_it_is_wanted_and_changed_when_that_changes() {
    let kafka = Kafka::shared().await;
    let brokers = kafka.brokers();
    let engine = open(&config(kafka.brokers()));
    let (log, state) = (unique("log"), unique("state"));
    let retention = Retention {
        max_age_s: Some(3600),
        max_bytes: Some(64 << 20),
    };
    open_with(
        &engine,
        TopicSpec {
            retention,
            ..spec(&log)
        },
    )
    .await;
    let kind = TopicKind::State;
    let state_sink = open_with(&engine, TopicSpec { kind, ..spec(&state) }).await;
    let spelled = format!("freshet.{log}");
    let set = settings(&brokers, &spelled).await;
    assert_eq!(set["retention.ms"], "3600000");
    assert_eq!(set["retention.bytes"], (64 << 20).to_string());
    assert_eq!(set["message.timestamp.type"], "LogAppendTime");
    let set = settings(&brokers, &format!("freshet.{state}")).await;
    assert_eq!(set["cleanup.policy"], "compact");
    // A compacted topic takes only what has a key.
    let values = publication(vec![record(None, "1"), record(None, "2")]);
    publish(&engine, &state, values).await;
    state_sink.events(2).await;

    let known = soon("the known topics", async || engine.known().await).await;
    let found = |name: &str| known.iter().find(|spec| spec.name == name).unwrap();
    assert_eq!((found(&log).kind, found(&log).retention), (TopicKind::Log, retention));
    assert_eq!(found(&state).kind, TopicKind::State);

    // What the cluster's owner has set stays when Freshet changes what is its own.
    let set = settings(&brokers, &spelled).await;
    let all = AlterConfig::new(ResourceSpecifier::Topic(&spelled)).set("file.delete.delay.ms", "1234");
    let all = set.iter().fold(all, |all, (key, value)| all.set(key, value));
    admin(&brokers).alter_configs([&all], &options()).await.unwrap();
    engine.retain(
        &log,
        Retention {
            max_age_s: Some(7200),
            max_bytes: None,
        },
    );
    let has_new = async || settings(&brokers, &spelled).await["retention.ms"] == "7200000";
    freshet_tests::until("the cluster to have the new retention", has_new).await;
    let set = settings(&brokers, &spelled).await;
    assert_eq!(set["retention.bytes"], "-1");
    assert_eq!(set["file.delete.delay.ms"], "1234");
    assert_eq!(set["message.timestamp.type"], "LogAppendTime");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_one_partition_and_each_partition_its_order() {
    let kafka = Kafka::shared().await;
    let mut config = config(kafka.brokers());
    config.partitions = 3;
    let engine = open(&config);
    let topic = unique("partitions");
    let sink = open_topic(&engine, &topic).await;
    assert_eq!(sink.got().log.unwrap().partitions.len(), 3);
    let keyed = |number: u64| record(Some(&format!("key-{}", number % 20)), &format!("{{\"n\":{number}}}"));
    let receipts = publish(&engine, &topic, publication((0..400).map(keyed).collect())).await;
    let events = sink.events(400).await;
    let mut used = BTreeMap::new();
    for (number, receipt) in receipts.iter().enumerate() {
        assert_eq!(*used.entry(number % 20).or_insert(receipt.partition), receipt.partition);
    }
    let mut firsts = Vec::new();
    for partition in 0..3 {
        let live: Vec<_> = events
            .iter()
            .filter(|event| event.partition == partition)
            .cloned()
            .collect();
        firsts.push(live.first().expect("20 keys find their way to 3 partitions").offset);
        assert_eq!(read_all(&engine, &topic, partition, 0, BUDGET).await, live);
    }
    assert_eq!(soon("the time", async || engine.at(&topic, 0).await).await, firsts);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_followed_from_their_beginning() {
    let kafka = Kafka::shared().await;
    let engine = open(&config(kafka.brokers()));
    let topic = unique("grows");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..5)).await;
    let spelled = format!("freshet.{topic}");
    let more = NewPartitions::new(&spelled, 3);
    let made = admin(&kafka.brokers()).create_partitions([&more], &options()).await;
    made.unwrap()[0].as_ref().unwrap();
    // At once, before the engine can have heard of them.
    let others = producer(&kafka.brokers(), &[]);
    for partition in [1, 2, 1, 0] {
        produce(&others, &spelled, partition, None, Some(b"{}")).await;
    }
    let got = sink.until("all events", |got| got.events.len() == 9).await;
    assert_eq!(got.logs, 2);
    let log = got.log.unwrap();
    assert_eq!(log.partitions.len(), 3);
    assert_eq!(log.epoch, event(&got.events[0]).epoch, "it is the same log");
    for (partition, count) in [(0, 6), (1, 2), (2, 1)] {
        let its = got.events.iter().filter(|event| event.partition == partition);
        assert_eq!(its.count(), count);
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_anew_is_another_log() {
    let kafka = Kafka::shared().await;
    let engine = open(&config(kafka.brokers()));
    let topic = unique("anew");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..10)).await;
    let old = sink.events(10).await;
    let spelled = format!("freshet.{topic}");
    let deleted = admin(&kafka.brokers()).delete_topics(&[&spelled], &options()).await;
    deleted.unwrap()[0].as_ref().unwrap();
    says(&engine, EngineState::Degraded, &topic).await;

    make_topic(&kafka.brokers(), &spelled, 2).await;
    let others = producer(&kafka.brokers(), &[]);
    for partition in [0, 1, 0] {
        produce(&others, &spelled, partition, None, Some(b"{}")).await;
    }
    let got = sink.until("the new events", |got| got.events.len() == 13).await;
    let log = got.log.unwrap();
    assert_ne!(log.epoch, event(&old[0]).epoch);
    assert_eq!(log.partitions.len(), 2);
    for stored in &got.events[10..] {
        assert_eq!(event(stored).epoch, log.epoch);
    }
    let replayed = read_all(&engine, &topic, 0, 0, BUDGET).await;
    assert_eq!(replayed.len(), 2);
    assert_eq!(event(&replayed[0]).epoch, log.epoch);
    // The producer goes on, too.
    let receipts = publish(&engine, &topic, numbers(0..1)).await;
    assert_eq!(receipts[0].epoch, log.epoch);
    says(&engine, EngineState::Up, "").await;
    engine.close().await;
}
