//! The network between the nodes of this process: calls, in which faults can be put.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::{EmptyNode, OptionalSend, Raft, RaftNetworkFactory, RaftNetworkV2};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::machine::Machine;
use super::types::{Types, Vote};

pub(super) type RaftNode = Raft<Types, Machine>;
type Error = RPCError<Types>;

/// All nodes that run, and the faults between them.
#[derive(Debug, Clone, Default)]
pub(super) struct Network(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    nodes: BTreeMap<u64, RaftNode>,
    isolated: BTreeSet<u64>,
    /// A message takes up to this long, each way.
    delay: Duration,
}

impl std::fmt::Debug for Wires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wires")
            .field("nodes", &self.nodes.keys())
            .field("isolated", &self.isolated)
            .field("delay", &self.delay)
            .finish()
    }
}

impl Network {
    pub(super) fn plug(&self, id: u64, node: RaftNode) {
        self.0.lock().nodes.insert(id, node);
    }

    pub(super) fn unplug(&self, id: u64) {
        self.0.lock().nodes.remove(&id);
    }

    pub(super) fn isolate(&self, id: u64) {
        self.0.lock().isolated.insert(id);
    }

    pub(super) fn heal(&self, id: u64) {
        self.0.lock().isolated.remove(&id);
    }

    /// From now on a message takes a random time up to this, each way.
    #[cfg_attr(not(test), expect(dead_code, reason = "a fault that only tests put"))]
    pub(super) fn delay(&self, most: Duration) {
        self.0.lock().delay = most;
    }

    /// The node, if a message comes through to it now.
    fn reach(&self, from: u64, to: u64) -> Result<RaftNode, Unreachable<Types>> {
        let wires = self.0.lock();
        let cut = wires.isolated.contains(&from) || wires.isolated.contains(&to);
        let node = wires.nodes.get(&to).filter(|_| !cut);
        node.cloned().ok_or_else(|| unreachable("it does not answer"))
    }

    async fn travel(&self) {
        let most = self.0.lock().delay;
        if !most.is_zero() {
            sleep(most.mul_f64(fastrand::f64())).await;
        }
    }

    /// Asks, and brings the answer back, if both ways are open when they are gone.
    async fn call<A, F, E>(&self, from: u64, to: u64, ask: impl FnOnce(RaftNode) -> F) -> Result<A, Unreachable<Types>>
    where
        F: Future<Output = Result<A, E>>,
        E: std::error::Error + 'static,
    {
        self.reach(from, to)?;
        self.travel().await;
        let node = self.reach(from, to)?;
        let answer = ask(node).await.map_err(|error| Unreachable::new(&error))?;
        self.travel().await;
        self.reach(from, to)?;
        Ok(answer)
    }
}

fn unreachable(why: &str) -> Unreachable<Types> {
    Unreachable::new(&openraft::AnyError::error(why))
}

/// One node's side of the network.
#[derive(Debug, Clone)]
pub(super) struct From {
    pub(super) id: u64,
    pub(super) network: Network,
}

impl RaftNetworkFactory<Types> for From {
    type Network = Wire;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Wire {
        Wire {
            from: self.clone(),
            to: target,
        }
    }
}

/// From one node to another.
#[derive(Debug)]
pub(super) struct Wire {
    from: From,
    to: u64,
}

impl Wire {
    async fn call<A, F, E>(&self, option: &RPCOption, ask: impl FnOnce(RaftNode) -> F) -> Result<A, Error>
    where
        F: Future<Output = Result<A, E>>,
        E: std::error::Error + 'static,
    {
        let call = self.from.network.call(self.from.id, self.to, ask);
        match tokio::time::timeout(option.hard_ttl(), call).await {
            Ok(answer) => answer.map_err(RPCError::Unreachable),
            Err(_) => Err(RPCError::Unreachable(unreachable("it did not answer in time"))),
        }
    }
}

impl RaftNetworkV2<Types> for Wire {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Error> {
        let ask = async |node: RaftNode| node.append_entries(request).await;
        self.call(&option, ask).await
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, Error> {
        let ask = async |node: RaftNode| node.vote(request).await;
        self.call(&option, ask).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, Error> {
        let ask = async |node: RaftNode| node.pre_vote(request).await;
        self.call(&option, ask).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let ask = async |node: RaftNode| node.install_full_snapshot(vote, snapshot).await;
        self.call(&option, ask).await.map_err(|error| match error {
            RPCError::Unreachable(error) => StreamingError::Unreachable(error),
            error => StreamingError::Unreachable(unreachable(&error.to_string())),
        })
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, Error> {
        let ask = async |node: RaftNode| node.handle_transfer_leader(request).await;
        self.call(&option, ask).await
    }
}
