//! etcd, against a real cluster of three members.

mod processes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::Client;
use freshet::config::EtcdConfig;
use freshet::election::contract::{Group, Harness};
use freshet::election::etcd::EtcdElection;
use freshet::election::{Election, describe};
use freshet_tests::etcd::Etcd;
use freshet_tests::{SOON, now_us, until, within};
use freshet_wire::{EngineState, LeaderState, NodeAction};

/// The shortest lease that etcd grants.
const TTL: Duration = Duration::from_secs(2);

struct Cluster(Etcd);

impl Cluster {
    async fn start() -> Self {
        Self(Etcd::start(3).await)
    }

    fn config(&self) -> EtcdConfig {
        EtcdConfig {
            endpoints: self.0.endpoints(),
            prefix: "freshet-test".to_owned(),
            ttl_s: TTL.as_secs(),
            user: None,
            password: None,
            tls: None,
        }
    }
}

impl Harness for Cluster {
    async fn open(&self) -> Group {
        let config = self.config();
        let node = |name| Arc::new(EtcdElection::open(&config, name).unwrap()) as Arc<dyn Election>;
        Group(["a", "b", "c"].map(node).to_vec())
    }
}

mod contract {
    freshet::election_contract!(super::Cluster::start);
}

fn state(election: &dyn Election) -> (LeaderState, EngineState) {
    let cluster = describe(election, "n", Instant::now(), now_us());
    (cluster.state, cluster.election.state)
}

#[tokio::test]
async fn a_resign_hands_over_within_100_ms() {
    let cluster = Cluster::start().await;
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

#[tokio::test]
async fn any_member_of_etcd_may_die_and_the_watch_survives_a_compaction() {
    let mut cluster = Cluster::start().await;
    let group = cluster.open().await;
    let mut last = group.leader_after(0).await;
    for member in 0..3 {
        cluster.0.kill(member).await;
        // Whether the leader stays or another comes: there is one, and never two.
        let begun = Instant::now();
        while begun.elapsed() < TTL * 2 {
            assert!(group.mandates().len() <= 1);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let now = group.leader_after(0).await;
        assert!(now.token().number >= last.token().number);
        group.all_see(&now).await;
        cluster.0.start_again(member).await;
        let mut client = Client::connect(cluster.0.endpoints(), None).await.unwrap();
        let revision = client.get("x", None).await.unwrap().header().unwrap().revision();
        client.compact(revision, None).await.unwrap();
        group.act(now.node(), NodeAction::Resign).await;
        last = group.leader_after(now.token().number).await;
        group.all_see(&last).await;
    }
    group.close().await;
}

#[tokio::test]
async fn without_etcd_it_is_unknown_who_leads_and_nobody_does_before_the_lease_is_over() {
    let cluster = Cluster::start().await;
    let group = cluster.open().await;
    let leader = group.leader_after(0).await;
    group.all_see(&leader).await;
    (0..3).for_each(|member| cluster.0.freeze(member, true));
    let frozen = Instant::now();
    while leader.holds(Instant::now()) {
        assert!(frozen.elapsed() < TTL, "it still leads");
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
    tokio::time::sleep(TTL).await;
    assert!(group.mandates().is_empty());
    (0..3).for_each(|member| cluster.0.freeze(member, false));
    let next = group.leader_after(0).await;
    assert!(next.token().number >= leader.token().number);
    group.all_see(&next).await;
    group.close().await;
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_said_and_tried_again() {
    let mut cluster = Cluster(Etcd::start(1).await);
    cluster.0.kill(0).await;
    let election = EtcdElection::open(&cluster.config(), "a").unwrap();
    until("the engine to be down", async || {
        state(&election) == (LeaderState::Unknown, EngineState::Down)
    })
    .await;
    cluster.0.start_again(0).await;
    // It has to start, and is asked every three seconds at most.
    within(SOON * 3, "a leader", async {
        while state(&election) != (LeaderState::Led, EngineState::Up) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    election.close().await;
}
