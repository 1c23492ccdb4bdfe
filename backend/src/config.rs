//! Static configuration: what is fixed when the process starts. Imports no capability.
//!
//! ```text
//! file (TOML, YAML, JSON) ─▶ tree.rs ─┐
//! environment, flags ─────────────────┴▶ source.rs ─▶ load.rs: in force, together ─▶ Config
//!                                            │            └▶ stated.rs: told, with sources and without secrets
//! key.rs: one table of keys ─────────────────┴▶ print.rs: the example, what is in force
//! ```
//!
//! A capability has a file of its own: its structure, and its rows of the table.

mod bounds;
mod election;
mod fault;
// They go through every engine's keys.
#[cfg(all(
    test,
    feature = "cloud-pubsub",
    feature = "etcd",
    feature = "kafka",
    feature = "redis",
    feature = "zookeeper"
))]
mod fuzz;
mod key;
mod limit;
mod load;
mod print;
mod pubsub;
mod server;
mod settings;
mod source;
mod stated;
#[cfg(all(
    test,
    feature = "cloud-pubsub",
    feature = "etcd",
    feature = "kafka",
    feature = "redis",
    feature = "zookeeper"
))]
mod tests;
mod tree;
mod zookeeper;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use freshet_wire::{ConfigKey, Settings, StaticConfig};
use serde::de::{DeserializeOwned, Error as DeserializeError};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use self::bounds::Limits;
pub use self::election::{Election, EtcdConfig, EtcdTls, RaftConfig};
pub use self::fault::{Fault, Faults, Place};
pub use self::key::{Key, SEED, key, table};
pub use self::limit::{ForwardedHeader, LimitConfig, LimitEngine, RedisConfig};
pub use self::load::{Seeds, load};
pub use self::print::{example, print};
pub use self::pubsub::{CloudPubSubConfig, KafkaConfig, LogConfig, PubSub};
pub use self::settings::{SettingsEngine, SettingsEtcd, SettingsZooKeeper};
pub use self::source::{Flag, Given, Sources};
pub use self::tree::Format;
pub use self::zookeeper::ZooKeeperConfig;

/// Everything that `run` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the program listens; [`crate::run`] is given a listener that does already.
    pub listen: SocketAddr,
    /// Where this process keeps what must survive it.
    pub data: PathBuf,
    /// The name of this node; without one, the one in the data folder.
    pub node_id: Option<String>,
    /// Origins (scheme, host, port) beside the service's own from which a page may call it.
    pub allow_origins: Vec<String>,
    /// Names beside the loopback ones under which the service may be addressed.
    pub allow_hosts: Vec<String>,
    /// Asked for by everything that changes something, where it is set.
    pub admin_token: Option<String>,
    pub pubsub: PubSub,
    pub limit: LimitConfig,
    pub election: Election,
    pub settings: SettingsEngine,
    pub limits: Limits,
    /// What an empty store of live settings is filled with; it has no say afterwards.
    pub seed: Settings,
    /// What is told of all this, and where each value came from.
    pub stated: StaticConfig,
    /// The same of what it seeds of the live settings.
    pub seeded: Vec<ConfigKey>,
}

/// The engine that is named, and its settings.
fn engine<'de, D: Deserializer<'de>>(from: D) -> Result<(Value, Map<String, Value>), D::Error> {
    let mut members = Map::deserialize(from)?;
    let engine = members.remove("engine");
    Ok((engine.ok_or_else(|| D::Error::missing_field("engine"))?, members))
}

/// An engine without settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// An engine's settings.
fn settings<T: DeserializeOwned, E: DeserializeError>(members: Map<String, Value>) -> Result<T, E> {
    serde_json::from_value(Value::Object(members)).map_err(E::custom)
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "--listen {0} can be reached from other machines, so --admin-token (or FRESHET_ADMIN_TOKEN) is needed: without one, anybody there could change settings"
    )]
    TokenNeeded(SocketAddr),
    #[error("--admin-token is shorter than 16 characters")]
    TokenShort,
    #[error("--allow-origin {0:?} is not an origin, such as http://127.0.0.1:8080")]
    Origin(String),
    #[error("--node-id {0:?}: 1 to 64 letters, digits, '.', '_' and '-'")]
    NodeId(String),
}

impl Config {
    /// Checks what belongs together.
    pub fn check(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        match &self.admin_token {
            None if !is_loopback(listen.ip()) => return Err(ConfigError::TokenNeeded(listen)),
            Some(token) if token.len() < server::LEAST_TOKEN => return Err(ConfigError::TokenShort),
            _ => {}
        }
        for origin in &self.allow_origins {
            if !server::is_origin(origin) {
                return Err(ConfigError::Origin(origin.clone()));
            }
        }
        match &self.node_id {
            Some(id) if !is_name(id) => Err(ConfigError::NodeId(id.clone())),
            _ => Ok(()),
        }
    }
}

/// 1 to 64 letters, digits, `.`, `_` and `-`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Loopback, written as IPv4, IPv6 or IPv4 in IPv6.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
