//! The promises that every engine keeps.

use std::sync::Arc;

use tempfile::TempDir;

use crate::config::LogConfig;
use crate::pubsub::PubSub;
use crate::pubsub::contract::Harness;
use crate::pubsub::embedded::EmbeddedLog;

/// A folder, in which one log follows the other.
struct Folder(TempDir);

impl Harness for Folder {
    async fn open(&self) -> Arc<dyn PubSub> {
        Arc::new(EmbeddedLog::open(self.0.path(), &LogConfig::default()).unwrap())
    }
}

async fn harness(_promise: &str) -> Folder {
    Folder(tempfile::tempdir().unwrap())
}

crate::pubsub_contract!(harness);
