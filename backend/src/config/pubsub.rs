//! The engine that keeps the shared topics (`[pubsub]`).

use std::collections::BTreeMap;

use freshet_wire::{Retention, RetentionSettings};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::key::Key;
use super::{Nothing, engine, settings};

/// The engine that keeps the shared topics, with its settings.
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
    /// How much the engine keeps of a topic until the live settings are read.
    pub fn retention(&self) -> Retention {
        match self {
            Self::Log(log) => log.retention(),
            Self::CloudPubSub(cloud) => cloud.spool.retention(),
            Self::Kafka(_) | Self::Memory => Retention::default(),
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
            _ => Err(Error::custom(
                "engine: one of \"log\", \"memory\", \"kafka\" and \"cloud-pubsub\" is expected",
            )),
        }
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
    /// In seconds. This and the next are what the first live settings say ([`super::Config::seed`]), for until those in force are read.
    #[serde(skip)]
    pub max_age_s: u64,
    #[serde(skip)]
    pub max_bytes: u64,
    /// Topics at most, of all kinds.
    pub max_topics: usize,
    /// Of all topics together.
    pub max_total_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        let kept = RetentionSettings::default();
        Self {
            max_age_s: kept.max_age_s,
            max_bytes: kept.max_bytes,
            max_topics: 256,
            max_total_bytes: 16 << 30,
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
    pub prefix: String,
    /// Existing topics of the cluster to watch, by their names there. They are read, never written.
    pub watch: Vec<String>,
    /// For topics that Freshet makes.
    pub partitions: u32,
    pub replication: u32,
    /// Passed to librdkafka as they are (TLS, SASL and the rest of its CONFIGURATION.md).
    pub properties: BTreeMap<String, String>,
}

/// How Google Cloud Pub/Sub is reached. Credentials are found the standard way (Application Default Credentials).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudPubSubConfig {
    /// The project's id.
    pub project: String,
    /// What stands before the names of Freshet's topics and subscriptions in the project.
    pub prefix: String,
    /// An emulator's `http://HOST:PORT`; it is asked without credentials.
    pub emulator: Option<String>,
    /// A node's subscription that nobody used for so long is removed by the service, in seconds; a day at least.
    pub subscription_expiry_s: u32,
    /// What the log keeps into which messages are put.
    pub spool: LogConfig,
}

impl PubSub {
    /// Has the engine keep so much of each topic until the live settings are read.
    pub(super) fn keep(&mut self, kept: RetentionSettings) {
        match self {
            Self::Log(log) | Self::CloudPubSub(CloudPubSubConfig { spool: log, .. }) => {
                (log.max_age_s, log.max_bytes) = (kept.max_age_s, kept.max_bytes);
            }
            Self::Memory | Self::Kafka(_) => {}
        }
    }
}

const ENGINE: &str = "pubsub.engine";
const LOG: &[&str] = &["log"];
const KAFKA: &[&str] = &["kafka"];
const CLOUD: &[&str] = &["cloud-pubsub"];
const DAY_S: u64 = 24 * 3600;
const TOTAL_BYTES: (u64, u64) = (64 << 20, 1 << 50);
const TOTAL: &str = "How much is kept of all topics together, whatever retention keeps of each. Beyond it the oldest events of the largest topic go first. The newest segment of each stays; these have a quarter of this together, or 64 KiB each where that is more.";

pub(super) fn keys() -> Vec<Key> {
    let LogConfig {
        max_topics,
        max_total_bytes,
        ..
    } = LogConfig::default();
    vec![
        Key::choice(
            ENGINE,
            &["log", "memory", "kafka", "cloud-pubsub"],
            "What keeps the shared topics: a log in the data folder, memory alone, Apache Kafka or Google Cloud Pub/Sub.",
        )
        .default("log"),
        Key::integer("pubsub.max_topics", (16, 100_000), "topics", "Topics at most, of all kinds.")
            .default(max_topics)
            .of(ENGINE, LOG),
        Key::integer("pubsub.max_total_bytes", TOTAL_BYTES, "bytes", TOTAL)
            .default(max_total_bytes)
            .of(ENGINE, LOG),
        Key::text("pubsub.brokers", "HOST:PORT of brokers, separated by commas.")
            .needed()
            .example("kafka-1:9092,kafka-2:9092")
            .of(ENGINE, KAFKA),
        Key::texts("pubsub.watch", "Existing topics of the cluster to show. They are read, never written.").of(ENGINE, KAFKA),
        Key::integer("pubsub.partitions", (1, 10_000), "partitions", "Of topics that Freshet makes.")
            .default(1)
            .of(ENGINE, KAFKA),
        Key::integer("pubsub.replication", (1, 100), "replicas", "Of topics that Freshet makes.")
            .default(1)
            .of(ENGINE, KAFKA),
        Key::table(
            "pubsub.properties",
            "Passed to librdkafka as they are: TLS, SASL and the rest of its CONFIGURATION.md.",
        )
        .of(ENGINE, KAFKA),
        Key::text("pubsub.project", "The id of the project at Google Cloud.")
            .needed()
            .example("my-project")
            .of(ENGINE, CLOUD),
        Key::text("pubsub.emulator", "An emulator's http://HOST:PORT. It is asked without credentials.")
            .example("http://127.0.0.1:8085")
            .of(ENGINE, CLOUD),
        Key::integer(
            "pubsub.subscription_expiry_s",
            (DAY_S, 31_536_000),
            "seconds",
            "A node's subscription that nobody used for so long is removed by the service.",
        )
        .default(31 * DAY_S)
        .of(ENGINE, CLOUD),
        Key::integer("pubsub.spool.max_topics", (16, 100_000), "topics", "Topics at most in the log that messages are put into.")
            .default(max_topics)
            .of(ENGINE, CLOUD),
        Key::integer("pubsub.spool.max_total_bytes", TOTAL_BYTES, "bytes", TOTAL)
            .default(max_total_bytes)
            .of(ENGINE, CLOUD),
        Key::text("pubsub.prefix", "What stands before the names of Freshet's own topics there.")
            .default("freshet.")
            .of(ENGINE, &["kafka", "cloud-pubsub"]),
    ]
}
