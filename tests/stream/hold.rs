//! Readers that are slow, stuck or gone: each is dealt with, and the others do not notice.

use std::time::Duration;

use freshet::config::PubSub;
use freshet_tests::follower::Page;
use freshet_tests::raw::{CLOSE, Raw, TEXT};
use freshet_tests::{Follower, SOON, Server, Stream, now_us, until, within};
use freshet_wire::{GapReason, ServerMessage, SettingsVersion};
use serde_json::json;
use tokio::time::Instant;

#[tokio::test]
async fn a_client_that_gives_no_sign_of_life_is_let_go() {
    let server = Server::quiet(|config| {
        config.limits.heartbeat = Duration::from_millis(200);
        config.limits.silence = Duration::from_millis(800);
    })
    .await;
    let begun = Instant::now();
    // It takes what comes, but answers no ping.
    let mut raw = Raw::open(server.address).await.upgrade(server.address, "silent").await;
    assert_eq!(raw.closed().await, Some(1008));
    assert!(
        (800..2500).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    until("the reader to be gone", async || !server.reader("silent").await.active).await;
    server.still_serves().await;
}

#[tokio::test]
async fn a_silent_client_of_a_busy_topic_is_let_go_too() {
    let server = Server::quiet(|config| {
        config.limits.heartbeat = Duration::from_millis(200);
        config.limits.silence = Duration::from_millis(800);
    })
    .await;
    server.change(json!({"workload": {"rate_hz": 50}})).await;
    let mut raw = Raw::open(server.address).await.upgrade(server.address, "silent").await;
    raw.send_frame(TEXT, br#"{"type":"subscribe","from":["workload"]}"#)
        .await;
    assert_eq!(raw.closed().await, Some(1008));
}

/// Runs the workload at about 4 MB/s: more than the kernel holds for a connection, in a second or so.
async fn flood(server: &Server) {
    server
        .change(json!({"workload": {"rate_hz": 250, "payload_bytes": 16_384}}))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_let_go_and_may_come_back_while_others_go_on() {
    let server = Server::quiet(|config| {
        config.limits.stuck = Duration::from_secs(3);
        // Whoever reads at all misses nothing, however busy this machine is.
        config.limits.window_bytes = 64 << 20;
    })
    .await;
    let mut well = Stream::open_as(server.address, Some("well"), &[]).await;
    well.subscribe(&["workload@latest"]).await;
    let mut stuck = Raw::open_narrow(server.address, 4096)
        .await
        .upgrade(server.address, "stuck")
        .await;
    stuck
        .send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
        .await;
    until("both to be subscribed", async || {
        server.topic("workload").await.readers == 2
    })
    .await;
    flood(&server).await;

    let mut others = Follower::new("workload");
    let (mut worst_us, begun) = (0, Instant::now());
    loop {
        let page = well.page().await;
        others.page(&page);
        worst_us = worst_us.max(now_us() - page.sent_us);
        if !server.reader("stuck").await.active {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it is kept although it takes nothing"
        );
    }
    others.check();
    assert_eq!(others.missed, 0);
    // Had they to wait for it, they would wait until it is let go.
    assert!(worst_us < 2_000_000, "the others waited {worst_us} µs");
    assert_eq!(server.topic("workload").await.readers, 1, "its place is given up");

    // It wakes up, reads what was on its way, and is told why it was let go, or finds the connection ended.
    let mut follower = Follower::new("workload");
    let mut read = 0;
    while let Some(frame) = stuck.try_frame().await {
        read += 1;
        if frame.head == TEXT {
            take(&mut follower, &frame.payload);
        } else if frame.head == CLOSE {
            assert_eq!(frame.code(), 1013);
            break;
        }
    }
    assert!(read > 0);
    server.change(json!({"workload": {"rate_hz": 0}})).await;
    let mut again = Stream::open(server.address).await;
    again.subscribe(&[&follower.position("latest")]).await;
    let end = server.end_of("workload").await;
    again.read_to(&mut follower, end).await;
    follower.check();
    follower.same_bytes_as(&others);
    server.still_serves().await;
}

/// What the server said in this text, for one who follows `workload`.
fn take(follower: &mut Follower, text: &[u8]) {
    let text = std::str::from_utf8(text).unwrap();
    match ServerMessage::parse(text).unwrap().unwrap() {
        ServerMessage::Gap(gap) => follower.gap(&gap),
        ServerMessage::Events(_) => follower.page(&Page::parse(text)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_not_let_go_but_told_what_it_missed() {
    let server = Server::quiet(|config| {
        config.limits.stuck = Duration::from_secs(3);
        config.pubsub = PubSub::Memory;
        config.limits.window_bytes = 512 << 10;
    })
    .await;
    let mut slow = Raw::open_narrow(server.address, 16 << 10)
        .await
        .upgrade(server.address, "slow")
        .await;
    slow.send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
        .await;
    until("it to be subscribed", async || {
        server.topic("workload").await.readers == 1
    })
    .await;
    flood(&server).await;
    let mut follower = Follower::new("workload");
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < Duration::from_secs(5) || follower.missed == 0 {
        let text = slow.text().await;
        take(&mut follower, &text);
        bytes += text.len();
        // About 1 MB/s, a quarter of what is on offer.
        let due = begun + Duration::from_secs_f64(bytes as f64 / 1e6);
        tokio::time::sleep_until(due).await;
        assert!(begun.elapsed() < Duration::from_secs(15), "it never missed anything");
    }
    server.change(json!({"workload": {"rate_hz": 0}})).await;
    until("all to be read and counted", async || {
        let end = server.end_of("workload").await;
        while follower.next.is_none_or(|next| next < end) {
            take(&mut follower, &slow.text().await);
        }
        let reader = server.reader("slow").await;
        (reader.missed, reader.events) == (follower.missed, follower.events.len() as u64)
    })
    .await;
    follower.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_lags_behind_is_still_heard() {
    let server = Server::forgetful(4 << 20).await;
    let mut slow = Raw::open_narrow(server.address, 16 << 10)
        .await
        .upgrade(server.address, "slow")
        .await;
    slow.send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
        .await;
    until("it to be subscribed", async || {
        server.topic("workload").await.readers == 1
    })
    .await;
    flood(&server).await;
    // About 1 MB/s, a quarter of what is on offer: it never catches up.
    let (begun, mut bytes) = (Instant::now(), 0);
    let mut read = async |slow: &mut Raw| {
        let text = slow.text().await;
        bytes += text.len();
        tokio::time::sleep_until(begun + Duration::from_secs_f64(bytes as f64 / 1e6)).await;
        text
    };
    while !read(&mut slow).await.starts_with(br#"{"type":"gap","#) {
        assert!(begun.elapsed() < Duration::from_secs(15), "it never lagged behind");
    }
    slow.send_frame(TEXT, br#"{"type":"ping","t0_us":7}"#).await;
    let asked = Instant::now();
    while !read(&mut slow).await.starts_with(br#"{"type":"pong","t0_us":7,"#) {
        // What is on its way to it comes first: some 4 MB that the kernel holds.
        assert!(asked.elapsed() < Duration::from_secs(10), "its ping is not answered");
    }
    slow.send_frame(CLOSE, b"\x03\xe8").await;
    let asked = Instant::now();
    loop {
        let frame = slow.frame().await;
        if frame.head == CLOSE {
            break;
        }
        bytes += frame.payload.len();
        tokio::time::sleep_until(begun + Duration::from_secs_f64(bytes as f64 / 1e6)).await;
        assert!(asked.elapsed() < Duration::from_secs(10), "its goodbye is not answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_stuck_reader() {
    let mut server = Server::quiet(|config| config.limits.stuck = Duration::from_secs(60)).await;
    let mut stuck = Raw::open_narrow(server.address, 4096)
        .await
        .upgrade(server.address, "stuck")
        .await;
    stuck
        .send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
        .await;
    until("it to be subscribed", async || {
        server.topic("workload").await.readers == 1
    })
    .await;
    flood(&server).await;
    until("it to be stuck", async || server.reader("stuck").await.queue_events > 0).await;
    let took = server.stop().await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lags_behind_is_seen_to_lag() {
    let server = Server::quiet(|config| config.limits.stuck = Duration::from_secs(60)).await;
    let mut stuck = Raw::open_narrow(server.address, 4096)
        .await
        .upgrade(server.address, "lags")
        .await;
    stuck
        .send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
        .await;
    until("it to be subscribed", async || {
        server.topic("workload").await.readers == 1
    })
    .await;
    flood(&server).await;
    until("its lag to be told", async || {
        let reader = server.reader("lags").await;
        reader.queue_events > 0 && reader.queue_bytes > 0
    })
    .await;
    server.change(json!({"workload": {"rate_hz": 0}})).await;
    // Once it has taken everything, nothing waits for it.
    let mut follower = Follower::new("workload");
    let end = server.end_of("workload").await;
    let catching_up = async {
        while follower.next.is_none_or(|next| next < end) {
            take(&mut follower, &stuck.text().await);
        }
    };
    within(SOON * 2, "it to catch up", catching_up).await;
    until("its lag to be gone", async || {
        let reader = server.reader("lags").await;
        reader.queue_events == 0 && reader.queue_bytes == 0
    })
    .await;
    follower.check();
}

#[tokio::test]
async fn a_client_that_vanishes_is_forgotten() {
    let server = Server::quiet(|_| {}).await;
    for abrupt in [false, true] {
        let mut raw = Raw::open(server.address)
            .await
            .upgrade(server.address, "vanishes")
            .await;
        raw.send_frame(TEXT, br#"{"type":"subscribe","from":["workload@latest"]}"#)
            .await;
        until("it to be subscribed", async || {
            server.topic("workload").await.readers == 1
        })
        .await;
        if abrupt {
            // A reset instead of an end.
            raw.tcp.set_zero_linger().unwrap();
        }
        drop(raw);
        until("it to be gone", async || server.topic("workload").await.readers == 0).await;
        assert!(!server.reader("vanishes").await.active);
    }
    server.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_state_a_reader_that_lags_gets_the_newest_value_and_misses_nothing() {
    let server = Server::forgetful(1000).await;
    let mut stream = Stream::open_as(server.address, Some("state"), &[]).await;
    stream.subscribe(&["settings"]).await;
    stream.page().await;
    // A place that is left behind: what is kept of the topic is less than what changed.
    let cursor = server.poll("from=settings").await.next_of("settings");
    for burst_events in 1..=10 {
        let end = server.end_of("settings").await;
        server.change(json!({"workload": {"burst_events": burst_events}})).await;
        until("the change to be an event", async || {
            server.end_of("settings").await > end
        })
        .await;
    }
    stream.subscribe(&[&cursor]).await;
    // What came in the meantime as it should, then the newest value alone.
    let mut page = stream.page().await;
    while page.gaps.is_empty() {
        page = stream.page().await;
    }
    assert_eq!(page.gaps[0].reason, GapReason::Superseded);
    let value: serde_json::Value = serde_json::from_str(&page.events[0].data).unwrap();
    let version = value["version"].as_u64().unwrap();
    let newest: SettingsVersion = server.get("/api/v1/settings").await.json();
    assert_eq!(version, newest.version);
    let reader = server.reader("state").await;
    assert!(reader.superseded > 0);
    assert_eq!(reader.missed, 0);
}
