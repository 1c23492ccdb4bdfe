//! Live settings: what can be changed while the service runs, wherever it is kept.
//!
//! ```text
//! API ──▶ live.rs: reads, changes, compares and sets ──▶ an engine (SettingsStore) ──▶ live.rs, in every process ──▶ watch channel
//!   schema.rs: every key with its bounds     check.rs: whether settings are valid     change.rs: versions and their history; pure
//!   file.rs: a TOML file in the data folder
//!   remote.rs: what the engines outside have in common;   etcd.rs, zookeeper.rs: one key each
//! ```
//!
//! An engine keeps one document ([`SettingsDocument`]): the newest settings and the changes that led to them. Whoever changes it compares and
//! sets, so no change is lost, and history and settings are never at odds. What is not valid is refused by every process that reads it,
//! whoever wrote it; the last good version stays in force, and [`Live`] says what was refused and why.

pub mod change;
mod check;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(feature = "etcd")]
mod etcd;
pub mod file;
mod live;
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
mod remote;
mod retention;
mod schema;
#[cfg(feature = "zookeeper")]
mod zookeeper;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use freshet_wire::{AppliedSettings, Engine, Settings, SettingsDocument};
use tokio::sync::watch;

pub use self::check::{Refusal, check};
pub use self::live::Live;
pub(crate) use self::retention::{of as retention_of, retain};
pub use self::schema::schema;
use crate::config;
use crate::pubsub::Answer;

/// An engine that keeps the document.
///
/// - *Compare and set.* [`Self::swap`] changes what is stored only if it is still at the revision that was read.
/// - *The latest is seen.* Whatever was stored last reaches [`Self::watch`], also after a lost connection; what it replaced meanwhile need not.
/// - *Order.* Revisions that this process is given only grow.
pub trait SettingsStore: fmt::Debug + Send + Sync {
    /// Where the document is: a path, or a key.
    fn place(&self) -> String;

    /// Name, state, and what is wrong.
    fn status(&self) -> watch::Receiver<Engine>;

    /// What is stored, as far as this process was told; `None` until it was told once.
    fn watch(&self) -> watch::Receiver<Option<Arc<Stored>>>;

    /// Reads what is stored now.
    fn load(&self) -> Answer<'_, Result<Arc<Stored>, StoreError>>;

    /// Stores the document if what is there has this revision.
    fn swap<'a>(&'a self, revision: u64, document: &'a SettingsDocument)
    -> Answer<'a, Result<Arc<Stored>, StoreError>>;

    /// Tells the other processes what this one applied, where there are others.
    fn report(&self, applied: &AppliedSettings) {
        let _ = applied;
    }

    /// What other processes report.
    fn reports(&self) -> Option<watch::Receiver<Vec<AppliedSettings>>> {
        None
    }

    fn close(&self) -> Answer<'_, ()>;
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Grows whenever something else is stored.
    pub revision: u64,
    /// The document; where something invalid is stored, the last good one if the engine has kept it. `None` in an empty store.
    pub good: Option<Arc<SettingsDocument>>,
    /// Why what is stored is refused.
    pub refusal: Option<Refusal>,
    /// The version that an invalid document says it has: what replaces it has a greater one.
    pub floor: u64,
}

impl Stored {
    fn is_empty(&self) -> bool {
        self.good.is_none() && self.refusal.is_none()
    }
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Something else is stored by now.
    #[error("the settings changed meanwhile")]
    Moved,
    /// Whether it was stored may be unknown.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a change is refused; the settings stay as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{reason}")]
    Invalid { field: String, reason: String },
    #[error("the settings are at version {current}, not {expected}: read them again and repeat the change")]
    Conflict { expected: u64, current: u64 },
    #[error("version {version} cannot be restored: the changes of the versions {oldest} to {newest} are kept")]
    NotKept { version: u64, oldest: u64, newest: u64 },
    #[error("{0}")]
    Unavailable(String),
}

impl From<Refusal> for SettingsError {
    fn from(refusal: Refusal) -> Self {
        Self::Invalid {
            field: refusal.key,
            reason: refusal.reason,
        }
    }
}

/// The engine that the configuration names; `seed` is what an empty store is filled with. Engines outside are followed on the runtime that this
/// is called on.
pub fn open(
    config: &config::SettingsEngine,
    data: &Path,
    node: &str,
    seed: &Settings,
) -> Result<Arc<dyn SettingsStore>, StoreError> {
    match config {
        config::SettingsEngine::File => Ok(Arc::new(file::FileStore::open(data, node, seed)?)),
        #[cfg(feature = "etcd")]
        config::SettingsEngine::Etcd(config) => Ok(Arc::new(etcd::open(config, node)?)),
        #[cfg(not(feature = "etcd"))]
        config::SettingsEngine::Etcd(_) => Err(left_out()),
        #[cfg(feature = "zookeeper")]
        config::SettingsEngine::ZooKeeper(config) => Ok(Arc::new(zookeeper::open(config, node)?)),
        #[cfg(not(feature = "zookeeper"))]
        config::SettingsEngine::ZooKeeper(_) => Err(left_out()),
    }
}

#[cfg(not(all(feature = "etcd", feature = "zookeeper")))]
fn left_out() -> StoreError {
    let why = "this program was built without that engine; build it with --features engines";
    StoreError::Unavailable(why.to_owned())
}
