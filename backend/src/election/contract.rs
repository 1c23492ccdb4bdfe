//! What every engine of an election promises, against the real thing.
//!
//! A cluster may be one engine with several nodes (Raft within a process), or several engines with a node each (etcd). Time is real here: what
//! only has to come is waited for, and what must never be is looked for all the while.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_wire::{LeaderState, NodeAction};

use super::{Election, ElectionError, Mandate, describe};
use crate::time::{now_us, steady};

/// How long anything may take that needs an election, where leases last for seconds.
const LONG: Duration = Duration::from_secs(60);

/// The engines of one cluster.
#[derive(Debug)]
pub struct Group(pub Vec<Arc<dyn Election>>);

/// What a promise needs to be tried.
#[allow(async_fn_in_trait, reason = "only tests call it, on one thread")]
pub trait Harness {
    /// A cluster of three nodes that nobody else uses; the same one each time.
    async fn open(&self) -> Group;
}

impl Group {
    /// The mandates that hold now.
    pub fn mandates(&self) -> Vec<Arc<Mandate>> {
        let now = steady();
        let all = self
            .0
            .iter()
            .filter_map(|election| election.board().mandate().borrow().clone());
        all.filter(|mandate| mandate.holds(now)).collect()
    }

    /// The next leader with a greater token than this. Panics when two lead meanwhile.
    pub async fn leader_after(&self, token: u64) -> Arc<Mandate> {
        let begun = Instant::now();
        loop {
            let mandates = self.mandates();
            assert!(mandates.len() <= 1, "two lead: {mandates:?}");
            if let Some(mandate) = mandates.into_iter().find(|mandate| mandate.token().number > token) {
                return mandate;
            }
            assert!(begun.elapsed() < LONG, "no leader after token {token}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The engine that has this node.
    pub fn of(&self, node: &str) -> &Arc<dyn Election> {
        let has = |election: &&Arc<dyn Election>| {
            let (nodes, _) = election.nodes(steady(), now_us());
            nodes.iter().any(|other| other.local && other.id == node)
        };
        self.0.iter().find(has).unwrap_or_else(|| panic!("no node {node}"))
    }

    pub async fn act(&self, node: &str, action: NodeAction) {
        let done = self.of(node).act(node, action).await;
        assert_eq!(done, Ok(()), "{node}: {action:?}");
    }

    pub async fn close(self) {
        for election in self.0 {
            election.close().await;
        }
    }

    /// Waits until every engine tells of this leader.
    pub async fn all_see(&self, leader: &Mandate) {
        let begun = Instant::now();
        for election in &self.0 {
            loop {
                let told = describe(&**election, "n", steady(), now_us()).leader;
                let told = told.map(|told| (told.node, told.token.number));
                if told == Some((leader.node().to_string(), leader.token().number)) {
                    break;
                }
                assert!(begun.elapsed() < LONG, "{told:?} instead of {leader:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

pub async fn one_is_elected_and_all_see_the_same(harness: &impl Harness) {
    let group = harness.open().await;
    let leader = group.leader_after(0).await;
    group.all_see(&leader).await;
    for election in &group.0 {
        let cluster = describe(&**election, "n", steady(), now_us());
        assert_eq!(cluster.state, LeaderState::Led);
        assert_eq!(cluster.scope, leader.token().scope);
        let leads = election.board().mandate().borrow().is_some();
        assert_eq!(
            cluster.leader.unwrap().lease.is_some(),
            leads,
            "only the leader's own process knows the lease"
        );
    }
    group.close().await;
}

pub async fn a_leader_that_resigns_is_followed_by_another_with_a_greater_token(harness: &impl Harness) {
    let group = harness.open().await;
    let mut last = group.leader_after(0).await;
    group.all_see(&last).await;
    for _ in 0..5 {
        group.act(last.node(), NodeAction::Resign).await;
        assert!(!last.holds(steady()), "it ends at once");
        let next = group.leader_after(last.token().number).await;
        assert_ne!(next.node(), last.node());
        assert_eq!(next.token().scope, last.token().scope);
        group.all_see(&next).await;
        last = next;
    }
    group.close().await;
}

pub async fn a_leader_that_dies_is_replaced_and_its_mandate_has_ended_before(harness: &impl Harness) {
    let group = harness.open().await;
    let mut last = group.leader_after(0).await;
    for _ in 0..3 {
        group.act(last.node(), NodeAction::Stop).await;
        let next = group.leader_after(last.token().number).await;
        assert!(!last.holds(steady()));
        assert_ne!(next.node(), last.node());
        group.act(last.node(), NodeAction::Start).await;
        last = next;
    }
    group.close().await;
}

pub async fn a_leadership_lasts_for_many_leases_where_nothing_fails(harness: &impl Harness) {
    let group = harness.open().await;
    let leader = group.leader_after(0).await;
    let lease = leader.lease(steady(), 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(lease.ttl_us) * 3 {
        assert!(leader.holds(steady()), "after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    group.close().await;
}

pub async fn tokens_grow_over_the_end_of_everything(harness: &impl Harness) {
    let mut last = None;
    for _ in 0..3 {
        let group = harness.open().await;
        let leader = group.leader_after(0).await;
        let token = leader.token().clone();
        if let Some((scope, number)) = last {
            assert_eq!(token.scope, scope);
            assert!(token.number > number, "{} after {number}", token.number);
        }
        last = Some((token.scope, token.number));
        group.close().await;
        assert!(!leader.holds(steady()));
    }
}

pub async fn what_a_node_cannot_do_is_refused(harness: &impl Harness) {
    let group = harness.open().await;
    let leader = group.leader_after(0).await;
    let election = group.of(leader.node());
    let start = election.act(leader.node(), NodeAction::Start).await;
    assert!(matches!(start, Err(ElectionError::Refused(_))), "{start:?}");
    let unknown = election.act("nobody", NodeAction::Stop).await;
    assert_eq!(unknown, Err(ElectionError::UnknownNode("nobody".to_owned())));
    let election = Arc::clone(election);
    group.close().await;
    let closed = election.act(leader.node(), NodeAction::Stop).await;
    assert_eq!(closed, Err(ElectionError::Closed));
}

/// A test for each promise; `$harness` is a function that makes the harness.
#[macro_export]
macro_rules! election_contract {
    ($harness:path) => {
        $crate::election_contract!($harness:
            one_is_elected_and_all_see_the_same
            a_leader_that_resigns_is_followed_by_another_with_a_greater_token
            a_leader_that_dies_is_replaced_and_its_mandate_has_ended_before
            a_leadership_lasts_for_many_leases_where_nothing_fails
            tokens_grow_over_the_end_of_everything
            what_a_node_cannot_do_is_refused
        );
    };
    ($harness:path: $($promise:ident)+) => {
        $(
            #[tokio::test]
            async fn $promise() {
                $crate::election::contract::$promise(&$harness().await).await;
            }
        )+
    };
}
