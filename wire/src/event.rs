//! One event on a topic, and the fencing token that the leader's events carry.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Epoch;

/// One event on a topic. Both lanes deliver the very same bytes of it: it is encoded once.
///
/// It borrows from the text that it was read from, because a page reads thousands a second.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Which log this offset belongs to.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub epoch: Epoch,
    /// 0 but on engines with partitions; order holds within one.
    pub partition: u32,
    pub offset: u64,
    /// Where the publisher gave none, the service makes one that is unique within the topic. One that was given may stand in the log a second
    /// time: on the embedded log when it is published again under another key of idempotency, or when its key is remembered no more, and
    /// then readers get both, told apart by their offsets; elsewhere readers get the second one only if it comes long after the first (see
    /// [`crate::GapReason::Duplicate`]).
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// When it happened, by the clock of `host` (for `workload`: when it was *meant* to happen).
    pub produced_us: i64,
    /// When this server's tail had it.
    pub ingested_us: i64,
    /// The machine that produced it, where that matters.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// Only on what a leader's sources append.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token<'a>>,
    /// What kind of value `data` is, for example `host.cpu.sample`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub data: &'a RawValue,
}

/// A fencing token. Numbers grow within a scope; tokens of two scopes cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Token<'a> {
    /// Engine and cluster.
    #[serde(borrow)]
    pub scope: Cow<'a, str>,
    /// Raft's term, etcd's create revision or ZooKeeper's zxid.
    pub number: u64,
}
