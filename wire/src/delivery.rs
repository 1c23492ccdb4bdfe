//! What the server counted of each reader: the value of the state topic `deliveries`, and part of `GET /topics`.

use serde::{Deserialize, Serialize};

use crate::{Engine, Topic};

/// The ways in which events reach a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    Poll,
    Stream,
}

/// The value of the state topic `deliveries`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Deliveries {
    /// Those that are active, at most 50: who is connected and who gave a name first. `readers_total` counts all that are known.
    pub readers: Vec<Reader>,
    pub readers_total: u32,
    /// The engine behind the shared topics.
    pub pubsub: Engine,
    /// In the order of their names, at most 64 (fewer where they have hundreds of partitions): those that streams and long polls wait
    /// for, then the busiest, then those with the newest events. One with more than 2,048 partitions is never among them: a value that goes
    /// to every page once a second has no room for it. `GET /topics` lists all.
    pub topics: Vec<Topic>,
    /// Sums over all topics, also those that are not listed.
    pub topics_total: TopicTotals,
    /// CPU time of the whole process since it started, in microseconds: sources, tail and deliveries.
    pub process_cpu_us: u64,
}

/// Sums over topics.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopicTotals {
    /// How many topics there are.
    pub topics: u32,
    /// Of these, logs; the others are states.
    pub logs: u32,
    /// Over the last ten seconds.
    pub events_per_s: f64,
    /// Bytes of encoded events, over the last ten seconds.
    pub bytes_per_s: f64,
    /// Bytes of encoded events in the windows.
    pub window_bytes: u64,
    pub duplicates: u64,
    /// Events of leaders that led no more, as in [`Topic::fenced`].
    pub fenced: u64,
}

/// One reader's figures since it was first seen. They only grow, but `queue_*`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reader {
    /// The name that the reader gave (`?reader=`), or one of the server's.
    pub id: String,
    pub lane: LaneKind,
    /// Connected now (stream), or asked within the last minute (poll).
    pub active: bool,
    pub first_seen_us: i64,
    /// HTTP requests, the WebSocket handshakes among them.
    pub requests: u64,
    /// Polls that brought no event of a log topic, 304 among them.
    pub empty: u64,
    /// WebSocket messages to the reader.
    pub frames: u64,
    /// Events delivered.
    pub events: u64,
    /// Of these, values of state topics, and their share of `bytes_out`: what a page reads about itself.
    pub state_events: u64,
    pub state_bytes: u64,
    /// Bytes at the server's socket, headers and frames included.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Thread CPU time over the polls of this reader's connections, in microseconds.
    pub cpu_us: u64,
    /// Events that were reported as a gap, where their number is known.
    pub missed: u64,
    /// Gaps whose number of events is unknown.
    pub unknown_gaps: u64,
    /// Values of state topics that a newer one replaced.
    pub superseded: u64,
    /// Events that wait for this reader now (stream).
    pub queue_events: u64,
    pub queue_bytes: u64,
}
