//! ZooKeeper, against a real server.

use std::path::Path;
use std::sync::Arc;

use freshet::config::{SettingsEngine, SettingsZooKeeper};
use freshet::settings::contract::{Harness, Process};
use freshet::settings::{SettingsError, SettingsStore};
use freshet_tests::gate::Gate;
use freshet_tests::zookeeper::ZooKeeper;
use freshet_tests::{SOON, within};
use freshet_wire::{EngineState, SettingsDocument};
use serde_json::Value;
use tokio::sync::Mutex;
use zookeeper_client::Client;

use crate::payload;

const KEY: &str = "/tests/freshet/settings/document";

struct Store {
    zookeeper: Mutex<ZooKeeper>,
    gate: Mutex<Gate>,
    config: SettingsZooKeeper,
}

impl Store {
    async fn start() -> Self {
        let zookeeper = ZooKeeper::start(1).await;
        let gate = Gate::to(zookeeper.servers()[0].parse().unwrap()).await;
        let config = SettingsZooKeeper {
            servers: vec![gate.address.to_string()],
            path: "/tests/freshet".to_owned(),
            user: None,
            password: None,
        };
        Self {
            zookeeper: Mutex::new(zookeeper),
            gate: Mutex::new(gate),
            config,
        }
    }

    async fn process(&self, node: &str) -> Process {
        Process::start(self.open(node).await, node).await
    }

    /// By another way than the gate.
    async fn client(&self) -> Client {
        let servers = self.zookeeper.lock().await.servers().join(",");
        Client::connect(&servers).await.unwrap()
    }
}

impl Harness for Store {
    async fn open(&self, node: &str) -> Arc<dyn SettingsStore> {
        let config = SettingsEngine::ZooKeeper(self.config.clone());
        crate::open(&config, Path::new(""), node)
    }

    async fn write(&self, document: &SettingsDocument, settings: Option<&Value>) {
        let bytes = crate::bytes(document, settings);
        self.client().await.set_data(KEY, &bytes, None).await.unwrap();
    }

    /// The server stops and starts.
    async fn reconnect(&self, between: impl AsyncFnOnce()) {
        self.gate.lock().await.close().await;
        {
            let mut zookeeper = self.zookeeper.lock().await;
            zookeeper.kill(0).await;
            zookeeper.start_again(0).await;
        }
        between().await;
        self.gate.lock().await.open().await;
    }
}

mod contract {
    freshet::settings_contract!(super::Store::start);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_lost_is_followed_by_another() {
    let store = Store::start().await;
    let (a, b) = (store.process("a").await, store.process("b").await);
    a.live.patch(&payload(64), None, "test").await.unwrap();
    store.gate.lock().await.close().await;
    // The server lets the sessions expire, and the listing of those who had them goes.
    let client = store.client().await;
    let expiring = async {
        while !client
            .list_children("/tests/freshet/settings/applied")
            .await
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    within(SOON * 3, "the sessions to expire", expiring).await;
    let (bytes, _) = client.get_data(KEY).await.unwrap();
    let mut document: SettingsDocument = serde_json::from_slice(&bytes).unwrap();
    document.newest.version += 1;
    document.newest.settings.workload.payload_bytes = 65;
    let bytes = serde_json::to_vec(&document).unwrap();
    client.set_data(KEY, &bytes, None).await.unwrap();
    store.gate.lock().await.open().await;
    for process in [&a, &b] {
        process
            .until("what was written meanwhile, and both again", |told| {
                told.in_force.settings.workload.payload_bytes == 65
                    && told.engine.state == EngineState::Up
                    && told.applied.len() == 2
                    && told
                        .applied
                        .iter()
                        .all(|applied| applied.version == document.newest.version)
            })
            .await;
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_zookeeper_the_last_settings_stay_and_a_change_is_refused_by_its_name() {
    let store = Store::start().await;
    let process = store.process("a").await;
    process.live.patch(&payload(64), None, "test").await.unwrap();
    let before = process.live.current();
    store.zookeeper.lock().await.kill(0).await;
    let refused = within(SOON, "an answer", process.live.patch(&payload(65), None, "test")).await;
    let Err(SettingsError::Unavailable(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("ZooKeeper"), "{why}");
    process
        .until("word that ZooKeeper is away", |told| {
            told.engine.state != EngineState::Up && told.engine.detail.contains("ZooKeeper")
        })
        .await;
    assert_eq!(process.live.current(), before);
    store.zookeeper.lock().await.start_again(0).await;
    process
        .until("ZooKeeper to be back", |told| told.engine.state == EngineState::Up)
        .await;
    let changed = process.live.patch(&payload(65), None, "test").await.unwrap();
    assert!(changed.in_force.version > before.version);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_user_the_settings_are_closed_to_others() {
    let store = Store::start().await;
    let open = |user: Option<(&str, &str)>, node| {
        let config = SettingsEngine::ZooKeeper(SettingsZooKeeper {
            user: user.map(|(user, _)| user.to_owned()),
            password: user.map(|(_, password)| password.to_owned()),
            ..store.config.clone()
        });
        crate::open(&config, Path::new(""), node)
    };
    let process = Process::start(open(Some(("freshet", "secret")), "a"), "a").await;
    process.live.patch(&payload(64), None, "test").await.unwrap();
    for user in [None, Some(("freshet", "guess"))] {
        let other = Process::start(open(user, "b"), "b").await;
        other
            .until("it to be refused", |told| {
                told.engine.state == EngineState::Down && told.engine.detail.contains("not authorized")
            })
            .await;
        assert_eq!(other.live.current().version, 0);
        other.live.close().await;
        other.stop().await;
    }
    process.stop().await;
}
