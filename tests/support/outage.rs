//! A whole service under load while the engine beneath it goes away and comes back: what is seen by those who publish, by those who read, and
//! by whoever asks how it fares.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use fastrand::Rng;
use freshet::config::PubSub;
use freshet_wire::{Deliveries, Engine, EngineState, GapReason, Receipt};
use futures_util::future::join_all;
use http::Method;
use serde::Deserialize;
use tokio::time::sleep;

use crate::follower::Page;
use crate::http::{Answer, Connection, request};
use crate::ledger::{Fate, Ledger};
use crate::{SOON, Said, Server, Stream, now_us, within};

const TOPIC: &str = "under-load";
const PUBLISHERS: usize = 4;
/// Events that are acknowledged before the engine goes, and after it came back.
const SOME: usize = 500;
/// How long a publish may be without an answer: 30 s for the engine's word, and what a busy machine adds.
const MOST_WAIT: Duration = Duration::from_secs(40);
/// From the end of the engine's server until it is said, also where a question was on its way just then.
const SAID: Duration = Duration::from_secs(15);
/// An engine's server starts again meanwhile, beside other work.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine's server, which can be taken away from under the service.
#[allow(async_fn_in_trait, reason = "only tests call it, on one thread")]
pub trait Away {
    /// How the service calls the engine.
    const NAME: &str;
    /// What it says while the engine is away, of that and of what it means for those who publish.
    const WORDS: [&str; 2];
    /// What a publish that is refused is told: one of these.
    const REFUSALS: &[&str];
    /// A second try stands in the log beside the first.
    const DOUBLES: bool;

    fn config(&self) -> PubSub;
    async fn go(&mut self);
    async fn come_back(&mut self);
}

/// What became of it, in numbers.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events, each acknowledged in the end and delivered to each reader once.
    pub published: usize,
    /// Requests; each is sent again until it is acknowledged.
    pub requests: usize,
    pub refused: usize,
    /// Between a request and its answer.
    pub longest: Duration,
    /// What stands in the log beyond that, and was told to each reader as a second one.
    pub doubled: u64,
    /// From the end of the engine's server until the API said so.
    pub said_after: Vec<Duration>,
}

/// What all who take part share.
#[derive(Debug, Default)]
struct Load {
    is_enough: AtomicBool,
    acknowledged: AtomicUsize,
    /// By the stream.
    delivered: AtomicUsize,
    requests: AtomicUsize,
    refused: AtomicUsize,
    longest: Mutex<Duration>,
    /// What the topic `deliveries` told of the engine, each change once.
    told: Mutex<Vec<Engine>>,
    /// Where readers have everything, by partition.
    ends: OnceLock<BTreeMap<u32, u64>>,
}

impl Load {
    /// Waits until so many more events are acknowledged, and until so many more are delivered: one may run ahead of the other.
    async fn flows(&self) {
        tokio::join!(
            self.grows("acknowledged events", &self.acknowledged, SOME),
            self.grows("delivered events", &self.delivered, SOME)
        );
    }

    /// Waits until so many more are counted.
    async fn grows(&self, what: &str, counter: &AtomicUsize, by: usize) {
        let enough = counter.load(Relaxed) + by;
        let growing = async {
            while counter.load(Relaxed) < enough {
                sleep(Duration::from_millis(5)).await;
            }
        };
        within(PATIENCE, what, growing).await;
    }

    /// Waits until this is the newest that the topic `deliveries` told.
    async fn is_told(&self, state: EngineState) -> Engine {
        let telling = async {
            loop {
                if let Some(told) = self.told.lock().unwrap().last()
                    && told.state == state
                {
                    return told.clone();
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        within(SOON, &format!("deliveries to tell {state:?}"), telling).await
    }

    fn took(&self, time: Duration) {
        let mut longest = self.longest.lock().unwrap();
        *longest = time.max(*longest);
    }

    fn is_all(&self, ledger: &Ledger) -> bool {
        let cursor = ledger.cursor.as_ref();
        let passed = |(&partition, &end): (&u32, &u64)| {
            cursor.is_some_and(|cursor| cursor.next.get(partition as usize).is_some_and(|&next| next >= end))
        };
        self.ends.get().is_some_and(|ends| ends.iter().all(passed))
    }
}

/// Takes the engine away twice: until that is said everywhere, and until publishes are refused for it.
pub async fn two_outages<A: Away>(engine: &mut A) -> Tally {
    let config = engine.config();
    let mut server = Server::quiet(|all| all.pubsub = config).await;
    let (address, load) = (server.address, Load::default());
    // Whoever reads finds the topic.
    let mut published = publish::<A>(address, 0, &load, 1).await;
    let working = async {
        let publishers = (1..=PUBLISHERS).map(|number| publish::<A>(address, number, &load, u64::MAX));
        let (more, said_after) = tokio::join!(join_all(publishers), outages(engine, &server, &load));
        published.extend(more.into_iter().flatten());
        let mut ends = BTreeMap::new();
        for (receipt, _) in &published {
            let end = ends.entry(receipt.partition).or_default();
            *end = (receipt.offset + 1).max(*end);
        }
        load.ends.set(ends).unwrap();
        said_after
    };
    let all = async {
        tokio::join!(
            working,
            by_stream(address, &load),
            by_poll(address, &load),
            hear(address, &load)
        )
    };
    let (said_after, streamed, polled, ()) = within(PATIENCE * 4, "the readers to have everything", all).await;
    let states = load.told.lock().unwrap().iter().map(|engine| engine.state).collect();
    assert_eq!(
        turns(states),
        [true, false, true, false, true],
        "as the topic `deliveries` told it"
    );

    let doubled = judge::<A>(&streamed, &published);
    assert_eq!(judge::<A>(&polled, &published), doubled, "both were told of the same");
    assert_eq!(server.topic(TOPIC).await.duplicates, doubled);
    assert!(doubled == 0 || A::DOUBLES);
    assert_eq!(streamed.same_bytes_as(&polled), published.len());
    server.stop().await;
    let tally = Tally {
        published: published.len(),
        requests: load.requests.load(Relaxed),
        refused: load.refused.load(Relaxed),
        longest: *load.longest.lock().unwrap(),
        doubled,
        said_after,
    };
    eprintln!("two outages under load: {tally:?}");
    tally
}

async fn outages<A: Away>(engine: &mut A, server: &Server, load: &Load) -> Vec<Duration> {
    let mut said_after = Vec::new();
    load.is_told(EngineState::Up).await;
    for is_long in [false, true] {
        load.flows().await;
        let (went_us, went) = (now_us(), Instant::now());
        engine.go().await;
        let said = says(server, EngineState::Down).await;
        said_after.push(went.elapsed());
        assert!(went.elapsed() < SAID, "{said_after:?}");
        assert!(said.since_us >= went_us, "{said:?}");
        is_clear::<A>(&said);
        is_clear::<A>(&load.is_told(EngineState::Down).await);
        let ready = server.get("/readyz").await;
        assert_eq!(ready.status, 200, "who only reads is served: {ready:?}");
        assert!(ready.text().contains("pub/sub: "), "{ready:?}");
        assert!(ready.text().contains(A::WORDS[0]), "{ready:?}");
        let is_up = async || {
            server
                .get("/metrics")
                .await
                .text()
                .contains("freshet_pubsub_engine_up 1\n")
        };
        assert!(!is_up().await);
        let newest = server.poll(&format!("from={TOPIC}")).await;
        assert!(!newest.events.is_empty(), "what is in memory is read");
        if is_long {
            load.grows("a publish to be refused", &load.refused, 1).await;
        }
        engine.come_back().await;
        let said = says(server, EngineState::Up).await;
        assert_eq!(said.detail, "");
        assert!(is_up().await);
        assert_eq!(server.get("/readyz").await.text(), "ready\n");
        load.is_told(EngineState::Up).await;
        load.flows().await;
    }
    load.is_enough.store(true, Relaxed);
    said_after
}

/// Waits until `GET /topics` says that the engine's state is this.
async fn says(server: &Server, state: EngineState) -> Engine {
    let saying = async {
        loop {
            let engine = server.topics().await.pubsub;
            if engine.state == state {
                return engine;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(PATIENCE, &format!("the API to say {state:?}"), saying).await
}

fn is_clear<A: Away>(engine: &Engine) {
    assert_eq!(engine.name, A::NAME);
    let all = A::WORDS.iter().all(|words| engine.detail.contains(words));
    assert!(all, "{engine:?}");
}

/// Whether it was up, each change once.
fn turns(states: Vec<EngineState>) -> Vec<bool> {
    let sure = states.into_iter().filter_map(|state| match state {
        EngineState::Up => Some(true),
        EngineState::Down => Some(false),
        EngineState::Connecting | EngineState::Degraded => None,
    });
    let mut turns: Vec<bool> = sure.collect();
    turns.dedup();
    turns
}

/// What a busy machine may refuse at any time.
fn is_shed(answer: &Answer) -> bool {
    answer.status == 503 && answer.problem().kind == "urn:freshet:overloaded"
}

/// Publishes batches, each again and again until it is acknowledged, until it is enough.
async fn publish<A: Away>(address: SocketAddr, number: usize, load: &Load, batches: u64) -> Vec<(Receipt, String)> {
    let path = format!("/api/v1/topics/{TOPIC}/events");
    let name = format!("p{number}");
    let mut rng = Rng::with_seed(number as u64);
    let mut connection = Connection::open(address).await;
    let (mut published, mut n) = (Vec::new(), 0_u64);
    for batch in 0..batches {
        if load.is_enough.load(Relaxed) {
            break;
        }
        let lines: Vec<String> = (0..rng.u64(1..10))
            .map(|_| {
                n += 1;
                format!(r#"{{"from":{number},"n":{n}}}"#)
            })
            .collect();
        let (body, key) = (lines.join("\n"), format!("{name}-{batch}"));
        let headers = [
            ("content-type", "application/x-ndjson"),
            ("idempotency-key", &*key),
            ("ce-partitionkey", &*name),
        ];
        let answer = loop {
            let begun = Instant::now();
            let asking = connection.try_send(request(Method::POST, &path, &headers, &body));
            let answer = within(MOST_WAIT, "the answer to a publish", asking).await.unwrap();
            load.took(begun.elapsed());
            load.requests.fetch_add(1, Relaxed);
            if answer.status == 201 {
                break answer;
            }
            if !is_shed(&answer) {
                is_refused::<A>(&answer);
                load.refused.fetch_add(1, Relaxed);
            }
            sleep(Duration::from_millis(20)).await;
        };
        let receipts = answer.text().lines().map(|line| serde_json::from_str(line).unwrap());
        published.extend(receipts.zip(lines.iter().cloned()));
        assert_eq!(answer.text().lines().count(), lines.len(), "a receipt an event");
        load.acknowledged.fetch_add(lines.len(), Relaxed);
    }
    published
}

/// A refusal says why, and that it passes.
fn is_refused<A: Away>(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    let problem = answer.problem();
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    let detail = problem.detail.unwrap_or_default();
    let is_known = A::REFUSALS.iter().any(|words| detail.contains(words));
    assert!(is_known, "{detail:?}");
}

/// Reads by one stream, which is never cut, until it has everything.
async fn by_stream(address: SocketAddr, load: &Load) -> Ledger {
    let mut ledger = Ledger::new(TOPIC);
    let mut stream = Stream::open(address).await;
    stream.subscribe(&[&ledger.position()]).await;
    let mut gaps = Vec::new();
    while !load.is_all(&ledger) {
        match stream.next_within(Duration::from_millis(200)).await {
            Some(Said::Gap(gap)) => gaps.push(gap),
            Some(Said::Events(page)) => {
                load.delivered.fetch_add(page.events.len(), Relaxed);
                let gaps = std::mem::take(&mut gaps);
                ledger.take(&Page { gaps, ..page });
            }
            Some(Said::Beat) | None => {}
            Some(other) => panic!("a stream that lasts: {other:?}"),
        }
    }
    ledger
}

/// Reads by long polls, which are all answered, until it has everything.
async fn by_poll(address: SocketAddr, load: &Load) -> Ledger {
    let mut ledger = Ledger::new(TOPIC);
    let mut connection = Connection::open(address).await;
    while !load.is_all(&ledger) {
        let path = format!("/api/v1/events?from={}&wait=1&reader=poll", ledger.position());
        let answer = connection.get(&path).await;
        if is_shed(&answer) {
            sleep(Duration::from_millis(20)).await;
        } else {
            ledger.take(&answer.page());
        }
    }
    ledger
}

/// Hears what the topic `deliveries` tells of the engine, as a page does.
async fn hear(address: SocketAddr, load: &Load) {
    let mut stream = Stream::open(address).await;
    stream.subscribe(&["deliveries"]).await;
    while load.ends.get().is_none() {
        let page = match stream.next_within(Duration::from_millis(200)).await {
            Some(Said::Events(page)) => page,
            Some(Said::Beat | Said::Gap(_)) | None => continue,
            Some(other) => panic!("a stream that lasts: {other:?}"),
        };
        let mut told = load.told.lock().unwrap();
        for event in &page.events {
            let engine = serde_json::from_str::<Deliveries>(&event.data).unwrap().pubsub;
            if told.last() != Some(&engine) {
                told.push(engine);
            }
        }
    }
}

/// Holds what one reader was told against what was acknowledged: each event once, in its publisher's order. How many second ones it was told of.
fn judge<A: Away>(ledger: &Ledger, published: &[(Receipt, String)]) -> u64 {
    #[derive(Deserialize)]
    struct Numbered {
        from: usize,
        n: u64,
    }
    assert_eq!((ledger.logs(), ledger.missed()), (1, 0), "one log, and nothing missed");
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for event in ledger.events() {
        *times.entry(&event.data).or_default() += 1;
        let Numbered { from, n } = serde_json::from_str(&event.data).unwrap();
        let before = last.insert(from, n).unwrap_or(0);
        assert_eq!(n, before + 1, "of publisher {from}, in order and without a hole");
    }
    for (receipt, data) in published {
        assert_eq!(times.remove(data.as_str()), Some(1), "{receipt:?}: {data}");
        match ledger.fate(receipt, data) {
            Fate::Delivered => {}
            Fate::Counted(GapReason::Duplicate) if A::DOUBLES => {}
            fate => panic!("{fate:?}: {receipt:?}"),
        }
    }
    assert!(times.is_empty(), "never published: {times:?}");
    let doubled = ledger.gaps().filter(|gap| gap.reason == GapReason::Duplicate);
    doubled.filter_map(|gap| gap.count).sum()
}
