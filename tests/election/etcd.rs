//! etcd, against a real cluster of three members.

mod secured;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use freshet::config::EtcdConfig;
use freshet::election::contract::Harness;
use freshet::election::{self, Election};
use freshet_tests::etcd::Etcd;
use freshet_tests::until;
use freshet_wire::NodeAction;

use super::ensemble::{Cluster, Ensemble, ensemble_tests};
use super::processes::process_tests;

impl Ensemble for Etcd {
    /// The shortest lease that etcd grants.
    const TTL: Duration = Duration::from_secs(2);

    async fn start(servers: usize) -> Self {
        Self::start(servers).await
    }

    fn open(&self, node: &str) -> Arc<dyn Election> {
        let config = EtcdConfig {
            endpoints: self.endpoints(),
            prefix: "freshet-test".to_owned(),
            ttl_s: Self::TTL.as_secs(),
            user: None,
            password: None,
            tls: None,
        };
        Arc::new(election::etcd::open(&config, node).unwrap())
    }

    fn table(&self) -> String {
        let ttl_s = Self::TTL.as_secs();
        format!(
            "[election]\nengine = 'etcd'\nendpoints = {:?}\n[seed.election]\nlease_ttl_s = {ttl_s}\n",
            self.endpoints()
        )
    }

    async fn leader(&self) -> usize {
        loop {
            for (index, endpoint) in self.endpoints().into_iter().enumerate() {
                let Ok(mut client) = Client::connect([endpoint], None).await else {
                    continue;
                };
                let Ok(status) = client.status().await else { continue };
                let member = status.header().map(|header| header.member_id());
                if status.leader() != 0 && member == Some(status.leader()) {
                    return index;
                }
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
    use freshet_tests::etcd::Etcd;

    freshet::election_contract!(crate::ensemble::Cluster::<Etcd>::start);
}

ensemble_tests!(Etcd);

mod processes {
    use freshet_tests::etcd::Etcd;

    super::process_tests!(Etcd);
}

#[tokio::test]
async fn the_watch_survives_a_compaction() {
    let mut cluster = Cluster::<Etcd>::start().await;
    let group = cluster.open().await;
    let mut last = group.leader_after(0).await;
    for member in 0..3 {
        // Its watches are opened anew elsewhere, from a revision that is gone.
        cluster.0.kill(member).await;
        cluster.0.start_again(member).await;
        until("the compaction", async || Box::pin(compact(&cluster.0)).await.is_ok()).await;
        let now = group.leader_after(last.token().number - 1).await;
        group.act(now.node(), NodeAction::Resign).await;
        last = group.leader_after(now.token().number).await;
        group.all_see(&last).await;
    }
    group.close().await;
}

/// Fails while the members have yet to agree on a leader.
async fn compact(etcd: &Etcd) -> Result<(), etcd_client::Error> {
    let mut client = Client::connect(etcd.endpoints(), None).await?;
    let there = client.get("x", None).await?;
    let revision = there.header().map_or(0, |header| header.revision());
    client.compact(revision, None).await.map(drop)
}
