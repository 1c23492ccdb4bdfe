//! Bad input: each refused with a problem (RFC 9457) that names what is at fault, and the server goes on.

use freshet_tests::raw::Raw;
use freshet_tests::{Server, for_all};
use freshet_wire::SettingsVersion;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

#[tokio::test]
async fn a_bad_query_is_refused_by_the_name_of_its_parameter() {
    let server = Server::quiet(|_| {}).await;
    let topics = |count: usize| (0..count).map(|n| format!("from=t{n}")).collect::<Vec<_>>().join("&");
    let (many, too_many) = (topics(64), topics(65));
    let long = format!("from={}", "x".repeat(250));
    let partitions = format!("from=workload@0123456789ab{}", "-1".repeat(1025));
    let cases = [
        ("", 400, "from", "invalid-parameter"),
        ("from=nothing", 404, "from", "unknown-topic"),
        (&*many, 404, "from", "unknown-topic"),
        (&*too_many, 400, "from", "invalid-parameter"),
        ("from=workload&from=workload@latest", 400, "from", "invalid-parameter"),
        ("from=", 400, "from", "invalid-position"),
        ("from=a%20b", 400, "from", "invalid-position"),
        ("from=%FF", 400, "from", "invalid-position"),
        (&*long, 400, "from", "invalid-position"),
        ("from=workload@", 400, "from", "invalid-position"),
        ("from=workload@newest", 400, "from", "invalid-position"),
        ("from=workload@0123456789ab", 400, "from", "invalid-position"),
        ("from=workload@0123456789ab-x", 400, "from", "invalid-position"),
        (
            "from=workload@0123456789ab-99999999999999999999",
            400,
            "from",
            "invalid-position",
        ),
        (&*partitions, 400, "from", "invalid-position"),
        ("from=workload@time:soon", 400, "from", "invalid-position"),
        ("from=workload@offset:0:-1", 400, "from", "invalid-position"),
        ("from=workload@offset:1:0", 400, "from", "invalid-position"),
        ("from=workload@offset:0:1", 400, "from", "invalid-position"),
        ("from=workload&limit=0", 400, "limit", "invalid-parameter"),
        ("from=workload&limit=1000000000", 400, "limit", "invalid-parameter"),
        (
            "from=workload&limit=99999999999999999999",
            400,
            "limit",
            "invalid-parameter",
        ),
        ("from=workload&limit=5001", 400, "limit", "invalid-parameter"),
        ("from=workload&limit=", 400, "limit", "invalid-parameter"),
        ("from=workload&limit=1.5", 400, "limit", "invalid-parameter"),
        ("from=workload&wait=-1", 400, "wait", "invalid-parameter"),
        ("from=workload&wait=61", 400, "wait", "invalid-parameter"),
        ("from=workload&wait=NaN", 400, "wait", "invalid-parameter"),
        ("from=workload&reader=", 400, "reader", "invalid-parameter"),
        ("from=workload&reader=a%0Ab", 400, "reader", "invalid-parameter"),
        ("from=workload&reader=unnamed:1", 400, "reader", "invalid-parameter"),
        ("from=workload&form=workload", 400, "form", "invalid-parameter"),
    ];
    for (query, status, field, kind) in cases {
        let problem = server.get(&format!("/api/v1/events?{query}")).await.problem();
        let shown = &query[..query.len().min(80)];
        assert_eq!(problem.status, status, "{shown}: {problem:?}");
        assert_eq!(problem.field.as_deref(), Some(field), "{shown}: {problem:?}");
        assert_eq!(problem.kind, format!("urn:freshet:{kind}"), "{shown}: {problem:?}");
        assert!(problem.detail.is_some_and(|detail| detail.len() > 10), "{shown}");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn the_bounds_themselves_are_within_bounds() {
    let server = Server::quiet(|_| {}).await;
    for query in ["limit=1", "limit=5000", "wait=0", &format!("reader={}", "r".repeat(64))] {
        server.poll(&format!("from=settings&{query}")).await;
    }
}

#[tokio::test]
async fn the_cursor_of_an_offset_that_is_yet_to_come_is_refused() {
    let server = Server::quiet(|_| {}).await;
    server.append(1, 32).await;
    let cursor = server.poll("from=workload").await.next_of("workload");
    let beyond = cursor.replace("-1", "-2");
    let problem = server.get(&format!("/api/v1/events?from={beyond}")).await.problem();
    assert_eq!((problem.status, problem.field.as_deref()), (400, Some("from")));
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_are_told_apart() {
    let server = Server::quiet(|_| {}).await;
    for path in [
        "/api/v1/nothing",
        "/api/v2/events",
        "/api/",
        "/nothing",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
    ] {
        assert_eq!(server.get(path).await.problem().status, 404, "{path}");
    }
    let cases = [
        (Method::POST, "/api/v1/events", "GET,HEAD"),
        (Method::DELETE, "/api/v1/topics", "GET,HEAD"),
        (Method::POST, "/api/v1/settings", "GET,HEAD,PATCH"),
        (Method::PUT, "/livez", "GET,HEAD"),
        (Method::POST, "/", "GET,HEAD"),
    ];
    for (method, path, allow) in cases {
        let answer = server.send(method.clone(), path, &[], "").await;
        assert_eq!(answer.problem().status, 405, "{method} {path}");
        // RFC 9110, section 15.5.6: it must say what is allowed.
        let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::quiet(|config| config.limits.body_bytes = 1000).await;
    let large = json!({"workload": "x".repeat(1000)}).to_string();
    let problem = server
        .send(Method::PATCH, "/api/v1/settings", &[], &large)
        .await
        .problem();
    assert_eq!((problem.status, problem.field.as_deref()), (413, Some("body")));
    // Also where its length is not stated before.
    let mut raw = Raw::open(server.address).await;
    let head = format!(
        "PATCH /api/v1/settings HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        server.address
    );
    raw.send(format!("{head}7d0\r\n{}", "x".repeat(2000)).as_bytes()).await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(body.contains(r#""field":"body""#), "{body}");
    server.still_serves().await;
}

#[test]
fn no_query_breaks_the_server() {
    let name = prop_oneof![4 => Just("from".to_owned()), 1 => Just("limit".to_owned()), 1 => Just("reader".to_owned()), 1 => any::<String>()];
    let value = prop_oneof![
        any::<String>(),
        "(settings|workload|nothing)(@(latest|earliest|time:-?[0-9]{1,20}|offset:[0-9]{1,11}:[0-9]{1,21}|[0-9a-f]{11,13}(-[0-9]{1,20}){0,3}))?",
        "-?[0-9]{1,20}",
    ];
    let queries = prop::collection::vec((name, value), 0..6);
    let server = OnceCell::new();
    for_all(200, &queries, async |pairs: Vec<(String, String)>| {
        let server = server.get_or_init(|| Server::quiet(|_| {})).await;
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let answer = server.get(&format!("/api/v1/events?{query}")).await;
        match answer.status {
            200 => _ = answer.page(),
            400 | 404 => assert!(answer.problem().field.is_some(), "{answer:?}"),
            other => panic!("{other}: {answer:?}"),
        }
    });
}

#[test]
fn no_patch_breaks_the_server() {
    let leaf = prop_oneof![
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from)
    ];
    let names = prop_oneof![
        prop::sample::select(vec![
            "source",
            "workload",
            "rate_hz",
            "shape",
            "burst_events",
            "payload_bytes",
            "cpu_hz"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    let patches = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec((names.clone(), inner.clone()), 0..4)
                .prop_map(|members| members.into_iter().collect()),
            prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    });
    let server = OnceCell::new();
    for_all(200, &patches, async |patch: Value| {
        let server = server.get_or_init(|| Server::quiet(|_| {})).await;
        let answer = server
            .send(Method::PATCH, "/api/v1/settings", &[], &patch.to_string())
            .await;
        match answer.status {
            200 => {}
            422 => assert!(answer.problem().field.is_some(), "{answer:?}"),
            other => panic!("{other}: {answer:?}"),
        }
        let settings: SettingsVersion = server.get("/api/v1/settings").await.json();
        assert!(
            (0.0..=10_000.0).contains(&settings.settings.workload.rate_hz),
            "{settings:?}"
        );
    });
}
