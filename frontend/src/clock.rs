//! The offset between the page's clock and the server's, measured by probes with four timestamps each.

/// How much earlier the page's clock is than the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offset {
    /// Server time − page time, in microseconds.
    pub offset_us: f64,
    /// The true offset lies within ± this, in microseconds.
    pub bound_us: f64,
}
