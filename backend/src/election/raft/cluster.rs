//! The nodes together: starts and stops them, turns what Raft says into mandates, and puts faults.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_wire::{ClusterNode, EngineState, NodeAction, NodeFault, RaftView, Token};
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, EmptyNode, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until, timeout};

use super::machine::Machine;
use super::member::{Member, Seen};
use super::network::{From, Network, RaftNode};
use super::store::Store;
use crate::election::{Board, ElectionError, Mandate, timeline};
use crate::time::steady;

/// How Raft is timed. A leader that falls silent is replaced after its lease and a timeout: with the timeout of 500 ms, in 750 to 1,000 ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) heartbeat: Duration,
    timeout_min: Duration,
    /// Also the lease: for so long after it heard from a leader no node votes for another.
    pub(super) timeout_max: Duration,
    /// So much earlier a leader's own mandate ends. The nodes share a clock, so it need only cover a thread that is late.
    margin: Duration,
}

impl Timing {
    pub(super) fn of(timeout: Duration) -> Self {
        Self {
            heartbeat: timeout / 10,
            timeout_min: timeout / 2,
            timeout_max: timeout,
            margin: timeout / 10,
        }
    }
}

/// How long a leader that resigns waits for another one before it makes the others elect one.
const HANDOVER: Duration = Duration::from_millis(300);

/// The log is kept short: it holds an entry for each leader there was.
const SNAPSHOT_EVERY: u64 = 64;
const ENTRIES_KEPT: u64 = 16;

#[derive(Debug)]
pub(super) struct Cluster {
    board: Arc<Board>,
    members: Vec<Member>,
    pub(super) network: Network,
    config: Arc<Config>,
    timing: Timing,
    /// One settles, and one acts, at a time.
    settling: Mutex<()>,
    acting: AsyncMutex<()>,
    /// A mandate was granted: somebody must see to its end.
    granted: Notify,
    sync: bool,
}

impl Cluster {
    /// So many nodes, with their files in this folder; none runs yet.
    pub(super) fn new(
        folder: &Path,
        size: usize,
        board: Arc<Board>,
        timing: Timing,
        sync: bool,
    ) -> Result<Arc<Self>, ElectionError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: board.scope().to_string(),
            heartbeat_interval: millis(timing.heartbeat),
            election_timeout_min: millis(timing.timeout_min),
            election_timeout_max: millis(timing.timeout_max),
            // A node that comes back does not depose a leader whom the others hear.
            enable_pre_vote: Some(true),
            // A new run is a new leadership, with a token of its own.
            enable_leader_restore: Some(false),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
            max_in_snapshot_log_to_keep: ENTRIES_KEPT,
            ..Config::default()
        };
        let config = config.validate();
        let config = config.map_err(|error| ElectionError::Unavailable(error.to_string()))?;
        let members = (1..=size as u64).map(|id| Member::new(id, folder.join(format!("{id}.raft"))));
        Ok(Arc::new(Self {
            board,
            members: members.collect(),
            network: Network::default(),
            config: Arc::new(config),
            timing,
            settling: Mutex::default(),
            acting: AsyncMutex::default(),
            granted: Notify::new(),
            sync,
        }))
    }

    /// Starts all nodes, and elects at once: in a process that begins, no lease is left of another leader.
    pub(super) async fn start(self: &Arc<Self>) {
        let mut runs = Vec::new();
        let mut is_new = true;
        for member in &self.members {
            match self.launch(member).await {
                Ok((raft, pristine)) => {
                    is_new &= pristine;
                    runs.push((member.id, raft));
                }
                Err(error) => self.fail(member, &error.to_string()),
            }
        }
        if is_new && runs.len() == self.members.len() {
            let all: BTreeMap<_, _> = self.members.iter().map(|member| (member.id, EmptyNode {})).collect();
            if let Some((_, raft)) = runs.first()
                && let Err(error) = raft.initialize(all).await
            {
                tracing::error!(%error, "the election's cluster cannot begin");
            }
        } else if let Some((_, raft)) = runs
            .iter()
            .max_by_key(|(id, raft)| (raft.metrics().borrow_watched().last_log_index, std::cmp::Reverse(*id)))
        {
            let _ = raft.trigger().elect(true).await;
        }
        self.tell_health();
        self.settle(None);
    }

    /// Starts a node; whether it had never run before.
    async fn launch(self: &Arc<Self>, member: &Member) -> Result<(RaftNode, bool), io::Error> {
        let (path, sync) = (member.path.clone(), self.sync);
        let store = spawn_blocking(move || Store::open(&path, sync))
            .await
            .map_err(io::Error::other)??;
        let is_pristine = store.is_pristine();
        let network = From {
            id: member.id,
            network: self.network.clone(),
        };
        let machine = Machine::new(store.clone());
        let raft = Raft::new(member.id, Arc::clone(&self.config), network, store, machine).await;
        let raft = raft.map_err(io::Error::other)?;
        let run = {
            let mut slot = member.slot.lock();
            slot.raft = Some(raft.clone());
            slot.run += 1;
            slot.seen = None;
            slot.detail.clear();
            slot.fault = NodeFault::None;
            slot.run
        };
        self.network.heal(member.id);
        self.network.plug(member.id, raft.clone());
        let index = usize::try_from(member.id).unwrap_or(usize::MAX) - 1;
        tokio::spawn(Arc::clone(self).follow(index, run, raft.clone()));
        Ok((raft, is_pristine))
    }

    /// Follows what Raft says of a node, as long as it runs.
    async fn follow(self: Arc<Self>, index: usize, run: u64, raft: RaftNode) {
        let member = &self.members[index];
        let mut metrics = raft.metrics();
        loop {
            let failed = {
                let metrics = metrics.borrow_and_update();
                let failed = metrics.running_state.as_ref().err().map(ToString::to_string);
                if failed.is_none() && !self.heard(member, run, Seen::new(&metrics)) {
                    return;
                }
                failed
            };
            if let Some(error) = failed {
                let is_this = member.slot.lock().run == run;
                if is_this && self.halt(member).await {
                    tracing::error!(node = &*member.name, error, "a node of the election failed");
                    self.fail(member, &error);
                }
                return;
            }
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { return },
                // One that is alone renews its lease by itself.
                () = sleep(self.timing.heartbeat) => {}
            }
        }
    }

    /// Raft said this of a node; false where that is news of an earlier run.
    fn heard(&self, member: &Member, run: u64, mut seen: Seen) -> bool {
        let now = steady();
        let mut lapsed = None;
        {
            let mut slot = member.slot.lock();
            if slot.run != run || slot.raft.is_none() {
                return false;
            }
            if self.members.len() == 1 {
                seen.acked = Some(now);
            }
            let term = seen.leads(member.id).filter(|&term| term > slot.resigned);
            match (term, seen.acked) {
                (Some(term), Some(acked)) => match &slot.mandate {
                    Some(mandate) if mandate.token().number == term && mandate.holds(now) => mandate.renew(acked),
                    before => {
                        // One that ran out is not brought back to life, as if it had held all the time.
                        lapsed = before.clone().filter(|mandate| !mandate.holds(now));
                        before.iter().for_each(|mandate| mandate.revoke());
                        let token = Token {
                            scope: self.board.scope().to_string().into(),
                            number: term,
                        };
                        let mandate = Mandate::new(
                            Arc::clone(&member.name),
                            token,
                            self.timing.timeout_max,
                            self.timing.margin,
                            acked,
                        );
                        slot.mandate = Some(Arc::new(mandate));
                    }
                },
                // Nobody has answered yet.
                (Some(_), None) => {}
                (None, _) => slot.mandate.take().iter().for_each(|mandate| mandate.revoke()),
            }
            slot.seen = Some(seen);
        }
        self.settle(lapsed);
        true
    }

    /// Hands the mandate that holds to the application, or takes it back. `lapsed` is one that ran out and has been replaced.
    fn settle(&self, mut lapsed: Option<Arc<Mandate>>) {
        let _one = self.settling.lock();
        let now = steady();
        let mut best: Option<Arc<Mandate>> = None;
        for member in &self.members {
            let mut slot = member.slot.lock();
            let Some(mandate) = slot.mandate.clone() else { continue };
            if !mandate.holds(now) {
                // It may come back, as another one.
                mandate.revoke();
                slot.mandate = None;
                lapsed = Some(mandate);
            } else if best
                .as_ref()
                .is_none_or(|best| best.token().number < mandate.token().number)
            {
                best = Some(mandate);
            }
        }
        let seen = match &best {
            Some(mandate) => timeline::Seen::Led {
                node: mandate.node().to_string(),
                token: mandate.token().number,
            },
            None => timeline::Seen::Leaderless,
        };
        // Nobody led from the end of the lease on, however late that is noticed.
        if let Some(lapsed) = lapsed
            && self.board.is_granted(&lapsed)
        {
            self.board.see_at(timeline::Seen::Leaderless, lapsed.until());
        }
        self.board.grant(best);
        self.board.see(seen);
        self.granted.notify_one();
    }

    /// Sees to it that mandates end in time.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let until = |member: &Member| member.slot.lock().mandate.as_ref().map(|mandate| mandate.until());
            match self.members.iter().filter_map(until).min() {
                Some(until) => {
                    tokio::select! {
                        () = sleep_until(until.into()) => self.settle(None),
                        () = self.granted.notified() => {}
                    }
                }
                None => self.granted.notified().await,
            }
        }
    }

    /// Stops a node as if its process had been killed; false where it did not run.
    async fn halt(&self, member: &Member) -> bool {
        self.network.unplug(member.id);
        let raft = {
            let mut slot = member.slot.lock();
            slot.mandate.take().iter().for_each(|mandate| mandate.revoke());
            slot.seen = None;
            slot.raft.take()
        };
        self.settle(None);
        let Some(raft) = raft else { return false };
        let _ = raft.shutdown().await;
        // What it promised, it promised before this moment.
        member.slot.lock().ended = Some(steady());
        true
    }

    /// Starts it again; not before what it had promised to a leader is over, because that is not kept.
    async fn restart(self: &Arc<Self>, member: &Member) -> Result<(), ElectionError> {
        let ended = member.slot.lock().ended;
        if let Some(ended) = ended {
            sleep_until((ended + self.timing.timeout_max).into()).await;
        }
        match self.launch(member).await {
            Ok(_) => {
                self.tell_health();
                Ok(())
            }
            Err(error) => {
                self.fail(member, &error.to_string());
                Err(ElectionError::Unavailable(format!("{}: {error}", member.name)))
            }
        }
    }

    fn fail(&self, member: &Member, error: &str) {
        member.slot.lock().detail = format!("{}: {error}", member.path.display());
        self.tell_health();
    }

    fn tell_health(&self) {
        let mut details = Vec::new();
        for member in &self.members {
            let slot = member.slot.lock();
            if !slot.detail.is_empty() {
                details.push(format!("{} does not run: {}", member.name, slot.detail));
            }
        }
        let state = match details.len() {
            0 => EngineState::Up,
            failed if self.members.len() - failed > self.members.len() / 2 => EngineState::Degraded,
            _ => EngineState::Down,
        };
        self.board.set_engine(state, &details.join("; "));
        self.board.changed();
    }

    pub(super) async fn act(self: &Arc<Self>, name: &str, action: NodeAction) -> Result<(), ElectionError> {
        let _one = self.acting.lock().await;
        let found = self.members.iter().find(|member| *member.name == *name);
        let member = found.ok_or_else(|| ElectionError::UnknownNode(name.to_owned()))?;
        let allowed = member.describe(steady(), self.members.len(), None).actions;
        if !allowed.contains(&action) {
            let can = allowed.into_iter().map(NodeAction::name).collect::<Vec<_>>().join(", ");
            let why = format!("{name} cannot {} now; it can: {can}", action.name());
            return Err(ElectionError::Refused(why));
        }
        match action {
            NodeAction::Stop => {
                member.slot.lock().fault = NodeFault::Stopped;
                self.halt(member).await;
            }
            NodeAction::Start => self.restart(member).await?,
            NodeAction::Isolate => {
                member.slot.lock().fault = NodeFault::Isolated;
                self.network.isolate(member.id);
            }
            NodeAction::Heal => {
                member.slot.lock().fault = NodeFault::None;
                self.network.heal(member.id);
            }
            NodeAction::Resign => self.resign(member).await?,
        }
        self.board.changed();
        Ok(())
    }

    async fn resign(self: &Arc<Self>, member: &Member) -> Result<(), ElectionError> {
        let (raft, term) = {
            let mut slot = member.slot.lock();
            let Some(mandate) = slot.mandate.take() else {
                return Err(ElectionError::Refused(format!(
                    "{} does not lead any more",
                    member.name
                )));
            };
            mandate.revoke();
            slot.resigned = mandate.token().number;
            (slot.raft.clone(), slot.resigned)
        };
        self.settle(None);
        let heir = self.members.iter().filter_map(|other| {
            let slot = other.slot.lock();
            let is_fit = other.id != member.id && slot.raft.is_some() && slot.fault == NodeFault::None;
            slot.seen
                .as_ref()
                .filter(|_| is_fit)
                .map(|seen| (seen.last_log, other.id))
        });
        if let (Some((_, heir)), Some(raft)) = (heir.max(), raft) {
            let mut mandate = self.board.mandate();
            let _ = raft.trigger().transfer_leader(heir).await;
            let is_next =
                |mandate: &Option<Arc<Mandate>>| mandate.as_ref().is_some_and(|mandate| mandate.token().number > term);
            if timeout(HANDOVER, mandate.wait_for(is_next)).await.is_ok() {
                return Ok(());
            }
        }
        // Nobody took it over. In a new run this node is a follower like the others.
        self.halt(member).await;
        self.restart(member).await
    }

    pub(super) async fn close(&self) {
        for member in &self.members {
            self.halt(member).await;
        }
        self.board.see(timeline::Seen::Unknown);
    }

    /// Every mandate that a node holds: never more than one, if all is well.
    #[cfg(test)]
    pub(super) fn mandates(&self) -> Vec<Arc<Mandate>> {
        let now = steady();
        let all = self
            .members
            .iter()
            .filter_map(|member| member.slot.lock().mandate.clone());
        all.filter(|mandate| mandate.holds(now)).collect()
    }

    pub(super) fn describe(&self, now: Instant, now_us: i64) -> (Vec<ClusterNode>, Option<RaftView>) {
        let wall_us = |at: Instant| {
            let ago_us = now.saturating_duration_since(at).as_micros();
            now_us.saturating_sub_unsigned(u64::try_from(ago_us).unwrap_or(u64::MAX))
        };
        let mut contacts = BTreeMap::new();
        for member in &self.members {
            let slot = member.slot.lock();
            let leads = slot.mandate.as_ref().is_some_and(|mandate| mandate.holds(now));
            if let Some(seen) = slot.seen.as_ref().filter(|_| leads) {
                contacts.clone_from(&seen.contacts);
                contacts.extend(seen.acked.map(|acked| (member.id, acked)));
            }
        }
        let size = self.members.len();
        let nodes = self.members.iter().map(|member| {
            let contact = contacts.get(&member.id).copied();
            member.describe(now, size, contact.map(wall_us))
        });
        let views: Vec<_> = self.members.iter().filter_map(Member::view).collect();
        let raft = RaftView {
            term: views.iter().map(|node| node.term).max(),
            quorum: u32::try_from(size / 2 + 1).unwrap_or(u32::MAX),
            heartbeat_ms: self.config.heartbeat_interval,
            election_timeout_min_ms: self.config.election_timeout_min,
            election_timeout_max_ms: self.config.election_timeout_max,
            nodes: views,
        };
        (nodes.collect(), Some(raft))
    }
}
