//! Live settings: what can be changed while the service runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ClassQuotas, Engine, Quota, RouteClass};

/// A version of the live settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsVersion {
    /// Grows with every change; it is also the ETag, for `If-Match`. 0: the store has not been read yet, or what is in it was refused
    /// since the process started; then the settings are those that would be put into an empty store.
    pub version: u64,
    /// When it was written, by the clock of [`Self::changed_on`].
    pub changed_us: i64,
    /// How: through the API and for whom, by hand in the file, or `start` for what an empty store was filled with.
    #[serde(default)]
    pub changed_by: String,
    /// The node that wrote it.
    #[serde(default)]
    pub changed_on: String,
    /// What it changed, in the order of the keys.
    #[serde(default)]
    pub changes: Vec<SettingChange>,
    pub settings: Settings,
}

/// A key that was given another value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingChange {
    /// The path, such as `source.cpu_hz`.
    pub key: String,
    pub before: Value,
    pub after: Value,
}

/// A change of the settings, without the settings themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsChange {
    /// The version that it made.
    pub version: u64,
    pub changed_us: i64,
    pub changed_by: String,
    pub changed_on: String,
    pub changes: Vec<SettingChange>,
}

/// What a store keeps: the newest version, and how it came about. It is one value there, so that a compare-and-set covers all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsDocument {
    #[serde(flatten)]
    pub newest: SettingsVersion,
    /// The newest change first, that of the newest version among them: up to 50, fewer where they are large.
    #[serde(default)]
    pub history: Vec<SettingsChange>,
}

/// `GET /settings/history`: the newest change first. A rollback reaches each version that stands here, and the one before the oldest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsHistory {
    /// The version in force.
    pub version: u64,
    pub changes: Vec<SettingsChange>,
}

/// `POST /settings/rollback`: the settings become again what they were at this version, which is a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    pub version: u64,
}

/// `GET /settings`, the answer to what changes them, and the value of the state topic `settings`: what is in force in this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsStatus {
    #[serde(flatten)]
    pub in_force: SettingsVersion,
    /// Where they come from: `file`, `etcd` or `zookeeper`.
    pub engine: Engine,
    /// Where in the engine they are, for who would edit them there: a path, or a key.
    pub place: String,
    /// What stands in the store now and is not in force, because it is not valid.
    pub refused: Option<RefusedSettings>,
    /// What is known of each process and the newest version that it applied; this process first.
    pub applied: Vec<AppliedSettings>,
}

/// A value that the store holds and that is not applied. The last good one stays in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RefusedSettings {
    /// When this process refused it.
    pub refused_us: i64,
    /// The key at fault; the whole document where it cannot be read at all: `document`.
    pub key: String,
    /// Why, and what would be right.
    pub reason: String,
}

/// When a process applied a version of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppliedSettings {
    pub node: String,
    pub version: u64,
    /// By this node's clock.
    pub applied_us: i64,
    /// From [`SettingsVersion::changed_us`], which is by the clock of the node that wrote it, to `applied_us`. Where these are two nodes, the
    /// difference of their clocks is in it, so it may be negative. `None` where the process found the version when it started.
    pub took_us: Option<i64>,
    /// The node whose clock it starts by.
    pub changed_on: String,
}

/// `GET /settings/schema`: every live setting, so that whoever shows them needs no table of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingsSchema {
    /// In the order in which they are shown, section by section.
    pub keys: Vec<SettingKey>,
}

/// What a live setting takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SettingKey {
    /// The path in [`Settings`], such as `limit.read.burst.quota`.
    pub key: String,
    pub kind: SettingKind,
    /// Of a number: what is counted, such as `samples a second`; else empty.
    pub unit: String,
    /// Of a number: the bounds, which are allowed themselves. Of networks and text: how many, or how long in bytes.
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// Where 0 is allowed as well and means something of its own: what.
    pub zero: Option<String>,
    /// Of a choice: what there is to choose from.
    pub choices: Vec<String>,
    pub default: Value,
    /// A change is taken at once, as any other, but a process goes by it from its next start on.
    #[serde(default)]
    pub restart: bool,
    /// What it is, in a sentence or two.
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    Number,
    /// A whole number.
    Integer,
    Choice,
    /// True or false.
    Flag,
    /// A list of networks.
    Networks,
    Text,
    /// A list of texts; only of static configuration, as is the next.
    Texts,
    /// Names and a text for each.
    Table,
}

/// The live settings. A `PATCH` is a JSON merge patch (RFC 7396) of this object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub source: Source,
    pub workload: Workload,
    pub limit: LimitSettings,
    pub retention: RetentionSettings,
    pub lane: LaneSettings,
    pub election: ElectionSettings,
    pub sampling: SamplingSettings,
    pub log: LogSettings,
}

/// What a page begins with, where its reader has not chosen otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LaneSettings {
    /// From a response to the next request, in milliseconds.
    pub poll_interval_ms: u32,
    /// The lane that feeds the cards.
    pub cards: Feed,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            poll_interval_ms: 1000,
            cards: Feed::Stream,
        }
    }
}

/// A lane, as what feeds the cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    Poll,
    #[default]
    Stream,
}

/// How long a leader keeps the lead when it falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ElectionSettings {
    /// On etcd (its lease) and ZooKeeper (its session), in seconds. Either may grant more or less.
    pub lease_ttl_s: u64,
    /// On the embedded Raft, in milliseconds: its lease, and the longest that a node waits before it stands for election.
    pub raft_timeout_ms: u64,
}

impl Default for ElectionSettings {
    fn default() -> Self {
        Self {
            lease_ttl_s: 5,
            raft_timeout_ms: 500,
        }
    }
}

/// How often what the process observes of itself is put onto its state topics, in samples a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSettings {
    pub deliveries_hz: f64,
    /// At most: where nothing happened, nothing is told.
    pub limits_hz: f64,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            deliveries_hz: 1.0,
            limits_hz: 1.0,
        }
    }
}

/// How much is kept of each topic that is Freshet's own; the oldest events go first. An engine that keeps nothing passes it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// In seconds.
    pub max_age_s: u64,
    pub max_bytes: u64,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            max_age_s: 7 * 24 * 3600,
            max_bytes: 256 << 20,
        }
    }
}

/// What the process says of itself on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Levels, of all (`info`) and of modules (`freshet::election=debug`), separated by commas.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            filter: "info,openraft=error".to_owned(),
        }
    }
}

/// How often the telemetry of the machine is sampled, in samples a second; 0 stops it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
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
#[serde(deny_unknown_fields, default)]
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
#[serde(deny_unknown_fields, default)]
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
