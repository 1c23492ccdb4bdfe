//! What a lane keeps on record besides the arrivals.

use freshet_wire::{Epoch, GapReason};

/// What a lane counted since the page was loaded. What is missing is counted for the race's topics alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Events of the race that were applied, each once.
    pub events: u64,
    /// The same of topics that only feed cards.
    pub card_events: u64,
    /// Events that the server reported as lost to the reader ([`freshet_wire::GapReason::is_loss`]), where their number is known.
    pub missed: u64,
    /// Such gaps whose number of events is unknown.
    pub unknown_gaps: u64,
    /// Events that had been applied before; dropped here.
    pub duplicates: u64,
    /// Offsets of events that the engine holds twice; the server dropped them.
    pub told_duplicates: u64,
    /// Offsets of events that a leader appended which led no more; the server dropped them.
    pub fenced: u64,
    /// Offsets that the engine gave to no event.
    pub vacant: u64,
    /// Values of state topics that a newer one replaced.
    pub superseded: u64,
    /// Holes that nobody told: a broken promise (invariant 2), never to be seen.
    pub unexplained: u64,
    /// Of the events: those that came while the tab was hidden.
    pub hidden: u64,
    /// HTTP requests, or WebSocket connections that were tried.
    pub requests: u64,
    /// Polls that brought no event of a log topic, 304 among them.
    pub empty: u64,
    pub not_modified: u64,
    /// WebSocket messages that came.
    pub frames: u64,
    /// Bytes of JSON text: less than what crossed the network.
    pub bytes_decoded: u64,
    /// Requests that were refused because the quota was spent (429); they count as errors, too.
    pub limited: u64,
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

/// One poll that was answered, on the server's clock in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    pub sent_us: f64,
    /// The answer was there in full.
    pub received_us: f64,
    /// Events of log topics that it brought.
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
    /// The JSON text of its `data`. No JSON any more if `cut`.
    pub data: String,
    /// There was more than [`Newest::MAX_BYTES`].
    pub cut: bool,
}

impl Newest {
    pub const MAX_BYTES: usize = 256 * 1024;
}
