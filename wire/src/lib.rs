//! The types that cross Freshet's network, and nothing else.
//!
//! The back end writes them, the page and the tests read them. Times are integer microseconds since the
//! Unix epoch, in fields that end in `_us`. `GET /api/v1/openapi.json` lists the routes that carry them.

mod cluster;
mod config;
mod cursor;
mod delivery;
mod event;
mod limit;
mod page;
mod position;
mod problem;
mod publish;
mod settings;
mod stream;
mod topic;

pub use cluster::{
    Cluster, ClusterNode, Failovers, FencingToken, Flapping, LeaderState, Leadership, Lease, NodeAction, NodeFault,
    NodeRole, RaftNode, RaftView, Span, StaleWrites,
};
pub use config::{ConfigKey, ConfigSource, StaticConfig};
pub use cursor::{Cursor, CursorError, Epoch};
pub use delivery::{Deliveries, LaneKind, Reader, TopicTotals};
pub use event::{Event, Token};
pub use limit::{
    ClassQuotas, ClassStatus, ClientLimits, LimitCounts, LimitMoment, LimitStatus, LimitedClient, Load, OnFailure,
    PolicyStatus, Quota, RouteClass, Standing,
};
pub use page::{Clock, Gap, GapReason, Page};
pub use position::{From, MAX_TOPIC_BYTES, Position, PositionError, check_topic_name};
pub use problem::Problem;
pub use publish::Receipt;
pub use settings::{
    AppliedSettings, ElectionSettings, Feed, LaneSettings, LimitSettings, LogSettings, RefusedSettings,
    RetentionSettings, Rollback, SamplingSettings, SettingChange, SettingKey, SettingKind, Settings, SettingsChange,
    SettingsDocument, SettingsHistory, SettingsSchema, SettingsStatus, SettingsVersion, Shape, Source, Workload,
};
pub use stream::{ClientMessage, Events, Hello, Limits, Pong, Published, ServerMessage, StreamProblem};
pub use topic::{Engine, EngineState, Log, Partition, Retention, Topic, TopicKind, TopicScope, Topics, Window};

/// The version of the wire contract that `hello` states.
pub const PROTOCOL: u32 = 1;
