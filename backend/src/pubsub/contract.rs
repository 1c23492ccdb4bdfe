//! The promises of [`PubSub`], asked of an engine: every engine passes them, each with the capabilities that it states.
//!
//! A program of tests says [`crate::pubsub_contract`] with its [`Harness`] and has a test for each promise. Topics have names of
//! their own, so that tests can run beside each other on one server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{EngineState, Epoch, Event, GapReason, Receipt, Retention, TopicKind};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::nesting::{MOST_DEPTH, nested};
use super::*;
use crate::time::now_us;

/// How long anything may take; generous, as a server may start again meanwhile, beside other work.
const SOON: Duration = Duration::from_secs(60);

/// What the suite needs of an engine beside [`PubSub`].
#[allow(async_fn_in_trait, reason = "only tests call it, on one thread")]
pub trait Harness {
    /// A client of the engine. What another client of this harness had, it has as well, once that one is closed.
    async fn open(&self) -> Arc<dyn PubSub>;

    /// Stops the engine's server without any warning and starts it again. `false` where there is none: then the suite closes the
    /// engine itself, and opens it again.
    async fn restart_server(&self) -> bool {
        false
    }

    /// Has the engine let go of what stands before this offset of partition 0. `false` if that cannot be done here.
    async fn forget(&self, _engine: &Arc<dyn PubSub>, _topic: &str, _first: u64) -> bool {
        false
    }
}

/// One test for each promise. The function, which is asynchronous, makes the harness for the promise of this name.
#[macro_export]
macro_rules! pubsub_contract {
    ($harness:path) => {
        $crate::pubsub_contract!(@tests $harness;
            events_of_one_key_keep_their_order
            a_reader_resumes_from_any_offset
            a_replay_has_the_bytes_that_were_pushed
            history_and_live_meet_without_gap_or_double
            the_same_key_twice_is_one_event_to_readers
            what_many_publish_at_once_is_there_once
            a_thread_of_no_runtime_publishes_as_well
            what_was_acknowledged_survives_a_restart
            what_was_acknowledged_survives_the_process
            big_and_empty_payloads_come_back_as_they_were
            names_and_keys_may_be_of_any_script
            what_is_not_there_is_said
            a_read_beyond_the_end_brings_nothing
            a_time_is_found
            what_is_forgotten_is_told
            what_was_published_comes_back_whole
            what_nests_as_deep_as_may_be_comes_back_as_it_was
            after_the_end_publishes_are_refused
            a_topic_is_removed_whole_or_not_at_all
        );
    };
    (@tests $harness:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let harness = $harness(stringify!($promise)).await;
                $crate::pubsub::contract::$promise(&harness).await;
            }
        )*
    };
}

/// A sink that keeps what it gets, and does not put up with anything that a sink may not be given.
#[derive(Debug, Default)]
pub struct Collector {
    got: Mutex<Got>,
    news: Notify,
}

/// What a sink got.
#[derive(Debug, Default, Clone)]
pub struct Got {
    /// The log as it was told last.
    pub log: Option<LogExtent>,
    /// Logs that were told.
    pub logs: usize,
    pub events: Vec<Stored>,
    /// By partition, the oldest offset as it was told last.
    pub first: BTreeMap<u32, u64>,
    /// By partition, the offset after the last one that was pushed.
    next: BTreeMap<u32, u64>,
}

impl Collector {
    pub fn got(&self) -> Got {
        self.got.lock().clone()
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Got) -> bool) -> Got {
        let waiting = async {
            loop {
                let news = self.news.notified();
                {
                    let got = self.got.lock();
                    if is_so(&got) {
                        return got.clone();
                    }
                }
                news.await;
            }
        };
        match tokio::time::timeout(SOON, waiting).await {
            Ok(got) => got,
            Err(_) => panic!("waited {SOON:?} for {what}; there is {:#?}", self.got.lock()),
        }
    }

    /// Waits for so many events.
    pub async fn events(&self, count: usize) -> Vec<Stored> {
        self.until(&format!("{count} events"), |got| got.events.len() >= count)
            .await
            .events
    }
}

impl Sink for Collector {
    fn log(&self, log: LogExtent) {
        let mut got = self.got.lock();
        assert!(!log.partitions.is_empty(), "a log without partitions");
        if got.log.as_ref().is_none_or(|known| known.epoch != log.epoch) {
            got.first.clear();
            got.next.clear();
        }
        for (extent, number) in log.partitions.iter().zip(0..) {
            assert!(extent.first <= extent.next, "{extent:?}");
            got.first.entry(number).or_insert(extent.first);
            got.next.entry(number).or_insert(extent.next);
        }
        got.log = Some(log);
        got.logs += 1;
        drop(got);
        self.news.notify_one();
    }

    fn push(&self, events: Vec<Stored>) {
        let mut got = self.got.lock();
        assert!(got.log.is_some(), "events before the log");
        for event in &events {
            let next = got
                .next
                .get_mut(&event.partition)
                .expect("an event of a partition that was told");
            assert!(event.offset >= *next, "offset {} after {next}", event.offset);
            assert!(
                event.offset == *next || event.vacant.is_some(),
                "a hole that is not told before {}",
                event.offset
            );
            *next = event.offset + 1;
        }
        got.events.extend(events);
        drop(got);
        self.news.notify_one();
    }

    fn trim(&self, partition: u32, first: u64) {
        let mut got = self.got.lock();
        let known = got.first.entry(partition).or_default();
        assert!(first >= *known, "the oldest offset went back from {known} to {first}");
        *known = first;
        drop(got);
        self.news.notify_one();
    }
}

/// A name that no other test has.
pub fn unique(label: &str) -> String {
    format!("{label}-{:08x}", fastrand::u32(..))
}

pub fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        kind: TopicKind::Log,
        synthetic: false,
        writable: true,
        retention: Retention::default(),
    }
}

pub fn record(key: Option<&str>, data: &str) -> Record {
    Record {
        produced_us: now_us(),
        host: Some(Arc::from("contract.example")),
        token: None,
        kind: Arc::from("contract"),
        id: None,
        key: key.map(str::to_owned),
        data: RawValue::from_string(data.to_owned()).unwrap(),
    }
}

pub fn publication(records: Vec<Record>) -> Publication {
    Publication {
        records,
        idempotency: None,
        ack: Ack::Durable,
    }
}

/// `{"n": N}` for each number, all of one key.
pub fn numbers(range: std::ops::Range<u64>) -> Publication {
    publication(range.map(|n| record(Some("k"), &format!("{{\"n\":{n}}}"))).collect())
}

/// A publication that may be tried again.
pub fn keyed(key: &str, data: &str) -> Publication {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&id_hash(data).to_be_bytes());
    Publication {
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            digest,
        }),
        ..publication(vec![record(Some("k"), data)])
    }
}

pub fn event(stored: &Stored) -> Event<'_> {
    serde_json::from_slice(&stored.json).unwrap()
}

fn n(stored: &Stored) -> u64 {
    #[derive(serde::Deserialize)]
    struct Numbered {
        n: u64,
    }
    serde_json::from_str::<Numbered>(event(stored).data.get()).unwrap().n
}

/// Waits for the answer, and for the engine if it is not there yet: an engine may be asked before its server was heard of.
pub async fn soon<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, PubSubError>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Err(PubSubError::Unavailable(_) | PubSubError::Full) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                result => return result,
            }
        }
    };
    match within(what, asking).await {
        Ok(answer) => answer,
        Err(error) => panic!("{what}: {error}"),
    }
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {SOON:?} for {what}"),
    }
}

/// Opens the topic of this name.
pub async fn open_topic(engine: &Arc<dyn PubSub>, name: &str) -> Arc<Collector> {
    let sink = Arc::new(Collector::default());
    let as_sink = Arc::clone(&sink) as Arc<dyn Sink>;
    soon("the topic to open", async || {
        engine.open(spec(name), Arc::clone(&as_sink)).await
    })
    .await;
    assert!(sink.got().log.is_some(), "open has returned, and the log was not told");
    sink
}

/// Publishes once, and expects that it is acknowledged.
pub async fn publish(engine: &Arc<dyn PubSub>, topic: &str, publication: Publication) -> Vec<Receipt> {
    let answer = within("the acknowledgement", engine.publish(topic, publication)).await;
    answer.unwrap_or_else(|error| panic!("publishing to {topic}: {error}"))
}

/// Everything in a partition from an offset on, read in pieces of this budget; what a chunk may not be is not put up with.
pub async fn read_all(engine: &Arc<dyn PubSub>, topic: &str, partition: u32, from: u64, budget: Budget) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    let mut next = from;
    loop {
        let chunk = soon("a read", async || engine.read(topic, partition, next, budget).await).await;
        assert!(chunk.events.len() <= budget.events.max(1));
        let bytes: usize = chunk.events.iter().map(|event| event.json.len()).sum();
        assert!(chunk.events.len() <= 1 || bytes <= budget.bytes, "{bytes} bytes");
        let mut expected = next.max(chunk.first);
        for event in &chunk.events {
            assert_eq!(event.partition, partition);
            assert!(event.offset >= expected, "{} after {expected}", event.offset);
            assert!(
                event.offset == expected || event.vacant.is_some(),
                "a hole that is not told"
            );
            expected = event.offset + 1;
        }
        assert!(chunk.next >= expected);
        assert!(
            chunk.next == expected || chunk.vacant.is_some(),
            "a hole that is not told at the end"
        );
        if chunk.next == next && chunk.events.is_empty() {
            return all;
        }
        next = chunk.next;
        all.extend(chunk.events);
    }
}

pub const BUDGET: Budget = Budget {
    events: 100,
    bytes: 256 << 10,
};

/// Without why an offset before it is empty, which depends on where a read began.
fn bare(events: &[Stored]) -> Vec<Stored> {
    let bare = |event: &Stored| Stored {
        vacant: None,
        ..event.clone()
    };
    events.iter().map(bare).collect()
}

pub async fn events_of_one_key_keep_their_order(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("order");
    let sink = open_topic(&engine, &topic).await;
    let mut answers = Vec::new();
    for start in (0..1000).step_by(10) {
        // Not waited for in between: they are handed over in order.
        answers.push(engine.publish(&topic, numbers(start..start + 10)));
    }
    let mut receipts = Vec::new();
    for answer in answers {
        receipts.extend(within("the acknowledgement", answer).await.unwrap());
    }
    let events = sink.events(1000).await;
    assert_eq!(events.iter().map(n).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    assert_eq!(receipts.len(), 1000);
    for (receipt, stored) in receipts.iter().zip(&events) {
        let event = event(stored);
        assert_eq!((receipt.partition, receipt.offset), (event.partition, event.offset));
        assert_eq!((&*receipt.id, receipt.epoch), (&*event.id, event.epoch));
        assert_eq!(receipt.topic, event.topic);
        assert!(!receipt.duplicate);
    }
    engine.close().await;
}

pub async fn a_reader_resumes_from_any_offset(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("resume");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..50)).await;
    let events = sink.events(50).await;
    let partition = events[0].partition;
    for (index, stored) in events.iter().enumerate() {
        let rest = read_all(&engine, &topic, partition, stored.offset, BUDGET).await;
        assert_eq!(bare(&rest), bare(&events[index..]), "from offset {}", stored.offset);
    }
    engine.close().await;
}

pub async fn a_replay_has_the_bytes_that_were_pushed(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("replay");
    let sink = open_topic(&engine, &topic).await;
    for start in (0..500).step_by(100) {
        publish(&engine, &topic, numbers(start..start + 100)).await;
    }
    let events = sink.events(500).await;
    let partition = events[0].partition;
    let budgets = [
        BUDGET,
        Budget { events: 7, ..BUDGET },
        Budget { bytes: 700, ..BUDGET },
        Budget {
            events: 10_000,
            bytes: 8 << 20,
        },
    ];
    for budget in budgets {
        let replayed = read_all(&engine, &topic, partition, 0, budget).await;
        assert_eq!(bare(&replayed), bare(&events), "{budget:?}");
    }
    engine.close().await;
}

pub async fn history_and_live_meet_without_gap_or_double(harness: &impl Harness) {
    let before = harness.open().await;
    let topic = unique("meet");
    let sink = open_topic(&before, &topic).await;
    publish(&before, &topic, numbers(0..100)).await;
    let old = sink.events(100).await;
    before.close().await;
    drop(before);

    let engine = harness.open().await;
    let sink = open_topic(&engine, &topic).await;
    let log = sink.got().log.unwrap();
    assert_eq!(log.epoch, event(&old[0]).epoch, "the same log has the same epoch");
    publish(&engine, &topic, numbers(100..200)).await;
    let live = sink.events(100).await;
    let partition = live[0].partition;
    let next = log.partitions[partition as usize].next;
    assert!(next > old[99].offset, "what was there before is history");
    let mut history = read_all(&engine, &topic, partition, 0, BUDGET).await;
    history.retain(|event| event.offset < next);
    assert_eq!(bare(&history), bare(&old));
    let together: Vec<u64> = history.iter().chain(&live).map(n).collect();
    assert_eq!(together, (0..200).collect::<Vec<_>>());
    engine.close().await;
}

pub async fn the_same_key_twice_is_one_event_to_readers(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("twice");
    let sink = open_topic(&engine, &topic).await;
    let first = publish(&engine, &topic, keyed("key-1", "{\"n\":1}")).await;
    let second = publish(&engine, &topic, keyed("key-1", "{\"n\":1}")).await;
    publish(&engine, &topic, keyed("key-2", "{\"n\":2}")).await;
    assert_eq!(first[0].id, second[0].id);
    let got = sink
        .until("the last event", |got| {
            got.events.last().is_some_and(|last| n(last) == 2)
        })
        .await;
    let numbers: Vec<u64> = got.events.iter().map(n).collect();
    if engine.capabilities().idempotent {
        assert_eq!(numbers, [1, 2]);
        assert_eq!((second[0].offset, second[0].duplicate), (first[0].offset, true));
        let other = within("the refusal", engine.publish(&topic, keyed("key-1", "{\"n\":3}"))).await;
        let refused = PubSubError::KeyReused {
            key: "key-1".to_owned(),
            offset: first[0].offset,
        };
        assert_eq!(other, Err(refused));
    } else {
        // It may be there twice, and then the second is known by its id.
        let hashes: Vec<u64> = got.events.iter().map(|event| event.id_hash).collect();
        assert!(hashes.iter().all(|&hash| hash != 0));
        let once: std::collections::BTreeSet<u64> = hashes.into_iter().collect();
        assert_eq!(once.len(), 2, "{numbers:?}");
    }
    engine.close().await;
}

pub async fn what_many_publish_at_once_is_there_once(harness: &impl Harness) {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 100;
    let engine = harness.open().await;
    let topic = unique("many");
    let sink = open_topic(&engine, &topic).await;
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let (engine, topic) = (Arc::clone(&engine), topic.clone());
        tokio::spawn(async move {
            let mut receipts = Vec::new();
            for number in 0..EACH {
                let data = format!("{{\"n\":{}}}", publisher * EACH + number);
                let key = publisher.to_string();
                receipts.extend(publish(&engine, &topic, publication(vec![record(Some(&key), &data)])).await);
            }
            receipts
        })
    });
    let mut receipts: Vec<Receipt> = Vec::new();
    for publisher in publishers.collect::<Vec<_>>() {
        receipts.extend(publisher.await.unwrap());
    }
    let total = PUBLISHERS * EACH;
    let events = sink.events(usize::try_from(total).unwrap()).await;
    let mut numbers: Vec<u64> = events.iter().map(n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..total).collect::<Vec<_>>());
    let places: HashMap<&str, (u32, u64)> = receipts
        .iter()
        .map(|receipt| (&*receipt.id, (receipt.partition, receipt.offset)))
        .collect();
    assert_eq!(places.len(), receipts.len(), "an id for each");
    let mut last: HashMap<u64, u64> = HashMap::new();
    for stored in &events {
        assert_eq!(
            places[&*event(stored).id],
            (stored.partition, stored.offset),
            "the receipt says where"
        );
        let before = last.insert(n(stored) / EACH, n(stored));
        assert!(before.is_none_or(|before| before < n(stored)), "each publisher's order");
    }
    engine.close().await;
}

/// Publishes one event after the other, each again until it is acknowledged.
async fn publish_all(engine: &Arc<dyn PubSub>, topic: &str, range: std::ops::Range<u64>) {
    for number in range {
        let data = format!("{{\"n\":{number}}}");
        soon("the acknowledgement", async || {
            engine.publish(topic, keyed(&format!("{topic}-{number}"), &data)).await
        })
        .await;
    }
}

/// The numbers in the order of their first occurrence; a second one of the same id is one that readers do not see.
fn once(engine: &Arc<dyn PubSub>, events: &[Stored]) -> Vec<u64> {
    let mut seen = HashMap::new();
    let mut numbers = Vec::new();
    for stored in events {
        let id = event(stored).id.into_owned();
        match seen.insert(id, n(stored)) {
            None => numbers.push(n(stored)),
            Some(before) => {
                assert!(!engine.capabilities().idempotent, "{before} is there twice");
                assert_eq!(before, n(stored), "one id, two events");
            }
        }
    }
    numbers
}

/// As the sources do: they hand over what they sampled, and wait for nothing.
pub async fn a_thread_of_no_runtime_publishes_as_well(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("thread");
    let sink = open_topic(&engine, &topic).await;
    let (own, name) = (Arc::clone(&engine), topic.clone());
    let thread = std::thread::spawn(move || drop(own.publish(&name, numbers(0..3))));
    thread.join().expect("it hands over without a panic");
    sink.events(3).await;
    engine.close().await;
}

pub async fn what_was_acknowledged_survives_a_restart(harness: &impl Harness) {
    let mut engine = harness.open().await;
    let topic = unique("restart");
    let mut sink = open_topic(&engine, &topic).await;
    publish_all(&engine, &topic, 0..50).await;
    let (restarted, ()) = tokio::join!(harness.restart_server(), publish_all(&engine, &topic, 50..150));
    if restarted {
        let is_up = async {
            let mut status = engine.status();
            status.wait_for(|engine| engine.state == EngineState::Up).await.unwrap();
        };
        within("the engine to say that it is up again", is_up).await;
        publish_all(&engine, &topic, 150..200).await;
        let got = sink
            .until("the last event", |got| {
                got.events.last().is_some_and(|last| n(last) == 199)
            })
            .await;
        assert_eq!(
            once(&engine, &got.events),
            (0..200).collect::<Vec<_>>(),
            "live, through the restart"
        );
        assert_eq!(got.logs, 1, "it is the same log");
    } else {
        engine.close().await;
        drop(engine);
        engine = harness.open().await;
        sink = open_topic(&engine, &topic).await;
        publish_all(&engine, &topic, 150..200).await;
        sink.until("the last event", |got| {
            got.events.last().is_some_and(|last| n(last) == 199)
        })
        .await;
    }
    let all = read_all(&engine, &topic, 0, 0, BUDGET).await;
    assert_eq!(once(&engine, &all), (0..200).collect::<Vec<_>>(), "in the log");
    engine.close().await;
}

pub async fn what_was_acknowledged_survives_the_process(harness: &impl Harness) {
    let topic = unique("process");
    let mut epoch = None;
    for round in 0..3_u64 {
        let engine = harness.open().await;
        let sink = open_topic(&engine, &topic).await;
        let log = sink.got().log.unwrap();
        assert_eq!(
            *epoch.get_or_insert(log.epoch),
            log.epoch,
            "the same log has the same epoch"
        );
        publish(&engine, &topic, numbers(round * 20..round * 20 + 20)).await;
        sink.events(20).await;
        let all = read_all(&engine, &topic, 0, 0, BUDGET).await;
        assert_eq!(
            all.iter().map(n).collect::<Vec<_>>(),
            (0..round * 20 + 20).collect::<Vec<_>>()
        );
        engine.close().await;
    }
}

pub async fn big_and_empty_payloads_come_back_as_they_were(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("sizes");
    let sink = open_topic(&engine, &topic).await;
    let big = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let sixty = nested(60);
    let payloads = [
        "null",
        "{}",
        "[]",
        "\"\"",
        "0",
        &big,
        &sixty,
        "\"\\u0000 ü 水\"",
        "{\"a\": [ 1 ,2]}",
        "null",
    ];
    let records = payloads.iter().map(|data| record(Some("k"), data)).collect();
    publish(&engine, &topic, publication(records)).await;
    let events = sink.events(payloads.len()).await;
    for (stored, data) in events.iter().zip(payloads) {
        assert!(
            event(stored).data.get() == data,
            "{} bytes came back otherwise",
            data.len()
        );
    }
    let partition = events[0].partition;
    let replayed = read_all(&engine, &topic, partition, 0, Budget { bytes: 1000, ..BUDGET }).await;
    assert!(bare(&replayed) == bare(&events), "the replay is another one");
    engine.close().await;
}

pub async fn names_and_keys_may_be_of_any_script(harness: &impl Harness) {
    let engine = harness.open().await;
    let names = [
        unique("größe"),
        unique("水位.東京"),
        unique("_u_Ωμέγα"),
        unique("a.b_c-d.E"),
    ];
    for name in &names {
        let sink = open_topic(&engine, name).await;
        let mut publication = keyed(&format!("ключ 水 {name}"), "{\"n\":1}");
        publication.records[0].key = Some("schlüssel 🗝".to_owned());
        publication.records[0].kind = Arc::from("größe.änderung");
        let receipts = publish(&engine, name, publication).await;
        let events = sink.events(1).await;
        let event = event(&events[0]);
        assert_eq!((&*event.topic, &*event.kind), (&**name, "größe.änderung"));
        assert_eq!(*event.id, receipts[0].id);
    }
    engine.close().await;
    // They are found again by their names.
    let engine = harness.open().await;
    let known = soon("the known topics", async || engine.known().await).await;
    for name in &names {
        let found = known.iter().find(|spec| spec.name == *name);
        assert!(
            found.is_some_and(|spec| spec.writable),
            "{name} is not known; known are {known:#?}"
        );
    }
    engine.close().await;
}

pub async fn what_is_not_there_is_said(harness: &impl Harness) {
    let engine = harness.open().await;
    // The engine is there, and what is said is about the topic.
    let topic = unique("there");
    open_topic(&engine, &topic).await;
    let name = unique("nowhere");
    let unknown = PubSubError::UnknownTopic(name.clone());
    assert_eq!(
        within("an answer", engine.publish(&name, numbers(0..1))).await,
        Err(unknown.clone())
    );
    assert_eq!(
        within("an answer", engine.read(&name, 0, 0, BUDGET)).await,
        Err(unknown.clone())
    );
    assert_eq!(within("an answer", engine.at(&name, 0)).await, Err(unknown));
    assert_eq!(engine.kept(&name), Kept::default());
    engine.close().await;
}

pub async fn a_read_beyond_the_end_brings_nothing(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("beyond");
    let sink = open_topic(&engine, &topic).await;
    let empty = soon("a read", async || engine.read(&topic, 0, 0, BUDGET).await).await;
    let first = sink.got().log.unwrap().partitions[0].first;
    assert_eq!((empty.events.len(), empty.next), (0, first));
    publish(&engine, &topic, numbers(0..3)).await;
    let end = sink.events(3).await[2].offset + 1;
    for from in [end, end + 1, end + 1000] {
        let chunk = soon("a read", async || engine.read(&topic, 0, from, BUDGET).await).await;
        assert_eq!(
            (chunk.events.len(), chunk.next, chunk.vacant),
            (0, from, None),
            "from {from}"
        );
    }
    engine.close().await;
}

pub async fn a_time_is_found(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("time");
    let sink = open_topic(&engine, &topic).await;
    for number in 0..5 {
        publish(&engine, &topic, numbers(number..number + 1)).await;
        // The stamps are in whole milliseconds at worst; here time itself is what is tested.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let events = sink.events(5).await;
    let at = async |time_us| soon("the time", async || engine.at(&topic, time_us).await).await[0];
    assert_eq!(at(0).await, events[0].offset);
    assert_eq!(at(events[0].ingested_us - 1_000_000).await, events[0].offset);
    for pair in events.windows(2) {
        assert!(pair[0].ingested_us < pair[1].ingested_us, "{pair:?}");
        assert_eq!(at(pair[1].ingested_us).await, pair[1].offset);
        assert_eq!(at(pair[0].ingested_us + 1).await, pair[1].offset);
    }
    let end = events[4].offset + 1;
    assert_eq!(at(events[4].ingested_us + 1).await, end);
    assert_eq!(at(now_us() + 3_600_000_000).await, end, "nothing comes from the future");
    assert_eq!(at(i64::MAX).await, end, "later than any time is the end");
    engine.close().await;
}

pub async fn what_is_forgotten_is_told(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("forget");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..20)).await;
    let events = sink.events(20).await;
    let first = events[10].offset;
    if !harness.forget(&engine, &topic, first).await {
        engine.close().await;
        return;
    }
    sink.until("the oldest offset to move", |got| got.first[&0] == first)
        .await;
    let chunk = soon("a read", async || engine.read(&topic, 0, 0, BUDGET).await).await;
    assert_eq!(chunk.first, first);
    assert_eq!(bare(&chunk.events), bare(&events[10..]));
    assert_eq!(
        chunk.events[0].vacant.unwrap_or(GapReason::Retention),
        GapReason::Retention
    );
    assert_eq!(soon("the time", async || engine.at(&topic, 0).await).await, [first]);
    // Who opens it now is told as well.
    engine.close().await;
    let engine = harness.open().await;
    let sink = open_topic(&engine, &topic).await;
    let log = sink.got().log.unwrap();
    assert_eq!(
        (log.partitions[0].first, log.partitions[0].next),
        (first, events[19].offset + 1)
    );
    engine.close().await;
}

pub async fn what_was_published_comes_back_whole(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("whole");
    let sink = open_topic(&engine, &topic).await;
    let before_us = now_us();
    let token = freshet_wire::Token {
        scope: "raft/ü-1".into(),
        number: u64::MAX,
    };
    let whole = Record {
        produced_us: 1_700_000_000_123_456,
        token: Some(token.clone()),
        id: Some("an id of its own".to_owned()),
        ..record(Some("k"), "{\"a\":1}")
    };
    let plain = Record {
        host: None,
        ..record(None, "1")
    };
    publish(&engine, &topic, publication(vec![whole, plain])).await;
    let mut events = sink.events(2).await;
    events.sort_by_key(|stored| event(stored).token.is_none());
    let event_of = event(&events[0]);
    assert_eq!(event_of.topic, topic);
    assert_eq!(event_of.epoch, sink.got().log.unwrap().epoch);
    assert_eq!(
        (event_of.partition, event_of.offset),
        (events[0].partition, events[0].offset)
    );
    assert_eq!(event_of.id, "an id of its own");
    assert_eq!(event_of.produced_us, 1_700_000_000_123_456);
    assert_eq!(event_of.ingested_us, events[0].ingested_us);
    // The engine's clock may be another machine's; here it is this one's.
    let slack_us = 1_000_000;
    assert!((before_us - slack_us..now_us() + slack_us).contains(&event_of.ingested_us));
    assert!(event_of.ingested_us % 1000 == 0 || engine.capabilities().microseconds);
    assert_eq!(event_of.host.as_deref(), Some("contract.example"));
    assert_eq!(event_of.token, Some(token));
    assert_eq!((&*event_of.kind, event_of.data.get()), ("contract", "{\"a\":1}"));
    let event_of = event(&events[1]);
    assert_eq!((event_of.host, event_of.token), (None, None));
    assert!(!event_of.id.is_empty());
    engine.close().await;
}

pub async fn what_nests_as_deep_as_may_be_comes_back_as_it_was(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("deep");
    let sink = open_topic(&engine, &topic).await;
    let deep = nested(MOST_DEPTH);
    publish(&engine, &topic, publication(vec![record(None, &deep)])).await;
    let events = sink.events(1).await;
    assert_eq!(event(&events[0]).data.get(), deep);
    engine.close().await;
}

pub async fn after_the_end_publishes_are_refused(harness: &impl Harness) {
    let engine = harness.open().await;
    let topic = unique("closed");
    open_topic(&engine, &topic).await;
    // Handed over, and not waited for: the end waits for it.
    let answer = engine.publish(&topic, numbers(0..100));
    engine.close().await;
    let receipts = within("the acknowledgement", answer).await.unwrap();
    assert_eq!(receipts.len(), 100);
    assert_eq!(
        within("the refusal", engine.publish(&topic, numbers(100..101))).await,
        Err(PubSubError::Closed)
    );
    drop(engine);
    let engine = harness.open().await;
    let sink = open_topic(&engine, &topic).await;
    let epoch: Epoch = sink.got().log.unwrap().epoch;
    assert_eq!(epoch, receipts[0].epoch);
    let all = read_all(&engine, &topic, receipts[0].partition, 0, BUDGET).await;
    assert_eq!(all.len(), 100);
    engine.close().await;
}

pub async fn a_topic_is_removed_whole_or_not_at_all(harness: &impl Harness) {
    let engine = harness.open().await;
    let (topic, other) = (unique("removed"), unique("stays"));
    let unknown = Some(PubSubError::UnknownTopic(topic.clone()));
    assert_ne!(engine.remove(&topic).await, Ok(()), "there is no such topic");
    let (sink, beside) = (open_topic(&engine, &topic).await, open_topic(&engine, &other).await);
    publish(&engine, &topic, keyed("key", "{\"n\":0}")).await;
    publish(&engine, &other, numbers(0..3)).await;
    let (events, kept) = (sink.events(1).await, beside.events(3).await);
    let partition = events[0].partition;
    let epoch = sink.got().log.unwrap().epoch;
    match engine.remove(&topic).await {
        Ok(()) => {
            let refused = within("the refusal", engine.publish(&topic, numbers(0..1))).await;
            assert_eq!(refused.err(), unknown);
            assert_eq!(engine.read(&topic, 0, 0, BUDGET).await.err(), unknown);
            assert_eq!(engine.remove(&topic).await.err(), unknown);
            let sink = open_topic(&engine, &topic).await;
            let log = sink.got().log.unwrap();
            assert_ne!(log.epoch, epoch, "another log");
            assert_eq!(log.partitions, [Extent::default()]);
            let receipts = publish(&engine, &topic, keyed("key", "{\"n\":0}")).await;
            assert_eq!((receipts[0].offset, receipts[0].duplicate), (0, false));
            let again = read_all(&engine, &topic, 0, 0, BUDGET).await;
            assert_eq!(bare(&again), bare(&sink.events(1).await));
        }
        Err(PubSubError::NotRemovable { .. }) => {
            let again = read_all(&engine, &topic, partition, 0, BUDGET).await;
            assert_eq!(bare(&again), bare(&events));
            publish(&engine, &topic, numbers(1..2)).await;
            sink.events(2).await;
        }
        Err(error) => panic!("{error}"),
    }
    let again = read_all(&engine, &other, kept[0].partition, kept[0].offset, BUDGET).await;
    assert_eq!(bare(&again), bare(&kept), "other topics stay");
    engine.close().await;
}
