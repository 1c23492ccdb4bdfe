//! `GET` and `PATCH /settings`.

use freshet_tests::Server;
use freshet_wire::SettingsVersion;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn settings_apply_whole_or_not_at_all() {
    let server = Server::start().await;
    let before = server.get("/api/v1/settings").await;
    let cases = [
        (json!({"workload": {"rate_hz": 10_001}}), 422, "workload.rate_hz"),
        (json!({"workload": {"rate_hz": -1}}), 422, "workload.rate_hz"),
        (json!({"workload": {"rate_hz": "fast"}}), 422, "workload.rate_hz"),
        (json!({"workload": {"rate_hz": null}}), 422, "workload.rate_hz"),
        (
            json!({"workload": {"payload_bytes": 31}}),
            422,
            "workload.payload_bytes",
        ),
        (
            json!({"workload": {"payload_bytes": 16_385}}),
            422,
            "workload.payload_bytes",
        ),
        (json!({"workload": {"burst_events": 0}}), 422, "workload.burst_events"),
        (json!({"workload": {"shape": "odd"}}), 422, "workload.shape"),
        (json!({"source": {"cpu_hz": 21}}), 422, "source.cpu_hz"),
        (json!({"source": {"gpu_hz": 1}}), 422, "source.gpu_hz"),
        (json!({"sources": {}}), 422, "sources"),
        (json!({"source": null}), 422, "source"),
        (json!(null), 422, "body"),
        (json!([1]), 422, "body"),
        // The first half is valid.
        (
            json!({"source": {"cpu_hz": 5}, "workload": {"rate_hz": 1e9}}),
            422,
            "workload.rate_hz",
        ),
    ];
    for (patch, status, field) in cases {
        let answer = server
            .send(Method::PATCH, "/api/v1/settings", &[], &patch.to_string())
            .await;
        let problem = answer.problem();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (status, Some(field)),
            "{patch}: {problem:?}"
        );
    }
    for no_json in ["", "{", "{\"a\":1}x", "rate_hz=1"] {
        let problem = server
            .send(Method::PATCH, "/api/v1/settings", &[], no_json)
            .await
            .problem();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (400, Some("body")),
            "{no_json:?}"
        );
    }
    assert_eq!(server.get("/api/v1/settings").await.body, before.body);
}

#[tokio::test]
async fn a_change_made_for_an_older_version_is_refused() {
    let server = Server::start().await;
    let read = server.get("/api/v1/settings").await;
    let etag = read.header("etag").to_owned();
    let patch = |rate: u32| json!({"workload": {"payload_bytes": rate}}).to_string();
    let path = "/api/v1/settings";
    let first = server
        .send(Method::PATCH, path, &[("if-match", &etag)], &patch(64))
        .await;
    assert_eq!(first.status, 200);
    assert_ne!(first.header("etag"), etag);
    let second = server
        .send(Method::PATCH, path, &[("if-match", &etag)], &patch(65))
        .await;
    let problem = second.problem();
    assert_eq!((problem.status, problem.field.as_deref()), (412, Some("If-Match")));
    let whichever = server.send(Method::PATCH, path, &[("if-match", "*")], &patch(66)).await;
    assert_eq!(whichever.json::<SettingsVersion>().settings.workload.payload_bytes, 66);
    for malformed in ["2", "\"two\"", "W/\"2\""] {
        let problem = server
            .send(Method::PATCH, path, &[("if-match", malformed)], &patch(67))
            .await
            .problem();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (400, Some("If-Match")),
            "{malformed}"
        );
    }
}

#[tokio::test]
async fn a_change_is_an_event_and_no_change_is_none() {
    let server = Server::start().await;
    let first: SettingsVersion = server.get("/api/v1/settings").await.json();
    let page = server.poll("from=settings").await;
    assert_eq!(
        serde_json::from_str::<SettingsVersion>(&page.events[0].data).unwrap(),
        first
    );
    let same = server
        .change(json!({"source": {"cpu_hz": first.settings.source.cpu_hz}}))
        .await;
    assert_eq!(same, first, "what changes nothing is no new version");
    let second = server.change(json!({"source": {"cpu_hz": 3}})).await;
    assert_eq!(second.version, first.version + 1);
    let next = server.poll(&format!("from={}&wait=5", page.next_of("settings"))).await;
    assert_eq!(next.events.len(), 1);
    assert_eq!(
        serde_json::from_str::<SettingsVersion>(&next.events[0].data).unwrap(),
        second
    );
}
