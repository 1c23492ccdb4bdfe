//! What a batch costs: as much as it has events, all at once or nothing of it.

use freshet_tests::http::Answer;
use freshet_tests::{Said, Server, Stream};
use freshet_wire::{LimitCounts, LimitStatus, RouteClass};
use http::Method;
use serde_json::{Value, json};

const TOPIC: &str = "/api/v1/topics/orders/events";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// Publishing has these quotas, whole again only long after the test.
async fn with(burst: u32, sustained: u32) -> Server {
    let server = Server::quiet(|config| config.seed.limit.exempt.clear()).await;
    let slow = |quota: u32| json!({"quota": quota, "window_s": 80_000});
    server
        .change(json!({"limit": {"publish": {"burst": slow(burst), "sustained": slow(sustained)}}}))
        .await;
    server
}

async fn batch(server: &Server, events: usize) -> Answer {
    server.send(Method::POST, TOPIC, &[NDJSON], &"1\n".repeat(events)).await
}

/// What is left of both quotas, as the headers say it.
fn left(answer: &Answer) -> [u32; 2] {
    let mut left = answer.header("ratelimit").split(", ").map(|item| {
        let (_, rest) = item.split_once(";r=").unwrap();
        rest.split_once(';').unwrap().0.parse().unwrap()
    });
    [left.next().unwrap(), left.next().unwrap()]
}

async fn publishing(server: &Server) -> LimitCounts {
    let status: LimitStatus = server.get("/api/v1/limits").await.json();
    let of_class = status.classes.iter().find(|of| of.class == RouteClass::Publish);
    of_class.unwrap().counts
}

#[tokio::test]
async fn a_batch_spends_as_much_as_it_has_events_and_a_stream_spends_of_the_same() {
    let server = with(20, 100).await;
    let first = batch(&server, 15).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(left(&first), [85, 5]);
    // Empty lines are no events.
    let second = server.send(Method::POST, TOPIC, &[NDJSON], "1\n\n 2 \n\n").await;
    assert_eq!((second.status, left(&second)), (201, [83, 3]));
    let one = server.send(Method::POST, TOPIC, &[], "[1, 2, 3, 4, 5]").await;
    assert_eq!((one.status, left(&one)), (201, [82, 2]), "one event, whatever is in it");
    let mut stream = Stream::open(server.address).await;
    let publish = json!({"type": "publish", "topic": "orders", "data": 1, "ref": "r"});
    for _ in 0..2 {
        stream.say(&publish).await;
        assert!(matches!(stream.heard().await, Said::Published(_)));
    }
    stream.say(&publish).await;
    assert_eq!(stream.problem().await.problem.violated_policies, ["publish-burst"]);
    assert_eq!(batch(&server, 1).await.status, 429);
}

#[tokio::test]
async fn a_batch_without_room_is_refused_whole_and_counted_once() {
    let server = with(20, 100).await;
    assert_eq!(batch(&server, 15).await.status, 201);
    let refused = batch(&server, 6).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.problem().violated_policies, ["publish-burst"]);
    // It was read, so one was spent. Six come back in 4,000 s each; four are there.
    assert_eq!(left(&refused), [84, 4]);
    let retry_after: u32 = refused.header("retry-after").parse().unwrap();
    assert!(
        (7_990..=8_000).contains(&retry_after),
        "{retry_after}: for all six of them"
    );
    let counts = publishing(&server).await;
    assert_eq!((counts.allowed, counts.limited), (1, 1), "{counts:?}");
    assert_eq!(batch(&server, 4).await.status, 201);
    let page = server.poll("from=orders@earliest").await;
    assert_eq!(page.events.len(), 19, "nothing of what was refused is there");
    let wrong = server
        .send(Method::POST, "/api/v1/topics/t/events", &[NDJSON], "{]\n")
        .await;
    assert_eq!(wrong.status, 429);
    let counts = publishing(&server).await;
    assert_eq!((counts.allowed, counts.limited), (2, 2), "{counts:?}");
}

#[tokio::test]
async fn a_batch_larger_than_the_quota_is_told_what_there_is_and_not_to_come_again() {
    let server = with(20, 100).await;
    for (events, violated) in [(21, &["publish-burst"][..]), (101, &["publish", "publish-burst"])] {
        let refused = batch(&server, events).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (413, ""),
            "{refused:?}"
        );
        let problem = refused.problem();
        assert_eq!(problem.kind, "urn:freshet:batch-over-quota");
        assert_eq!(problem.violated_policies, violated);
        assert_eq!(problem.retry_after_s, None);
        let detail = problem.detail.unwrap();
        assert!(
            detail.contains("up to 20 events") && detail.contains("waiting does not help"),
            "{detail}"
        );
    }
    assert_eq!(left(&batch(&server, 18).await), [80, 0], "each was read, and spent one");
    assert_eq!(publishing(&server).await.limited, 2);
}

#[tokio::test]
async fn the_largest_batch_comes_through_with_the_quotas_as_they_are() {
    let server = Server::quiet(|config| config.seed.limit.exempt.clear()).await;
    let answer = batch(&server, 10_000).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let most: Value = server
        .send(Method::POST, TOPIC, &[NDJSON], &"1\n".repeat(10_001))
        .await
        .json();
    assert_eq!(most["detail"], "a batch may have 10000 events");
}
