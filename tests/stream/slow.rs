//! A topic that its engine is slow with delays nothing else of a connection, and nobody else.

use std::sync::Arc;

use freshet_tests::http::{request, send};
use freshet_tests::slow::{Slow, SlowEngine};
use freshet_tests::{Follower, Said, Server, Stream};
use http::Method;
use serde_json::{Value, json};

async fn server() -> (Server, Arc<Slow>) {
    let slow = Arc::new(Slow::default());
    let engine = Arc::new(SlowEngine(Arc::clone(&slow)));
    let server = Server::start_on(Some(engine), |config| config.limits.window_bytes = 2000).await;
    (server, slow)
}

fn event(topic: &str, data: u64, reference: &str) -> Value {
    json!({"type": "publish", "topic": topic, "data": data, "ref": reference})
}

/// The reference of the publish that is answered next, and the offset of its event.
async fn published(stream: &mut Stream) -> (String, u64) {
    match stream.heard().await {
        Said::Published(published) => (published.reference.unwrap(), published.receipt.offset),
        other => panic!("expected a receipt: {other:?}"),
    }
}

/// Publishes by HTTP, which must be taken.
async fn post(server: &Server, topic: &str, data: &str) {
    let path = format!("/api/v1/topics/{topic}/events");
    let answer = send(server.address, request(Method::POST, &path, &[], data)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn a_topic_that_is_opened_slowly_delays_no_other_and_its_events_keep_their_order() {
    let (server, slow) = server().await;
    let mut stream = Stream::open(server.address).await;
    for n in 0..3 {
        stream.say(&event("slow", n, &format!("slow {n}"))).await;
    }
    slow.has_held(1).await;
    stream.say(&event("fast", 0, "fast")).await;
    assert_eq!(published(&mut stream).await, ("fast".to_owned(), 0));
    stream.subscribe(&["fast@earliest"]).await;
    assert_eq!(stream.page().await.offsets(), [0]);
    stream.say(&json!({"type": "ping", "t0_us": 1})).await;
    assert!(matches!(stream.heard().await, Said::Pong(_)));
    // Nor is anybody else held up, also not in opening a topic.
    post(&server, "fast", "1").await;
    assert_eq!(stream.page().await.offsets(), [1]);
    post(&server, "another", "1").await;

    slow.hold(false);
    for n in 0..3 {
        assert_eq!(published(&mut stream).await, (format!("slow {n}"), n));
    }
    stream.subscribe(&["slow@earliest"]).await;
    let mut follower = Follower::new("slow");
    stream.read_to(&mut follower, 3).await;
    assert!(
        follower
            .events
            .iter()
            .all(|(offset, event)| event.data == offset.to_string())
    );
}

#[tokio::test]
async fn what_was_begun_to_be_opened_is_opened_though_whoever_asked_has_gone() {
    let (server, slow) = server().await;
    let mut stream = Stream::open(server.address).await;
    stream.say(&event("slow", 0, "gone")).await;
    slow.has_held(1).await;
    drop(stream);
    let mut stream = Stream::open(server.address).await;
    stream.say(&event("slow", 1, "here")).await;
    slow.hold(false);
    let (reference, _) = published(&mut stream).await;
    assert_eq!(reference, "here");
}

#[tokio::test]
async fn a_time_that_is_searched_slowly_delays_no_other_topic_and_the_last_word_counts() {
    let (server, slow) = server().await;
    slow.hold(false);
    for n in 0..40 {
        post(&server, "slow", &n.to_string()).await;
        post(&server, "slow.too", &n.to_string()).await;
    }
    post(&server, "fast", "0").await;
    slow.hold(true);
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["slow@time:1"]).await;
    stream.subscribe(&["slow.too@time:1"]).await;
    slow.has_held(2).await;
    stream.subscribe(&["fast@earliest"]).await;
    assert_eq!(stream.page().await.offsets(), [0]);
    post(&server, "fast", "1").await;
    assert_eq!(stream.page().await.offsets(), [1]);
    // One is not wanted any more, and of the other something else.
    stream
        .say(&json!({"type": "unsubscribe", "topics": ["slow.too"]}))
        .await;
    stream.subscribe(&["slow@offset:0:39"]).await;
    let page = stream.page().await;
    assert_eq!((page.offsets(), page.events[0].topic.as_str()), (vec![39], "slow"));
    // A search that is wanted, after them.
    stream.subscribe(&["slow.too@time:1"]).await;
    slow.has_held(3).await;
    stream.say(&json!({"type": "unsubscribe", "topics": ["slow"]})).await;
    slow.hold(false);
    let mut follower = Follower::new("slow.too");
    while follower.next.is_none_or(|next| next < 40) {
        let page = stream.page().await;
        assert!(page.events.iter().all(|event| event.topic == "slow.too"), "{page:?}");
        follower.page(&page);
    }
    follower.check();
    assert_eq!((follower.from, follower.missed), (Some(0), 0));
    post(&server, "slow", "40").await;
    post(&server, "slow.too", "40").await;
    assert_eq!(stream.page().await.events[0].topic, "slow.too");
}

#[tokio::test]
async fn what_is_looked_for_counts_towards_the_bound_of_topics() {
    let slow = Arc::new(Slow::default());
    let engine = Arc::new(SlowEngine(Arc::clone(&slow)));
    let server = Server::start_on(Some(engine), |config| {
        config.limits.window_bytes = 2000;
        config.limits.subscriptions = 2;
    })
    .await;
    slow.hold(false);
    for n in 0..40 {
        post(&server, "slow", &n.to_string()).await;
    }
    slow.hold(true);
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["slow@time:1"]).await;
    slow.has_held(1).await;
    stream.subscribe(&["settings", "cluster"]).await;
    assert_eq!(stream.problem().await.problem.field.as_deref(), Some("from"));
    stream.subscribe(&["settings"]).await;
    assert_eq!(stream.page().await.events[0].topic, "settings");
    slow.hold(false);
}
