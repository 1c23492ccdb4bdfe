//! Google Cloud Pub/Sub, against Google's own emulator.

mod again;
mod others;
mod outage;
mod roam;

use std::path::Path;
use std::sync::Arc;

use freshet::config::{CloudPubSubConfig, LogConfig};
use freshet::pubsub::cloud::CloudPubSub as Engine;
use freshet::pubsub::contract::{Harness, event};
use freshet::pubsub::{PubSub, Stored};
use freshet_tests::cloud_pubsub::CloudPubSub;
use tempfile::TempDir;
use tokio::sync::Mutex;

mod contract {
    freshet::pubsub_contract!(super::harness);
}

const PROJECT: &str = "freshet-tests";
const NODE: &str = "node-1";

enum Emulator {
    Shared(&'static CloudPubSub),
    Own(Mutex<CloudPubSub>),
}

/// An emulator, and the data folder of the node that uses it.
struct Node {
    emulator: Emulator,
    data: TempDir,
}

/// An emulator of its own for a test that ends it.
async fn harness(promise: &str) -> Node {
    let emulator = match promise.contains("restart") {
        true => Emulator::Own(Mutex::new(CloudPubSub::start().await)),
        false => Emulator::Shared(CloudPubSub::shared().await),
    };
    let data = tempfile::tempdir().unwrap();
    Node { emulator, data }
}

impl Node {
    async fn endpoint(&self) -> String {
        match &self.emulator {
            Emulator::Shared(emulator) => emulator.endpoint(),
            Emulator::Own(emulator) => emulator.lock().await.endpoint(),
        }
    }

    fn own(&self) -> &Mutex<CloudPubSub> {
        match &self.emulator {
            Emulator::Own(emulator) => emulator,
            Emulator::Shared(_) => panic!("others use this emulator"),
        }
    }
}

impl Harness for Node {
    async fn open(&self) -> Arc<dyn PubSub> {
        open(self.endpoint().await, self.data.path(), NODE)
    }

    async fn restart_server(&self) -> bool {
        let mut emulator = self.own().lock().await;
        emulator.kill();
        emulator.start_again().await;
        true
    }
}

fn config(endpoint: String) -> CloudPubSubConfig {
    CloudPubSubConfig {
        project: PROJECT.to_owned(),
        prefix: "freshet.".to_owned(),
        emulator: Some(endpoint),
        subscription_expiry_s: 24 * 3600,
        spool: LogConfig::default(),
    }
}

fn open(endpoint: String, data: &Path, node: &str) -> Arc<dyn PubSub> {
    Arc::new(Engine::open(&config(endpoint), &data.join("spool"), node).unwrap())
}

/// The `n` of each event, in order.
fn numbers_of(events: &[Stored]) -> Vec<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        n: u64,
    }
    let n = |stored| serde_json::from_str::<Numbered>(event(stored).data.get()).unwrap().n;
    events.iter().map(n).collect()
}
