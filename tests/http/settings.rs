//! `GET` and `PATCH /settings`.

use std::time::{Duration, Instant};

use freshet_tests::{Server, until};
use freshet_wire::{Cluster, SettingsHistory, SettingsSchema, SettingsStatus, SettingsVersion};
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
        (json!({"lane": {"poll_interval_ms": 99}}), 422, "lane.poll_interval_ms"),
        (json!({"lane": {"cards": "both"}}), 422, "lane.cards"),
        (json!({"election": {"lease_ttl_s": 0}}), 422, "election.lease_ttl_s"),
        (
            json!({"election": {"raft_timeout_ms": 199}}),
            422,
            "election.raft_timeout_ms",
        ),
        (json!({"sampling": {"limits_hz": 0}}), 422, "sampling.limits_hz"),
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

#[tokio::test]
async fn what_was_changed_is_told_and_can_be_taken_back() {
    let server = Server::start().await;
    let rollback = async |body: &str, if_match: &str| {
        let path = "/api/v1/settings/rollback";
        server.send(Method::POST, path, &[("if-match", if_match)], body).await
    };
    let first: SettingsStatus = server.get("/api/v1/settings").await.json();
    assert_eq!((first.in_force.version, &*first.in_force.changed_by), (1, "start"));
    assert_eq!((&*first.engine.name, &first.refused), ("file", &None));
    server.change(json!({"workload": {"payload_bytes": 64}})).await;
    server
        .change(json!({"workload": {"payload_bytes": 65}, "limit": {"denied": ["192.0.2.0/24"]}}))
        .await;
    let history: SettingsHistory = server.get("/api/v1/settings/history").await.json();
    assert_eq!((history.version, history.changes.len()), (3, 3));
    let newest = &history.changes[0];
    let keys: Vec<_> = newest.changes.iter().map(|change| &*change.key).collect();
    assert_eq!(keys, ["workload.payload_bytes", "limit.denied"]);
    assert_eq!(
        (&newest.changes[0].before, &newest.changes[0].after),
        (&json!(64), &json!(65))
    );
    assert_eq!(newest.changed_by, "API, 127.0.0.1");
    let problem = rollback("{\"version\": 1}", "\"2\"").await.problem();
    assert_eq!((problem.status, problem.current_version), (412, Some(3)));
    for (body, status, field) in [
        ("{\"version\": 9}", 404, "version"),
        ("{\"version\": 0}", 404, "version"),
        ("{}", 400, "body"),
        ("7", 400, "body"),
    ] {
        let problem = rollback(body, "*").await.problem();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (status, Some(field)),
            "{body}"
        );
    }
    let back: SettingsStatus = rollback("{\"version\": 1}", "\"3\"").await.json();
    assert_eq!(
        (back.in_force.version, &back.in_force.settings),
        (4, &first.in_force.settings)
    );
    let own = &back.applied[0];
    assert_eq!(
        (own.version, &own.node, &own.node),
        (4, &own.changed_on, &back.in_force.changed_on)
    );
    assert!(own.took_us.is_some_and(|took_us| took_us >= 0), "one clock: {own:?}");
    let metrics = server.get("/metrics").await;
    assert!(
        metrics.text().contains("freshet_settings_version 4\n"),
        "{}",
        metrics.text()
    );
    assert!(
        metrics.text().contains("freshet_settings_apply_seconds 0."),
        "{}",
        metrics.text()
    );
}

#[tokio::test]
async fn settings_outlive_the_process_and_the_file_can_be_edited() {
    let mut server = Server::quiet(|_| {}).await;
    let changed = server.change(json!({"workload": {"payload_bytes": 64}})).await;
    server.stop().await;
    server.start_again();
    let status: SettingsStatus = server.get("/api/v1/settings").await.json();
    assert_eq!(status.in_force, changed);
    let text = std::fs::read_to_string(&status.place).unwrap();
    let page = server.poll("from=settings").await;
    let wrong = text.replace("payload_bytes = 64", "payload_bytes = 6");
    std::fs::write(&status.place, wrong).unwrap();
    let page = server.poll(&format!("from={}&wait=5", page.next_of("settings"))).await;
    let told: SettingsStatus = serde_json::from_str(&page.events[0].data).unwrap();
    let refused = told.refused.unwrap();
    assert_eq!(refused.key, "workload.payload_bytes");
    assert!(refused.reason.contains("32 to 16384 bytes"), "{refused:?}");
    assert_eq!(told.in_force, changed, "the last good one stays");
    std::fs::write(&status.place, text.replace("payload_bytes = 64", "payload_bytes = 640")).unwrap();
    let page = server.poll(&format!("from={}&wait=5", page.next_of("settings"))).await;
    let told: SettingsStatus = serde_json::from_str(&page.events[0].data).unwrap();
    assert_eq!(told.refused, None);
    assert_eq!(
        (told.in_force.version, told.in_force.settings.workload.payload_bytes),
        (changed.version + 1, 640)
    );
}

#[tokio::test]
async fn retention_is_changed_while_the_service_runs() {
    let server = Server::quiet(|_| {}).await;
    server
        .change(json!({"retention": {"max_age_s": 3600, "max_bytes": 10_485_760}}))
        .await;
    until("the topic to be kept for an hour", async || {
        let log = server.topic("workload").await.log.unwrap();
        (log.retention.max_age_s, log.retention.max_bytes) == (Some(3600), Some(10_485_760))
    })
    .await;
}

#[tokio::test]
async fn the_schema_has_every_setting_with_its_bounds() {
    let server = Server::start().await;
    let schema: SettingsSchema = server.get("/api/v1/settings/schema").await.json();
    let rate = schema.keys.iter().find(|key| key.key == "source.cpu_hz").unwrap();
    assert_eq!(
        (rate.least, rate.most, rate.zero.as_deref()),
        (Some(0.01), Some(20.0), Some("off"))
    );
    assert_eq!(rate.default, json!(10.0));
}

#[tokio::test]
async fn sampling_follows_the_settings_at_once() {
    let server = Server::quiet(|_| {}).await;
    // Ten samples: ten seconds at the rate that it begins with.
    server.change(json!({"sampling": {"deliveries_hz": 10}})).await;
    let (begun, begin) = (Instant::now(), server.end_of("deliveries").await);
    until("ten samples", async || server.end_of("deliveries").await >= begin + 10).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_needs_a_restart_says_so_and_is_in_force_after_it() {
    let mut server = Server::start().await;
    let schema: SettingsSchema = server.get("/api/v1/settings/schema").await.json();
    let restart: Vec<_> = schema.keys.iter().filter(|key| key.restart).collect();
    assert_eq!(restart.len(), 1);
    assert_eq!(restart[0].key, "election.raft_timeout_ms");
    let timeout_ms = async |server: &Server| {
        let cluster: Cluster = server.get("/api/v1/cluster").await.json();
        cluster.raft.unwrap().election_timeout_max_ms
    };
    server.change(json!({"election": {"raft_timeout_ms": 800}})).await;
    assert_eq!(timeout_ms(&server).await, 500);
    server.stop().await;
    server.start_again();
    until("the server to be back", async || {
        let answer = tokio::net::TcpStream::connect(server.address).await;
        answer.is_ok()
    })
    .await;
    assert_eq!(timeout_ms(&server).await, 800);
}
