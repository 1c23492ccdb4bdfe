//! Which lanes there are, and what each is doing.

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
    /// The server answered and said no. Tried again later, and at once when the choice of topics changes.
    Refused { why: String, retry_at_us: f64 },
    /// The server answered 429: the quota is spent. It goes on at that time.
    Limited { why: String, retry_at_us: f64 },
    /// The other lane runs solo.
    Off,
}
