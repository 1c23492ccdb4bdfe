//! What the service says of itself: topics, the clock, probes, the API's own description.

use std::collections::BTreeSet;

use freshet_tests::{Server, Stream, now_us, until};
use freshet_wire::{Clock, TopicKind, TopicScope};
use http::Method;
use serde_json::Value;

#[tokio::test]
async fn topics_say_what_there_is_to_read() {
    let server = Server::forgetful(6000).await;
    server.append(100, 32).await;
    let topics = server.topics().await.topics;
    let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
    let expected = [
        "cluster",
        "deliveries",
        "host.cpu",
        "host.disk",
        "host.memory",
        "host.network",
        "host.processes",
        "limits",
        "settings",
        "workload",
    ];
    assert_eq!(names, expected);
    for topic in &topics {
        let state = ["cluster", "deliveries", "limits", "settings"].contains(&&*topic.name);
        let kinds = if state {
            (TopicKind::State, TopicScope::Local)
        } else {
            (TopicKind::Log, TopicScope::Shared)
        };
        assert_eq!((topic.kind, topic.scope), kinds, "{}", topic.name);
        assert_eq!(
            topic.synthetic,
            topic.name == "workload",
            "what is made up is labelled so"
        );
    }
    let workload = server.topic("workload").await;
    let page = server.poll("from=workload@earliest").await;
    let bytes: usize = page.events.iter().map(|event| event.raw.len()).sum();
    assert_eq!(workload.window.bytes, bytes as u64);
    assert!(workload.window.bytes <= workload.window.max_bytes && workload.window.max_bytes == 6000);
    assert_eq!(workload.window.events, page.events.len() as u64);
    assert_eq!(
        workload.window.span_us,
        page.events.last().unwrap().ingested_us - page.events[0].ingested_us
    );
    let [partition] = &*workload.partitions else {
        panic!("{workload:?}")
    };
    assert_eq!(
        (partition.partition, partition.first_offset, partition.next_offset),
        (0, page.events[0].offset, 100)
    );
    assert!(
        workload.events_per_s > 0.0 && workload.bytes_per_s > 0.0,
        "{workload:?}"
    );
    assert_eq!(workload.epoch.to_string(), page.events[0].epoch);
}

#[tokio::test]
async fn a_topic_counts_its_readers_and_each_reader_is_known() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open_as(server.address, Some("seen"), &[]).await;
    stream.subscribe(&["workload@latest"]).await;
    stream.page().await;
    assert_eq!(server.topic("workload").await.readers, 1);
    assert!(server.reader("seen").await.active);
    stream.close().await;
    until("the reader to be gone", async || !server.reader("seen").await.active).await;
    assert_eq!(server.topic("workload").await.readers, 0);
}

#[tokio::test]
async fn the_clock_probe_lies_between_question_and_answer() {
    let server = Server::quiet(|_| {}).await;
    let asked = now_us();
    let clock: Clock = server.get("/api/v1/clock").await.json();
    let answered = now_us();
    assert!(
        asked <= clock.t1_us && clock.t1_us <= clock.t2_us && clock.t2_us <= answered,
        "{clock:?}"
    );
}

#[tokio::test]
async fn probes_answer_at_the_root_and_below_the_api() {
    let server = Server::quiet(|_| {}).await;
    for base in ["", "/api/v1"] {
        assert_eq!(server.get(&format!("{base}/livez")).await.text(), "live\n");
        assert_eq!(server.get(&format!("{base}/readyz")).await.text(), "ready\n");
        assert!(server.get(&format!("{base}/metrics")).await.text().ends_with("# EOF\n"));
    }
}

#[tokio::test]
async fn every_answer_forbids_sniffing_and_storing() {
    let server = Server::quiet(|_| {}).await;
    for path in [
        "/api/v1/events?from=settings",
        "/api/v1/events",
        "/api/v1/topics",
        "/metrics",
        "/livez",
        "/nothing",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::quiet(|_| {}).await;
    for path in ["/api/v1/events?from=settings", "/api/v1/topics", "/livez"] {
        let answer = server.send(Method::HEAD, path, &[], "").await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert_eq!(
            answer.header("content-type"),
            server.get(path).await.header("content-type"),
            "{path}"
        );
    }
}

/// Every route below `/api/v1`, with its methods.
const ROUTES: [(&str, &[&str]); 19] = [
    ("/api/v1/clock", &["get"]),
    ("/api/v1/cluster", &["get"]),
    ("/api/v1/cluster/nodes/{id}/{action}", &["post"]),
    ("/api/v1/config", &["get"]),
    ("/api/v1/events", &["get"]),
    ("/api/v1/limits", &["get"]),
    ("/api/v1/limits/try", &["post"]),
    ("/api/v1/limits/{client}", &["get"]),
    ("/api/v1/livez", &["get"]),
    ("/api/v1/metrics", &["get"]),
    ("/api/v1/openapi.json", &["get"]),
    ("/api/v1/readyz", &["get"]),
    ("/api/v1/settings", &["get", "patch"]),
    ("/api/v1/settings/history", &["get"]),
    ("/api/v1/settings/rollback", &["post"]),
    ("/api/v1/settings/schema", &["get"]),
    ("/api/v1/stream", &["get"]),
    ("/api/v1/topics", &["get"]),
    ("/api/v1/topics/{topic}/events", &["post"]),
];

#[tokio::test]
async fn the_api_describes_every_route_that_it_serves_and_no_other() {
    let server = Server::quiet(|_| {}).await;
    let document: Value = server.get("/api/v1/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let described: BTreeSet<(&str, &str)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(move |method| (&**path, &**method))
        })
        .collect();
    let served: BTreeSet<(&str, &str)> = ROUTES
        .iter()
        .flat_map(|&(path, methods)| methods.iter().map(move |&method| (path, method)))
        .collect();
    assert_eq!(described, served);
    for (path, method) in &described {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
        let status = server.send(method.clone(), path, &[], "").await.status;
        assert!(![404, 405].contains(&status), "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn the_api_says_of_every_limited_route_how_it_refuses() {
    let server = Server::quiet(|_| {}).await;
    let document: Value = server.get("/api/v1/openapi.json").await.json();
    let free = ["clock", "livez", "metrics", "openapi.json", "readyz"];
    for (path, methods) in ROUTES {
        for &method in methods {
            let described = &document["paths"][path][method]["responses"];
            let is_free = free.iter().any(|name| path == format!("/api/v1/{name}"));
            assert_eq!(described["429"].is_null(), is_free, "{method} {path}");
            if is_free {
                continue;
            }
            for header in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
                assert!(
                    described["429"]["headers"][header].is_object(),
                    "{method} {path}: {header}"
                );
            }
            assert!(
                described["503"]["headers"]["Retry-After"].is_object(),
                "{method} {path}"
            );
            let well = described
                .as_object()
                .unwrap()
                .keys()
                .find(|status| status.starts_with('2'));
            if let Some(status) = well {
                assert!(described[status]["headers"]["RateLimit"].is_object(), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn everything_that_the_api_describes_is_defined_in_it() {
    let server = Server::quiet(|_| {}).await;
    let document: Value = server.get("/api/v1/openapi.json").await.json();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.push(reference.clone());
            }
            members
                .values()
                .for_each(|member| collect_references(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}
