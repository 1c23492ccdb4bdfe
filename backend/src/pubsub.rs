//! Pub/sub: every shared topic is a log that an engine keeps, and whose events it hands to the tail.
//!
//! The guarantees are those of [`PubSub`]; each engine states in its [`Capabilities`] what it can beyond them, and passes
//! `pubsub/contract.rs`. Offsets, order and replay are the engine's; who reads knows the tail alone.

#[cfg(feature = "cloud-pubsub")]
pub mod cloud;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod embedded;
mod fence;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod nesting;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use freshet_wire::{Engine, Epoch, GapReason, Receipt, Retention, TopicKind};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use self::embedded::EmbeddedLog;
use self::memory::Memory;
use crate::config;

/// What an asynchronous method of a dyn-safe trait answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An engine that keeps the shared topics.
///
/// - *Order.* Within a partition offsets only grow, and [`Sink::push`] is called in their order.
/// - *At least once.* What [`PubSub::publish`] has acknowledged reaches the sink, also after a restart of engine or process;
///   what it could not acknowledge may reach it as well.
/// - *Replay.* [`PubSub::read`] brings again what is kept, in the same bytes as the sink was given.
/// - *Said, not silent.* Offsets without an event stand as [`Stored::vacant`]; a log that is another one has another epoch.
pub trait PubSub: fmt::Debug + Send + Sync {
    fn capabilities(&self) -> Capabilities;

    /// Name, state and what is wrong. Watched: the page says it at once.
    fn status(&self) -> watch::Receiver<Engine>;

    /// Whether it keeps events beyond what the tail's windows hold.
    fn keeps(&self) -> bool {
        true
    }

    /// Topics that are there already, or that the configuration asks to watch: to be opened at the start.
    fn known(&self) -> Answer<'_, Result<Vec<TopicSpec>, PubSubError>>;

    /// Opens a topic, and makes it where there is none. [`Sink::log`] has been called when this returns, and from then on
    /// the sink is given every event that is appended, by whomever. Opening it a second time is an error of the caller.
    fn open(&self, spec: TopicSpec, sink: Arc<dyn Sink>) -> Answer<'_, Result<(), PubSubError>>;

    /// Appends to a topic that is open. The records are handed over, in order, *before this returns*; the future tells when
    /// the engine has them as durably as was asked for. Dropping it takes nothing back. Any thread may call it. Blocks for microseconds at most
    /// where the engine is well, and refuses at once where its bound of what may wait is reached.
    fn publish(&self, topic: &str, publication: Publication) -> Answer<'static, Result<Vec<Receipt>, PubSubError>>;

    /// Events of one partition from an offset on, oldest first: at least one where there is one, up to the budget.
    fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        budget: Budget,
    ) -> Answer<'static, Result<Chunk, PubSubError>>;

    /// For each partition the first offset ingested at or after this time (its end, if there is none).
    fn at(&self, topic: &str, time_us: i64) -> Answer<'static, Result<Vec<u64>, PubSubError>>;

    /// Bytes on disk and the age of the oldest event, as far as they are known now. Cheap: it is asked once a second.
    fn kept(&self, topic: &str) -> Kept;

    /// Changes how much is kept of a topic from now on.
    fn retain(&self, topic: &str, retention: Retention);

    /// Takes a topic away, with all that is kept of it, also one that could not be opened. One that is made under its name later is another
    /// log. What was published to it and is not acknowledged yet is refused. Not while it is being opened, and not for topics that others
    /// make and remove.
    fn remove(&self, topic: &str) -> Answer<'_, Result<(), PubSubError>> {
        let error = PubSubError::NotRemovable {
            topic: topic.to_owned(),
            why: format!(
                "with the engine {:?} topics are removed by its own tools",
                self.capabilities().name
            ),
        };
        Box::pin(async { Err(error) })
    }

    /// Writes out what is not on disk yet and lets go. Publishes after it are refused.
    fn close(&self) -> Answer<'_, ()>;
}

/// What differs from engine to engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's name, as [`Engine::name`] has it.
    pub name: &'static str,
    /// A second publish with the same key appends nothing, ever within [`IDEMPOTENCY_WINDOW`] and the topic's last
    /// [`IDEMPOTENCY_KEYS`]. Elsewhere the event's id is made from the key, and the tail drops the second one within its window of ids.
    pub idempotent: bool,
    /// Users can make topics by publishing to them.
    pub creates_topics: bool,
    /// The engine enforces [`TopicSpec::retention`] itself, by our word.
    pub retains: bool,
    /// `ingested_us` is to the microsecond; else it is the engine's own stamp, in whole milliseconds.
    pub microseconds: bool,
}

/// So many offsets are passed over after a power failure, because what was written last may be gone without a trace, and an offset must
/// never mean two events.
pub const POWER_FAILURE_SKIP: u64 = 1 << 20;

/// How long a key of idempotency is remembered.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Keys of idempotency that a topic remembers; the oldest go first, also before [`IDEMPOTENCY_WINDOW`] is over.
pub const IDEMPOTENCY_KEYS: usize = 100_000;

/// A topic as its owner wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub kind: TopicKind,
    pub synthetic: bool,
    /// Users may publish to it; else only this service's sources, or nobody here (a topic that is watched).
    pub writable: bool,
    pub retention: Retention,
}

/// Where an engine puts what a topic gets: the topic in the tail.
pub trait Sink: fmt::Debug + Send + Sync {
    /// The log behind the topic and what it holds now. Called before the first event, and again when the log is another one
    /// (another epoch) or has more partitions. Events before `next` are there to be read, not pushed.
    fn log(&self, log: LogExtent);

    /// Events that were appended, in the order of their offsets within each partition.
    fn push(&self, events: Vec<Stored>);

    /// The oldest offset that is kept has moved on.
    fn trim(&self, partition: u32, first: u64);
}

/// A log's name and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogExtent {
    pub epoch: Epoch,
    /// By partition number; never empty.
    pub partitions: Vec<Extent>,
}

/// The ends of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The oldest offset that is kept; `next` when nothing is.
    pub first: u64,
    /// The offset that the next event will have.
    pub next: u64,
}

/// An event in the log, as it goes to every reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub partition: u32,
    pub offset: u64,
    pub ingested_us: i64,
    /// [`id_hash`] of the event's id, on engines that may hold an event twice; else 0.
    pub id_hash: u64,
    /// Why the offsets between the event before it and this one have none, where there are such offsets.
    pub vacant: Option<GapReason>,
    /// The whole event, encoded as JSON once ([`freshet_wire::Event`]).
    pub json: Bytes,
}

/// What to append.
#[derive(Debug)]
pub struct Publication {
    pub records: Vec<Record>,
    /// One for all records: they are appended together or not at all, where the engine is idempotent.
    pub idempotency: Option<Idempotency>,
    pub ack: Ack,
}

/// When a publication is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// When the engine has taken it: it survives this process, not a power failure.
    Taken,
    /// When it is on disk (embedded) or with the engine's quorum.
    Durable,
}

/// A key under which a publication may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// Of what was published: the same key with other content is an error.
    pub digest: [u8; 16],
}

impl Idempotency {
    /// The id of the publication's event at this index, where it brings none and the engine knows no keys: the same for each try, and
    /// none that an event would bring by itself.
    pub fn event_id(&self, index: usize) -> String {
        let digest = Sha256::digest(&self.key);
        let digest: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digest}-{index}")
    }
}

/// An event that is about to be appended: the engine gives it its offset and the time of ingest.
#[derive(Debug)]
pub struct Record {
    pub produced_us: i64,
    pub host: Option<Arc<str>>,
    pub token: Option<freshet_wire::Token<'static>>,
    /// The event's type.
    pub kind: Arc<str>,
    /// Its id; without one the engine makes a unique one. An engine that is idempotent looks at keys alone, so there an id that is
    /// given under two keys stands in the log twice, and readers get it twice.
    pub id: Option<String>,
    /// Events with the same key keep their order: Kafka's message key, Pub/Sub's ordering key.
    pub key: Option<String>,
    pub data: Box<RawValue>,
}

/// How much one read may bring; the first event always comes, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub events: usize,
    pub bytes: usize,
}

/// What a read brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    pub events: Vec<Stored>,
    /// Where the next read begins: beyond the last event and any offsets without one that follow it.
    pub next: u64,
    /// Why the offsets after the last event, up to `next`, have none, where there are such.
    pub vacant: Option<GapReason>,
    /// The oldest offset that was kept at the time of reading: what was asked for before it is gone.
    pub first: u64,
}

impl Chunk {
    /// Leaves out what stands at this offset or beyond it.
    pub fn end_at(&mut self, end: u64) {
        self.first = self.first.min(end);
        if self.next <= end {
            return;
        }
        self.next = end;
        let kept = self.events.partition_point(|event| event.offset < end);
        // The reason of a hole that reaches over the end is told by the event after it.
        if let Some(beyond) = self.events.drain(kept..).next() {
            self.vacant = beyond.vacant;
        }
        if self.events.last().is_some_and(|last| last.offset + 1 == end) {
            self.vacant = None;
        }
    }
}

/// What an engine tells of a topic now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    pub bytes: Option<u64>,
    pub first_us: Option<i64>,
    /// Events that a leader appended which led no more, and that readers do not get, since the process started. An engine that refuses
    /// them has none.
    pub fenced: u64,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PubSubError {
    #[error("there is no topic {0:?}")]
    UnknownTopic(String),
    #[error("topic {0:?} is only read here, not written")]
    ReadOnly(String),
    #[error("the key {key:?} was used at offset {offset} for other data")]
    KeyReused { key: String, offset: u64 },
    #[error("an event of {bytes} bytes is larger than the {most} that one may have")]
    TooLarge { bytes: usize, most: usize },
    #[error("there are {0} topics already, and no more are made")]
    TooManyTopics(usize),
    #[error("topic {topic:?} is not removed here: {why}")]
    NotRemovable { topic: String, why: String },
    /// Its bound of what may wait is reached.
    #[error("the engine has more waiting than it takes; try again")]
    Full,
    /// An older token than one that was seen: a leader that leads no more.
    #[error("a newer leader has written (token {newest}); this one has {token}")]
    Fenced { token: u64, newest: u64 },
    /// It cannot be reached, or its disk fails; whether the events were appended may be unknown.
    #[error("{0}")]
    Unavailable(String),
    #[error("the service is about to stop")]
    Closed,
}

/// The engine that the configuration names. An engine whose servers are away opens nevertheless: its state says so.
pub fn open(config: &config::PubSub, data: &Path, node: &str) -> Result<Arc<dyn PubSub>, PubSubError> {
    let log = |log| Ok::<_, PubSubError>(Arc::new(EmbeddedLog::open(&data.join("log"), log)?));
    match config {
        config::PubSub::Log(config) => Ok(log(config)?),
        config::PubSub::Memory => Ok(Arc::new(Memory::forgetful())),
        #[cfg(feature = "kafka")]
        config::PubSub::Kafka(config) => Ok(Arc::new(kafka::Kafka::open(config, node)?)),
        #[cfg(feature = "cloud-pubsub")]
        config::PubSub::CloudPubSub(config) => {
            let spool = data.join("spool");
            Ok(Arc::new(cloud::CloudPubSub::open(config, &spool, node)?))
        }
        #[cfg(not(all(feature = "cloud-pubsub", feature = "kafka")))]
        _ => {
            let _ = node;
            let why = "this program was built without that engine; build it with --features engines";
            Err(PubSubError::Unavailable(why.to_owned()))
        }
    }
}

/// Files that the engine has open in this process once it has all the topics that it takes.
pub fn open_files(config: &config::PubSub) -> usize {
    match config {
        config::PubSub::Log(log) | config::PubSub::CloudPubSub(config::CloudPubSubConfig { spool: log, .. }) => {
            log.max_topics.saturating_mul(embedded::OPEN_FILES)
        }
        config::PubSub::Kafka(_) | config::PubSub::Memory => 0,
    }
}

/// For telling duplicates by id.
pub fn id_hash(id: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish().max(1)
}
