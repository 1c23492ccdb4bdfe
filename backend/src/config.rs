//! Static configuration: what is fixed when the process starts. Imports no capability.

mod settings;
mod zookeeper;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use freshet_wire::{OnFailure, Retention};
use serde::de::{DeserializeOwned, Error as DeserializeError};
use serde::{Deserialize, Deserializer};

pub use self::settings::{SettingsEngine, SettingsEtcd, SettingsZooKeeper};
pub use self::zookeeper::ZooKeeperConfig;
use crate::network::Network;

/// Everything that `run` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
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
}

/// The engine that keeps the shared topics, with its settings (`[pubsub]` in the file).
#[derive(Debug, Clone, PartialEq)]
pub enum PubSub {
    /// A persistent log in the data folder.
    Log(LogConfig),
    /// The tail's windows alone: nothing is written, and a restart begins new logs. For machines that must not be written to.
    Memory,
    /// Apache Kafka.
    Kafka(KafkaConfig),
    /// Google Cloud Pub/Sub, spooled into a log in the data folder.
    CloudPubSub(CloudPubSubConfig),
}

impl PubSub {
    /// How much is kept of a topic, where nothing else was said of it.
    pub fn retention(&self) -> Retention {
        match self {
            Self::Log(log) => log.retention(),
            Self::CloudPubSub(cloud) => cloud.spool.retention(),
            Self::Kafka(_) => LogConfig::default().retention(),
            Self::Memory => Retention::default(),
        }
    }
}

/// Not derived: an internally tagged enum buffers its members, and an error in one could not name it.
impl<'de> Deserialize<'de> for PubSub {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (engine, members) = engine(from)?;
        match engine.as_str() {
            Some("log") => settings(members).map(Self::Log),
            Some("memory") => settings(members).map(|Nothing {}| Self::Memory),
            Some("kafka") => settings(members).map(Self::Kafka),
            Some("cloud-pubsub") => settings(members).map(Self::CloudPubSub),
            _ => Err(D::Error::custom(
                "engine: one of \"log\", \"memory\", \"kafka\" and \"cloud-pubsub\" is expected",
            )),
        }
    }
}

/// The engine that is named, and its settings.
fn engine<'de, D: Deserializer<'de>>(from: D) -> Result<(Value, Dict), D::Error> {
    let mut members = Dict::deserialize(from)?;
    let engine = members.remove("engine");
    Ok((engine.ok_or_else(|| D::Error::missing_field("engine"))?, members))
}

/// An engine without settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// An engine's settings; what is wrong in one of them begins with its name.
fn settings<T: DeserializeOwned, E: DeserializeError>(members: Dict) -> Result<T, E> {
    Value::from(members)
        .deserialize()
        .map_err(|error: figment::Error| E::custom(why(&error)))
}

/// What is wrong, after the path to where.
fn why(error: &figment::Error) -> String {
    match error.path.is_empty() {
        true => error.kind.to_string(),
        false => format!("{}: {}", error.path.join("."), error.kind),
    }
}

impl LogConfig {
    fn retention(&self) -> Retention {
        Retention {
            max_age_s: Some(self.max_age_s),
            max_bytes: Some(self.max_bytes),
        }
    }
}

impl Default for PubSub {
    fn default() -> Self {
        Self::Log(LogConfig::default())
    }
}

/// What the embedded log keeps of each topic; the oldest events go first, whole segments at a time.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// In seconds.
    pub max_age_s: u64,
    pub max_bytes: u64,
    /// Topics at most, of all kinds.
    pub max_topics: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            max_age_s: 7 * 24 * 3600,
            max_bytes: 256 << 20,
            max_topics: 256,
        }
    }
}

/// How an Apache Kafka cluster is reached, and what of it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `HOST:PORT`, separated by commas.
    pub brokers: String,
    /// What stands before the names of Freshet's own topics in the cluster.
    #[serde(default = "own_prefix")]
    pub prefix: String,
    /// Existing topics of the cluster to watch, by their names there. They are read, never written.
    #[serde(default)]
    pub watch: Vec<String>,
    /// For topics that Freshet makes.
    #[serde(default = "one")]
    pub partitions: u32,
    #[serde(default = "one")]
    pub replication: u32,
    /// Passed to librdkafka as they are (TLS, SASL and the rest of its CONFIGURATION.md).
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// How Google Cloud Pub/Sub is reached. Credentials are found the standard way (Application Default Credentials).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudPubSubConfig {
    /// The project's id.
    pub project: String,
    /// What stands before the names of Freshet's topics and subscriptions in the project.
    #[serde(default = "own_prefix")]
    pub prefix: String,
    /// An emulator's `http://HOST:PORT`; it is asked without credentials.
    #[serde(default)]
    pub emulator: Option<String>,
    /// A node's subscription that nobody used for so long is removed by the service, in seconds; a day at least.
    #[serde(default = "cloud_expiry_s")]
    pub subscription_expiry_s: u32,
    /// What the log keeps into which messages are put.
    #[serde(default)]
    pub spool: LogConfig,
}

fn cloud_expiry_s() -> u32 {
    31 * 24 * 3600
}

fn own_prefix() -> String {
    "freshet.".to_owned()
}

fn one() -> u32 {
    1
}

/// Rate limits, as far as they are fixed when the process starts (`[limit]` in the file). The quotas are live settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    pub engine: LimitEngine,
    /// Clients whose spending is remembered at once; beyond them, strangers share a quota with their neighbours.
    pub clients: usize,
    /// Proxies whose word on who the client is counts.
    pub trusted_proxies: Vec<Network>,
    /// The header in which they say it. The other one is not read: they pass it on as the client wrote it.
    pub forwarded_header: ForwardedHeader,
    /// Networks that no quota holds for, as long as the live setting `limit.exempt` does not say otherwise.
    pub exempt: Vec<Network>,
    pub redis: RedisConfig,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            engine: LimitEngine::default(),
            clients: 65_536,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            exempt: Vec::new(),
            redis: RedisConfig::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitEngine {
    /// In this process, for this process.
    #[default]
    Embedded,
    /// Redis: several processes share their quotas.
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// How a Redis is reached, and what holds while it is away (`[limit.redis]` in the file).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// `redis://[USER:PASSWORD@]HOST:PORT/DB`, or `rediss://` for TLS.
    pub url: String,
    /// Certificates (PEM) of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What stands before the names of its keys there.
    pub prefix: String,
    /// Connections; on each, checks are pipelined.
    pub connections: usize,
    /// A check that takes longer is decided without it, in milliseconds.
    pub timeout_ms: u64,
    pub on_failure: OnFailure,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            ca_file: None,
            prefix: "freshet:limit:".to_owned(),
            connections: 2,
            timeout_ms: 100,
            on_failure: OnFailure::Local,
        }
    }
}

/// The engine that elects the leader, with its settings (`[election]` in the file).
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
            Some("zookeeper") => {
                let config: ZooKeeperConfig = settings(members)?;
                config.checked().map(Self::ZooKeeper).map_err(D::Error::custom)
            }
            _ => Err(D::Error::custom(
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
    #[serde(deserialize_with = "raft_nodes")]
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
    #[serde(default = "etcd_prefix")]
    pub prefix: String,
    /// How long a leader that falls silent keeps the lead, in seconds, as long as the live setting `election.lease_ttl_s` does not say otherwise.
    /// etcd itself grants no less than two or so.
    #[serde(default = "etcd_ttl_s", deserialize_with = "positive")]
    pub ttl_s: u64,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
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

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdTls {
    /// Whose signature makes a server the right one.
    pub ca: PathBuf,
    /// This client's certificate and its key, where the servers ask for them.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The name in the servers' certificates, where it is not the one in the endpoints.
    #[serde(default)]
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

fn etcd_prefix() -> String {
    "freshet".to_owned()
}

fn etcd_ttl_s() -> u64 {
    5
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        0 => Err(D::Error::custom("a lease lasts for a second at least")),
        ttl_s => Ok(ttl_s),
    }
}

fn raft_nodes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        nodes @ (1 | 3 | 5) => Ok(nodes),
        other => Err(D::Error::custom(format!("a cluster has 1, 3 or 5 nodes, not {other}"))),
    }
}

/// What stands in the file that `--config` names (TOML).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub pubsub: PubSub,
    pub limit: LimitConfig,
    pub election: Election,
    pub settings: SettingsEngine,
}

impl ConfigFile {
    /// Reads the file; a key that is not known, or a value of the wrong type, is refused by its name.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::File {
            file: file.to_owned(),
            why,
        };
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let figment = Figment::from(Toml::string(&text));
        figment.extract().map_err(|error| wrong(why(&error)))
    }
}

/// The bounds of what others can make this process do or hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of encoded events that each topic holds in memory, all its partitions together.
    pub window_bytes: usize,
    /// Connections at once, of all kinds.
    pub connections: usize,
    /// Connections at once of one peer that is no trusted proxy.
    pub peer_connections: usize,
    /// Requests that are answered at once, long polls among them, and those of one client.
    pub requests: u32,
    pub client_requests: u32,
    /// Streams of one client.
    pub client_streams: u32,
    /// While the process comes to what is due later than this, new load is shed; what is open goes on.
    pub lag: Duration,
    /// The head of a request, in bytes.
    pub header_bytes: usize,
    /// A request's head must be there this long after its first byte.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// The body of a request, in bytes.
    pub body_bytes: usize,
    /// A body that publishes, in bytes: of a batch, all of it.
    pub publish_bytes: usize,
    /// The data of one event, in bytes of JSON.
    pub event_bytes: usize,
    /// Events that one publish may bring.
    pub publish_events: usize,
    /// Bytes a second that all who replay old events are given together, so that live readers do not wait for them.
    pub replay_bytes_per_s: u64,
    /// A message from a stream's client, in bytes.
    pub message_bytes: usize,
    /// Topics that one poll or one stream may read.
    pub subscriptions: usize,
    /// The server pings a stream on which it had nothing to send for this long.
    pub heartbeat: Duration,
    /// A stream whose client gave no sign of life for this long is closed.
    pub silence: Duration,
    /// A stream whose client takes no byte for this long is closed with 1013.
    pub stuck: Duration,
    /// Readers whose figures are kept.
    pub readers: usize,
    /// How long open connections have to end when the process is asked to stop.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_bytes: 4 << 20,
            connections: 10_000,
            peer_connections: 2000,
            requests: 4096,
            client_requests: 1024,
            client_streams: 1024,
            lag: Duration::from_secs(1),
            header_bytes: 16 << 10,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_bytes: 64 << 10,
            publish_bytes: 8 << 20,
            event_bytes: 1 << 20,
            publish_events: 10_000,
            replay_bytes_per_s: 32 << 20,
            message_bytes: 64 << 10,
            subscriptions: 64,
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            stuck: Duration::from_secs(10),
            readers: 4096,
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "--listen {0} can be reached from other machines, so --admin-token (or FRESHET_ADMIN_TOKEN) is needed: without one, anybody there could change settings"
    )]
    TokenNeeded(SocketAddr),
    #[error("--config {file}: {why}", file = .file.display())]
    File { file: PathBuf, why: String },
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
            Some(token) if token.len() < 16 => return Err(ConfigError::TokenShort),
            _ => {}
        }
        for origin in &self.allow_origins {
            let uri = origin.parse::<http::Uri>().ok();
            let path = uri
                .as_ref()
                .map(|uri| uri.path_and_query().map_or("/", |path| path.as_str()));
            let scheme = uri.as_ref().and_then(|uri| uri.scheme_str());
            if !matches!(scheme, Some("http" | "https")) || path != Some("/") || origin.ends_with('/') {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            data: PathBuf::new(),
            node_id: None,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            admin_token: None,
            pubsub: PubSub::default(),
            limit: LimitConfig::default(),
            election: Election::default(),
            settings: SettingsEngine::default(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_file_names_the_engine_and_what_is_wrong_in_it_is_refused_by_name() {
        let read = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            ConfigFile::read(file.path()).map_err(|error| error.to_string())
        };
        assert_eq!(read("").unwrap(), ConfigFile::default());
        let kafka =
            read("[pubsub]\nengine = 'kafka'\nbrokers = 'k:9092'\nproperties = {'sasl.username' = 'u'}").unwrap();
        let PubSub::Kafka(kafka) = kafka.pubsub else {
            panic!("{kafka:?}")
        };
        assert_eq!(
            (&*kafka.brokers, &*kafka.prefix, kafka.partitions),
            ("k:9092", "freshet.", 1)
        );
        assert_eq!(kafka.properties["sasl.username"], "u");
        let cloud = read("[pubsub]\nengine = 'cloud-pubsub'\nproject = 'p'\nspool = {max_topics = 7}").unwrap();
        let PubSub::CloudPubSub(cloud) = cloud.pubsub else {
            panic!("{cloud:?}")
        };
        assert_eq!(
            (&*cloud.project, &*cloud.prefix, &cloud.emulator),
            ("p", "freshet.", &None)
        );
        assert_eq!(cloud.spool.max_topics, 7);
        let limit = "[limit]\nengine = 'redis'\ntrusted_proxies = ['10.0.0.0/8']\n[limit.redis]\nurl = 'rediss://r'\non_failure = 'closed'";
        let limit = read(limit).unwrap().limit;
        assert_eq!(
            (limit.engine, limit.redis.on_failure),
            (LimitEngine::Redis, OnFailure::Closed)
        );
        assert!(limit.trusted_proxies[0].contains([10, 1, 2, 3].into()));
        for (text, name) in [
            ("[limit]\ntrusted_proxies = ['10.0.0.0/33']", "10.0.0.0/33"),
            ("[limit]\nforwarded_header = 'x-real-ip'", "x-real-ip"),
            ("[pubsub]\nengine = 'kafka'", "pubsub: missing field `brokers`"),
            ("[pubsub]\nengine = 'cloud-pubsub'", "pubsub: missing field `project`"),
            ("[pubsub]\nengine = 'log'\nmax_bites = 1", "max_bites"),
            ("[pubsub]\nengine = 'memory'\nmax_bytes = 1", "max_bytes"),
            (
                "[pubsub]\nengine = 'rabbit'",
                "pubsub: engine: one of \"log\", \"memory\", \"kafka\" and \"cloud-pubsub\"",
            ),
            ("[pubsub]\nmax_bytes = 1", "engine"),
            ("[pubsub]\nengine = 'log'\nmax_topics = 'many'", "pubsub: max_topics: "),
            (
                "[election]\nengine = 'raft'\nnodes = 2",
                "election: nodes: a cluster has 1, 3 or 5 nodes",
            ),
            (
                "[election]\nengine = 'paxos'",
                "election: engine: one of \"raft\", \"etcd\" and \"zookeeper\"",
            ),
            ("[election]\nengine = 'etcd'", "endpoints"),
            ("[election]\nengine = 'etcd'\nendpoints = []\nttl_s = 0", "a second"),
            ("[pubsup]\n", "pubsup"),
            ("[pubsub", "line 1"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(name), "{text:?}: {why}");
        }
    }

    #[test]
    fn an_address_that_others_can_reach_needs_an_admin_token() {
        let check = |listen: &str, token: Option<&str>| {
            Config {
                admin_token: token.map(str::to_owned),
                ..config()
            }
            .check(listen.parse().unwrap())
        };
        for open in ["0.0.0.0:3000", "[::]:3000", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            assert!(matches!(check(open, None), Err(ConfigError::TokenNeeded(_))), "{open}");
            assert!(
                matches!(check(open, Some("short")), Err(ConfigError::TokenShort)),
                "{open}"
            );
            assert!(check(open, Some("a-token-long-enough")).is_ok(), "{open}");
        }
        for own in ["127.0.0.1:3000", "127.8.9.1:0", "[::1]:3000", "[::ffff:127.0.0.1]:1"] {
            assert!(check(own, None).is_ok(), "{own}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        let check = |origin: &str| {
            Config {
                allow_origins: vec![origin.to_owned()],
                ..config()
            }
            .check("127.0.0.1:1".parse().unwrap())
        };
        assert!(check("http://127.0.0.1:8080").is_ok());
        for wrong in ["127.0.0.1:8080", "http://x/", "http://x/y", "*", "null", "ftp://x", ""] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
