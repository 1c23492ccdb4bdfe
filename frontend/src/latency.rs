//! Pure latency arithmetic: arrivals, rings, windows, percentiles. No Leptos, no browser.

/// One event as one lane brought it to this page. All times are on the server's clock, in microseconds since
/// the Unix epoch (an `f64` is exact to 0.25 µs until the year 2100); the page's own were moved by the offset of the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Index into the lane's list of topics.
    pub topic: u16,
    pub offset: u64,
    /// When the event happened; `ingested_us` where its clock is another host's (then `foreign`).
    pub produced_us: f64,
    pub ingested_us: f64,
    /// When the server had the page or the message together.
    pub sent_us: f64,
    /// When the lane had it in this page, before it was decoded.
    pub received_us: f64,
    /// When the model had it.
    pub applied_us: f64,
    /// Latency starts at `ingested_us`: the producer's clock is not the server's.
    pub foreign: bool,
    /// The tab was hidden: browsers slow timers down then, so these are kept apart.
    pub hidden: bool,
}

impl Arrival {
    /// Delivery latency, in microseconds. May be negative within the clock's bound; never clamped.
    pub fn latency_us(&self) -> f64 {
        self.received_us - self.produced_us
    }
}
