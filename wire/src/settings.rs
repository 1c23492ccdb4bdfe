//! Live settings: what can be changed while the service runs.

use serde::{Deserialize, Serialize};

/// A version of the live settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsVersion {
    /// Grows by one with every change; it is also the ETag, for `If-Match`.
    pub version: u64,
    pub changed_us: i64,
    pub settings: Settings,
}

/// The live settings. A `PATCH` is a JSON merge patch (RFC 7396) of this object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub source: Source,
    pub workload: Workload,
}

/// How often the telemetry of the machine is sampled, in samples a second; 0 stops it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub cpu_hz: f64,
    pub network_hz: f64,
    pub memory_hz: f64,
    pub disk_hz: f64,
    pub processes_hz: f64,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            cpu_hz: 10.0,
            network_hz: 5.0,
            memory_hz: 2.0,
            disk_hz: 1.0,
            processes_hz: 1.0,
        }
    }
}

/// The synthetic generator, for experiments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Events a second, on average; 0 (the default) is off.
    pub rate_hz: f64,
    pub shape: Shape,
    /// How many events a burst has (shape `bursts` only).
    pub burst_events: u32,
    /// The size of an event's `data`, in bytes of JSON.
    pub payload_bytes: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rate_hz: 0.0,
            shape: Shape::Steady,
            burst_events: 50,
            payload_bytes: 128,
        }
    }
}

/// How the synthetic events are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Equal distances.
    #[default]
    Steady,
    /// Exponential distances: independent arrivals.
    Poisson,
    /// `burst_events` at once, with pauses that keep the average.
    Bursts,
}
