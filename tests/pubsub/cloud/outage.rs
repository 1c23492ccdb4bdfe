//! A service that goes away, and comes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use freshet::config::PubSub as Config;
use freshet::pubsub::contract::{
    BUDGET, Harness, keyed, numbers, open_topic, publication, publish, read_all, record, soon, unique,
};
use freshet::pubsub::{PubSub, PubSubError, Publication, Stored};
use freshet_tests::cloud_pubsub::CloudPubSub;
use freshet_tests::outage::{Away, two_outages};
use freshet_tests::proxy::Proxy;
use freshet_tests::within;
use freshet_wire::EngineState;
use tokio::task::JoinSet;

use super::{NODE, config, harness, numbers_of, open};

/// A server starts again meanwhile, beside other work.
const PATIENCE: Duration = Duration::from_secs(120);

const PUBLISHERS: u64 = 8;

/// Numbers of different publishers are so far apart.
const APART: u64 = 1_000_000;

/// Waits until the engine says that its state is this; what else it says.
async fn says(engine: &Arc<dyn PubSub>, state: EngineState) -> String {
    let mut status = engine.status();
    let said = async {
        let said = status.wait_for(|engine| engine.state == state).await;
        said.unwrap().detail.clone()
    };
    within(PATIENCE, &format!("the engine to say {state:?}"), said).await
}

/// What all publishers share.
#[derive(Default)]
struct Load {
    is_enough: AtomicBool,
    /// Tries: an event is published again until it is acknowledged.
    tries: AtomicUsize,
    refused: AtomicUsize,
    acknowledged: AtomicUsize,
}

/// Publishes one event after the other, each again until it is acknowledged; where the receipts said that they are.
async fn publish_until(engine: Arc<dyn PubSub>, topic: String, publisher: u64, load: Arc<Load>) -> Vec<(u64, u64)> {
    let mut receipts = Vec::new();
    let key = publisher.to_string();
    for number in publisher * APART.. {
        if load.is_enough.load(Relaxed) {
            break;
        }
        let data = format!("{{\"n\":{number}}}");
        let receipt = loop {
            let publication = Publication {
                idempotency: keyed(&number.to_string(), &data).idempotency,
                ..publication(vec![record(Some(&key), &data)])
            };
            load.tries.fetch_add(1, Relaxed);
            match engine.publish(&topic, publication).await {
                Ok(receipts) => break receipts[0].clone(),
                Err(PubSubError::Unavailable(_) | PubSubError::Full) => {
                    load.refused.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        receipts.push((number, receipt.offset));
        load.acknowledged.fetch_add(1, Relaxed);
    }
    receipts
}

async fn grow(load: &Load, by: usize) {
    let enough = load.acknowledged.load(Relaxed) + by;
    let growing = async {
        while load.acknowledged.load(Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(PATIENCE, "publishes to be acknowledged", growing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_the_service_goes_and_comes_back_and_what_was_acknowledged_is_there_once() {
    let node = harness("restart under load").await;
    let engine = node.open().await;
    let topic = unique("load");
    let sink = open_topic(&engine, &topic).await;
    let load = Arc::new(Load::default());
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish_until(
            Arc::clone(&engine),
            topic.clone(),
            publisher,
            Arc::clone(&load),
        ));
    }
    for _ in 0..2 {
        grow(&load, 200).await;
        node.own().lock().await.kill();
        let words = says(&engine, EngineState::Down).await;
        assert!(words.contains("publishing is refused"), "{words}");
        // What is kept is read nevertheless.
        let kept = read_all(&engine, &topic, 0, 0, BUDGET).await.len();
        assert!(kept >= load.acknowledged.load(Relaxed), "{kept}");
        node.own().lock().await.start_again().await;
        assert_eq!(says(&engine, EngineState::Up).await, "");
        grow(&load, 200).await;
    }
    load.is_enough.store(true, Relaxed);
    let mut places = HashMap::new();
    while let Some(receipts) = publishers.join_next().await {
        places.extend(receipts.unwrap());
    }
    let all = read_all(&engine, &topic, 0, 0, BUDGET).await;
    let numbers = numbers_of(&all);
    let mut times = HashMap::<u64, usize>::new();
    for &number in &numbers {
        *times.entry(number).or_default() += 1;
    }
    let missing = places.keys().filter(|&number| !times.contains_key(number)).count();
    let doubled = times.values().filter(|&&times| times > 1).count();
    let live = sink.events(all.len()).await;
    println!(
        "two outages: {} events published in {} tries, of which {} were refused; {} acknowledged, {} in the log, {} delivered; \
         missing {missing}, doubled {doubled}",
        places.len(),
        load.tries.load(Relaxed),
        load.refused.load(Relaxed),
        load.acknowledged.load(Relaxed),
        all.len(),
        live.len(),
    );
    assert!(load.refused.load(Relaxed) > 0, "the outages were not felt");
    assert_eq!((missing, doubled), (0, 0));
    assert_eq!(numbers.len(), places.len(), "nothing else is there");
    let mut last = HashMap::new();
    for (stored, number) in all.iter().zip(&numbers) {
        assert_eq!(places[number], stored.offset, "the receipt says where {number} is");
        let before = last.insert(number / APART, *number);
        assert_eq!(
            before.map_or(number % APART, |before| number - before - 1),
            0,
            "in order, without a gap"
        );
    }
    let offsets = |events: &[Stored]| events.iter().map(|event| event.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&live), offsets(&all), "live as in the log");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_at_the_start_is_said_and_waited_for() {
    let node = harness("restart at the start").await;
    let topic = unique("late");
    let engine = node.open().await;
    open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..3)).await;
    engine.close().await;
    node.own().lock().await.kill();

    let engine = node.open().await;
    let sink = open_topic(&engine, &topic).await;
    says(&engine, EngineState::Down).await;
    let refused = engine.publish(&topic, numbers(3..4)).await;
    assert!(matches!(refused, Err(PubSubError::Unavailable(_))), "{refused:?}");
    assert_eq!(numbers_of(&read_all(&engine, &topic, 0, 0, BUDGET).await), [0, 1, 2]);
    let known = engine.known().await.unwrap();
    assert!(known.iter().any(|spec| spec.name == topic), "{known:?}");
    node.own().lock().await.start_again().await;
    says(&engine, EngineState::Up).await;
    soon("a publish", async || engine.publish(&topic, numbers(3..4)).await).await;
    sink.events(1).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_long_for_a_service_that_is_away() {
    let node = harness("restart at the end").await;
    // Half a second on its way, so that something is on its way when the service goes.
    let address = node.own().lock().await.address();
    let proxy = Proxy::start(address, Duration::from_millis(500), Duration::ZERO).await;
    let engine = open(format!("http://{}", proxy.address), node.data.path(), NODE);
    let topic = unique("end");
    open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..1)).await;
    let answer = engine.publish(&topic, numbers(1..10));
    node.own().lock().await.kill();
    says(&engine, EngineState::Down).await;
    let begun = Instant::now();
    engine.close().await;
    // What it has not brought back does not come any more.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(within(PATIENCE, "the refusal", answer).await.is_err());
}

struct Project(CloudPubSub);

impl Away for Project {
    const NAME: &str = "cloud-pubsub";
    const WORDS: [&str; 2] = ["Pub/Sub: ", "publishing is refused"];
    const REFUSALS: &[&str] = &["Pub/Sub", "the engine has not acknowledged"];
    /// The spool knows each event's id.
    const DOUBLES: bool = false;

    fn config(&self) -> Config {
        Config::CloudPubSub(config(self.0.endpoint()))
    }

    async fn go(&mut self) {
        self.0.kill();
    }

    async fn come_back(&mut self) {
        self.0.start_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_under_load_says_that_pubsub_is_away_and_delivers_once_what_it_acknowledged() {
    Box::pin(two_outages(&mut Project(CloudPubSub::start().await))).await;
}
