//! The engine that elects the leader (`[election]`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::key::Key;
use super::server::each;
use super::{ZooKeeperConfig, engine, settings, zookeeper};

/// The engine that elects the leader, with its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Election {
    /// Raft, within this process.
    Raft(RaftConfig),
    /// etcd: this process is one candidate among others.
    Etcd(EtcdConfig),
    /// ZooKeeper, likewise.
    ZooKeeper(ZooKeeperConfig),
}

/// Not derived, as [`PubSub`] is not.
impl<'de> Deserialize<'de> for Election {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (engine, members) = engine(from)?;
        match engine.as_str() {
            Some("raft") => settings(members).map(Self::Raft),
            Some("etcd") => settings(members).map(Self::Etcd),
            Some("zookeeper") => settings(members).map(Self::ZooKeeper),
            _ => Err(Error::custom(
                "engine: one of \"raft\", \"etcd\" and \"zookeeper\" is expected",
            )),
        }
    }
}

impl Election {
    /// How long a lease is to be, where the engine has one, as long as the live settings do not say otherwise.
    pub fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Raft(_) => None,
            Self::Etcd(etcd) => Some(Duration::from_secs(etcd.ttl_s)),
            Self::ZooKeeper(zookeeper) => Some(Duration::from_secs(zookeeper.session_timeout_s)),
        }
    }

    /// Has it be so long until the live settings are read.
    pub(super) fn lease(&mut self, ttl_s: u64) {
        match self {
            Self::Raft(_) => {}
            Self::Etcd(etcd) => etcd.ttl_s = ttl_s,
            Self::ZooKeeper(zookeeper) => zookeeper.session_timeout_s = ttl_s,
        }
    }
}

impl Default for Election {
    fn default() -> Self {
        Self::Raft(RaftConfig::default())
    }
}

/// The embedded Raft.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// 1, 3 or 5; fixed when the data folder is made.
    pub nodes: u32,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self { nodes: 3 }
    }
}

/// How an etcd cluster is reached, and where in it the election stands.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`, of as many members as are known.
    pub endpoints: Vec<String>,
    /// What the keys begin with: one service, one prefix.
    pub prefix: String,
    /// How long a leader that falls silent keeps the lead, in seconds, until the live setting `election.lease_ttl_s` is read. etcd itself grants
    /// no less than two or so.
    #[serde(skip, default = "lease_ttl_s")]
    pub ttl_s: u64,
    pub user: Option<String>,
    pub password: Option<String>,
    pub tls: Option<EtcdTls>,
}

/// The password is nobody's business.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("ttl_s", &self.ttl_s)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

fn lease_ttl_s() -> u64 {
    5
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdTls {
    /// Whose signature makes a server the right one.
    pub ca: PathBuf,
    /// This client's certificate and its key, where the servers ask for them.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name in the servers' certificates, where it is not the one in the endpoints.
    pub server_name: Option<String>,
}

#[cfg(feature = "etcd")]
impl EtcdConfig {
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s)
    }

    /// So much before the lease does, a mandate ends: the clocks of two machines drift less than that within a lease.
    pub(crate) fn margin(&self) -> Duration {
        self.ttl() / 10
    }

    /// How long one answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.ttl() / 2
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}/election/{name}", self.prefix)
    }

    /// What [`Self::key`] was made of.
    pub(crate) fn name<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let name = std::str::from_utf8(key).ok()?.strip_prefix(&*self.prefix)?;
        name.strip_prefix("/election/")
    }
}

const ENGINE: &str = "election.engine";
const RAFT: &[&str] = &["raft"];
const ETCD: &[&str] = &["etcd"];
const BOTH: &[&str] = &["etcd", "zookeeper"];

pub(super) fn keys() -> Vec<Key> {
    let mut keys = vec![
        Key::choice(
            ENGINE,
            &["raft", "etcd", "zookeeper"],
            "What elects the leader: Raft within this process, or a cluster of etcd or ZooKeeper, where this process is one candidate of several.",
        )
        .default("raft"),
        Key::integer("election.nodes", (1, 5), "nodes", "1, 3 or 5. Fixed when the data folder is made.")
            .default(RaftConfig::default().nodes)
            .of(ENGINE, RAFT)
            .check(|value| match value.as_u64() {
                Some(1 | 3 | 5) => Ok(()),
                _ => Err(format!("a cluster has 1, 3 or 5 nodes, not {value}")),
            }),
    ];
    keys.extend(etcd_keys("election", ENGINE));
    keys.extend(zookeeper::keys("election", ENGINE));
    keys.extend(user_keys("election", ENGINE));
    keys
}

/// How an etcd cluster is reached, below this section.
pub(super) fn etcd_keys(section: &str, engine: &'static str) -> Vec<Key> {
    let name = |name: &str| format!("{section}.{name}");
    vec![
        Key::texts(
            name("endpoints"),
            "http://HOST:PORT or https://HOST:PORT of as many members as are known.",
        )
        .needed()
        .example(vec!["http://etcd-1:2379", "http://etcd-2:2379"])
        .check(|value| match value.as_array().is_none_or(Vec::is_empty) {
            true => Err("one member at least is needed".to_owned()),
            false => each(value, is_endpoint, "is not http://HOST:PORT"),
        }),
        Key::text(name("prefix"), "What the keys begin with: one service, one prefix.").default("freshet"),
        Key::text(
            name("tls.ca"),
            "A PEM file: whose signature makes a server the right one.",
        )
        .example("ca.pem"),
        Key::text(
            name("tls.cert"),
            "A PEM file: this client's certificate, where the servers ask for one.",
        )
        .example("client.pem"),
        Key::text(name("tls.key"), "A PEM file: the key of it.").example("client.key"),
        Key::text(
            name("tls.server_name"),
            "The name in the servers' certificates, where it is not the one in the endpoints.",
        )
        .example("etcd.example"),
    ]
    .into_iter()
    .map(|key| key.of(engine, ETCD))
    .collect()
}

/// As whom a cluster is asked, below this section.
pub(super) fn user_keys(section: &str, engine: &'static str) -> [Key; 2] {
    [
        Key::text(format!("{section}.user"), "As whom the cluster is asked.")
            .example("freshet")
            .of(engine, BOTH),
        Key::text(format!("{section}.password"), "The password of that user.")
            .secret()
            .example("secret")
            .of(engine, BOTH),
    ]
}

fn is_endpoint(endpoint: &str) -> bool {
    let rest = endpoint
        .strip_prefix("http://")
        .or_else(|| endpoint.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c == ',' || c.is_whitespace()))
}
