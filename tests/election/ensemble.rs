//! An engine's real servers, and what each engine promises of them beside the contract.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet::election::contract::{Group, Harness};
use freshet::election::{Election, describe};
use freshet_tests::{SOON, now_us, until, within};
use freshet_wire::{EngineState, LeaderState, NodeAction};

/// The servers of one engine. They end when this is dropped.
pub(crate) trait Ensemble: Sized {
    /// How long a leader that falls silent keeps the lead.
    const TTL: Duration;

    async fn start(servers: usize) -> Self;

    /// A candidate of this name.
    fn open(&self, node: &str) -> Arc<dyn Election>;

    /// The same for a process: what stands in its configuration (TOML).
    fn table(&self) -> String;

    /// The server that leads the others.
    async fn leader(&self) -> usize;

    /// Ends a server without any warning.
    async fn kill(&mut self, server: usize);

    async fn start_again(&mut self, server: usize);

    /// Has a server stand still, or go on.
    fn freeze(&self, server: usize, is_frozen: bool);
}

/// Three servers, and three candidates.
pub(crate) struct Cluster<E>(pub(crate) E);

impl<E: Ensemble> Cluster<E> {
    pub(crate) async fn start() -> Self {
        Self(E::start(3).await)
    }
}

impl<E: Ensemble> Harness for Cluster<E> {
    async fn open(&self) -> Group {
        Group(["a", "b", "c"].map(|name| self.0.open(name)).to_vec())
    }
}

fn state(election: &dyn Election) -> (LeaderState, EngineState) {
    let cluster = describe(election, "n", Instant::now(), now_us());
    (cluster.state, cluster.election.state)
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]
pub(crate) async fn a_resign_hands_over_within_100_ms<E: Ensemble>() {
    let cluster = Cluster::<E>::start().await;
    let group = cluster.open().await;
    let mut last = group.leader_after(0).await;
    group.all_see(&last).await;
    let mut took = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let resigning = group.act(last.node(), NodeAction::Resign);
        let next = async {
            let next = group.leader_after(last.token().number).await;
            (next, begun.elapsed())
        };
        let ((), (next, elapsed)) = tokio::join!(resigning, next);
        took.push(elapsed);
        group.all_see(&next).await;
        last = next;
    }
    took.sort();
    println!("resigned: p50 {:?}, worst {:?}", took[10], took[19]);
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
    group.close().await;
}

pub(crate) async fn leases_are_of_another_length_at_once<E: Ensemble>() {
    let cluster = Cluster(E::start(1).await);
    let group = Group(["a", "b"].map(|name| cluster.0.open(name)).to_vec());
    let first = group.leader_after(0).await;
    let ttl_us = |election: &Arc<dyn Election>| {
        let leader = describe(&**election, "n", Instant::now(), now_us()).leader;
        leader.and_then(|leader| leader.lease).map(|lease| lease.ttl_us)
    };
    let is_leased = |ttl: Duration| {
        let wanted = Some(u64::try_from(ttl.as_micros()).unwrap());
        group.0.iter().any(|election| ttl_us(election) == wanted)
    };
    assert!(is_leased(E::TTL));
    group.0.iter().for_each(|election| election.retime(E::TTL * 2));
    until("a longer lease", async || is_leased(E::TTL * 2)).await;
    let next = group.leader_after(first.token().number).await;
    // The same length again is no reason to begin anew.
    group.0.iter().for_each(|election| election.retime(E::TTL * 2));
    group.all_see(&next).await;
    assert!(next.holds(Instant::now()));
    group.close().await;
}

pub(crate) async fn any_server_may_die<E: Ensemble>() {
    let mut cluster = Cluster::<E>::start().await;
    let group = cluster.open().await;
    let mut last = group.leader_after(0).await;
    for server in 0..3 {
        cluster.0.kill(server).await;
        // Whether the leader stays or another comes: there is one, and never two.
        let begun = Instant::now();
        while begun.elapsed() < E::TTL * 2 {
            assert!(group.mandates().len() <= 1);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let now = group.leader_after(0).await;
        assert!(now.token().number >= last.token().number);
        group.all_see(&now).await;
        cluster.0.start_again(server).await;
        last = now;
    }
    group.close().await;
}

pub(crate) async fn without_servers_it_is_unknown_who_leads_and_nobody_does_before_the_lease_is_over<E: Ensemble>() {
    let cluster = Cluster::<E>::start().await;
    let group = cluster.open().await;
    let leader = group.leader_after(0).await;
    group.all_see(&leader).await;
    (0..3).for_each(|server| cluster.0.freeze(server, true));
    let frozen = Instant::now();
    while leader.holds(Instant::now()) {
        assert!(frozen.elapsed() < E::TTL, "it still leads");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for election in &group.0 {
        until("nobody to be known", async || {
            state(&**election).0 == LeaderState::Unknown
        })
        .await;
        assert!(election.board().mandate().borrow().is_none());
    }
    assert_ne!(state(&*group.0[0]).1, EngineState::Up);
    tokio::time::sleep(E::TTL).await;
    assert!(group.mandates().is_empty());
    (0..3).for_each(|server| cluster.0.freeze(server, false));
    let next = group.leader_after(0).await;
    assert!(next.token().number >= leader.token().number);
    group.all_see(&next).await;
    group.close().await;
}

pub(crate) async fn a_server_that_is_not_there_is_said_and_tried_again<E: Ensemble>() {
    let mut cluster = Cluster(E::start(1).await);
    cluster.0.kill(0).await;
    let election = cluster.0.open("a");
    until("the engine to be down", async || {
        state(&*election) == (LeaderState::Unknown, EngineState::Down)
    })
    .await;
    cluster.0.start_again(0).await;
    // It has to start, and is asked every three seconds at most.
    within(SOON * 3, "a leader", async {
        while state(&*election) != (LeaderState::Led, EngineState::Up) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    election.close().await;
}

/// A test for each, against this engine's real servers.
macro_rules! ensemble_tests {
    ($ensemble:ty) => {
        $crate::ensemble::ensemble_tests!($ensemble:
            a_resign_hands_over_within_100_ms
            leases_are_of_another_length_at_once
            any_server_may_die
            without_servers_it_is_unknown_who_leads_and_nobody_does_before_the_lease_is_over
            a_server_that_is_not_there_is_said_and_tried_again
        );
    };
    ($ensemble:ty: $($promise:ident)+) => {
        $(
            #[tokio::test]
            async fn $promise() {
                $crate::ensemble::$promise::<$ensemble>().await;
            }
        )+
    };
}
pub(crate) use ensemble_tests;
