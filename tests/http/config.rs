//! `GET /config`, and what a static configuration has to do with live settings.

use std::fs;
use std::path::Path;

use freshet::cli::seeds;
use freshet::config::{Config, Sources, load};
use freshet_tests::Server;
use freshet_wire::{ConfigKey, ConfigSource, SettingsHistory, SettingsStatus, StaticConfig};
use http::Method;
use serde_json::{Value, json};

fn configured(file: &Path, variables: &[(&str, &str)]) -> Config {
    let sources = Sources {
        file: Some(file.to_owned()),
        environment: variables
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect(),
        ..Sources::default()
    };
    load(&sources, seeds()).unwrap()
}

/// A server with this configuration, but a data folder of its own.
async fn start(loaded: Config) -> Server {
    Server::start_with(|config| {
        let data = config.data.clone();
        *config = Config { data, ..loaded };
    })
    .await
}

#[tokio::test]
async fn each_key_is_told_with_its_value_and_where_that_came_from_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("freshet.yaml");
    fs::write(
        &file,
        "node_id: node-a\nadmin_token: sesame-sesame-sesame\nelection:\n  nodes: 1\n",
    )
    .unwrap();
    let server = start(configured(&file, &[("FRESHET_BOUNDS__SUBSCRIPTIONS", "7")])).await;
    let answer = server.get("/api/v1/config").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("sesame"), "{}", answer.text());
    let told: StaticConfig = answer.json();
    let name = file.to_str().unwrap();
    assert_eq!(told.file.as_deref(), Some(name));
    let key = |name: &str| told.keys.iter().find(|key| key.key == name).expect(name);
    let line = |line| ConfigSource::File {
        file: name.to_owned(),
        line: Some(line),
    };
    assert_eq!(
        (&key("node_id").value, &key("node_id").source),
        (&json!("node-a"), &line(1))
    );
    let token = key("admin_token");
    assert_eq!(
        (token.secret, &token.value, &token.source),
        (true, &json!(ConfigKey::MASK), &line(2))
    );
    let nodes = key("election.nodes");
    assert_eq!(
        (&nodes.value, &nodes.default, &nodes.source),
        (&json!(1), &json!(3), &line(4))
    );
    assert_eq!((nodes.least, nodes.most, &*nodes.unit), (Some(1.0), Some(5.0), "nodes"));
    let subscriptions = key("bounds.subscriptions");
    let variable = "FRESHET_BOUNDS__SUBSCRIPTIONS".to_owned();
    assert_eq!(
        (&subscriptions.value, &subscriptions.source),
        (&json!(7), &ConfigSource::Environment { variable })
    );
    assert_eq!(key("limit.clients").source, ConfigSource::Default);
    assert!(
        !told.keys.iter().any(|key| key.key == "election.endpoints"),
        "raft has none"
    );
    let change = server.send(Method::POST, "/api/v1/config", &[], "{}").await;
    assert_eq!(change.status, 405);
}

#[tokio::test]
async fn a_static_key_is_not_changed_live_and_the_refusal_says_where_it_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("freshet.toml");
    fs::write(&file, "[limit]\n\nclients = 99\n").unwrap();
    let server = start(configured(&file, &[])).await;
    let before = server.get("/api/v1/settings").await.body;
    for (patch, key, place) in [
        (
            json!({"limit": {"mask": true, "clients": 7}}),
            "limit.clients",
            "freshet.toml:3",
        ),
        (json!({"listen": "127.0.0.1:1"}), "listen", "default"),
        (json!({"election": {"prefix": "x"}}), "election.prefix", "engine"),
    ] {
        let answer = server
            .send(Method::PATCH, "/api/v1/settings", &[], &patch.to_string())
            .await;
        let problem = answer.problem();
        assert_eq!((problem.status, &*problem.kind), (422, "urn:freshet:static-key"));
        assert_eq!(problem.field.as_deref(), Some(key));
        let detail = problem.detail.unwrap();
        for said in [key, place, "restart"] {
            assert!(detail.contains(said), "{said}: {detail}");
        }
    }
    assert_eq!(server.get("/api/v1/settings").await.body, before);
}

#[tokio::test]
async fn a_file_seeds_an_empty_store_of_live_settings_once_and_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("freshet.toml");
    let text =
        "[pubsub]\nmax_topics = 30\n[seed]\nworkload.payload_bytes = 77\n[seed.limit]\nexempt = ['127.0.0.0/8']\n";
    fs::write(&file, text).unwrap();
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    let mut server = start(configured(&file, &[("FRESHET_SEED__RETENTION__MAX_AGE_S", "3600")])).await;
    let payload = async |server: &Server| {
        let told: SettingsStatus = server.get("/api/v1/settings").await.json();
        (told.in_force.settings.workload.payload_bytes, told.in_force)
    };
    let (bytes, first) = payload(&server).await;
    assert_eq!((bytes, first.version, &*first.changed_by), (77, 1, "start"));
    assert_eq!(first.settings.limit.exempt, ["127.0.0.0/8"]);
    assert_eq!(first.settings.retention.max_age_s, 3600);
    server.change(json!({"workload": {"payload_bytes": 88}})).await;
    server.change(json!({"limit": {"exempt": []}})).await;
    server.stop().await;
    // What the store has is in force, whatever the file says.
    server.start_again();
    let (bytes, now) = payload(&server).await;
    assert_eq!((bytes, now.version), (88, 3));
    assert_eq!(now.settings.limit.exempt, Vec::<String>::new());
    let history: SettingsHistory = server.get("/api/v1/settings/history").await.json();
    assert_eq!(history.changes.len(), 3);
    server.stop().await;
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (fs::read_to_string(&file).unwrap(), after.modified().unwrap()),
        (text.to_owned(), written)
    );
    let inside: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(inside, ["freshet.toml"]);
}

#[tokio::test]
async fn no_live_setting_is_a_static_key() {
    let server = Server::quiet(|_| {}).await;
    let told: StaticConfig = server.get("/api/v1/config").await.json();
    let schema: Value = server.get("/api/v1/settings/schema").await.json();
    for setting in schema["keys"].as_array().unwrap() {
        let setting = setting["key"].as_str().unwrap();
        assert!(!told.keys.iter().any(|key| key.key == setting), "{setting}");
    }
}
