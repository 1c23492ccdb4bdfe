//! Publishing by the stream: streaming goes both ways.

use freshet_tests::{Follower, Said, Server, Stream};
use freshet_wire::Published;
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
    for n in 1..200_u64 {
        let published = published(&mut writer).await;
        assert_eq!(published.reference.as_deref(), Some(&*n.to_string()));
        assert_eq!((published.receipt.offset, published.receipt.duplicate), (n, false));
    }
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
    assert_eq!(server.end_of("t").await, 1);
}

#[tokio::test]
async fn what_a_stream_may_not_publish_is_refused_with_its_reference_and_the_stream_goes_on() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    let deep = (0..101).fold(json!(1), |inner, _| json!([inner]));
    for (message, status, field) in [
        (event("workload", &json!(1), "a"), 403, "topic"),
        (event("a b", &json!(1), "b"), 400, "topic"),
        (event("t", &deep, "c"), 400, "body"),
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
