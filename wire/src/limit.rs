//! Rate limits: policies, what was decided, and the counters: the value of the state topic `limits`, and `GET /limits`.

use serde::{Deserialize, Serialize};

use crate::Engine;

/// The classes of requests, each with policies of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RouteClass {
    /// What reads: polls, topics, settings, cluster, limits.
    Read,
    /// Events that are published, over HTTP and over a stream.
    Publish,
    /// WebSocket handshakes.
    Connect,
    /// Messages from a stream's client.
    StreamMessage,
    /// What changes the service.
    Admin,
    /// Requests that only try the limiter.
    Try,
}

impl RouteClass {
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Publish,
        Self::Connect,
        Self::StreamMessage,
        Self::Admin,
        Self::Try,
    ];

    /// Its name, which is also that of its sustained policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Connect => "connect",
            Self::StreamMessage => "stream-message",
            Self::Admin => "admin",
            Self::Try => "try",
        }
    }
}

/// A quota: `quota` requests at once, and then one each `window_s / quota` seconds. No interval of t seconds admits more than
/// quota + t · quota / window_s. In the headers it is `q` and `w` (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// 0: no limit.
    pub quota: u32,
    /// In how many seconds a quota that was spent is there again.
    pub window_s: u32,
}

/// The two quotas of a class; a request must find room in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClassQuotas {
    /// Policy `CLASS-burst`: how much at once.
    pub burst: Quota,
    /// Policy `CLASS`: how much in the long run.
    pub sustained: Quota,
}

/// What was decided, how often, on all routes but the free ones (`/clock`, `/openapi.json`, `/metrics`, the page). Each request counts once in one of `allowed`, `limited`, `shed` and `denied`; `near` is a part of `allowed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitCounts {
    pub allowed: u64,
    /// Refused with 429, or with a problem on the stream.
    pub limited: u64,
    /// Allowed with at most a fifth of a quota left.
    pub near: u64,
    /// Refused with 503, whoever asked, or because the client had too much open at once.
    pub shed: u64,
    /// Refused with 403: its network is denied.
    pub denied: u64,
}

/// A policy: its quota, what it was asked, and how often it said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PolicyStatus {
    /// As in the headers.
    pub name: String,
    pub class: RouteClass,
    pub quota: Quota,
    /// Requests admitted under it.
    pub allowed: u64,
    /// Requests that it had no room for; one that two policies refuse counts in both.
    pub limited: u64,
    /// Admitted with at most a fifth of this quota left.
    pub near: u64,
}

/// A class and its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClassStatus {
    pub class: RouteClass,
    #[serde(flatten)]
    pub counts: LimitCounts,
}

/// A client and its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitedClient {
    /// An IPv4 address or an IPv6 /64; masked where the setting `limit.mask` says so.
    pub client: String,
    #[serde(flatten)]
    pub counts: LimitCounts,
    pub last_us: i64,
    /// Where it stood after its last request, in the policy with the least left.
    pub standing: Option<Standing>,
}

/// Where a client stands with a policy. It runs down by itself: the quota is whole again at `full_us`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Standing {
    pub policy: String,
    pub quota: Quota,
    /// Requests that would be admitted at once.
    pub remaining: u32,
    /// When the quota will be whole, if nothing more is spent.
    pub full_us: i64,
    /// In how many microseconds the next request would be admitted; 0: now.
    pub retry_after_us: u64,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitMoment {
    /// Its end.
    pub at_us: i64,
    #[serde(flatten)]
    pub counts: LimitCounts,
}

/// What holds while the distributed engine is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Each process limits by itself.
    #[default]
    Local,
    /// What needs a quota is refused with 503.
    Closed,
}

/// What is open at once, and how much may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Load {
    /// Requests that are being answered, long polls among them.
    pub requests: u32,
    pub max_requests: u32,
    /// Of one client.
    pub max_client_requests: u32,
    pub streams: u32,
    /// Of one client.
    pub max_client_streams: u32,
    /// Connections that were refused before anything was said on them.
    pub refused_connections: u64,
    /// How late the process comes to what is due, in microseconds, and above which lateness new load is shed.
    pub lag_us: u64,
    pub max_lag_us: u64,
    /// New load is shed now.
    pub shedding: bool,
}

/// The value of the state topic `limits`, and of `GET /limits`. Counters run since `since_us`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitStatus {
    /// `embedded`, or `redis`.
    pub engine: Engine,
    /// What holds while it is away; `None` where it is embedded.
    pub on_failure: Option<OnFailure>,
    /// Checks that the local limiter answered, or that were refused, because the engine was away.
    pub without_engine: u64,
    pub since_us: i64,
    pub total: LimitCounts,
    pub classes: Vec<ClassStatus>,
    pub policies: Vec<PolicyStatus>,
    /// The 50 with the most requests. With `others` they add up to `total`.
    pub clients: Vec<LimitedClient>,
    pub others: LimitCounts,
    /// Clients that are remembered, these among them.
    pub clients_total: u32,
    /// The last minute, a second each; those in which nothing happened are left out.
    pub history: Vec<LimitMoment>,
    pub load: Load,
    /// Addresses are masked.
    pub masked: bool,
}

/// `GET /limits/{client}`: where a client stands. Asking spends nothing of its quotas but a `read` of the asker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClientLimits {
    pub client: String,
    /// It is in a network that no quota holds for.
    pub exempt: bool,
    pub now_us: i64,
    pub standings: Vec<Standing>,
    pub counts: LimitCounts,
}
