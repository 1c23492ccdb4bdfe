//! Live settings: what can be changed while the service runs.

use serde::{Deserialize, Serialize};

use crate::{ClassQuotas, Quota, RouteClass};

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
    #[serde(default)]
    pub limit: LimitSettings,
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

/// Rate limits: the quotas of each class of requests, and for whom they do not hold. A client keeps what it has spent when a quota
/// is changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    pub read: ClassQuotas,
    pub publish: ClassQuotas,
    pub connect: ClassQuotas,
    #[serde(rename = "stream-message")]
    pub stream_message: ClassQuotas,
    pub admin: ClassQuotas,
    #[serde(rename = "try")]
    pub try_: ClassQuotas,
    /// Networks (`192.0.2.0/24`, `2001:db8::/32`, or an address) for which no quota holds.
    pub exempt: Vec<String>,
    /// Networks that are refused. One that has a loopback address in it cannot be denied.
    pub denied: Vec<String>,
    /// Clients' addresses are masked wherever they are shown.
    pub mask: bool,
}

impl LimitSettings {
    pub fn of(&self, class: RouteClass) -> ClassQuotas {
        match class {
            RouteClass::Read => self.read,
            RouteClass::Publish => self.publish,
            RouteClass::Connect => self.connect,
            RouteClass::StreamMessage => self.stream_message,
            RouteClass::Admin => self.admin,
            RouteClass::Try => self.try_,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        let quotas = |burst: (u32, u32), sustained: (u32, u32)| ClassQuotas {
            burst: Quota {
                quota: burst.0,
                window_s: burst.1,
            },
            sustained: Quota {
                quota: sustained.0,
                window_s: sustained.1,
            },
        };
        Self {
            // Some tabs that poll every 100 ms, and whatever a person does beside that.
            read: quotas((2000, 2), (12_000, 60)),
            // A batch costs what it has events: the largest one at once, and 1,000 events a second in the long run.
            publish: quotas((10_000, 2), (60_000, 60)),
            connect: quotas((500, 5), (1200, 60)),
            stream_message: quotas((2000, 2), (12_000, 60)),
            admin: quotas((300, 3), (1200, 60)),
            // Small, so that it can be seen at work.
            try_: quotas((20, 4), (120, 60)),
            exempt: Vec::new(),
            denied: Vec::new(),
            mask: false,
        }
    }
}
