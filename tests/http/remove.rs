//! `DELETE /topics/{topic}`: a topic goes whole, its readers are told, and the next one of its name is another.

use std::fs;

use freshet::config::{LogConfig, PubSub};
use freshet_tests::http::{Answer, get};
use freshet_tests::{Said, Server, Stream, until};
use freshet_wire::{Gap, GapReason, Receipt, TopicScope};
use http::Method;
use serde_json::json;

async fn publish(server: &Server, topic: &str, body: &str) -> Receipt {
    let path = format!("/api/v1/topics/{topic}/events");
    let key = [("idempotency-key", body)];
    let answer = server.send(Method::POST, &path, &key, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn remove(server: &Server, topic: &str) -> Answer {
    let path = format!("/api/v1/topics/{topic}");
    server.send(Method::DELETE, &path, &[], "").await
}

/// What a reader at this offset is told of the end.
fn is_end(gap: &Gap, offset: u64) {
    assert_eq!(
        (&*gap.topic, gap.from_offset, gap.count, gap.reason),
        ("orders", offset, None, GapReason::Epoch)
    );
}

#[tokio::test]
async fn readers_are_told_the_end_and_the_next_topic_of_the_name_is_another() {
    for engine in [PubSub::default(), PubSub::Memory] {
        let mut server = Server::quiet(|config| config.pubsub = engine.clone()).await;
        let first = publish(&server, "orders", "1").await;
        publish(&server, "orders", "2").await;
        publish(&server, "others", "1").await;
        let page = server.poll("from=orders@earliest").await;
        let cursor = page.next_of("orders");

        let mut stream = Stream::open(server.address).await;
        stream.subscribe(&["orders@earliest", "others@latest"]).await;
        assert_eq!(stream.page().await.events.len(), 2);
        let (address, path) = (server.address, format!("/api/v1/events?from={cursor}&wait=60"));
        let waiting = tokio::spawn(async move { get(address, &path).await });
        until("both wait", async || server.topic("orders").await.readers == 2).await;

        assert_eq!(remove(&server, "orders").await.status, 204);
        let told = waiting.await.unwrap().page();
        assert!(
            told.events.is_empty() && told.gaps.len() == 1 && told.next.is_empty(),
            "{told:?}"
        );
        is_end(&told.gaps[0], 2);
        let page = stream.page().await;
        assert!(page.events.is_empty() && page.gaps.len() == 1);
        is_end(&page.gaps[0], 2);
        let problem = stream.problem().await;
        assert!(!problem.closing);
        let problem = problem.problem;
        assert_eq!((problem.status, &*problem.kind), (404, "urn:freshet:topic-removed"));
        assert!(problem.detail.unwrap().contains("\"orders\""));

        for topic in [cursor.as_str(), "orders"] {
            let answer = server.get(&format!("/api/v1/events?from={topic}")).await;
            assert_eq!((answer.status, answer.problem().field.as_deref()), (404, Some("from")));
        }
        assert_eq!(remove(&server, "orders").await.status, 404);
        let listed = server.topics().await.topics;
        assert!(listed.iter().all(|topic| topic.name != "orders"));

        // The other subscription goes on, and this one may be asked for again once there is such a topic.
        publish(&server, "others", "2").await;
        assert_eq!(stream.page().await.offsets(), [1]);
        stream.say(&json!({"type": "subscribe", "from": ["orders"]})).await;
        assert_eq!(stream.problem().await.problem.status, 404);

        // The same key is no second try: what it was used for is gone.
        let again = publish(&server, "orders", "1").await;
        assert_eq!((again.offset, again.duplicate), (0, false));
        assert_ne!(again.epoch, first.epoch);
        stream.subscribe(&[&cursor]).await;
        for page in [stream.page().await, server.poll(&format!("from={cursor}")).await] {
            is_end(&page.gaps[0], 2);
            assert_eq!(page.offsets(), [0]);
        }
        if engine == PubSub::Memory {
            continue;
        }
        server.stop().await;
        server.start_again();
        assert_eq!(server.poll("from=orders@earliest").await.events.len(), 1);
        let folders = fs::read_dir(server.data().join("log")).unwrap();
        let removed = folders.filter(|folder| {
            let name = folder.as_ref().unwrap().file_name();
            name.to_string_lossy().contains('.')
        });
        assert_eq!(removed.count(), 0, "nothing of it is left");
    }
}

#[tokio::test]
async fn what_cannot_be_removed_is_said_and_stays() {
    let server = Server::quiet(|_| {}).await;
    server.append(3, 32).await;
    for (topic, status) in [
        ("workload", 409),
        ("host.cpu", 409),
        ("settings", 409),
        ("deliveries", 409),
        ("nothing", 404),
        ("no%20name", 400),
    ] {
        let answer = remove(&server, topic).await;
        assert_eq!(answer.status, status, "{topic}: {answer:?}");
        assert_eq!(answer.problem().field.as_deref(), Some("topic"), "{topic}");
    }
    assert_eq!(server.poll("from=workload@earliest").await.events.len(), 3);

    let guarded = Server::start_with(|config| config.admin_token = Some("a-token-long-enough".to_owned())).await;
    let answer = remove(&guarded, "t").await;
    assert_eq!(
        (answer.status, &*answer.problem().kind),
        (401, "urn:freshet:token-needed")
    );
    let right = [("authorization", "Bearer a-token-long-enough")];
    let answer = guarded.send(Method::DELETE, "/api/v1/topics/t", &right, "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_topic_that_cannot_be_opened_is_removed_like_any_other() {
    let mut server = Server::quiet(|_| {}).await;
    let first = publish(&server, "broken", "1").await;
    server.stop().await;
    // Something else stands where its file was.
    let file = server.segment_of("broken");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    server.start_again();
    until("what is wrong with it", async || {
        server.topic("broken").await.unavailable.is_some()
    })
    .await;
    assert_eq!(remove(&server, "broken").await.status, 204);
    assert_eq!(remove(&server, "broken").await.status, 404);
    assert_eq!(server.get("/api/v1/events?from=broken").await.status, 404);
    let listed = server.topics().await.topics;
    assert!(listed.iter().all(|topic| topic.name != "broken"));
    let again = publish(&server, "broken", "1").await;
    assert_eq!((again.offset, again.duplicate), (0, false));
    assert_ne!(again.epoch, first.epoch);
    server.stop().await;
    server.start_again();
    assert_eq!(server.poll("from=broken@earliest").await.offsets(), [0]);
}

#[tokio::test]
async fn where_there_are_as_many_topics_as_may_be_a_removal_makes_room() {
    let server = Server::quiet(|config| {
        config.pubsub = PubSub::Log(LogConfig {
            max_topics: 8,
            ..LogConfig::default()
        });
    })
    .await;
    let shared = server.topics().await.topics;
    let shared = shared.iter().filter(|topic| topic.scope == TopicScope::Shared).count();
    for number in shared..8 {
        publish(&server, &format!("t{number}"), "1").await;
    }
    let path = "/api/v1/topics/more/events";
    let refused = server.send(Method::POST, path, &[], "1").await;
    assert_eq!(
        (refused.status, &*refused.problem().kind),
        (409, "urn:freshet:too-many-topics")
    );
    // It is not listed as if it were there.
    assert_eq!(server.get("/api/v1/events?from=more").await.status, 404);
    assert_eq!(remove(&server, "t7").await.status, 204);
    assert_eq!(publish(&server, "more", "1").await.offset, 0);
}

#[tokio::test]
async fn publishing_beside_removals_is_taken_or_refused_and_never_half_there() {
    let server = Server::quiet(|_| {}).await;
    publish(&server, "orders", "0").await;
    let mut stream = Stream::open_as(server.address, None, &[]).await;
    let removing = async {
        for _ in 0..20 {
            let status = remove(&server, "orders").await.status;
            assert!([204, 404].contains(&status), "{status}");
        }
    };
    let publishing = async {
        let mut taken = 0;
        for n in 0..200 {
            stream
                .say(&json!({"type": "publish", "topic": "orders", "data": n, "ref": n.to_string()}))
                .await;
            match stream.heard().await {
                Said::Published(published) => {
                    assert_eq!(published.reference, Some(n.to_string()));
                    taken += 1;
                }
                Said::Problem(refused) => assert_eq!(refused.problem.status, 404, "{refused:?}"),
                other => panic!("{other:?}"),
            }
        }
        taken
    };
    let ((), taken) = tokio::join!(removing, publishing);
    assert!(taken > 100, "{taken}");
    // The last log holds what was published since it began, from its first offset on.
    publish(&server, "orders", "\"last\"").await;
    let page = server.poll("from=orders@earliest&limit=5000").await;
    assert_eq!(page.offsets(), (0..page.events.len() as u64).collect::<Vec<_>>());
    assert_eq!(page.events.last().unwrap().data, "\"last\"");
}
