//! What a poll answers, and the clock probe over HTTP.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cursor, Event};

/// The answer to one poll.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<'a> {
    #[serde(borrow)]
    pub events: Vec<Event<'a>>,
    /// Where the next poll begins, a cursor for each topic that was asked for.
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, String>))]
    pub next: BTreeMap<String, Cursor>,
    /// What was asked for and cannot be had any more.
    pub gaps: Vec<Gap>,
    /// There was more than `limit`: ask again at once.
    pub more: bool,
    /// When the server had put this page together.
    pub sent_us: i64,
}

/// Events that a reader does not get, said instead of passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Gap {
    pub topic: String,
    pub partition: u32,
    /// The first offset that is missing, in the epoch that the reader's cursor had; 0 where a reader asked for a time
    /// and even that is not known.
    pub from_offset: u64,
    /// How many are missing; unknown (null) when the log behind the topic is another one.
    pub count: Option<u64>,
    pub reason: GapReason,
}

/// Why events cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// They were dropped from the topic before they were read: too old, or too many.
    Retention,
    /// The log behind the topic is another one than the cursor's (its epoch changed), or was removed with the topic.
    Epoch,
    /// State topics only: a newer value took their place. Nothing that counts was lost.
    Superseded,
    /// The engine holds an event a second time; readers get it once. Nothing was lost.
    Duplicate,
    /// A leader that leads no more appended them; they were fenced out. Nothing that counts was lost.
    Fenced,
    /// The engine gave these offsets to no event (Kafka: transaction markers, compaction). Nothing was lost.
    Vacant,
    /// The log had them and lost them: a damaged file, or a power failure before they were on disk.
    Lost,
}

impl GapReason {
    /// Whether events that count are missing to the reader.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Retention | Self::Epoch | Self::Lost)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retention => "retention",
            Self::Epoch => "epoch",
            Self::Superseded => "superseded",
            Self::Duplicate => "duplicate",
            Self::Fenced => "fenced",
            Self::Vacant => "vacant",
            Self::Lost => "lost",
        })
    }
}

/// The server's two timestamps of a clock probe (RFC 5905, section 8: T2 and T3 of the on-wire protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Clock {
    /// The probe was received.
    pub t1_us: i64,
    /// The answer was sent.
    pub t2_us: i64,
}
