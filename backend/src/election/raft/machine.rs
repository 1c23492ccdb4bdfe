//! Raft's state machine: nothing but who is a member. Snapshots of it let the log be short.

use std::io;

use futures_util::{Stream, StreamExt};
use openraft::entry::RaftPayload;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use super::store::{Change, Store};
use super::types::{LogId, Membership, SnapshotMeta, Types};

type EmptySnapshot = openraft::type_config::alias::SnapshotOf<Types, ()>;

#[derive(Debug, Clone)]
pub(super) struct Machine {
    store: Store,
    applied: Option<LogId>,
    membership: Membership,
}

impl Machine {
    /// As the last snapshot has it; Raft applies again what came after.
    pub(super) fn new(store: Store) -> Self {
        let snapshot = store.state().snapshot.unwrap_or_default();
        Self {
            store,
            applied: snapshot.last_log_id,
            membership: snapshot.last_membership,
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            if let Some(membership) = entry.payload.get_membership() {
                self.membership = Membership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> Result<(), io::Error> {
        self.store.write(Change::Snapshot(meta.clone())).await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<EmptySnapshot>, io::Error> {
        let meta = self.store.state().snapshot;
        Ok(meta.map(|meta| Snapshot { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<EmptySnapshot, io::Error> {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        self.store.write(Change::Snapshot(meta.clone())).await?;
        Ok(Snapshot { meta, snapshot: () })
    }
}
