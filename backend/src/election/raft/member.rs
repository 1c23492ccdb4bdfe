//! One node of the cluster: whether it runs, what Raft last said of it, and its mandate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use freshet_wire::{ClusterNode, NodeAction, NodeFault, NodeRole, RaftNode as RaftNodeView};
use openraft::type_config::alias::SerdeInstantOf;
use openraft::{Instant as _, RaftMetrics, ServerState};
use parking_lot::Mutex;

use super::network::RaftNode;
use super::types::Types;
use crate::election::Mandate;
use crate::time::steady;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) slot: Mutex<Slot>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) raft: Option<RaftNode>,
    /// Counts the starts, so that late news of an earlier run are known as such.
    pub(super) run: u64,
    pub(super) fault: NodeFault,
    /// When it ended, if it ran.
    pub(super) ended: Option<Instant>,
    /// Why it does not run, where nobody stopped it.
    pub(super) detail: String,
    pub(super) seen: Option<Seen>,
    pub(super) mandate: Option<Arc<Mandate>>,
    /// Leads in this term and those before were given up.
    pub(super) resigned: u64,
}

/// What matters of Raft's metrics.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) state: ServerState,
    pub(super) term: u64,
    voted_for: Option<u64>,
    is_committed: bool,
    pub(super) last_log: Option<u64>,
    committed: Option<u64>,
    /// When a quorum that answered was asked, where this one leads.
    pub(super) acked: Option<Instant>,
    /// When those that answered were asked, where this one leads.
    pub(super) contacts: BTreeMap<u64, Instant>,
}

impl Seen {
    pub(super) fn new(metrics: &RaftMetrics<Types>) -> Self {
        let vote = metrics.vote;
        let contacts = metrics.heartbeat.iter().flatten();
        // Raft's instants tell their age alone; read in this order the moment comes out too early, if anything.
        let now = steady();
        let instant = |at: SerdeInstantOf<Types>| now.checked_sub(at.elapsed()).unwrap_or(now);
        Self {
            state: metrics.state,
            term: vote.leader_id.term.max(metrics.current_term),
            voted_for: (vote.leader_id.term > 0).then_some(vote.leader_id.voted_for),
            is_committed: vote.committed,
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.map(|id| id.index),
            acked: metrics.last_quorum_acked.map(instant),
            contacts: contacts.filter_map(|(id, at)| Some((*id, instant((*at)?)))).collect(),
        }
    }

    /// The term in which this node leads, as a quorum that has it on disk agreed.
    pub(super) fn leads(&self, id: u64) -> Option<u64> {
        let leads = self.state == ServerState::Leader && self.is_committed && self.voted_for == Some(id);
        leads.then_some(self.term)
    }
}

impl Member {
    pub(super) fn new(id: u64, path: PathBuf) -> Self {
        Self {
            id,
            name: name(id).into(),
            path,
            slot: Mutex::new(Slot {
                raft: None,
                run: 0,
                fault: NodeFault::None,
                ended: None,
                detail: String::new(),
                seen: None,
                mandate: None,
                resigned: 0,
            }),
        }
    }

    /// `contact_us` is when the leader heard from it.
    pub(super) fn describe(&self, now: Instant, size: usize, contact_us: Option<i64>) -> ClusterNode {
        let slot = self.slot.lock();
        let leads = slot.mandate.as_ref().is_some_and(|mandate| mandate.holds(now));
        let role = match (&slot.raft, &slot.seen) {
            (None, _) => NodeRole::Stopped,
            _ if leads => NodeRole::Leader,
            (_, None) => NodeRole::Unknown,
            (_, Some(seen)) => match seen.state {
                ServerState::Leader => NodeRole::Lapsed,
                ServerState::Candidate => NodeRole::Candidate,
                ServerState::Follower | ServerState::Learner => NodeRole::Follower,
                ServerState::Shutdown => NodeRole::Unknown,
            },
        };
        let mut actions = Vec::new();
        if slot.raft.is_none() {
            actions.push(NodeAction::Start);
        } else {
            actions.push(NodeAction::Stop);
            match slot.fault {
                NodeFault::Isolated => actions.push(NodeAction::Heal),
                // One that is alone is isolated anyway.
                _ if size > 1 => actions.push(NodeAction::Isolate),
                _ => {}
            }
            // Nobody would hear of it; and a fault that was put stays until it is healed.
            if leads && slot.fault == NodeFault::None {
                actions.push(NodeAction::Resign);
            }
        }
        ClusterNode {
            id: self.name.to_string(),
            role,
            local: true,
            fault: slot.fault,
            last_contact_us: contact_us,
            detail: slot.detail.clone(),
            actions,
        }
    }

    /// Raft's own view of it, where it runs.
    pub(super) fn view(&self) -> Option<RaftNodeView> {
        let slot = self.slot.lock();
        let seen = slot.seen.as_ref().filter(|_| slot.raft.is_some())?;
        Some(RaftNodeView {
            id: self.name.to_string(),
            term: seen.term,
            voted_for: seen.voted_for.map(name),
            is_committed: seen.is_committed,
            last_log: seen.last_log,
            committed: seen.committed,
        })
    }
}

fn name(id: u64) -> String {
    format!("raft-{id}")
}
