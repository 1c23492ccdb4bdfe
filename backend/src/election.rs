//! Leader election: one node leads and runs the sources; the others know who does, and elect another when it is gone.
//!
//! The guarantees are those of [`Election`]. An engine puts what it knows up on its [`Board`]; the application reads it there, and is handed
//! a [`Mandate`] for as long as it leads.

mod board;
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
mod candidate;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(feature = "etcd")]
pub mod etcd;
mod mandate;
pub mod raft;
pub mod timeline;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_wire::{Cluster, ClusterNode, ElectionSettings, FencingToken, Leadership, NodeAction, RaftView};

pub use self::board::{Board, Reading};
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
pub use self::candidate::Candidate;
pub use self::mandate::Mandate;
use self::raft::RaftElection;
use self::timeline::Seen;
use crate::config;
use crate::pubsub::Answer;

/// An engine that elects. It campaigns from its opening on, for as long as it is open.
///
/// - *One leads.* At no moment do two mandates hold ([`Mandate::holds`]): a mandate ends, by its own clock and a margin, before the others may
///   elect anybody else.
/// - *Tokens grow.* A later mandate has a greater token within the scope, also after a restart of everything. One that lost its lease and got
///   it back, with nobody in between, may have the same.
/// - *Known or unknown.* The board says who leads, that nobody does, or that it is unknown; never what was true some time ago.
pub trait Election: fmt::Debug + Send + Sync {
    /// Who leads, the mandate of this process, and how the engine fares.
    fn board(&self) -> &Arc<Board>;

    /// The nodes, and Raft's view where the engine is Raft. `now_us` is what the wall clock shows at `now`.
    fn nodes(&self, now: Instant, now_us: i64) -> (Vec<ClusterNode>, Option<RaftView>);

    /// Does something to a node of this process. Resigning ends the mandate at once; the answer comes when another leads, or when it is
    /// clear that this takes a whole election.
    fn act(&self, node: &str, action: NodeAction) -> Answer<'_, Result<(), ElectionError>>;

    /// Leases are to be so long from now on. What engine has no such lease passes it over.
    fn retime(&self, ttl: Duration) {
        let _ = ttl;
    }

    /// Resigns, where this process leads, and takes part no more.
    fn close(&self) -> Answer<'_, ()>;
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElectionError {
    #[error("there is no node {0:?} in this process")]
    UnknownNode(String),
    /// The node is not in a state for that, or the engine cannot do it at all.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("the service is about to stop")]
    Closed,
}

/// The engine that the configuration names, where this process is called `node`. Raft is timed as the settings say now; how long leases are
/// elsewhere is said later as well ([`Election::retime`]).
pub fn open(
    config: &config::Election,
    data: &Path,
    node: &str,
    settings: ElectionSettings,
) -> Result<Arc<dyn Election>, ElectionError> {
    let _ = node;
    match config {
        config::Election::Raft(config) => {
            let timeout = Duration::from_millis(settings.raft_timeout_ms);
            Ok(Arc::new(RaftElection::open(&data.join("election"), config, timeout)?))
        }
        #[cfg(feature = "etcd")]
        config::Election::Etcd(config) => Ok(Arc::new(etcd::open(config, node)?)),
        #[cfg(not(feature = "etcd"))]
        config::Election::Etcd(_) => Err(left_out()),
        #[cfg(feature = "zookeeper")]
        config::Election::ZooKeeper(config) => Ok(Arc::new(zookeeper::open(config, node)?)),
        #[cfg(not(feature = "zookeeper"))]
        config::Election::ZooKeeper(_) => Err(left_out()),
    }
}

#[cfg(not(all(feature = "etcd", feature = "zookeeper")))]
fn left_out() -> ElectionError {
    let why = "this program was built without that engine; build it with --features engines";
    ElectionError::Unavailable(why.to_owned())
}

/// What is told of the cluster by the process that is called `node`; `now_us` is what the wall clock shows at `now`.
pub fn describe(election: &dyn Election, node: &str, now: Instant, now_us: i64) -> Cluster {
    let board = election.board();
    let reading = board.read(now, now_us);
    let mandate = board.mandate().borrow().clone();
    let leader = match &reading.seen {
        Seen::Led { node, token } => Some(Leadership {
            node: node.clone(),
            token: FencingToken {
                scope: board.scope().to_string(),
                number: *token,
            },
            since_us: reading.since_us,
            lease: mandate
                .filter(|mandate| mandate.token().number == *token)
                .map(|mandate| mandate.lease(now, now_us)),
        }),
        Seen::Leaderless | Seen::Unknown => None,
    };
    let (nodes, raft) = election.nodes(now, now_us);
    Cluster {
        now_us,
        node: node.to_owned(),
        election: board.engine(),
        scope: board.scope().to_string(),
        state: reading.seen.state(),
        since_us: reading.since_us,
        leader,
        nodes,
        timeline: reading.spans,
        leader_changes: reading.leader_changes,
        failovers: reading.failovers,
        flapping: reading.flapping,
        stale: board.stale(),
        raft,
    }
}
