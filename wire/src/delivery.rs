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
    pub topics: Vec<Topic>,
    /// CPU time of the whole process since it started, in microseconds: sources, tail and deliveries.
    pub process_cpu_us: u64,
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
