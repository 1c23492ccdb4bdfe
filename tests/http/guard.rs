//! Whom it answers: own names, own pages, the bearer of the token; and where it listens.

use std::net::TcpListener;

use freshet::RunError;
use freshet::config::{Config, ConfigError};
use freshet_tests::raw::Raw;
use freshet_tests::server::run;
use freshet_tests::{SOON, Server, within};
use http::Method;
use tokio::task::spawn_blocking;

const TOKEN: &str = "sixteen-characters";

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
async fn no_address_but_loopback_is_listened_on_without_a_token() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = Config {
        data: data.path().to_owned(),
        ..Config::default()
    };
    let running = spawn_blocking(|| run(listener, config, std::future::pending()));
    let ended = within(SOON, "the refusal", running).await.unwrap();
    assert!(
        matches!(ended, Err(RunError::Config(ConfigError::TokenNeeded(_)))),
        "{ended:?}"
    );
}
