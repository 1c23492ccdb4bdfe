//! Many addresses, many connections, and slow ones: whoever is honest goes on.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use freshet_tests::http::{Connection, request};
use freshet_tests::raw::{Raw, TEXT};
use freshet_tests::{Server, now_us, until};
use freshet_wire::{LimitStatus, RouteClass};
use http::Method;
use serde_json::json;

const TRY: &str = "/api/v1/limits/try";

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// Polls as one client until it is told to end; how long each took.
async fn honest(server: &Server, end: &AtomicBool, most: usize) -> Vec<Duration> {
    let mut connection = Connection::open(server.address).await;
    let mut times = Vec::new();
    while !end.load(Relaxed) && times.len() < most {
        let begun = Instant::now();
        let poll = request(
            Method::GET,
            "/api/v1/events?from=settings",
            &[("x-forwarded-for", "203.0.113.7")],
            "",
        );
        let answer = connection.send(poll).await;
        times.push(begun.elapsed());
        assert_eq!(answer.status, 200, "who is honest is answered: {answer:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_many_addresses_leaves_the_honest_served_and_is_counted_to_the_last_request() {
    const FLOODERS: u32 = 4;
    const ADDRESSES: u32 = 1_500;
    let server = Server::quiet(|config| {
        config.seed.limit.exempt.clear();
        config.limit.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        // Far fewer than there will be.
        config.limit.clients = 200;
    })
    .await;
    // Nobody's quota is whole again while this goes on, so no entry can be given away.
    let slow = json!({"quota": 3, "window_s": 80_000});
    server
        .change(json!({"limit": {"try": {"burst": slow, "sustained": slow}}}))
        .await;
    let server = Arc::new(server);
    let mut idle = honest(&server, &AtomicBool::new(false), 200).await;
    let ended = Arc::new(AtomicBool::new(false));
    let watching = {
        let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
        tokio::spawn(async move { honest(&server, &ended, usize::MAX).await })
    };
    let begun = Instant::now();
    let flooding = (0..FLOODERS).map(|flooder| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut connection = Connection::open(server.address).await;
            let mut admitted = 0_u64;
            for number in 0..ADDRESSES {
                // Spread over 10.0.0.0/8: 6,000 addresses in some 24 networks of 256.
                let address = Ipv4Addr::from_bits(0x0a00_0000 + flooder * ADDRESSES + number).to_string();
                let attempt = request(Method::POST, TRY, &[("x-forwarded-for", &address)], "");
                admitted += u64::from(connection.send(attempt).await.status == 204);
            }
            admitted
        })
    });
    let mut admitted = 0;
    for flooder in flooding.collect::<Vec<_>>() {
        admitted += flooder.await.unwrap();
    }
    let took = begun.elapsed();
    ended.store(true, Relaxed);
    let mut busy = watching.await.unwrap();
    println!(
        "{} addresses in {took:.1?}: {admitted} admitted; honest p99 {:?} idle, {:?} meanwhile",
        FLOODERS * ADDRESSES,
        percentile(&mut idle, 0.99),
        percentile(&mut busy, 0.99)
    );
    let poll = request(Method::GET, "/api/v1/limits", &[("x-forwarded-for", "203.0.113.8")], "");
    let status: LimitStatus = freshet_tests::http::send(server.address, poll).await.json();
    let of_try = status
        .classes
        .iter()
        .find(|status| status.class == RouteClass::Try)
        .unwrap()
        .counts;
    let asked = u64::from(FLOODERS * ADDRESSES);
    assert_eq!(
        (of_try.allowed, of_try.limited),
        (admitted, asked - admitted),
        "every one was counted"
    );
    assert!(status.clients_total <= 4096 && status.clients.len() <= 50);
    // Who has no entry of its own shares three requests with 255 neighbours.
    assert!(admitted < asked / 10, "{admitted} of {asked}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_many_connections_from_one_address_leave_another_s_stream_alive() {
    const SLOW: usize = 500;
    const MANY: usize = 2000;
    let server = Server::quiet(|config| {
        config.seed.limit.exempt.clear();
        config.limits.peer_connections = 1500;
        config.limits.header_timeout = Duration::from_secs(2);
    })
    .await;
    let mut stream = Raw::open_from(server.address, Ipv4Addr::new(127, 0, 0, 2).into())
        .await
        .upgrade(server.address, "honest")
        .await;
    stream
        .send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
        .await;
    server
        .change(json!({"workload": {"rate_hz": 20, "shape": "steady"}}))
        .await;
    let mut held = Vec::new();
    for _ in 0..SLOW {
        let mut raw = Raw::open(server.address).await;
        raw.send(b"GET /api/v1/topics HT").await;
        held.push(raw);
    }
    for _ in 0..MANY {
        held.push(Raw::open(server.address).await);
    }
    // From here on a second of the stream: each event is there when it happens.
    let (mut events, mut latest, begun) = (0, 0, Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        let frame = stream.frame().await;
        let text = String::from_utf8(frame.payload).unwrap();
        for produced in text.split(r#""produced_us":"#).skip(1) {
            let produced_us: i64 = produced[..produced.find(',').unwrap()].parse().unwrap();
            if produced_us > now_us() - 1_000_000 {
                events += 1;
                latest = latest.max(now_us() - produced_us);
            }
        }
    }
    println!(
        "{events} events in a second beside {} connections, the latest after {latest} µs",
        held.len()
    );
    assert!(events >= 10, "{events}");
    // Who was one too many has been told; who was slow is told in time.
    let from_elsewhere = |path: &'static str| {
        let address = server.address;
        async move {
            let mut raw = Raw::open_from(address, Ipv4Addr::new(127, 0, 0, 3).into()).await;
            raw.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
                .await;
            raw.answer().await
        }
    };
    let status: LimitStatus = serde_json::from_str(&from_elsewhere("/api/v1/limits").await.1).unwrap();
    // The slow ones may have been given up on already.
    assert!(
        status.load.refused_connections >= (MANY - 1500) as u64,
        "{:?}",
        status.load
    );
    let mut slow = held.swap_remove(0);
    let (head, _) = slow.answer().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    drop(held);
    until("the service to be free again", async || {
        let mut connection = Connection::open(server.address).await;
        let asked = connection.try_send(request(Method::GET, "/readyz", &[], "")).await;
        asked.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}
