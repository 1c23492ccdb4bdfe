//! ZooKeeper, against a real ensemble of three servers.

use std::sync::Arc;
use std::time::Duration;

use freshet::config::ZooKeeperConfig;
use freshet::election::contract::{Group, Harness};
use freshet::election::{self, Election, describe};
use freshet_tests::zookeeper::{TICK, ZooKeeper};
use freshet_tests::{now_us, until};
use freshet_wire::EngineState;

use super::ensemble::{Cluster, Ensemble, ensemble_tests};
use super::processes::process_tests;

fn config(zookeeper: &ZooKeeper) -> ZooKeeperConfig {
    ZooKeeperConfig {
        servers: zookeeper.servers(),
        path: "/tests/freshet".to_owned(),
        session_timeout_s: ZooKeeper::TTL.as_secs(),
        user: None,
        password: None,
    }
}

impl Ensemble for ZooKeeper {
    /// Beside other work a server may stand still for a second.
    const TTL: Duration = TICK.saturating_mul(4);

    async fn start(servers: usize) -> Self {
        Self::start(servers).await
    }

    fn open(&self, node: &str) -> Arc<dyn Election> {
        Arc::new(election::zookeeper::open(&config(self), node).unwrap())
    }

    fn table(&self) -> String {
        let ttl_s = Self::TTL.as_secs();
        format!(
            "[election]\nengine = 'zookeeper'\nservers = {:?}\n[seed.election]\nlease_ttl_s = {ttl_s}\n",
            self.servers()
        )
    }

    async fn leader(&self) -> usize {
        loop {
            if let Some(leader) = self.leader() {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kill(&mut self, server: usize) {
        self.kill(server).await;
    }

    async fn start_again(&mut self, server: usize) {
        self.start_again(server).await;
    }

    fn freeze(&self, server: usize, is_frozen: bool) {
        self.freeze(server, is_frozen);
    }
}

mod contract {
    use freshet_tests::zookeeper::ZooKeeper;

    freshet::election_contract!(crate::ensemble::Cluster::<ZooKeeper>::start);
}

ensemble_tests!(ZooKeeper);

mod processes {
    use freshet_tests::zookeeper::ZooKeeper;

    super::process_tests!(ZooKeeper);
}

#[tokio::test]
async fn a_server_that_stands_still_is_left_before_the_lease_is_over() {
    let cluster = Cluster::<ZooKeeper>::start().await;
    let group = cluster.open().await;
    let leader = group.leader_after(0).await;
    group.all_see(&leader).await;
    // Whether the leader's session goes by it or by another, the ensemble has a majority all the time.
    let follower = (0..3).find(|server| Some(*server) != cluster.0.leader()).unwrap();
    cluster.0.freeze(follower, true);
    let frozen = std::time::Instant::now();
    while frozen.elapsed() < ZooKeeper::TTL * 2 {
        assert!(leader.holds(std::time::Instant::now()), "after {:?}", frozen.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.0.freeze(follower, false);
    group.close().await;
}

#[tokio::test]
async fn with_a_user_the_election_is_closed_to_others() {
    let zookeeper = ZooKeeper::start(1).await;
    let open = |user: Option<(&str, &str)>, node| {
        let config = ZooKeeperConfig {
            user: user.map(|(user, _)| user.to_owned()),
            password: user.map(|(_, password)| password.to_owned()),
            ..config(&zookeeper)
        };
        Arc::new(election::zookeeper::open(&config, node).unwrap()) as Arc<dyn Election>
    };
    let group = Group(vec![
        open(Some(("freshet", "secret")), "a"),
        open(Some(("freshet", "secret")), "b"),
    ]);
    let leader = group.leader_after(0).await;
    group.all_see(&leader).await;
    for user in [None, Some(("freshet", "guess"))] {
        let other = open(user, "c");
        until("it to be refused", async || {
            let engine = describe(&*other, "c", std::time::Instant::now(), now_us()).election;
            engine.state == EngineState::Down && engine.detail.contains("not authorized")
        })
        .await;
        assert!(other.board().mandate().borrow().is_none());
        other.close().await;
    }
    assert!(leader.holds(std::time::Instant::now()));
    group.close().await;
}
