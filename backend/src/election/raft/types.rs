//! Raft's types, as this engine needs them: the log carries no data, because the term is all that is agreed on.

use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};

openraft::declare_raft_types!(
    /// One leader a term, as in the paper: the term is the fencing token.
    pub(super) Types:
        D = u64,
        R = (),
        NodeId = u64,
        Node = openraft::EmptyNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

pub(super) type Vote = VoteOf<Types>;
pub(super) type LogId = LogIdOf<Types>;
pub(super) type Entry = EntryOf<Types>;
pub(super) type Membership = StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = SnapshotMetaOf<Types>;
