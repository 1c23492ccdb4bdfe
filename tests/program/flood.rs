//! A flood from 100,000 addresses against the program as users get it: what it takes of memory, and what the honest notice of it.
#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use freshet_tests::http::{Connection, request, send};
use freshet_tests::program::Program;
use freshet_tests::within;
use freshet_wire::{LimitStatus, RouteClass};
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval_at};

const FLOODERS: u32 = 4;
/// Requests that are sent together, and how often: 10,000 a second in all, as evenly as many clients are who know nothing of each
/// other; a tenth of that to a program that was built to be debugged, which would shed the rest of it.
const TOGETHER: u32 = 5;
const EVERY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 2 });

/// How many addresses: `FRESHET_FLOOD`, or 100,000; fewer where this program, and so as a rule the other, was built to be debugged.
fn addresses() -> u32 {
    let usual = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let number = std::env::var("FRESHET_FLOOD").map_or(usual, |text| text.parse().expect("FRESHET_FLOOD is a number"));
    number / (FLOODERS * TOGETHER) * FLOODERS * TOGETHER
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// Polls as one client until it is told to end; how long each took.
async fn honest(address: SocketAddr, end: &AtomicBool, most: usize) -> Vec<Duration> {
    let mut connection = Connection::open(address).await;
    let mut times = Vec::new();
    while !end.load(Relaxed) && times.len() < most {
        let headers = [("x-forwarded-for", "203.0.113.7")];
        let poll = request(Method::GET, "/api/v1/events?from=settings", &headers, "");
        let begun = Instant::now();
        let answer = connection.send(poll).await;
        times.push(begun.elapsed());
        assert_eq!(answer.status, 200, "who is honest is answered: {answer:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

/// One request each from so many addresses, pipelined; how many were admitted. The others were refused by 429.
async fn flood(address: SocketAddr, first: u32, count: u32) -> u64 {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let apart = EVERY * (first / count) / FLOODERS;
    let mut every = interval_at(tokio::time::Instant::now() + apart, EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut admitted, mut answers) = (0, Vec::new());
    for batch in 0..count / TOGETHER {
        every.tick().await;
        let requests: String = (0..TOGETHER)
            .map(|number| {
                let client = Ipv4Addr::from_bits(0x0a00_0000 + first + batch * TOGETHER + number);
                format!("POST /api/v1/limits/try HTTP/1.1\r\nhost: {address}\r\nx-forwarded-for: {client}\r\ncontent-length: 0\r\n\r\n")
            })
            .collect();
        tcp.write_all(requests.as_bytes()).await.unwrap();
        let mut statuses = Vec::new();
        while statuses.len() < TOGETHER as usize {
            // What is left of the body before it has no such line in it.
            let read = within(Duration::from_secs(30), "answers", tcp.read_buf(&mut answers))
                .await
                .unwrap();
            assert!(read > 0, "the connection ended");
            let text = String::from_utf8_lossy(&answers);
            let heads = text.split("HTTP/1.1 ").skip(1);
            statuses = heads.filter_map(|head| Some(head.get(..3)?.to_owned())).collect();
        }
        answers.clear();
        admitted += statuses.iter().filter(|&status| status == "204").count() as u64;
        assert!(
            statuses.iter().all(|status| status == "204" || status == "429"),
            "{statuses:?}"
        );
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_as_many_addresses_as_there_are_takes_bounded_memory_and_leaves_the_honest_served() {
    let program = Arc::new(Program::configured("[limit]\ntrusted_proxies = ['127.0.0.1']\n").await);
    let address = program.address;
    // Nobody's quota is whole again while this goes on, so no entry of the table can be given away.
    let slow = json!({"quota": 3, "window_s": 80_000});
    let change = json!({
        "limit": {"try": {"burst": slow, "sustained": slow}},
        "source": {"cpu_hz": 0, "network_hz": 0, "memory_hz": 0, "disk_hz": 0, "processes_hz": 0},
    });
    let changing = request(Method::PATCH, "/api/v1/settings", &[], &change.to_string());
    assert_eq!(send(address, changing).await.status, 200);
    let mut idle = honest(address, &AtomicBool::new(false), 500).await;
    let before_bytes = program.process.resident_bytes();
    let ended = Arc::new(AtomicBool::new(false));
    let watching = {
        let ended = Arc::clone(&ended);
        // A thread of its own: it is to wait for the server, not for those who flood it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(honest(address, &ended, usize::MAX))
        })
    };
    let (asked, begun) = (addresses(), Instant::now());
    let share = asked / FLOODERS;
    let flooding = (0..FLOODERS).map(|flooder| tokio::spawn(flood(address, flooder * share, share)));
    let mut admitted = 0;
    for flooder in flooding.collect::<Vec<_>>() {
        admitted += flooder.await.unwrap();
    }
    let took = begun.elapsed();
    ended.store(true, Relaxed);
    let mut busy = tokio::task::spawn_blocking(|| watching.join()).await.unwrap().unwrap();
    let grown_bytes = program.process.resident_bytes().saturating_sub(before_bytes);
    let [idle, busy] = [&mut idle, &mut busy].map(|times| percentile(times, 0.99));
    println!(
        "{asked} addresses in {took:.1?} ({:.0}/s): {admitted} admitted; memory {:.1} MB, grown by {:.1} MB; honest p99 {idle:.2?} idle, {busy:.2?} meanwhile ({:.2})",
        f64::from(asked) / took.as_secs_f64(),
        (before_bytes + grown_bytes) as f64 / 1e6,
        grown_bytes as f64 / 1e6,
        busy.as_secs_f64() / idle.as_secs_f64()
    );
    let headers = [("x-forwarded-for", "203.0.113.8")];
    let asking = request(Method::GET, "/api/v1/limits", &headers, "");
    let status: LimitStatus = send(address, asking).await.json();
    let of_try = status
        .classes
        .iter()
        .find(|of| of.class == RouteClass::Try)
        .unwrap()
        .counts;
    assert_eq!(
        (of_try.allowed, of_try.limited),
        (admitted, u64::from(asked) - admitted),
        "every one was counted"
    );
    assert_eq!(of_try.shed, 0);
    // Of 131,072 entries each address takes two; the others share what their networks of 256 have.
    let own = u64::from(asked.min(65_536));
    assert!(admitted >= own * 9 / 10 && admitted <= u64::from(asked), "{admitted}");
    // 12 MiB of entries, 4,096 clients' counters, and what an allocator does with them.
    assert!(grown_bytes < 48 << 20, "{grown_bytes} bytes");
    // On a machine of its own it is at most twice as much; where tests run beside each other it is not asked to the letter.
    assert!(
        busy < (idle * 4).max(Duration::from_millis(250)),
        "{idle:?} idle, {busy:?} meanwhile"
    );
}
