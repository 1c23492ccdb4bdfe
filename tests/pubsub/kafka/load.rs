//! A broker that goes and comes back under load, as whoever publishes, reads and looks at the page meets it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use freshet::config::PubSub;
use freshet_tests::kafka::Kafka;
use freshet_tests::ledger::{Fate, Ledger};
use freshet_tests::{Said, Server, Stream, within};
use freshet_wire::{Deliveries, EngineState, Receipt};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

const TOPIC: &str = "load";
const WRITERS: usize = 4;
/// How often each writer publishes, whether or not it was answered.
const EVERY: Duration = Duration::from_millis(5);
/// How long the brokers are there, and away, before that changes.
const THERE: Duration = Duration::from_secs(2);
const AWAY: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);

/// What all writers count together.
#[derive(Debug, Default)]
struct Counts {
    published: AtomicUsize,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
    /// Handed over, and not confirmed in time: it may be in the log or not.
    unconfirmed: AtomicUsize,
}

/// What one writer was told.
#[derive(Debug, Default)]
struct Written {
    acknowledged: Vec<(Receipt, String)>,
    /// Refused at once, not handed over.
    refused: BTreeSet<String>,
}

/// Publishes at its pace until it is over, and until all is answered.
async fn write(address: SocketAddr, writer: usize, counts: &Counts, is_over: &AtomicBool) -> Written {
    let mut stream = Stream::open(address).await;
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut written = Written::default();
    let mut waiting: BTreeMap<String, String> = BTreeMap::new();
    let mut number = 0;
    loop {
        tokio::select! {
            _ = every.tick(), if !is_over.load(Relaxed) => {
                number += 1;
                let data = format!(r#"{{"n":{number},"writer":{writer}}}"#);
                let value: serde_json::Value = serde_json::from_str(&data).unwrap();
                let reference = number.to_string();
                stream.say(&json!({"type": "publish", "topic": TOPIC, "data": value, "ref": reference})).await;
                waiting.insert(reference, data);
                counts.published.fetch_add(1, Relaxed);
            }
            said = stream.next() => match said {
                Said::Published(published) => {
                    let data = waiting.remove(&published.reference.unwrap()).expect("it waited for this");
                    written.acknowledged.push((published.receipt, data));
                    counts.acknowledged.fetch_add(1, Relaxed);
                }
                Said::Problem(problem) => {
                    assert_eq!((problem.problem.status, problem.closing), (503, false), "{problem:?}");
                    let data = waiting.remove(&problem.reference.unwrap()).expect("it waited for this");
                    if problem.problem.kind == "urn:freshet:busy" {
                        written.refused.insert(data);
                        counts.refused.fetch_add(1, Relaxed);
                    } else {
                        counts.unconfirmed.fetch_add(1, Relaxed);
                    }
                }
                Said::Beat => {}
                other => panic!("{other:?}"),
            },
        }
        if is_over.load(Relaxed) && waiting.is_empty() {
            return written;
        }
    }
}

/// Waits until the page is told this by what it reads: the state topic `deliveries`.
async fn page_is_told(page: &mut Stream, state: EngineState) -> Duration {
    let begun = Instant::now();
    let telling = async {
        loop {
            for event in page.page().await.events {
                let told: Deliveries = serde_json::from_str(&event.data).unwrap();
                if told.pubsub.state == state {
                    assert_eq!(told.pubsub.name, "kafka");
                    assert_eq!(
                        told.pubsub.detail.is_empty(),
                        state == EngineState::Up,
                        "{:?}",
                        told.pubsub
                    );
                    return begun.elapsed();
                }
            }
        }
    };
    within(PATIENCE, &format!("the page to be told {state:?}"), telling).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_acknowledged_is_lost_with_the_broker_and_the_page_is_told() {
    let mut kafka = Kafka::start().await;
    let config = super::config(kafka.brokers());
    let server = Server::quiet(|all| all.pubsub = PubSub::Kafka(config)).await;
    let mut page = Stream::open(server.address).await;
    page.subscribe(&["deliveries"]).await;
    page_is_told(&mut page, EngineState::Up).await;

    let (counts, is_over) = (Counts::default(), AtomicBool::new(false));
    let counted = |count: &AtomicUsize| count.load(Relaxed);
    let outages = async {
        for is_killed in [false, true] {
            sleep(THERE).await;
            assert!(counted(&counts.acknowledged) > 0);
            let refused = counted(&counts.refused);
            match is_killed {
                true => kafka.kill().await,
                false => kafka.stop().await,
            }
            let told = page_is_told(&mut page, EngineState::Down).await;
            assert_eq!(server.topics().await.pubsub.state, EngineState::Down);
            let published = counted(&counts.published);
            sleep(AWAY).await;
            assert!(counted(&counts.published) > published, "the load goes on");
            let acknowledged = counted(&counts.acknowledged);
            kafka.start_again().await;
            let away = counted(&counts.refused) - refused;
            let begun = Instant::now();
            while counted(&counts.acknowledged) == acknowledged {
                assert!(begun.elapsed() < PATIENCE, "nothing is acknowledged any more");
                sleep(Duration::from_millis(5)).await;
            }
            let first = begun.elapsed();
            page_is_told(&mut page, EngineState::Up).await;
            eprintln!(
                "broker {}: the page was told after {told:?}; {away} refused while it was away; back after it answered: first acknowledgement {first:?}, the page was told {:?}",
                if is_killed { "killed" } else { "stopped" },
                begun.elapsed()
            );
        }
        sleep(THERE).await;
        is_over.store(true, Relaxed);
    };
    let writers = (0..WRITERS).map(|writer| write(server.address, writer, &counts, &is_over));
    let writing = within(
        PATIENCE * 3,
        "all to be answered",
        futures_util::future::join_all(writers),
    );
    let (written, ()) = tokio::join!(writing, outages);
    eprintln!("in all: {counts:?}");
    assert!(
        counted(&counts.refused) > 0,
        "more was published than may wait: this test cannot tell"
    );
    let answered = [&counts.acknowledged, &counts.refused, &counts.unconfirmed];
    assert_eq!(
        counted(&counts.published),
        answered.into_iter().map(counted).sum::<usize>()
    );

    let acknowledged: Vec<_> = written.iter().flat_map(|written| &written.acknowledged).collect();
    let end = acknowledged
        .iter()
        .map(|(receipt, _)| receipt.offset + 1)
        .max()
        .unwrap();
    let mut ledger = Ledger::new(TOPIC);
    let reading = async {
        while ledger.cursor.as_ref().is_none_or(|cursor| cursor.next[0] < end) {
            ledger.take(
                &server
                    .poll(&format!("from={}&limit=2000&wait=1", ledger.position()))
                    .await,
            );
        }
    };
    within(PATIENCE, "the reader to have all", reading).await;
    for (receipt, data) in &acknowledged {
        assert_eq!(ledger.fate(receipt, data), Fate::Delivered);
    }
    let mut seen = BTreeSet::new();
    assert!(
        ledger.events().all(|event| seen.insert(&event.data)),
        "an event came twice"
    );
    let mut refused = written.iter().flat_map(|written| &written.refused);
    assert!(
        refused.all(|data| !seen.contains(data)),
        "what was refused at once was written nevertheless"
    );
    assert_eq!((ledger.missed(), ledger.logs()), (0, 1));
}
