//! Who leads, since when, and how it came to be: `GET /cluster` and the value of the state topic `cluster`.
//!
//! What is not known is `null` (or `unknown`), never zero and never the last thing that was known.

use serde::{Deserialize, Serialize};

use crate::Engine;

/// The cluster as this process sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Cluster {
    /// When this was put together, by this process's clock: what the lease is compared with.
    pub now_us: i64,
    /// The process that tells this.
    pub node: String,
    /// The engine that elects, and how it fares: `raft` (embedded), `etcd` or `zookeeper`.
    pub election: Engine,
    /// What the tokens of this cluster are compared within.
    pub scope: String,
    pub state: LeaderState,
    /// Since when the state, or who leads, is what it is.
    pub since_us: i64,
    /// Who leads; `None` where nobody does, or where it is unknown who does.
    pub leader: Option<Leadership>,
    /// The nodes that are known, in the order of their names.
    pub nodes: Vec<ClusterNode>,
    /// What this process saw since it started: leaderships, and the gaps without a leader between them, oldest first. At most 64; the
    /// oldest go.
    pub timeline: Vec<Span>,
    /// Changes of leader that this process has seen: the first leader counts as one. A leader that lost its lease and got it
    /// back without another in between does not.
    pub leader_changes: u64,
    pub failovers: Failovers,
    pub flapping: Flapping,
    pub stale: StaleWrites,
    /// Raft's own view, where the engine is Raft.
    pub raft: Option<RaftView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaderState {
    /// Somebody leads, and this process knows who.
    Led,
    /// Nobody leads: the last lease is over or was given up, and there is no other yet.
    Leaderless,
    /// Not heard of yet, or not any more.
    Unknown,
}

/// One node's time as the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Leadership {
    pub node: String,
    pub token: FencingToken,
    pub since_us: i64,
    /// Where this process is told of it: the embedded engine, and on others only the leader itself.
    pub lease: Option<Lease>,
}

/// A fencing token, as [`crate::Token`], owned: numbers grow within a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FencingToken {
    /// Engine and cluster.
    pub scope: String,
    /// Raft's term, etcd's create revision or ZooKeeper's zxid.
    pub number: u64,
}

/// How long a leader may act without hearing from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Lease {
    /// From a renewal to the moment when another may be elected.
    pub ttl_us: u64,
    /// So much before that moment the leader stops by itself: clocks drift, and threads wait.
    pub margin_us: u64,
    /// When it was renewed last.
    pub renewed_us: i64,
    /// The leader acts until then, unless it is renewed: `renewed_us` + `ttl_us` − `margin_us`.
    pub until_us: i64,
}

/// A node that takes part in elections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClusterNode {
    pub id: String,
    pub role: NodeRole,
    /// It is a part of this process: its faults can be put from here.
    pub local: bool,
    pub fault: NodeFault,
    /// When the leader heard from it last; for the leader, when it heard from enough of the others. `None`: unknown, as when nobody leads.
    pub last_contact_us: Option<i64>,
    /// What is wrong with it, in words for people; empty when all is well.
    pub detail: String,
    /// What can be done with it now: `stop`, `start`, `isolate`, `heal`, `resign`.
    pub actions: Vec<NodeAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    Leader,
    /// It led, and its lease is over or was given up: it does not act, and may not have heard of another leader.
    Lapsed,
    Follower,
    /// It asks the others for their votes.
    Candidate,
    /// It does not run.
    Stopped,
    Unknown,
}

/// What was done to a node by hand. Not kept: a restart of the process heals it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeFault {
    None,
    Stopped,
    /// It runs, and nothing it sends arrives anywhere, nor anything at it.
    Isolated,
}

/// `POST /cluster/nodes/{id}/{action}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeAction {
    /// It ends at once, as a process that is killed.
    Stop,
    Start,
    /// Nothing passes between it and the others.
    Isolate,
    Heal,
    /// The leader gives the leadership up, in order.
    Resign,
}

impl NodeAction {
    pub const ALL: [Self; 5] = [Self::Stop, Self::Start, Self::Isolate, Self::Heal, Self::Resign];

    /// As it stands in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Isolate => "isolate",
            Self::Heal => "heal",
            Self::Resign => "resign",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// A stretch of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Span {
    pub state: LeaderState,
    /// Who led, and with which token, where somebody did.
    pub node: Option<String>,
    pub token: Option<u64>,
    pub from_us: i64,
    /// `None`: it lasts.
    pub until_us: Option<i64>,
    /// Its length by a clock that is never set; `None`: it lasts.
    pub duration_us: Option<u64>,
}

/// The gaps without a leader between two leaderships, since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Failovers {
    /// The time before the first leader is none, and so is a gap within which it was unknown whether somebody led.
    pub count: u64,
    /// The newest, the median (of the last 1,000) and the longest gap; `None` where there was none.
    pub last_us: Option<u64>,
    pub p50_us: Option<u64>,
    pub worst_us: Option<u64>,
}

/// Whether the leadership moves too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Flapping {
    /// So many changes of leader within the window are too many, and there were that many.
    pub is_flapping: bool,
    pub changes: u32,
    pub threshold: u32,
    pub window_s: u32,
}

/// What a leader that leads no more wanted to write, since the process started. None of it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StaleWrites {
    /// Events that the log refused, because a newer token had been seen.
    pub refused: u64,
    /// Events that the leader held back itself, because its lease was over by its own clock.
    pub held_back: u64,
    /// When it happened last.
    pub last_us: Option<i64>,
}

/// Raft's own view: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RaftView {
    /// The highest term that a node which runs has; `None` where none runs.
    pub term: Option<u64>,
    /// Nodes that must agree.
    pub quorum: u32,
    pub heartbeat_ms: u64,
    /// A follower that hears nothing waits out the leader's lease (the longest timeout), and then a time between these two, before it
    /// asks for votes.
    pub election_timeout_min_ms: u64,
    pub election_timeout_max_ms: u64,
    /// In the order of their names. A node that does not run is not among them.
    pub nodes: Vec<RaftNode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RaftNode {
    pub id: String,
    pub term: u64,
    /// Whom it votes for in that term, and whether it knows that a quorum did.
    pub voted_for: Option<String>,
    pub is_committed: bool,
    /// The index of the last entry of its log, and of the last one that it knows to be committed; `None` where there is none.
    pub last_log: Option<u64>,
    pub committed: Option<u64>,
}
