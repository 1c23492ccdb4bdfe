//! Three processes as they run in earnest: etcd elects one of them, and Kafka has the one log that all of them serve.

use std::collections::BTreeMap;
use std::time::Duration;

use freshet_tests::etcd::Etcd;
use freshet_tests::follower::Page;
use freshet_tests::http::get;
use freshet_tests::kafka::Kafka;
use freshet_tests::program::Program;
use freshet_tests::within;
use freshet_wire::{Cluster, Event};
use rustix::process::Signal;

/// How long an election may take, and a broker's first topics, beside other work.
const PATIENCE: Duration = Duration::from_secs(60);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Of what a process serves of a topic: each event's place, and the token that it was written with.
async fn served(program: &Program) -> BTreeMap<(u32, u64), u64> {
    let page: Page = get(program.address, "/api/v1/events?from=host.cpu@earliest&limit=5000")
        .await
        .page();
    let of = |raw: &str| {
        let event: Event<'_> = serde_json::from_str(raw).unwrap();
        ((event.partition, event.offset), event.token.unwrap().number)
    };
    page.events.iter().map(|event| of(&event.raw)).collect()
}

/// The node that one tells of as the leader, with its token.
async fn told(program: &Program) -> Option<(String, u64)> {
    let cluster: Cluster = get(program.address, "/api/v1/cluster").await.json();
    cluster.leader.map(|leader| (leader.node, leader.token.number))
}

#[tokio::test]
async fn whoever_leads_writes_the_one_log_that_every_process_serves() {
    let (etcd, kafka) = tokio::join!(Etcd::start(3), Kafka::start());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("freshet.toml");
    let config = format!(
        "[election]\nengine = 'etcd'\nendpoints = {:?}\n[seed.election]\nlease_ttl_s = 2\n[pubsub]\nengine = 'kafka'\nbrokers = '{}'\n",
        etcd.endpoints(),
        kafka.brokers()
    );
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap();
    let mut programs = Vec::new();
    for name in NAMES {
        programs.push(Program::start(&["--config", path, "--node-id", name]).await);
    }
    let (mut before, mut running) = (0, vec![0, 1, 2]);
    // The first leader, and the one after it is killed.
    for round in 0..2 {
        let agreeing = async {
            loop {
                if let Some(leader) = agreed(&programs, &running, before).await {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (leader, token) = within(PATIENCE, "a leader whose events all serve", agreeing).await;
        let mut logs = Vec::new();
        for &index in &running {
            logs.push(served(&programs[index]).await);
        }
        for log in &logs {
            assert!(
                log.values().is_sorted(),
                "an older leader's event stands after a newer one's: {log:?}"
            );
            for (place, number) in log {
                let mut others = logs.iter().filter_map(|other| other.get(place));
                assert!(others.all(|other| other == number), "another event at {place:?}");
            }
        }
        let lengths: Vec<_> = logs.iter().map(BTreeMap::len).collect();
        println!("{} leads with token {token}; events served: {lengths:?}", NAMES[leader]);
        before = token;
        if round == 0 {
            programs[leader].process.signal(Signal::KILL);
            programs[leader].process.ended(PATIENCE).await;
            running.retain(|index| *index != leader);
        }
    }
}

/// The leader that all who run name, with its token, once each of them serves an event of its.
async fn agreed(programs: &[Program], running: &[usize], before: u64) -> Option<(usize, u64)> {
    let mut all = Vec::new();
    for &index in running {
        all.push(told(&programs[index]).await);
    }
    all.dedup();
    let [Some((node, token))] = &*all else { return None };
    let leader = NAMES.iter().position(|name| name == node)?;
    for &index in running {
        if !served(&programs[index]).await.values().any(|number| number == token) {
            return None;
        }
    }
    (*token > before && running.contains(&leader)).then_some((leader, *token))
}
