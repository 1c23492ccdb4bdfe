//! Connections below HTTP: too much, too slow, too many, idle.

use std::time::Duration;

use freshet_tests::http::{Connection, request};
use freshet_tests::raw::Raw;
use freshet_tests::{SOON, Server, until, within};
use http::Method;

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
    until("a place", async || {
        let mut connection = Connection::open(server.address).await;
        let asked = connection.try_send(request(Method::GET, "/livez", &[], "")).await;
        asked.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    server.still_serves().await;
}
