//! Publishing by the stream: streaming goes both ways.

use std::collections::BTreeSet;

use freshet_tests::{Follower, Said, Server, Stream};
use freshet_wire::{Published, Receipt};
use http::Method;
use serde_json::{Value, json};

fn event(topic: &str, data: &Value, reference: &str) -> Value {
    json!({"type": "publish", "topic": topic, "data": data, "ref": reference})
}

async fn published(stream: &mut Stream) -> Published {
    match stream.heard().await {
        Said::Published(published) => published,
        other => panic!("expected a receipt: {other:?}"),
    }
}

#[tokio::test]
async fn what_one_stream_publishes_another_is_given_in_the_same_order() {
    let server = Server::quiet(|_| {}).await;
    let mut writer = Stream::open(server.address).await;
    writer.say(&event("chat", &json!(0), "0")).await;
    assert_eq!(published(&mut writer).await.receipt.offset, 0);
    let mut reader = Stream::open(server.address).await;
    reader.subscribe(&["chat@earliest"]).await;
    for n in 1..200 {
        writer.say(&event("chat", &json!(n), &n.to_string())).await;
    }
    // Answered when the engine has them, each with its reference; the events' order is that of the messages.
    let mut answered = BTreeSet::new();
    for _ in 1..200 {
        let Published { reference, receipt } = published(&mut writer).await;
        assert_eq!(reference, Some(receipt.offset.to_string()));
        assert!(!receipt.duplicate && answered.insert(receipt.offset));
    }
    assert!(answered.into_iter().eq(1..200));
    let mut follower = Follower::new("chat");
    reader.read_to(&mut follower, 200).await;
    follower.check();
    for (offset, event) in &follower.events {
        assert_eq!(event.data, offset.to_string());
    }
}

#[tokio::test]
async fn a_key_makes_a_second_try_harmless() {
    let server = Server::quiet(|_| {}).await;
    let keyed = |data: u32| json!({"type": "publish", "topic": "t", "data": data, "key": "k", "ref": "r"});
    let mut stream = Stream::open(server.address).await;
    stream.say(&keyed(1)).await;
    let first = published(&mut stream).await.receipt;
    // On another connection, as after a broken one.
    let mut stream = Stream::open(server.address).await;
    stream.say(&keyed(1)).await;
    let again = published(&mut stream).await.receipt;
    assert_eq!(
        (again.offset, again.id, again.duplicate),
        (first.offset, first.id, true)
    );
    stream.say(&keyed(2)).await;
    let refused = stream.problem().await;
    assert_eq!((refused.problem.status, refused.reference.as_deref()), (422, Some("r")));
    assert_eq!(refused.problem.field.as_deref(), Some("key"));
    assert_eq!(server.end_of("t").await, 1);
}

#[tokio::test]
async fn a_stream_says_of_its_event_what_a_request_says_by_headers() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    let mut message = event("t", &json!(1), "r");
    message["event_type"] = json!("order.placed");
    message["id"] = json!("o-17");
    message["partition_key"] = json!("customer-3");
    stream.say(&message).await;
    assert_eq!(published(&mut stream).await.receipt.id, "o-17");
    let page = server.poll("from=t@earliest").await;
    let told: Value = serde_json::from_str(&page.events[0].raw).unwrap();
    assert_eq!((&told["type"], &told["id"]), (&json!("order.placed"), &json!("o-17")));
    // The same event by a request is the second one with this id, if its partition key is the same.
    let headers = [
        ("ce-type", "order.placed"),
        ("ce-id", "o-17"),
        ("ce-partitionkey", "customer-3"),
    ];
    let path = "/api/v1/topics/t/events";
    let again = server.send(Method::POST, path, &headers, "1").await;
    assert!(again.json::<Receipt>().duplicate, "{again:?}");
    assert_eq!(server.send(Method::POST, path, &headers[..2], "1").await.status, 422);
    message["data"] = json!(2);
    stream.say(&message).await;
    let refused = stream.problem().await;
    assert_eq!(
        (refused.problem.status, refused.problem.field.as_deref()),
        (422, Some("id"))
    );
    assert_eq!(refused.reference.as_deref(), Some("r"));
}

#[tokio::test]
async fn a_publish_beyond_the_quota_of_messages_is_refused_with_its_reference() {
    let server = Server::quiet(|config| config.seed.limit.exempt.clear()).await;
    let slow = json!({"quota": 1, "window_s": 80_000});
    server
        .change(json!({"limit": {"stream-message": {"burst": slow, "sustained": slow}}}))
        .await;
    let mut stream = Stream::open(server.address).await;
    stream.say(&event("t", &json!(1), "a")).await;
    published(&mut stream).await;
    stream.say(&event("t", &json!(1), "b")).await;
    let refused = stream.problem().await;
    assert_eq!((refused.problem.status, refused.reference.as_deref()), (429, Some("b")));
}

#[tokio::test]
async fn what_a_stream_may_not_publish_is_refused_with_its_reference_and_the_stream_goes_on() {
    let server = Server::quiet(|config| config.limits.event_bytes = 10_000).await;
    let mut stream = Stream::open(server.address).await;
    let deep = (0..101).fold(json!(1), |inner, _| json!([inner]));
    for (message, status, field) in [
        (event("workload", &json!(1), "a"), 403, "topic"),
        (event("a b", &json!(1), "b"), 400, "topic"),
        (event("t", &deep, "c"), 400, "data"),
        (event("t", &json!("x".repeat(20_000)), "c2"), 413, "data"),
        (event("..", &json!(1), "c3"), 400, "topic"),
        (json!({"type": "publish", "topic": "t", "ref": "c4"}), 400, "data"),
        (
            json!({"type": "publish", "topic": "t", "data": 1, "x": 1, "ref": "c5"}),
            400,
            "x",
        ),
        (
            json!({"type": "publish", "topic": 7, "data": 1, "ref": "c6"}),
            400,
            "topic",
        ),
        (
            json!({"type": "publish", "topic": "t", "data": 1, "event_type": "", "ref": "c7"}),
            400,
            "event_type",
        ),
        (
            json!({"type": "publish", "topic": "t", "data": 1, "partition_key": "\n", "ref": "c8"}),
            400,
            "partition_key",
        ),
        (
            json!({"type": "publish", "topic": "t", "data": 1, "key": "", "ref": "d"}),
            400,
            "key",
        ),
        (event("t", &json!(1), &"r".repeat(1000)), 400, "ref"),
    ] {
        stream.say(&message).await;
        let refused = stream.problem().await;
        assert_eq!(
            (
                refused.problem.status,
                refused.problem.field.as_deref(),
                refused.closing
            ),
            (status, Some(field), false),
            "{message:.100}"
        );
        assert_eq!(refused.reference.as_deref(), message["ref"].as_str());
    }
    stream.say(&event("t", &json!(1), "e")).await;
    assert_eq!(
        published(&mut stream).await.receipt.offset,
        0,
        "nothing was written before"
    );

    let server = Server::start_with(|config| config.admin_token = Some("a-token-long-enough".to_owned())).await;
    let mut stream = Stream::open(server.address).await;
    stream.say(&event("t", &json!(1), "f")).await;
    assert_eq!(stream.problem().await.problem.status, 401);
    let token = [("authorization", "Bearer a-token-long-enough")];
    let mut stream = Stream::open_as(server.address, None, &token).await;
    stream.say(&event("t", &json!(1), "g")).await;
    published(&mut stream).await;
}
