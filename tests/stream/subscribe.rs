//! Subscriptions: positions, whole or not at all, resuming, gaps.

use std::time::Duration;

use freshet_tests::{Follower, SOON, Said, Server, Stream, now_us, until, within};
use freshet_wire::GapReason;
use serde_json::json;

#[tokio::test]
async fn every_position_begins_where_it_says_as_it_does_for_a_poll() {
    let server = Server::quiet(|_| {}).await;
    server.append(20, 32).await;
    let time = server.poll("from=workload@offset:0:12").await.events[0].ingested_us;
    let cursor = server.poll("from=workload@offset:0:3&limit=4").await.next["workload"].to_string();
    for position in [
        "",
        "@earliest",
        "@latest",
        "@offset:0:15",
        &format!("@time:{time}"),
        &format!("@{cursor}"),
    ] {
        let from = format!("workload{position}");
        let polled = server.poll(&format!("from={from}")).await;
        let mut stream = Stream::open(server.address).await;
        stream.subscribe(&[&from]).await;
        let streamed = stream.page().await;
        assert_eq!(streamed.offsets(), polled.offsets(), "{from}");
        assert_eq!(
            streamed.next["workload"], polled.next["workload"],
            "where it begins is told at once: {from}"
        );
    }
}

#[tokio::test]
async fn new_events_arrive_without_being_asked_for() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["workload@latest"]).await;
    assert!(stream.page().await.events.is_empty());
    server.append(10, 32).await;
    let mut follower = Follower::new("workload");
    stream.read_to(&mut follower, 10).await;
    assert_eq!(follower.events.len(), 10);
    let late_us = now_us() - follower.events[&9].ingested_us;
    assert!(late_us < 1_000_000, "{late_us}");
}

#[tokio::test]
async fn a_subscription_applies_whole_or_not_at_all() {
    let server = Server::quiet(|_| {}).await;
    server.append(1, 32).await;
    let mut stream = Stream::open(server.address).await;
    let cases = [
        (json!(["workload", "nothing"]), 404, "from"),
        (json!(["workload", "settings@newest"]), 400, "from"),
        (json!(["workload", "workload@latest"]), 400, "from"),
        (json!(["workload", "settings@offset:0:999"]), 400, "from"),
    ];
    for (from, status, field) in cases {
        stream.say(&json!({"type": "subscribe", "from": from})).await;
        let refused = stream.problem().await;
        assert_eq!(
            (refused.problem.status, refused.problem.field.as_deref()),
            (status, Some(field)),
            "{from}"
        );
        assert!(!refused.closing);
    }
    assert_eq!(server.topic("workload").await.readers, 0, "nothing of them was applied");
    server.append(1, 32).await;
    // Nothing comes of `workload` before the answer to what is asked now.
    stream.say(&json!({"type": "ping", "t0_us": 1})).await;
    assert!(matches!(stream.heard().await, Said::Pong(_)));
    stream.subscribe(&["workload"]).await;
    assert_eq!(stream.page().await.offsets(), [1]);
}

#[tokio::test]
async fn who_is_unsubscribed_hears_no_more_and_may_come_back() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["workload@latest", "settings@latest"]).await;
    let begin = stream.page().await;
    stream
        .say(&json!({"type": "unsubscribe", "topics": ["workload", "nothing"]}))
        .await;
    let refused = stream.problem().await.problem;
    assert_eq!(refused.field.as_deref(), Some("topics"), "whole or not at all");
    assert_eq!(server.topic("workload").await.readers, 1);
    stream
        .say(&json!({"type": "unsubscribe", "topics": ["workload"]}))
        .await;
    until("the reader to be gone", async || {
        server.topic("workload").await.readers == 0
    })
    .await;
    server.append(3, 32).await;
    stream.say(&json!({"type": "ping", "t0_us": 2})).await;
    loop {
        match stream.heard().await {
            Said::Events(page) => assert!(page.events.iter().all(|event| event.topic == "settings")),
            Said::Pong(pong) => break assert_eq!(pong.t0_us, 2),
            other => panic!("{other:?}"),
        }
    }
    stream.subscribe(&[&begin.next_of("workload")]).await;
    assert_eq!(stream.page().await.offsets(), [0, 1, 2]);
}

#[tokio::test]
async fn a_subscribed_topic_moves_to_another_position_when_asked() {
    let server = Server::quiet(|_| {}).await;
    server.append(10, 32).await;
    let mut stream = Stream::open(server.address).await;
    for (position, offsets) in [
        ("latest", vec![]),
        ("offset:0:7", vec![7, 8, 9]),
        ("offset:0:9", vec![9]),
    ] {
        stream.subscribe(&[&format!("workload@{position}")]).await;
        assert_eq!(stream.page().await.offsets(), offsets);
    }
    assert_eq!(server.topic("workload").await.readers, 1);
}

#[tokio::test]
async fn a_reader_that_comes_back_with_its_cursor_sees_each_event_once() {
    let server = Server::forgetful(100_000).await;
    server
        .change(json!({"workload": {"rate_hz": 500, "payload_bytes": 64}}))
        .await;
    let mut follower = Follower::new("workload");
    for _ in 0..10 {
        let mut stream = Stream::open(server.address).await;
        stream.subscribe(&[&follower.position("latest")]).await;
        let end = follower.next.unwrap_or(0) + 50;
        stream.read_to(&mut follower, end).await;
        // It goes without a word, maybe in the middle of a message.
    }
    follower.check();
    assert_eq!(follower.missed, 0, "nothing fell out of the window meanwhile");
}

#[tokio::test]
async fn what_fell_out_of_the_window_is_told_before_the_events_after_it() {
    let server = Server::forgetful(6000).await;
    server.append(100, 32).await;
    let mut stream = Stream::open_as(server.address, Some("lags"), &[]).await;
    stream.subscribe(&["workload@offset:0:3"]).await;
    let mut follower = Follower::new("workload");
    stream.read_to(&mut follower, 100).await;
    follower.check();
    assert_eq!(follower.gaps.len(), 1);
    let reader = server.reader("lags").await;
    assert_eq!(
        (reader.missed, reader.events),
        (follower.missed, follower.events.len() as u64)
    );
    stream.subscribe(&["workload@0123456789ab-55"]).await;
    let page = stream.page().await;
    assert_eq!(
        (page.gaps[0].from_offset, page.gaps[0].count, page.gaps[0].reason),
        (55, None, GapReason::Epoch)
    );
    assert_eq!(
        page.offsets()[0],
        follower.missed + 3,
        "it goes on from the earliest event"
    );
}

#[tokio::test]
async fn a_message_says_when_it_was_put_together_also_to_one_who_comes_later() {
    let server = Server::forgetful(16 << 20).await;
    // More than one message holds, so that its later messages are the same for every reader that comes this way.
    for _ in 0..3 {
        server.append(1000, 100).await;
    }
    for _ in 0..3 {
        let begun = now_us();
        let mut stream = Stream::open(server.address).await;
        stream.subscribe(&["workload@earliest"]).await;
        let mut follower = Follower::new("workload");
        let reading = async {
            while follower.next != Some(3000) {
                let page = stream.page().await;
                let early_us = begun - page.sent_us;
                assert!(early_us <= 0, "it was sent {early_us} µs before it was asked for");
                assert!(page.sent_us <= now_us());
                follower.page(&page);
            }
        };
        within(SOON, "all of it", reading).await;
        follower.check();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn more_subscriptions_than_a_connection_may_have_are_refused() {
    let server = Server::quiet(|config| config.limits.subscriptions = 4).await;
    let mut stream = Stream::open(server.address).await;
    let many: Vec<String> = (0..10_000).map(|n| format!("t{n}")).collect();
    let (few, rest) = many.split_at(3000);
    for from in [few, &rest[..4000], &rest[3000..]] {
        stream.say(&json!({"type": "subscribe", "from": from})).await;
        let refused = stream.problem().await.problem;
        assert_eq!(refused.field.as_deref(), Some("from"), "{refused:?}");
    }
    // Ones that are there, but one too many, at once or one after the other.
    let five = ["workload", "settings", "host.cpu", "host.disk", "host.memory"];
    stream.subscribe(&five).await;
    let refused = stream.problem().await.problem;
    assert_eq!((refused.status, refused.field.as_deref()), (400, Some("from")));
    stream.subscribe(&five[..4]).await;
    assert_eq!(stream.page().await.next.len(), 4);
    stream.subscribe(&five[4..]).await;
    assert_eq!(stream.problem().await.problem.field.as_deref(), Some("from"));
    // Where one is there already, it counts once.
    stream.subscribe(&five[..4]).await;
    assert_eq!(stream.page().await.next.len(), 4);
    server.still_serves().await;
}
