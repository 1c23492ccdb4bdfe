//! etcd, against a real server.

use std::path::Path;
use std::sync::Arc;

use etcd_client::{Client, DeleteOptions};
use freshet::config::{SettingsEngine, SettingsEtcd};
use freshet::settings::contract::{Harness, Process};
use freshet::settings::{SettingsError, SettingsStore};
use freshet_tests::etcd::Etcd;
use freshet_tests::gate::Gate;
use freshet_tests::secured::{self, Authority, PASSWORD};
use freshet_tests::{SOON, until, within};
use freshet_wire::{EngineState, SettingsDocument};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::payload;

const KEY: &str = "tests/settings/document";

struct Store {
    etcd: Mutex<Etcd>,
    gate: Mutex<Gate>,
    config: SettingsEngine,
}

impl Store {
    async fn start() -> Self {
        let etcd = Etcd::start(1).await;
        let server = etcd.endpoints()[0].trim_start_matches("http://").parse().unwrap();
        let gate = Gate::to(server).await;
        let config = SettingsEtcd {
            endpoints: vec![format!("http://{}", gate.address)],
            prefix: "tests".to_owned(),
            user: None,
            password: None,
            tls: None,
        };
        Self {
            etcd: Mutex::new(etcd),
            gate: Mutex::new(gate),
            config: SettingsEngine::Etcd(config),
        }
    }

    async fn process(&self, node: &str) -> Process {
        Process::start(self.open(node).await, node).await
    }

    /// By another way than the gate.
    async fn client(&self) -> Client {
        Client::connect(self.etcd.lock().await.endpoints(), None).await.unwrap()
    }

    /// Forgets every revision but the newest.
    async fn compact(&self) {
        let mut client = self.client().await;
        let there = client.get(KEY, None).await.unwrap();
        let revision = there.header().map_or(0, |header| header.revision());
        client.compact(revision, None).await.unwrap();
    }
}

impl Harness for Store {
    async fn open(&self, node: &str) -> Arc<dyn SettingsStore> {
        crate::open(&self.config, Path::new(""), node)
    }

    async fn write(&self, document: &SettingsDocument, settings: Option<&Value>) {
        let bytes = crate::bytes(document, settings);
        self.client().await.put(KEY, bytes, None).await.unwrap();
    }

    /// The server stops and starts, and what the watch has missed is compacted away.
    async fn reconnect(&self, between: impl AsyncFnOnce()) {
        self.gate.lock().await.close().await;
        {
            let mut etcd = self.etcd.lock().await;
            etcd.kill(0).await;
            etcd.start_again(0).await;
        }
        between().await;
        self.client().await.put("elsewhere", "", None).await.unwrap();
        self.compact().await;
        self.gate.lock().await.open().await;
    }
}

mod contract {
    freshet::settings_contract!(super::Store::start);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_survives_compactions() {
    let store = Store::start().await;
    let (a, b) = (store.process("a").await, store.process("b").await);
    for bytes in 100..110 {
        a.live.patch(&payload(bytes), None, "test").await.unwrap();
        store.compact().await;
        b.until("the change", |told| {
            told.in_force.settings.workload.payload_bytes == bytes
        })
        .await;
    }
    // The watch of one is opened again from a revision that is gone.
    store.gate.lock().await.close().await;
    let mut document = SettingsDocument::clone(&document(&store).await);
    document.newest.version += 1;
    document.newest.settings.workload.payload_bytes = 200;
    let settings = serde_json::to_value(&document.newest.settings).unwrap();
    store.write(&document, Some(&settings)).await;
    store.compact().await;
    store.gate.lock().await.open().await;
    for process in [&a, &b] {
        process
            .until("what was written meanwhile", |told| {
                told.in_force.settings.workload.payload_bytes == 200 && told.engine.state == EngineState::Up
            })
            .await;
    }
    a.stop().await;
    b.stop().await;
}

async fn is_there(store: &Store) -> bool {
    let there = store.client().await.get(KEY, None).await.unwrap();
    !there.kvs().is_empty()
}

async fn document(store: &Store) -> SettingsDocument {
    let there = store.client().await.get(KEY, None).await.unwrap();
    serde_json::from_slice(there.kvs()[0].value()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_etcd_the_last_settings_stay_and_a_change_is_refused_by_its_name() {
    let store = Store::start().await;
    let process = store.process("a").await;
    process.live.patch(&payload(64), None, "test").await.unwrap();
    let before = process.live.current();
    store.etcd.lock().await.kill(0).await;
    let refused = within(SOON, "an answer", process.live.patch(&payload(65), None, "test")).await;
    let Err(SettingsError::Unavailable(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("etcd"), "{why}");
    process
        .until("word that etcd is away", |told| {
            told.engine.state == EngineState::Down && told.engine.detail.contains("etcd")
        })
        .await;
    assert_eq!(process.live.current(), before);
    // A process that starts meanwhile runs on what an empty store would get, as version 0.
    let late = store.process("late").await;
    assert_eq!(late.live.current().version, 0);
    store.etcd.lock().await.start_again(0).await;
    for process in [&process, &late] {
        process
            .until("etcd to be back", |told| {
                told.engine.state == EngineState::Up && told.in_force.settings.workload.payload_bytes == 64
            })
            .await;
    }
    let changed = process.live.patch(&payload(65), None, "test").await.unwrap();
    assert_eq!(changed.in_force.version, before.version + 1);
    process.stop().await;
    late.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_lists_what_each_applied_as_long_as_it_is_there() {
    let store = Store::start().await;
    let (a, b, c) = (
        store.process("a").await,
        store.process("b").await,
        store.process("c").await,
    );
    let changed = a.live.patch(&payload(64), None, "test").await.unwrap();
    let version = changed.in_force.version;
    for process in [&a, &b, &c] {
        process
            .until("all of them", |told| {
                told.applied.len() == 3 && told.applied.iter().all(|applied| applied.version == version)
            })
            .await;
        let told = process.live.status();
        assert!(told.applied.iter().all(|applied| applied.took_us.is_some()), "{told:?}");
        assert_eq!(
            told.applied.iter().filter(|applied| applied.changed_on == "a").count(),
            3
        );
    }
    c.live.close().await;
    for process in [&a, &b] {
        process
            .until("the other to be gone", |told| told.applied.len() == 2)
            .await;
    }
    a.stop().await;
    b.stop().await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_put_back_and_a_cluster_that_is_another_is_believed() {
    let store = Store::start().await;
    let process = store.process("a").await;
    for bytes in 100..105 {
        process.live.patch(&payload(bytes), None, "test").await.unwrap();
    }
    let before = process.live.current();
    let all = DeleteOptions::new().with_prefix();
    store.client().await.delete("tests", Some(all)).await.unwrap();
    until("the settings to be put back", async || Box::pin(is_there(&store)).await).await;
    assert_eq!(document(&store).await.newest, *before);
    // Another cluster on the same address, whose revisions begin anew.
    {
        let other = Etcd::start(1).await;
        let server = other.endpoints()[0].trim_start_matches("http://").parse().unwrap();
        let mut gate = store.gate.lock().await;
        gate.close().await;
        gate.lead_to(server);
        gate.open().await;
        *store.etcd.lock().await = other;
    }
    process
        .until("the other cluster", |told| told.engine.state != EngineState::Up)
        .await;
    process
        .until("the other cluster", |told| told.engine.state == EngineState::Up)
        .await;
    let changed = process.live.patch(&payload(110), None, "test").await.unwrap();
    assert_eq!(changed.in_force.settings.workload.payload_bytes, 110);
    assert_eq!(document(&store).await.newest, changed.in_force);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_asks_for_certificates_and_users_is_used_by_whoever_has_them() {
    let authority = Authority::make();
    let (etcd, tls) = secured::start(&authority, "tests").await;
    let right = SettingsEtcd {
        endpoints: etcd.endpoints(),
        prefix: "tests".to_owned(),
        user: Some("freshet".to_owned()),
        password: Some(PASSWORD.to_owned()),
        tls: Some(tls),
    };
    let open = async |config: &SettingsEtcd, node: &str| {
        let config = SettingsEngine::Etcd(config.clone());
        Process::start(crate::open(&config, Path::new(""), node), node).await
    };
    let process = open(&right, "a").await;
    process.live.patch(&payload(64), None, "test").await.unwrap();
    let guessed = SettingsEtcd {
        password: Some("guessed".to_owned()),
        ..right.clone()
    };
    let unsure = SettingsEtcd {
        tls: None,
        ..right.clone()
    };
    let elsewhere = SettingsEtcd {
        prefix: "others".to_owned(),
        ..right.clone()
    };
    for config in [guessed, unsure, elsewhere] {
        let other = open(&config, "b").await;
        other
            .until("it to be refused", |told| told.engine.state == EngineState::Down)
            .await;
        let told = other.live.status();
        println!("{}", told.engine.detail);
        assert!(!told.engine.detail.contains("guessed"), "{told:?}");
        assert_eq!(told.in_force.version, 0);
        other.stop().await;
    }
    assert_eq!(process.live.status().engine.state, EngineState::Up);
    process.stop().await;
}
