//! One way of delivery, as this page sees it: its status, what it brought, what it missed.

use std::collections::BTreeMap;

use freshet_wire::{Cursor, Epoch, GapReason};

use crate::latency::{Arrival, History, Ring, Summary};

/// The lanes of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneId {
    Poll,
    Stream,
}

/// What a lane is doing. Times are on the server's clock, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// The first attempt.
    Connecting,
    /// Streaming: after `hello`. Polling: the last request was answered.
    Live,
    /// It was lost or could not be had, and the next attempt has a time.
    Reconnecting {
        why: String,
        retry_at_us: f64,
        attempt: u32,
    },
    /// The server answered and said no; tried again later, and at once when the choice of topics changes.
    Refused { why: String, retry_at_us: f64 },
    /// The other lane runs solo.
    Off,
}

/// What a lane counted since the page was loaded. State topics are not among the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Events that were applied, each once.
    pub events: u64,
    /// Events that the server reported as a gap, where their number is known.
    pub missed: u64,
    /// Gaps whose number of events is unknown.
    pub unknown_gaps: u64,
    /// Events that had been applied before; dropped.
    pub duplicates: u64,
    /// Values of state topics that a newer one replaced.
    pub superseded: u64,
    /// Offsets that are missing though nobody said so: a broken promise (invariant 2), never to be seen.
    pub unexplained: u64,
    /// Of the events: those that came while the tab was hidden.
    pub hidden: u64,
    /// HTTP requests, or WebSocket connections that were opened.
    pub requests: u64,
    /// Polls that brought no event, 304 among them.
    pub empty: u64,
    pub not_modified: u64,
    /// WebSocket messages that came.
    pub frames: u64,
    /// Bytes of JSON text: less than what crossed the network.
    pub bytes_decoded: u64,
    /// Requests and connections that failed, and texts that could not be read.
    pub errors: u64,
}

/// A gap, as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct GapMark {
    pub topic: String,
    pub from_offset: u64,
    /// `None`: unknown.
    pub count: Option<u64>,
    /// `None`: nobody told it; the lane found the hole itself.
    pub reason: Option<GapReason>,
    /// When the lane heard of it, on the server's clock.
    pub at_us: f64,
}

/// One poll, on the server's clock in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    pub sent_us: f64,
    /// The answer was there in full.
    pub received_us: f64,
    /// Events that it brought.
    pub events: u32,
}

/// The newest event of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    pub epoch: Epoch,
    pub partition: u32,
    pub offset: u64,
    pub produced_us: f64,
    pub received_us: f64,
    /// The JSON text of its `data`, at most [`Newest::MAX_BYTES`]; `cut` if there was more, and then it is not JSON.
    pub data: String,
    pub cut: bool,
}

impl Newest {
    pub const MAX_BYTES: usize = 256 * 1024;
}

/// One lane's state. The network half is in `lane/poll.rs` and `lane/stream.rs`.
#[derive(Debug)]
pub struct Lane {
    pub id: LaneId,
    pub status: Status,
    /// Since when the status is what it is.
    pub since_us: f64,
    /// The name under which the server counts this lane: `id` in [`freshet_wire::Reader`].
    pub reader: String,
    /// Topics of the race, ever chosen: [`Arrival::topic`] is an index. Both lanes have the same list.
    pub topics: Vec<String>,
    /// What came on the topics of the race (never state topics), in the order in which it came.
    pub arrivals: Ring<Arrival>,
    pub history: History,
    pub counters: Counters,
    pub gaps: Ring<GapMark>,
    /// Polling only: what was asked and answered.
    pub requests: Ring<Request>,
    /// Polling only: a request is under way since then.
    pub asking_since_us: Option<f64>,
    /// When anything at all came from the server.
    pub last_heard_us: Option<f64>,
    newest: BTreeMap<String, Newest>,
    cursors: BTreeMap<String, Cursor>,
}

impl Lane {
    /// At 10,000 events/s the last five seconds fit.
    pub const ARRIVALS: usize = 1 << 16;
    pub const GAPS: usize = 256;
    pub const REQUESTS: usize = 1024;

    pub fn new(id: LaneId, reader: String) -> Self {
        Self {
            id,
            status: Status::Connecting,
            since_us: 0.0,
            reader,
            topics: Vec::new(),
            arrivals: Ring::new(Self::ARRIVALS),
            history: History::new(),
            counters: Counters::default(),
            gaps: Ring::new(Self::GAPS),
            requests: Ring::new(Self::REQUESTS),
            asking_since_us: None,
            last_heard_us: None,
            newest: BTreeMap::new(),
            cursors: BTreeMap::new(),
        }
    }

    /// The newest event of a topic, state topics included.
    pub fn newest(&self, topic: &str) -> Option<&Newest> {
        self.newest.get(topic)
    }

    /// Delivery latency of what came at or after `since_us`.
    pub fn summary(&self, since_us: f64) -> Option<Summary> {
        crate::latency::summary(self.arrivals.iter_back(), since_us)
    }

    /// Polling only: request sent to answer received, of the requests since `since_us` (of the last one, if there was none).
    pub fn round_trip(&self, since_us: f64) -> Option<Summary> {
        let mut samples: Vec<f64> = self
            .requests
            .iter_back()
            .enumerate()
            .take_while(|(i, request)| *i == 0 || request.received_us >= since_us)
            .map(|(_, request)| request.received_us - request.sent_us)
            .collect();
        Summary::of(&mut samples)
    }
}
