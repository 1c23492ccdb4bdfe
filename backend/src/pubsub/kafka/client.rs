//! librdkafka's clients: how they are set up, and what they say while they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;

use freshet_wire::{Engine, EngineState};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::sync::watch;

use super::publish::Ticket;
use super::{NAME, PubSubError};
use crate::config::KafkaConfig;
use crate::time::now_us;

/// The largest message, in bytes: an event of the size that publishing takes, its headers, and room to spare. Topics that Freshet
/// makes take it.
pub(super) const MESSAGE_BYTES: usize = 4 << 20;

/// On these stands what [`super::Kafka`] promises, so they cannot be set from outside.
const FIXED: [&str; 13] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "acks",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.instance.id",
    "isolation.level",
    "message.max.bytes",
    "request.required.acks",
    "transactional.id",
];

/// Settings of the clients of one process.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    base: ClientConfig,
}

impl Setup {
    /// Refuses properties that are not librdkafka's, have a wrong value, or are Freshet's own business.
    pub(super) fn new(config: &KafkaConfig, node: &str) -> Result<Self, PubSubError> {
        let refuse = |key: &str, why: String| PubSubError::Unavailable(format!("pubsub.properties.\"{key}\": {why}"));
        if let Some(fixed) = FIXED.iter().find(|&&key| config.properties.contains_key(key)) {
            let why = match *fixed {
                "bootstrap.servers" | "metadata.broker.list" => "say pubsub.brokers instead",
                _ => "is set by Freshet, and cannot be changed",
            };
            return Err(refuse(fixed, why.to_owned()));
        }
        let mut base = ClientConfig::new();
        base.set("client.id", format!("freshet-{node}"));
        // A broker that is back is to be seen soon.
        base.set("reconnect.backoff.max.ms", "1000");
        base.set("socket.keepalive.enable", "true");
        for (key, value) in &config.properties {
            base.set(key, value);
        }
        base.set("bootstrap.servers", &config.brokers);
        // librdkafka's own tracing is asked for by its property `debug`.
        base.set_log_level(match config.properties.contains_key("debug") {
            true => RDKafkaLogLevel::Debug,
            false => RDKafkaLogLevel::Warning,
        });
        // Here, where it can be said: a client that is made later would fail with it.
        match base.create_native_config() {
            Ok(_) => Ok(Self { base }),
            Err(KafkaError::ClientConfig(_, why, key, _)) => Err(refuse(&key, why)),
            Err(error) => Err(PubSubError::Unavailable(error.to_string())),
        }
    }

    /// The name under which consumers stand in the cluster. They never join a group: librdkafka wants a name all the same.
    fn consumer(&self) -> ClientConfig {
        let mut config = self.base.clone();
        if config.get("group.id").is_none() {
            let id = config.get("client.id").unwrap_or("freshet").to_owned();
            config.set("group.id", id);
        }
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // A full queue is looked at again soon, not after a second.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100");
        config
    }

    /// For what comes from now on.
    pub(super) fn live(&self) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("enable.partition.eof", "false")
            .set("queued.max.messages.kbytes", "16384")
            // The broker answers as soon as there is something. A topic that is opened meanwhile waits for the end of this.
            .set("fetch.wait.max.ms", "100");
        config
    }

    /// For what is there already.
    pub(super) fn history(&self) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.wait.max.ms", "5");
        config
    }

    /// For questions: the broker serves a connection's requests one after the other, so they must not wait for fetches.
    pub(super) fn control(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.remove("group.id");
        config
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.base.clone()
    }

    pub(super) fn producer(&self, delivery_ms: u64) -> ClientConfig {
        let mut config = self.base.clone();
        if config.get("linger.ms").is_none() && config.get("queue.buffering.max.ms").is_none() {
            config.set("linger.ms", "1");
        }
        if config.get("partitioner").is_none() {
            // As the Java clients have it, so that a key has one partition whoever publishes.
            config.set("partitioner", "murmur2_random");
        }
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", MESSAGE_BYTES.to_string())
            .set("message.timeout.ms", delivery_ms.to_string())
            // The bound is kept by [`super::publish`], which knows whole publications; these stand behind it.
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144");
        config
    }
}

/// How the cluster fares, as far as this process knows.
#[derive(Debug)]
pub(super) struct Health {
    status: watch::Sender<Engine>,
    /// What a client said last of why it cannot reach a broker.
    words: Mutex<String>,
    /// Wakes who looks after the cluster.
    look: SyncSender<()>,
    /// A producer that cannot go on and has to be replaced.
    pub(super) broken: AtomicBool,
    /// A consumer lost its place, or a topic is not what it was.
    pub(super) astray: AtomicBool,
}

impl Health {
    pub(super) fn new(look: SyncSender<()>) -> Self {
        Self {
            status: watch::Sender::new(Engine {
                name: NAME.to_owned(),
                state: EngineState::Connecting,
                since_us: now_us(),
                detail: "the brokers were not heard of yet".to_owned(),
            }),
            words: Mutex::default(),
            look,
            broken: AtomicBool::new(false),
            astray: AtomicBool::new(false),
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<Engine> {
        self.status.subscribe()
    }

    pub(super) fn state(&self) -> EngineState {
        self.status.borrow().state
    }

    /// An error at once where the cluster is known to be away: nobody should wait for what will not come.
    pub(super) fn check(&self) -> Result<(), PubSubError> {
        let status = self.status.borrow();
        match status.state {
            EngineState::Down => Err(PubSubError::Unavailable(status.detail.clone())),
            _ => Ok(()),
        }
    }

    /// Has somebody look at the cluster now.
    pub(super) fn look(&self) {
        // If the message before was not taken yet, the look that it asks for is still to come.
        let _ = self.look.try_send(());
    }

    fn set(&self, state: EngineState, detail: String) {
        let changed = self.status.send_if_modified(|engine| {
            if engine.state == state && engine.detail == detail {
                return false;
            }
            if engine.state != state {
                engine.since_us = now_us();
            }
            (engine.state, engine.detail) = (state, detail.clone());
            true
        });
        if changed {
            match state {
                EngineState::Up => tracing::info!("Kafka answers"),
                _ => tracing::warn!("Kafka: {detail}"),
            }
        }
    }

    /// It answers; there may be trouble with single topics nevertheless.
    pub(super) fn answers(&self, trouble: &[String]) {
        if trouble.is_empty() {
            self.words.lock().clear();
            self.set(EngineState::Up, String::new());
        } else {
            self.set(EngineState::Degraded, trouble.join("; "));
        }
    }

    /// It does not answer.
    pub(super) fn silent(&self, error: &KafkaError) {
        let words = self.words.lock().clone();
        let why = if words.is_empty() { error.to_string() } else { words };
        let detail = format!(
            "no broker answers ({why}); it is tried again, and meanwhile what is published waits {} s at most",
            super::DELIVERY.as_secs()
        );
        self.set(EngineState::Down, detail);
    }

    fn said(&self, code: RDKafkaErrorCode, reason: &str) {
        use RDKafkaErrorCode::{
            AllBrokersDown, Authentication, AutoOffsetReset, BrokerTransportFailure, Fatal, LogTruncation,
            PartitionEOF, Resolve, SSL, SaslAuthenticationFailed, UnknownTopicId, UnknownTopicOrPartition,
        };
        match code {
            // No error, but the end of what there is to read.
            PartitionEOF => return,
            // This one says that there is trouble, the others which.
            AllBrokersDown => {}
            BrokerTransportFailure | Resolve | Authentication | SaslAuthenticationFailed | SSL => {
                *self.words.lock() = brief(reason);
            }
            Fatal => self.broken.store(true, Relaxed),
            AutoOffsetReset | LogTruncation | UnknownTopicOrPartition | UnknownTopicId => {
                self.astray.store(true, Relaxed);
            }
            _ => {
                tracing::warn!(%code, "Kafka: {reason}");
                return;
            }
        }
        tracing::debug!(%code, "Kafka: {reason}");
        self.look();
    }
}

/// Why a connection failed, as people read it: without how often librdkafka said so, how long after what, and which of its calls it was.
/// What stays the same is not told again.
fn brief(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    let parts = reason.split_once(": Connect to ");
    match parts.and_then(|(broker, rest)| Some((broker, rest.split_once(" failed: ")?.1))) {
        Some((broker, why)) => format!("{}: {why}", broker.trim_end_matches("/bootstrap")),
        None => reason.to_owned(),
    }
}

/// What a client calls.
#[derive(Debug, Clone)]
pub(super) struct Context(pub(super) Arc<Health>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Warning};
        // A broker that is away is told by the engine's state, once, and not by every client at every try.
        let is_told = matches!(fac, "FAIL" | "ERROR" | "OFFSET");
        match level {
            Emerg | Alert | Critical | Error | Warning if !is_told => {
                tracing::warn!(target: "librdkafka", "{fac}: {message}");
            }
            _ => tracing::debug!(target: "librdkafka", "{fac}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(code) => self.0.said(code, reason),
            None => tracing::warn!(%error, "Kafka: {reason}"),
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.settle(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        KafkaConfig {
            brokers: "127.0.0.1:1".to_owned(),
            prefix: "freshet.".to_owned(),
            watch: Vec::new(),
            partitions: 1,
            replication: 1,
            properties: properties
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    #[test]
    fn a_property_that_cannot_be_is_refused_by_its_name() {
        let why = |properties: &[_]| Setup::new(&config(properties), "n").unwrap_err().to_string();
        assert!(why(&[("sasl.user", "x")]).contains("sasl.user"));
        assert!(why(&[("security.protocol", "carrier-pigeon")]).contains("security.protocol"));
        assert!(why(&[("enable.idempotence", "false")]).contains("enable.idempotence"));
        assert!(why(&[("bootstrap.servers", "x")]).contains("pubsub.brokers"));
    }

    #[test]
    fn why_a_connection_failed_is_said_in_few_words_that_stay_the_same() {
        let said = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)";
        assert_eq!(brief(said), "127.0.0.1:1: Connection refused");
        let lost = "b:9092/1: Disconnected (after 812ms in state UP)";
        assert_eq!(brief(lost), "b:9092/1: Disconnected");
        assert_eq!(brief("another thing"), "another thing");
    }

    #[test]
    fn properties_reach_every_client_and_what_is_promised_stays() {
        let setup = Setup::new(&config(&[("security.protocol", "ssl"), ("linger.ms", "5")]), "n").unwrap();
        for config in [setup.live(), setup.history(), setup.control(), setup.admin()] {
            assert_eq!(config.get("security.protocol"), Some("ssl"));
        }
        let producer = setup.producer(30_000);
        assert_eq!(producer.get("linger.ms"), Some("5"));
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
        assert_eq!(setup.live().get("group.id"), Some("freshet-n"));
    }
}
