//! Google Cloud Pub/Sub, against Google's own emulator.

use std::sync::Arc;

use freshet::config::{CloudPubSubConfig, LogConfig};
use freshet::pubsub::PubSub;
use freshet::pubsub::cloud::CloudPubSub as Engine;
use freshet::pubsub::contract::{BUDGET, Harness, keyed, numbers, open_topic, publish, read_all, soon, unique};
use freshet_tests::cloud_pubsub::CloudPubSub;
use freshet_wire::EngineState;
use tempfile::TempDir;
use tokio::sync::Mutex;

mod contract {
    freshet::pubsub_contract!(super::harness);
}

/// An emulator, and the data folder of the node that uses it.
struct Node {
    emulator: Mutex<CloudPubSub>,
    data: TempDir,
}

async fn harness(_promise: &str) -> Node {
    Node {
        emulator: Mutex::new(CloudPubSub::start().await),
        data: tempfile::tempdir().unwrap(),
    }
}

impl Harness for Node {
    async fn open(&self) -> Arc<dyn PubSub> {
        let config = CloudPubSubConfig {
            project: "freshet-tests".to_owned(),
            prefix: "freshet.".to_owned(),
            emulator: Some(self.emulator.lock().await.endpoint()),
            subscription_expiry_s: 24 * 3600,
            spool: LogConfig::default(),
        };
        Arc::new(Engine::open(&config, &self.data.path().join("spool"), "node-1").unwrap())
    }

    async fn restart_server(&self) -> bool {
        let mut emulator = self.emulator.lock().await;
        emulator.kill();
        emulator.start_again().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_service_is_gone_it_is_said_what_is_kept_is_read_and_then_it_goes_on() {
    let node = harness("outage").await;
    let engine = node.open().await;
    let topic = unique("outage");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..20)).await;
    node.emulator.lock().await.kill();
    let mut state = engine.status();
    state
        .wait_for(|engine| engine.state == EngineState::Down)
        .await
        .unwrap();
    assert!(state.borrow().detail.contains("publishing is refused"));
    assert!(engine.publish(&topic, numbers(20..21)).await.is_err());
    assert_eq!(read_all(&engine, &topic, 0, 0, BUDGET).await.len(), 20);
    node.emulator.lock().await.start_again().await;
    state.wait_for(|engine| engine.state == EngineState::Up).await.unwrap();
    soon("a publish", async || engine.publish(&topic, numbers(20..21)).await).await;
    sink.events(21).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_comes_twice_is_one_event_also_after_a_restart() {
    let node = harness("twice").await;
    let topic = unique("twice");
    let before = node.open().await;
    open_topic(&before, &topic).await;
    let first = publish(&before, &topic, keyed("key-1", "1")).await;
    before.close().await;
    let engine = node.open().await;
    open_topic(&engine, &topic).await;
    let second = publish(&engine, &topic, keyed("key-1", "1")).await;
    assert_eq!((second[0].offset, second[0].epoch), (first[0].offset, first[0].epoch));
    assert_eq!(read_all(&engine, &topic, 0, 0, BUDGET).await.len(), 1);
    engine.close().await;
}
