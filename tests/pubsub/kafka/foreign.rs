//! Topics that others write to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use freshet::pubsub::contract::{
    Collector, event, numbers, open_topic, publication, publish, read_all, record, soon, spec, unique,
};
use freshet::pubsub::{Budget, LogExtent, PubSub, PubSubError, Sink, Stored, TopicSpec};
use freshet_tests::SOON;
use freshet_tests::kafka::Kafka;
use freshet_wire::{GapReason, TopicKind};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::{config, delete_records, make_topic, open, open_with, produce, producer};

const BUDGET: Budget = Budget {
    events: 100,
    bytes: 1 << 20,
};

fn watching(brokers: String, topic: &str) -> Arc<dyn PubSub> {
    let mut config = config(brokers);
    config.watch = vec![topic.to_owned()];
    open(&config)
}

fn texts(events: &[Stored]) -> Vec<&[u8]> {
    events.iter().map(|event| &*event.json).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_topic_is_read_as_it_is_and_never_written() {
    let kafka = Kafka::shared().await;
    let topic = unique("orders");
    make_topic(&kafka.brokers(), &topic, 1).await;
    let engine = watching(kafka.brokers(), &topic);
    let known = soon("the known topics", async || engine.known().await).await;
    let spec = known.iter().find(|spec| spec.name == topic).unwrap();
    assert_eq!((spec.writable, spec.kind), (false, TopicKind::Log));
    assert_eq!(spec.retention.max_age_s, Some(7 * 24 * 3600), "the broker's default");
    let sink = open_with(&engine, spec.clone()).await;

    let others = producer(&kafka.brokers(), &[]);
    let values: [Option<&[u8]>; 6] = [
        Some(b"{\"a\": 1}"),
        Some(b"plain"),
        Some(b"\xff\xfe"),
        None,
        Some(b"12"),
        Some(b""),
    ];
    for value in values {
        produce(&others, &topic, 0, Some("key"), value).await;
    }
    let headers = [
        ("ce_id", "1"),
        ("ce_source", "//shop.example/freshet"),
        ("ce_type", "order.placed"),
        ("ce_time", "2024-02-29T12:00:00.000001+01:00"),
    ];
    let headers = headers.iter().fold(OwnedHeaders::new(), |all, &(key, value)| {
        all.insert(Header {
            key,
            value: Some(value),
        })
    });
    let record = FutureRecord::<str, [u8]>::to(&topic).payload(b"{}").headers(headers);
    others.send(record, SOON).await.unwrap();

    let events = sink.events(7).await;
    let data: Vec<String> = events
        .iter()
        .map(|stored| event(stored).data.get().to_owned())
        .collect();
    let base64 = "{\"base64\":\"//4=\"}";
    assert_eq!(data, ["{\"a\": 1}", "\"plain\"", base64, "null", "12", "\"\"", "{}"]);
    let first = event(&events[0]);
    assert_eq!((&*first.kind, first.host.as_deref()), ("message", None));
    assert_eq!(*first.id, format!("{}-0", first.epoch));
    assert_eq!(first.produced_us, first.ingested_us);
    let last = event(&events[6]);
    assert_eq!((&*last.id, &*last.kind), ("1", "order.placed"));
    assert_eq!(last.host.as_deref(), Some("shop.example"));
    assert_eq!(last.produced_us, 1_709_204_400_000_001);
    assert_eq!(texts(&read_all(&engine, &topic, 0, 0, BUDGET).await), texts(&events));

    let refused = engine.publish(&topic, numbers(0..1)).await;
    assert_eq!(refused, Err(PubSubError::ReadOnly(topic.clone())));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_topic_that_is_not_there_is_said_and_not_made() {
    let kafka = Kafka::shared().await;
    let topic = unique("later");
    let engine = watching(kafka.brokers(), &topic);
    let watched = TopicSpec {
        writable: false,
        ..spec(&topic)
    };
    let sink = Arc::new(Collector::default());
    for _ in 0..2 {
        let refused = engine.open(watched.clone(), sink.clone()).await;
        assert_eq!(refused, Err(PubSubError::UnknownTopic(topic.clone())));
    }
    make_topic(&kafka.brokers(), &topic, 1).await;
    engine.open(watched, sink.clone()).await.unwrap();
    produce(&producer(&kafka.brokers(), &[]), &topic, 0, None, Some(b"1")).await;
    sink.events(1).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_transactions_leave_in_the_log_is_a_hole_and_nothing_is_lost() {
    let kafka = Kafka::shared().await;
    let topic = unique("transactions");
    make_topic(&kafka.brokers(), &topic, 1).await;
    let engine = watching(kafka.brokers(), &topic);
    let sink = open_topic(&engine, &topic).await;
    let others = Arc::new(producer(&kafka.brokers(), &[("transactional.id", &topic)]));
    let act = async |act: fn(&FutureProducer)| {
        let others = Arc::clone(&others);
        tokio::task::spawn_blocking(move || act(&others)).await.unwrap();
    };
    act(|others| others.init_transactions(SOON).unwrap()).await;
    // Offsets: 0, 1, mark; 3, 4, mark (given up); 6, 7, mark.
    for is_kept in [true, false, true] {
        act(|others| others.begin_transaction().unwrap()).await;
        for value in [b"1", b"2"] {
            produce(&others, &topic, 0, None, Some(value)).await;
        }
        match is_kept {
            true => act(|others| others.commit_transaction(SOON).unwrap()).await,
            false => act(|others| others.abort_transaction(SOON).unwrap()).await,
        }
    }
    let places = |events: &[Stored]| -> Vec<_> { events.iter().map(|event| (event.offset, event.vacant)).collect() };
    let vacant = Some(GapReason::Vacant);
    let events = sink.events(4).await;
    assert_eq!(places(&events), [(0, None), (1, None), (6, vacant), (7, None)]);

    let read = async |from| soon("a read", async || engine.read(&topic, 0, from, BUDGET).await).await;
    let chunk = read(1).await;
    assert_eq!(places(&chunk.events), [(1, None), (6, vacant), (7, None)]);
    assert_eq!((chunk.next, chunk.vacant), (9, vacant), "the last mark, too");
    let chunk = read(8).await;
    assert_eq!((chunk.events.len(), chunk.next, chunk.vacant), (0, 9, vacant));

    // What is in an open transaction is not there yet, neither is what comes after it.
    act(|others| others.begin_transaction().unwrap()).await;
    produce(&others, &topic, 0, None, Some(b"3")).await;
    produce(&producer(&kafka.brokers(), &[]), &topic, 0, None, Some(b"4")).await;
    let chunk = read(9).await;
    assert_eq!((chunk.events.len(), chunk.next), (0, 9));
    let second = watching(kafka.brokers(), &topic);
    let second_sink = open_topic(&second, &topic).await;
    assert_eq!(second_sink.got().log.unwrap().partitions[0].next, 9);
    act(|others| others.commit_transaction(SOON).unwrap()).await;
    for sink in [&sink, &second_sink] {
        let has_both = |got: &freshet::pubsub::contract::Got| got.events.last().is_some_and(|last| last.offset == 10);
        let events = sink.until("both events", has_both).await.events;
        assert_eq!(event(&events[events.len() - 2]).data.get(), "3");
    }
    second.close().await;
    engine.close().await;
}

/// A sink that takes nothing until it is let.
#[derive(Debug, Default)]
struct Slow {
    gate: Mutex<()>,
    sink: Collector,
}

impl Sink for Slow {
    fn log(&self, log: LogExtent) {
        self.sink.log(log);
    }

    fn push(&self, events: Vec<Stored>) {
        drop(self.gate.lock().unwrap());
        self.sink.push(events);
    }

    fn trim(&self, partition: u32, first: u64) {
        self.sink.trim(partition, first);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_took_before_it_was_read_is_told() {
    // Of a megabyte each, which is more than the consumer fetches ahead.
    const EVENTS: u64 = 48;
    let kafka = Kafka::shared().await;
    let topic = unique("overtaken");
    let engine = open(&config(kafka.brokers()));
    let slow = Arc::new(Slow::default());
    soon("the topic to open", async || {
        engine.open(spec(&topic), slow.clone()).await
    })
    .await;
    let (close, open) = std::sync::mpsc::channel::<()>();
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let gate = {
        let slow = Arc::clone(&slow);
        std::thread::spawn(move || {
            let gate = slow.gate.lock().unwrap();
            closed.send(()).unwrap();
            open.recv().unwrap();
            drop(gate);
        })
    };
    is_closed.await.unwrap();
    let big = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    for _ in 0..EVENTS {
        publish(&engine, &topic, publication(vec![record(None, &big)])).await;
    }
    delete_records(&kafka.brokers(), &format!("freshet.{topic}"), EVENTS).await;
    close.send(()).unwrap();
    gate.join().unwrap();
    let sink = &slow.sink;
    sink.until("the oldest offset to move", |got| got.first[&0] == EVENTS)
        .await;
    publish(&engine, &topic, numbers(0..1)).await;
    let is_there = |got: &freshet::pubsub::contract::Got| got.events.last().is_some_and(|last| last.offset == EVENTS);
    let events = sink.until("the newest event", is_there).await.events;
    assert!(events.len() < EVENTS as usize, "none was overtaken");
    assert_eq!(events.last().unwrap().vacant, Some(GapReason::Retention));
    // And that is the end of it.
    publish(&engine, &topic, numbers(1..2)).await;
    assert_eq!(sink.events(events.len() + 1).await.last().unwrap().vacant, None);
    tokio::time::timeout(Duration::from_secs(10), engine.close())
        .await
        .unwrap();
}
