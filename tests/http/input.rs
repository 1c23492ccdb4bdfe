//! Bad input: each refused with a problem (RFC 9457) that names what is at fault, and the server goes on.

use std::net::TcpListener;
use std::time::Duration;

use freshet::RunError;
use freshet::config::{Config, ConfigError, Limits};
use freshet_tests::http::{Connection, request};
use freshet_tests::raw::Raw;
use freshet_tests::server::run;
use freshet_tests::{SOON, Server, within};
use http::Method;
use serde_json::json;
use tokio::task::spawn_blocking;

const TOKEN: &str = "sixteen-characters";

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
async fn a_host_that_is_not_ours_is_refused() {
    let server = Server::quiet(|config| config.allow_hosts = vec!["freshet.example".to_owned()]).await;
    for path in [
        "/api/v1/events?from=settings",
        "/api/v1/stream",
        "/api/v1/settings",
        "/metrics",
        "/",
        "/livez",
    ] {
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "192.0.2.1",
            "[2001:db8::1]:3000",
        ] {
            let problem = server.send(Method::GET, path, &[("host", foreign)], "").await.problem();
            assert_eq!(
                (problem.status, problem.field.as_deref()),
                (421, Some("Host")),
                "{path} {foreign}"
            );
        }
    }
    for own in [
        "localhost:1",
        "127.0.0.1",
        "[::1]:9",
        "freshet.example",
        "FRESHET.example:8080",
    ] {
        assert_eq!(
            server.send(Method::GET, "/livez", &[("host", own)], "").await.status,
            200,
            "{own}"
        );
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let server = Server::quiet(|_| {}).await;
    let mut raw = Raw::open(server.address).await;
    raw.send(b"GET /livez HTTP/1.1\r\n\r\n").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(body.contains(r#""field":"Host""#), "{body}");
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_call_us() {
    let allowed = "http://127.0.0.1:8080";
    let server = Server::quiet(|config| config.allow_origins = vec![allowed.to_owned()]).await;
    for path in [
        "/api/v1/events?from=settings",
        "/api/v1/stream",
        "/api/v1/settings",
        "/metrics",
    ] {
        for foreign in ["http://evil.example", "null", "http://127.0.0.1:1", "file://"] {
            let problem = server
                .send(Method::GET, path, &[("origin", foreign)], "")
                .await
                .problem();
            assert_eq!(
                (problem.status, problem.field.as_deref()),
                (403, Some("Origin")),
                "{path} {foreign}"
            );
        }
    }
    let patch = server
        .send(
            Method::PATCH,
            "/api/v1/settings",
            &[("origin", "http://evil.example")],
            r#"{"workload":{"rate_hz":9}}"#,
        )
        .await;
    assert_eq!(patch.problem().status, 403);
    let own = format!("http://{}", server.address);
    for origin in [&*own, allowed] {
        let answer = server
            .send(Method::GET, "/api/v1/events?from=settings", &[("origin", origin)], "")
            .await;
        assert_eq!(answer.page().events.len(), 1, "{origin}");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn where_a_token_is_set_only_its_bearer_changes_something() {
    let server = Server::start_with(|config| config.admin_token = Some(TOKEN.to_owned())).await;
    let patch = r#"{"workload":{"payload_bytes":64}}"#;
    let wrong = format!("Bearer {TOKEN}x");
    let basic = format!("Basic {TOKEN}");
    let cases = [
        None,
        Some(TOKEN),
        Some("Bearer "),
        Some("Bearer wrong"),
        Some(&*wrong),
        Some(&*basic),
    ];
    for given in cases {
        let headers: Vec<_> = given.map(|given| ("authorization", given)).into_iter().collect();
        let answer = server.send(Method::PATCH, "/api/v1/settings", &headers, patch).await;
        let problem = answer.problem();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (401, Some("Authorization")),
            "{given:?}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert!(!answer.text().contains(TOKEN));
    }
    let read = server.get("/api/v1/settings").await;
    assert_eq!(
        read.header("etag"),
        "\"1\"",
        "nothing was changed, and reading needs no token"
    );
    assert!(!read.text().contains(TOKEN));
    let bearer = format!("Bearer {TOKEN}");
    let answer = server
        .send(Method::PATCH, "/api/v1/settings", &[("authorization", &bearer)], patch)
        .await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"2\""));
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

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::quiet(|_| {}).await;
    let get = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n", server.address);
    let long_line = format!("{get}X: {}\r\n\r\n", "x".repeat(64 << 10));
    let many_lines = format!("{get}{}\r\n", "X: x\r\n".repeat(1000));
    let long_path = format!(
        "GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n",
        "x".repeat(64 << 10),
        server.address
    );
    for (head, statuses) in [
        (long_line, [431, 431]),
        (many_lines, [431, 431]),
        (long_path, [414, 431]),
    ] {
        let mut raw = Raw::open(server.address).await;
        // It may hang up before it has read all of it.
        _ = within(
            SOON,
            "the bytes to go",
            tokio::io::AsyncWriteExt::write_all(&mut raw.tcp, head.as_bytes()),
        )
        .await;
        let answer = raw.head().await;
        assert!(
            statuses
                .iter()
                .any(|status| answer.starts_with(&format!("HTTP/1.1 {status} "))),
            "{answer}"
        );
        raw.rest().await;
    }
    server.still_serves().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = Server::quiet(|_| {}).await;
    for rubbish in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        "GET\r\n\r\n",
        "hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut raw = Raw::open(server.address).await;
        raw.send(rubbish.as_bytes()).await;
        let answer = raw.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 505 "),
            "{rubbish:?}: {answer:?}"
        );
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_given_up() {
    let server = Server::quiet(|config| config.limits.header_timeout = Duration::from_millis(500)).await;
    let mut raw = Raw::open(server.address).await;
    let head = format!(
        "GET /livez HTTP/1.1\r\nHost: {}\r\nX: {}\r\n\r\n",
        server.address,
        "x".repeat(10_000)
    );
    let took = raw.trickle(head.into_bytes(), Duration::from_millis(20)).await;
    assert!((500..4000).contains(&took.as_millis()), "{took:?}");
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("application/problem+json"), "{head}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["status"], 408);
    raw.rest().await;
    server.still_serves().await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_given_up() {
    let server = Server::quiet(|config| config.limits.header_timeout = Duration::from_millis(500)).await;
    let mut raw = Raw::open(server.address).await;
    let head = format!(
        "PATCH /api/v1/settings HTTP/1.1\r\nHost: {}\r\nContent-Length: 10000\r\n\r\n",
        server.address
    );
    raw.send(head.as_bytes()).await;
    let took = raw.trickle(vec![b' '; 10_000], Duration::from_millis(20)).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    let answer = raw.rest().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    server.still_serves().await;
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed() {
    let server = Server::quiet(|config| config.limits.idle_timeout = Duration::from_millis(500)).await;
    let mut fresh = Raw::open(server.address).await;
    fresh.rest().await;
    let mut used = Raw::open(server.address).await;
    used.send(format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes())
        .await;
    assert_eq!(used.answer().await.1, "live\n");
    assert!(used.rest().await.is_empty(), "an idle connection ends without a word");
}

#[tokio::test]
async fn a_connection_that_is_only_idle_is_not_taken_for_a_slow_one() {
    let server = Server::quiet(|config| config.limits.header_timeout = Duration::from_millis(300)).await;
    let mut raw = Raw::open(server.address).await;
    let body = r#"{"workload":{"payload_bytes":64}}"#;
    let head = format!(
        "PATCH /api/v1/settings HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    raw.send(head.as_bytes()).await;
    // The body comes in a segment of its own.
    tokio::time::sleep(Duration::from_millis(50)).await;
    raw.send(body.as_bytes()).await;
    assert!(raw.answer().await.0.starts_with("HTTP/1.1 200 "));
    // Longer than a head may take, and than the server needs to look.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    raw.send(format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes())
        .await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "live\n", "{head}{body}");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_the_others_go_on() {
    let server = Server::quiet(|config| config.limits.connections = 4).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut connection = Connection::open(server.address).await;
        assert_eq!(connection.get("/livez").await.status, 200);
        open.push(connection);
    }
    let mut raw = Raw::open(server.address).await;
    raw.send(format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes())
        .await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("retry-after: "), "{head}");
    let problem: freshet_wire::Problem = serde_json::from_str(&body).unwrap();
    assert_eq!((problem.status, problem.field.as_deref()), (503, Some("connection")));
    assert!(raw.rest().await.is_empty(), "the stated length is the whole of it");
    assert_eq!(open[0].get("/livez").await.status, 200);
    // A place that is given back can be had again.
    drop(open);
    freshet_tests::until("a place", async || {
        let mut connection = Connection::open(server.address).await;
        let asked = connection.try_send(request(Method::GET, "/livez", &[], "")).await;
        asked.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    server.still_serves().await;
}

#[tokio::test]
async fn no_address_but_loopback_is_listened_on_without_a_token() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = Config {
        data: data.path().to_owned(),
        node_id: None,
        allow_origins: Vec::new(),
        allow_hosts: Vec::new(),
        admin_token: None,
        limits: Limits::default(),
    };
    let running = spawn_blocking(|| run(listener, config, std::future::pending()));
    let ended = within(SOON, "the refusal", running).await.unwrap();
    assert!(
        matches!(ended, Err(RunError::Config(ConfigError::TokenNeeded(_)))),
        "{ended:?}"
    );
}
