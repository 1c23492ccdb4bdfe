//! `POST /topics/{topic}/events`: what is taken, what is answered, what is refused, and what a second try means.

use freshet::config::PubSub;
use freshet_tests::http::{Answer, request, send};
use freshet_tests::{Follower, Server};
use freshet_wire::Receipt;
use http::Method;
use serde_json::{Value, json};

/// Publishes, with these headers; the answer, whatever it is.
async fn publish(server: &Server, topic: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let path = format!("/api/v1/topics/{topic}/events");
    server.send(Method::POST, &path, headers, body).await
}

/// The receipts of a publish that must have been taken.
fn receipts(answer: &Answer) -> Vec<Receipt> {
    assert_eq!(answer.status, 201, "{answer:?}");
    let lines = answer.text().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A topic, headers and a body; the status and the field that the refusal must have.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const JSON_SEQ: (&str, &str) = ("content-type", "application/json-seq");
const CLOUD_EVENT: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const CLOUD_EVENTS: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

#[tokio::test]
async fn an_event_is_read_as_it_was_published() {
    let server = Server::quiet(|_| {}).await;
    let headers = [
        ("ce-type", "order.placed"),
        ("ce-id", "o-17"),
        ("ce-time", "2026-01-02T03:04:05.000006Z"),
        ("ce-source", "//shop"),
        ("ce-partitionkey", "customer-3"),
    ];
    let body = r#"{ "a": [1, 2.50, "x  y"],
        "b": null }"#;
    let answer = publish(&server, "orders", &headers, body).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let receipt = receipts(&answer).remove(0);
    let page = server.poll("from=orders@earliest").await;
    assert_eq!(page.events.len(), 1);
    let event: Value = serde_json::from_str(&page.events[0].raw).unwrap();
    assert_eq!(
        page.events[0].data, r#"{"a":[1,2.50,"x  y"],"b":null}"#,
        "not one digit is another"
    );
    for (member, expected) in [
        ("topic", json!("orders")),
        ("type", json!("order.placed")),
        ("id", json!("o-17")),
        ("host", json!("//shop")),
        ("produced_us", json!(1_767_323_045_000_006_u64)),
        ("offset", json!(receipt.offset)),
        ("epoch", json!(receipt.epoch)),
        ("partition", json!(receipt.partition)),
    ] {
        assert_eq!(event[member], expected, "{member} of {event}");
    }
    assert_eq!((receipt.id.as_str(), receipt.duplicate), ("o-17", false));
    let topic = server.topic("orders").await;
    assert!(topic.writable && !topic.synthetic && topic.log.is_some(), "{topic:?}");
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_has_a_receipt_a_line() {
    let server = Server::quiet(|_| {}).await;
    let body: String = (0..1000).map(|n| format!("{{\"n\":{n}}}\n\n")).collect();
    let answer = publish(&server, "batch", &[NDJSON], &body).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let receipts = receipts(&answer);
    assert_eq!(receipts.len(), 1000);
    let page = server.poll("from=batch@earliest&limit=5000").await;
    for (n, (receipt, event)) in receipts.iter().zip(&page.events).enumerate() {
        assert_eq!((receipt.offset, &*event.data), (n as u64, &*format!("{{\"n\":{n}}}")));
        assert_eq!(event.offset, receipt.offset);
    }
    assert_eq!(page.events.len(), 1000);
}

#[tokio::test]
async fn a_second_try_is_answered_as_the_first_also_after_a_restart() {
    let mut server = Server::quiet(|_| {}).await;
    let key = ("idempotency-key", "order-17");
    let first = receipts(&publish(&server, "t", &[key, NDJSON], "1\n2\n").await);
    assert!(first.iter().all(|receipt| !receipt.duplicate));
    for restarted in [false, true] {
        if restarted {
            server.stop().await;
            server.start_again();
        }
        let again = receipts(&publish(&server, "t", &[key, NDJSON], "1\n\n2").await);
        let expected: Vec<Receipt> = first
            .iter()
            .map(|receipt| Receipt {
                duplicate: true,
                ..receipt.clone()
            })
            .collect();
        assert_eq!(again, expected, "restarted: {restarted}");
        let other = publish(&server, "t", &[key, NDJSON], "1\n3\n").await;
        assert_eq!(other.status, 422, "{other:?}");
        assert_eq!(other.problem().field.as_deref(), Some("Idempotency-Key"));
        assert_eq!(server.end_of("t").await, 2, "nothing was written again");
    }
    // An id has nothing to do with a key that looks like one.
    let id = receipts(&publish(&server, "ids", &[("ce-id", "7")], "1").await).remove(0);
    let keyed = receipts(&publish(&server, "ids", &[("idempotency-key", "id:7")], "2").await).remove(0);
    assert_eq!((id.duplicate, keyed.duplicate, keyed.offset), (false, false, 1));
    assert!(receipts(&publish(&server, "ids", &[("ce-id", "7")], "1").await)[0].duplicate);
    let other = publish(&server, "ids", &[("ce-id", "7")], "2").await;
    assert_eq!((other.status, other.problem().field.as_deref()), (422, Some("ce-id")));
    assert!(other.problem().detail.unwrap().contains("the id \"7\""));
    // Another topic's keys are others.
    assert!(!receipts(&publish(&server, "u", &[key], "1").await)[0].duplicate);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_by_its_name_and_nothing_is_written() {
    let server = Server::quiet(|_| {}).await;
    let long = "k".repeat(256);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let huge = " ".repeat((8 << 20) + 1);
    let many = "1\n".repeat(10_001);
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let name = "n".repeat(250);
    let cases: [Case<'_>; 25] = [
        ("t", &[], "", 400, "body"),
        ("t", &[], "{", 400, "body"),
        ("t", &[], "1 2", 400, "body"),
        ("t", &[], &deep, 400, "body"),
        ("t", &[NDJSON], "\n \n", 400, "body"),
        ("t", &[NDJSON], "1\nnope\n", 400, "body"),
        ("t", &[], &large, 413, "body"),
        ("t", &[NDJSON], &many, 413, "body"),
        ("t", &[], &huge, 413, "body"),
        ("t", &[("content-type", "image/png")], "1", 415, "Content-Type"),
        (
            "t",
            &[("content-type", "application/cloudevents+avro")],
            "1",
            415,
            "Content-Type",
        ),
        ("t", &[JSON_SEQ], "1\n", 400, "body"),
        ("t", &[NDJSON, ("ce-id", "1")], "1\n2", 400, "ce-id"),
        ("t", &[("ce-time", "yesterday")], "1", 400, "ce-time"),
        ("t", &[("ce-type", "")], "1", 400, "ce-type"),
        ("t", &[("idempotency-key", &long)], "1", 400, "idempotency-key"),
        ("a%20b", &[], "1", 400, "topic"),
        (".", &[], "1", 400, "topic"),
        ("%2E%2E", &[], "1", 400, "topic"),
        ("%FF", &[], "1", 400, "topic"),
        (
            "t",
            &[("idempotency-key", "a"), ("idempotency-key", "b")],
            "1",
            400,
            "idempotency-key",
        ),
        (&name, &[], "1", 400, "topic"),
        ("host.cpu", &[], "1", 403, "topic"),
        ("settings", &[], "1", 403, "topic"),
        ("workload.mine", &[], "1", 403, "topic"),
    ];
    for (topic, headers, body, status, field) in cases {
        let answer = publish(&server, topic, headers, body).await;
        let what = format!("{topic} {headers:?} {:.40}", body);
        assert_eq!(answer.status, status, "{what}: {:.200}", answer.text());
        assert_eq!(answer.problem().field.as_deref(), Some(field), "{what}: {answer:?}");
    }
    let known = server.topics().await.topics;
    assert!(
        known.iter().all(|topic| topic.name != "t"),
        "no topic for what was refused"
    );
    server.still_serves().await;
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_by_its_name() {
    let server = Server::quiet(|_| {}).await;
    let path = "/api/v1/topics/t/events?limit=1";
    let answer = server.send(Method::POST, path, &[], "1").await;
    assert_eq!((answer.status, answer.problem().field.as_deref()), (400, Some("limit")));
    for path in ["/api/v1/limits/%FF", "/api/v1/cluster/nodes/%FF/stop"] {
        let method = if path.contains("nodes") {
            Method::POST
        } else {
            Method::GET
        };
        let answer = server.send(method, path, &[], "").await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(answer.problem().field.is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_cloud_event_is_taken_in_structured_mode_and_in_batches() {
    let server = Server::quiet(|_| {}).await;
    let one = r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"order.placed","time":"2026-01-02T03:04:05Z",
        "datacontenttype":"application/json","data":{"total": 12.0}}"#;
    // Headers may repeat what the body says, and the body has the word.
    let first = receipts(&publish(&server, "orders", &[CLOUD_EVENT, ("ce-type", "other")], one).await).remove(0);
    assert_eq!((first.id.as_str(), first.duplicate), ("A-1", false));
    let again = receipts(&publish(&server, "orders", &[CLOUD_EVENT], one).await).remove(0);
    assert_eq!((again.offset, again.duplicate), (first.offset, true));
    let other = publish(&server, "orders", &[CLOUD_EVENT], &one.replace("12.0", "13.0")).await;
    assert_eq!((other.status, other.problem().field.as_deref()), (422, Some("id")));

    let batch = r#"[{"specversion":"1.0","id":"B-1","source":"/shop","type":"a","data":1.0},
        {"specversion":"1.0","id":"B-2","source":"/shop","type":"b","data_base64":"/wA="}]"#;
    let both = receipts(&publish(&server, "orders", &[CLOUD_EVENTS], batch).await);
    assert_eq!(
        both.iter().map(|receipt| &*receipt.id).collect::<Vec<_>>(),
        ["B-1", "B-2"]
    );
    assert!(
        receipts(&publish(&server, "orders", &[CLOUD_EVENTS], batch).await)
            .iter()
            .all(|receipt| receipt.duplicate)
    );
    assert!(receipts(&publish(&server, "orders", &[CLOUD_EVENTS], "[]").await).is_empty());

    let page = server.poll("from=orders@earliest").await;
    let events: Vec<Value> = page
        .events
        .iter()
        .map(|event| serde_json::from_str(&event.raw).unwrap())
        .collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["id"].clone(), event["type"].clone()))
        .collect();
    assert_eq!(
        json!(told),
        json!([["A-1", "order.placed"], ["B-1", "a"], ["B-2", "b"]])
    );
    assert_eq!(
        (&events[0]["host"], &events[0]["produced_us"]),
        (&json!("/shop"), &json!(1_767_323_045_000_000_u64))
    );
    let data: Vec<&str> = page.events.iter().map(|event| &*event.data).collect();
    assert_eq!(data, [r#"{"total":12.0}"#, "1.0", r#"{"base64":"/wA="}"#]);

    for (body, field) in [
        (r#"{"id":"1","source":"s","type":"t"}"#, "specversion"),
        (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "id"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "source"),
        (r#"{"specversion":"1.0","id":"1","source":"s"}"#, "type"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"soon"}"#,
            "time",
        ),
        ("[]", "body"),
    ] {
        let answer = publish(&server, "t", &[CLOUD_EVENT], body).await;
        assert_eq!(
            (answer.status, answer.problem().field.as_deref()),
            (400, Some(field)),
            "{body}"
        );
    }
    let second = r#"[{"specversion":"1.0","id":"1","source":"s","type":"t"},{}]"#;
    let answer = publish(&server, "t", &[CLOUD_EVENTS], second).await;
    assert!(answer.problem().detail.unwrap().starts_with("event 2"), "{answer:?}");
}

#[tokio::test]
async fn a_sequence_of_json_is_a_batch() {
    let server = Server::quiet(|_| {}).await;
    let body = "\u{1e}{\"n\":\n1}\n\u{1e}2\n";
    assert_eq!(receipts(&publish(&server, "t", &[JSON_SEQ], body).await).len(), 2);
    let page = server.poll("from=t@earliest").await;
    let data: Vec<&str> = page.events.iter().map(|event| &*event.data).collect();
    assert_eq!(data, [r#"{"n":1}"#, "2"]);
}

#[tokio::test]
async fn publishing_asks_for_the_admin_token_where_there_is_one() {
    let server = Server::start_with(|config| config.admin_token = Some("a-token-long-enough".to_owned())).await;
    assert_eq!(publish(&server, "t", &[], "1").await.status, 401);
    let wrong = ("authorization", "Bearer another-long-token");
    assert_eq!(publish(&server, "t", &[wrong], "1").await.status, 401);
    let right = ("authorization", "Bearer a-token-long-enough");
    receipts(&publish(&server, "t", &[right], "1").await);
}

#[tokio::test]
async fn many_publishers_at_once_lose_and_mix_nothing() {
    for engine in [PubSub::default(), PubSub::Memory] {
        let server = Server::quiet(|config| {
            config.pubsub = engine.clone();
            config.limits.window_bytes = 64 << 20;
        })
        .await;
        let publishers = (0..16).map(|publisher| {
            let address = server.address;
            tokio::spawn(async move {
                let mut offsets = Vec::new();
                for n in 0..50 {
                    let body = format!("[{publisher},{n}]");
                    let answer = send(address, request(Method::POST, "/api/v1/topics/t/events", &[], &body)).await;
                    offsets.push((receipts(&answer)[0].offset, body));
                }
                offsets
            })
        });
        let mut told = Vec::new();
        for publisher in publishers.collect::<Vec<_>>() {
            let offsets = publisher.await.unwrap();
            assert!(offsets.is_sorted(), "one publisher's events keep their order");
            told.extend(offsets);
        }
        let mut follower = Follower::new("t");
        while follower.next.is_none_or(|next| next < 800) {
            let from = follower.position("earliest");
            follower.page(&server.poll(&format!("from={from}&limit=5000")).await);
        }
        follower.check();
        for (offset, body) in told {
            assert_eq!(follower.events[&offset].data, body, "{engine:?}");
        }
    }
}
