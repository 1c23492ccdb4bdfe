//! What there is to read: topics, their logs and windows.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Reader};

/// `GET /topics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Topics {
    /// The engine behind the shared topics.
    pub pubsub: Engine,
    pub topics: Vec<Topic>,
    pub readers: Vec<Reader>,
}

/// An engine and how it fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Engine {
    /// `log` (embedded), `kafka` or `cloud-pubsub`.
    pub name: String,
    pub state: EngineState,
    /// Since when the state is what it is.
    pub since_us: i64,
    /// What is wrong, in words for people, and what it means for them; empty when all is well.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// Not heard of yet.
    Connecting,
    Up,
    /// It works in part: something was lost or is refused, see `detail`.
    Degraded,
    /// It cannot be reached or does not work; it is tried again.
    Down,
}

/// A topic and its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Topic {
    pub name: String,
    pub kind: TopicKind,
    pub scope: TopicScope,
    /// Made up for an experiment, and labelled so wherever it is shown.
    pub synthetic: bool,
    /// Users may publish to it.
    pub writable: bool,
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub epoch: Epoch,
    pub partitions: Vec<Partition>,
    /// Over the last ten seconds.
    pub events_per_s: f64,
    /// Bytes of encoded events, over the last ten seconds.
    pub bytes_per_s: f64,
    pub window: Window,
    /// What the engine keeps of it; `None` for a local topic, which has its window alone.
    pub log: Option<Log>,
    /// Events that the engine held twice and that readers got once, since the process started.
    pub duplicates: u64,
    /// Events in the log that a leader appended which led no more: readers do not get them. Since the process started.
    pub fenced: u64,
    /// Why the engine cannot open it, where it cannot: then nothing of it can be read. It is tried again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// Streams that are subscribed now, and long polls that wait.
    pub readers: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TopicKind {
    /// Each event counts.
    Log,
    /// The latest value counts.
    State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TopicScope {
    /// The same for every process of the service.
    Shared,
    /// What this process observes.
    Local,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Partition {
    pub partition: u32,
    /// The oldest offset that is kept.
    pub first_offset: u64,
    /// The offset that the next event will have.
    pub next_offset: u64,
}

/// What the engine keeps of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Log {
    /// Bytes on disk, where the engine tells.
    pub bytes: Option<u64>,
    /// When the oldest kept event was ingested, where it is known.
    pub first_us: Option<i64>,
    pub retention: Retention,
}

/// How much of a log is kept; what is older or more goes, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Retention {
    /// In seconds; `None`: no bound by age, or one that the engine does not tell.
    pub max_age_s: Option<u64>,
    pub max_bytes: Option<u64>,
}

/// What of a topic is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Window {
    pub events: u64,
    /// Bytes of encoded events.
    pub bytes: u64,
    pub max_bytes: u64,
    /// From the oldest event's ingest to the newest's, in microseconds.
    pub span_us: i64,
}
