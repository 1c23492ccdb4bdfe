//! What there is to read: topics, their logs and windows.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Reader};

/// `GET /topics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Topics {
    pub topics: Vec<Topic>,
    pub readers: Vec<Reader>,
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
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub epoch: Epoch,
    pub partitions: Vec<Partition>,
    /// Over the last ten seconds.
    pub events_per_s: f64,
    /// Bytes of encoded events, over the last ten seconds.
    pub bytes_per_s: f64,
    pub window: Window,
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
