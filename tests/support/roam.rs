//! Readers that come and go, publishers, and an engine that is ended and begun again in the middle of it: invariants 1 to 3, for any
//! engine. What happens is drawn from a seed; `FRESHET_SEED` repeats one, `FRESHET_CASES` says how many are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fastrand::Rng;
use freshet::config::PubSub;
use freshet_wire::{Cursor, GapReason, Receipt};
use http::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::follower::Page;
use crate::http::{Answer, Connection, request};
use crate::ledger::{Fate, Ledger};
use crate::{Said, Server, Stream, within};

const TOPIC: &str = "roam";
const READERS: u64 = 3;
const PUBLISHERS: u64 = 2;
/// Requests of each publisher, with some ten events each.
const BATCHES: u64 = 40;
/// How long one request may take: as long as an engine may for its word, and then some.
const MOST_WAIT: Duration = Duration::from_secs(45);
/// How long all may take that is left to be read.
const DRAIN: Duration = Duration::from_secs(90);
/// What a window holds, in bytes: some fifty events, far less than a reader misses while it is away.
const WINDOW: usize = 16 << 10;

/// An engine beneath a server, and how they are ended.
#[allow(async_fn_in_trait, reason = "only tests call it, on one thread")]
pub trait Ground {
    fn config(&self) -> PubSub;

    /// It has after a restart what it had before: then nothing may be missed at all.
    const KEEPS: bool;
    /// A second publish with the same key appends nothing, whatever happened in between.
    const IDEMPOTENT: bool;
    const MOST_RESTARTS: usize;

    /// Ends the engine or the server above it, or both, and begins again.
    async fn restart(&mut self, server: &mut Server, rng: &mut Rng);
}

/// An event that was acknowledged.
#[derive(Debug)]
struct Acknowledged {
    receipt: Receipt,
    data: String,
}

/// What a publisher did.
#[derive(Debug, Default)]
struct Published {
    acknowledged: Vec<Acknowledged>,
    /// Data that was sent more than once, as the first try was not answered.
    tried_again: BTreeSet<String>,
}

/// What became of a case, in numbers.
#[derive(Debug, Default)]
pub struct Tally {
    pub published: usize,
    pub tried_again: usize,
    pub restarts: usize,
    pub connections: usize,
    pub delivered: usize,
    pub counted: usize,
    pub other_log: usize,
    pub before: usize,
    pub twice: usize,
    pub same_bytes: usize,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Tries as many cases as `FRESHET_CASES` says, else `few`; what became of all of them.
pub fn roam<G: Ground>(few: u64, ground: impl AsyncFn() -> G) -> Vec<Tally> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let given = number("FRESHET_SEED");
    let first = given.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let cases = number("FRESHET_CASES").unwrap_or(if given.is_some() { 1 } else { few });
    let mut tallies = Vec::new();
    for seed in first..first + cases {
        // A test that fails shows what it printed.
        eprintln!("FRESHET_SEED={seed}");
        let tally = runtime.block_on(async {
            let mut ground = ground().await;
            case(&mut ground, seed).await
        });
        eprintln!("{tally:?}");
        tallies.push(tally);
    }
    tallies
}

async fn case<G: Ground>(ground: &mut G, seed: u64) -> Tally {
    let mut rng = Rng::with_seed(seed);
    let config = ground.config();
    let mut server = Server::quiet(|all| {
        all.pubsub = config;
        all.limits.window_bytes = WINDOW;
    })
    .await;
    let address = server.address;
    let restarts = rng.usize(..=G::MOST_RESTARTS);
    let is_over = AtomicBool::new(false);
    let publishers = (0..PUBLISHERS).map(|number| publish(address, format!("p{number}"), BATCHES, rng.fork()));
    let publishers: Vec<_> = publishers.collect();
    let readers: Vec<_> = (0..READERS)
        .map(|number| read(address, format!("r{number}"), rng.fork(), &is_over))
        .collect();
    let working = async {
        let restarting = async {
            for _ in 0..restarts {
                sleep(Duration::from_millis(rng.u64(200..1500))).await;
                ground.restart(&mut server, &mut rng).await;
            }
        };
        let (mut published, ()) = tokio::join!(futures_util::future::join_all(publishers), restarting);
        // Also the log after the last restart has something in it.
        published.push(publish(address, "last".to_owned(), 1, Rng::with_seed(seed)).await);
        is_over.store(true, Relaxed);
        published
    };
    let (published, readers) = tokio::join!(working, futures_util::future::join_all(readers));

    let mut tally = Tally {
        restarts,
        ..Tally::default()
    };
    let mut ledgers = Vec::new();
    for (mut reader, name) in readers.into_iter().zip((0..).map(|number| format!("r{number}"))) {
        within(
            DRAIN,
            "a reader to have all that is left",
            drain(&server, &mut reader.ledger, &name, &published),
        )
        .await;
        tally.connections += reader.connections;
        if restarts == 0 {
            // The server counts also what it told a reader that had gone before it could hear it.
            let told = server.topics().await.readers;
            let counted: u64 = told
                .iter()
                .filter(|known| known.id == name)
                .map(|known| known.missed)
                .sum();
            let missed = reader.ledger.missed();
            assert!(
                counted >= missed,
                "{name} was told of {missed} that it missed; {counted} are counted"
            );
        }
        ledgers.push(reader.ledger);
    }
    for (index, ledger) in ledgers.iter().enumerate() {
        judge::<G>(ledger, &published, restarts, &mut tally);
        let others = ledgers[index + 1..].iter();
        tally.same_bytes += others.map(|other| ledger.same_bytes_as(other)).sum::<usize>();
    }
    tally.published = published.iter().map(|published| published.acknowledged.len()).sum();
    tally.tried_again = published.iter().map(|published| published.tried_again.len()).sum();
    server.stop().await;
    tally
}

/// Holds what one reader was told against what was acknowledged.
fn judge<G: Ground>(ledger: &Ledger, published: &[Published], restarts: usize, tally: &mut Tally) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for event in ledger.events() {
        *times.entry(&event.data).or_default() += 1;
    }
    let all = || published.iter().flat_map(|published| &published.acknowledged);
    let newest = all().last().map(|last| last.receipt.epoch);
    let reads = ledger.cursor.as_ref().map(|cursor| cursor.epoch);
    assert_eq!(reads, newest, "at the end it reads the log that is there");
    for Acknowledged { receipt, data } in all() {
        // Of a log that had ended before it read anything, nothing is told: it has read the newest log alone.
        let fate = match ledger.logs() == 1 && Some(receipt.epoch) != newest {
            true => Fate::BeforeTheBeginning,
            false => ledger.fate(receipt, data),
        };
        let is_there = times.contains_key(data.as_str());
        match fate {
            Fate::Delivered => tally.delivered += 1,
            // It stands there a second time, and was read the first time.
            Fate::Counted(GapReason::Duplicate) => {
                assert!(is_there, "dropped as a second one, and there is no first: {data}")
            }
            Fate::Counted(reason) => {
                assert!(!G::KEEPS, "the engine has {receipt:?}, and it was told as {reason}");
                tally.counted += 1;
            }
            Fate::OtherLog | Fate::BeforeTheBeginning => {
                assert!(!G::KEEPS, "the engine has {receipt:?}: {fate:?}");
                tally.other_log += usize::from(fate == Fate::OtherLog);
                tally.before += usize::from(fate == Fate::BeforeTheBeginning);
            }
        }
    }
    if G::KEEPS {
        assert_eq!(ledger.logs(), 1, "the log is the same one all the time");
        assert_eq!(ledger.missed(), 0);
    }
    assert!(ledger.logs() <= restarts + 1);
    for (data, times) in times.iter().filter(|(_, times)| **times > 1) {
        let again = published.iter().any(|published| published.tried_again.contains(*data));
        assert!(again && !G::IDEMPOTENT, "{times} times: {data}");
        tally.twice += 1;
    }
}

/// Publishes so many batches, each again and again until it is acknowledged.
async fn publish(address: SocketAddr, name: String, batches: u64, mut rng: Rng) -> Published {
    let path = format!("/api/v1/topics/{TOPIC}/events");
    let mut published = Published::default();
    let mut number = 0_u64;
    for batch in 0..batches {
        let lines: Vec<String> = (0..rng.u64(1..20))
            .map(|_| {
                number += 1;
                let pad = "x".repeat(rng.usize(..400));
                format!(r#"{{"from":"{name}","n":{number},"pad":"{pad}"}}"#)
            })
            .collect();
        let body = lines.join("\n");
        // A key is of this run alone: a broker outlives it.
        let key = format!("{name}-{batch}");
        let partition_key = format!("{name}{}", rng.u8(..4));
        let headers = [
            ("content-type", "application/x-ndjson"),
            ("idempotency-key", &*key),
            ("ce-partitionkey", &*partition_key),
        ];
        let publishing = async {
            let mut tries = 0;
            loop {
                tries += 1;
                let ask = async || {
                    let mut connection = Connection::try_open(address).await.ok()?;
                    connection
                        .try_send(request(Method::POST, &path, &headers, &body))
                        .await
                        .ok()
                };
                match timeout(MOST_WAIT, ask()).await.ok().flatten() {
                    Some(answer) if answer.status == 201 => return (answer, tries),
                    Some(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                    None => {}
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let (answer, tries): (Answer, u32) = within(MOST_WAIT * 3, "the acknowledgement", publishing).await;
        let receipts = answer.text().lines().map(|line| serde_json::from_str(line).unwrap());
        let receipts: Vec<Receipt> = receipts.collect();
        assert_eq!(receipts.len(), lines.len(), "a receipt an event");
        if tries > 1 {
            published.tried_again.extend(lines.iter().cloned());
        }
        let pairs = receipts.into_iter().zip(lines);
        published
            .acknowledged
            .extend(pairs.map(|(receipt, data)| Acknowledged { receipt, data }));
        sleep(Duration::from_millis(rng.u64(..60))).await;
    }
    published
}

/// What a reader has, and how often it began anew.
#[derive(Debug)]
struct Reader {
    ledger: Ledger,
    connections: usize,
}

/// Reads by poll and by stream, goes in the middle, comes back with its cursor; until it is over.
async fn read(address: SocketAddr, name: String, mut rng: Rng, is_over: &AtomicBool) -> Reader {
    let mut reader = Reader {
        ledger: Ledger::new(TOPIC),
        connections: 0,
    };
    while !is_over.load(Relaxed) {
        reader.connections += 1;
        match rng.u8(..8) {
            0..3 => {
                for _ in 0..rng.u8(1..5) {
                    // Now and then it goes before the answer is there.
                    let patience = match rng.u8(..4) {
                        0 => Duration::from_millis(rng.u64(..30)),
                        _ => MOST_WAIT,
                    };
                    let (limit, wait) = (rng.u16(1..200), u8::from(rng.bool()));
                    let polled = timeout(patience, poll(address, &reader.ledger, &name, limit, wait));
                    if let Some(page) = polled.await.ok().flatten() {
                        reader.ledger.take(&page);
                    }
                }
            }
            3..6 => stream(address, &mut reader.ledger, &name, rng.u8(..20), rng.bool()).await,
            _ => sleep(Duration::from_millis(rng.u64(..400))).await,
        }
        // A server that is away is not asked in a loop without a pause.
        sleep(Duration::from_millis(2)).await;
    }
    reader
}

/// One poll; `None` where the server is away, or has no such topic yet.
async fn poll(address: SocketAddr, ledger: &Ledger, name: &str, limit: u16, wait: u8) -> Option<Page> {
    let mut connection = Connection::try_open(address).await.ok()?;
    let from = ledger.position();
    let path = format!("/api/v1/events?from={from}&limit={limit}&wait={wait}&reader={name}");
    let answer = connection.try_send(request(Method::GET, &path, &[], "")).await.ok()?;
    match answer.status {
        200 => Some(answer.page()),
        404 | 503 => None,
        _ => panic!("{path}: {answer:?}"),
    }
}

/// Takes so many messages of a stream, and says goodbye or just goes.
async fn stream(address: SocketAddr, ledger: &mut Ledger, name: &str, messages: u8, goodbye: bool) {
    let begun = Instant::now();
    let Ok(Ok(mut stream)) = timeout(MOST_WAIT, Stream::try_open_as(address, Some(name), &[])).await else {
        return;
    };
    let from = json!({"type": "subscribe", "from": [ledger.position()]});
    if !stream.try_say(&from).await {
        return;
    }
    let mut gaps = Vec::new();
    let mut left = messages;
    while left > 0 && begun.elapsed() < Duration::from_secs(3) {
        match stream.next_within(Duration::from_millis(500)).await {
            // It counts once the message with its cursor came: whoever goes before that is told again.
            Some(Said::Gap(gap)) => gaps.push(gap),
            Some(Said::Events(page)) => {
                let gaps = std::mem::take(&mut gaps);
                ledger.take(&Page { gaps, ..page });
                left -= 1;
            }
            Some(Said::Beat) => {}
            // Before the topic is there, after a restart; or while the server stops.
            Some(Said::Problem(problem)) if matches!(problem.problem.status, 404 | 503) => return,
            Some(Said::Close(..) | Said::End) | None => return,
            Some(other) => panic!("{other:?}"),
        }
    }
    if goodbye {
        stream.leave().await;
    }
}

/// Polls until there is no more, and until what was acknowledged has come by: an engine may confirm an event before it hands it on.
async fn drain(server: &Server, ledger: &mut Ledger, name: &str, published: &[Published]) {
    let acknowledged = || published.iter().flat_map(|published| &published.acknowledged);
    loop {
        let partitions = server.topic(TOPIC).await.partitions;
        if let Some(page) = poll(server.address, ledger, name, 500, 0).await {
            ledger.take(&page);
            let is_passed = |cursor: &Cursor, receipt: &Receipt| {
                let next = cursor.next.get(receipt.partition as usize);
                receipt.epoch != cursor.epoch || next.is_some_and(|&next| next > receipt.offset)
            };
            let is_at_end = ledger.cursor.as_ref().is_some_and(|cursor| {
                let ends = partitions.iter().map(|partition| partition.next_offset);
                ends.eq(cursor.next.iter().copied()) && acknowledged().all(|it| is_passed(cursor, &it.receipt))
            });
            if is_at_end && !page.more {
                return;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}
