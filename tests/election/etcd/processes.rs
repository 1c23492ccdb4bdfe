//! Three processes that elect one of them: killed, frozen, and woken up still believing.

use std::time::{Duration, Instant};

use freshet_tests::etcd::Etcd;
use freshet_tests::follower::Page;
use freshet_tests::http::get;
use freshet_tests::program::Program;
use freshet_tests::{now_us, within};
use freshet_wire::{Cluster, Event, LeaderState};
use rustix::process::Signal;
use tempfile::TempDir;

use super::TTL;

/// How long an election may take, beside other work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Times each fault is put; the environment asks for more.
fn rounds() -> usize {
    let asked = std::env::var("FRESHET_PROCESS_FAULTS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(2)
}

struct Nodes {
    etcd: Etcd,
    _config: TempDir,
    programs: Vec<Program>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Nodes {
    async fn start() -> Self {
        let etcd = Etcd::start(3).await;
        let config = tempfile::tempdir().unwrap();
        let path = config.path().join("freshet.toml");
        let text = format!(
            "[election]\nengine = 'etcd'\nendpoints = {:?}\nttl_s = {}\n",
            etcd.endpoints(),
            TTL.as_secs()
        );
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let mut programs = Vec::new();
        for name in NAMES {
            programs.push(Program::start(&["--config", path, "--node-id", name]).await);
        }
        Self {
            etcd,
            _config: config,
            programs,
        }
    }

    async fn cluster(&self, index: usize) -> Cluster {
        get(self.programs[index].address, "/api/v1/cluster").await.json()
    }

    /// Waits until each of the processes lists all of them.
    async fn all_listed(&self) {
        for index in 0..NAMES.len() {
            let listed = async {
                while !self.cluster(index).await.nodes.iter().map(|node| &*node.id).eq(NAMES) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            within(PATIENCE, "all to be listed", listed).await;
        }
    }

    /// The next leader's index and token that those who run agree on, and how long after `since` the first of them knew.
    async fn leader_after(&self, token: u64, running: &[usize], since: Instant) -> (usize, u64, Duration) {
        let mut known = None;
        let agreeing = async {
            loop {
                let mut told = Vec::new();
                for &index in running {
                    let cluster = self.cluster(index).await;
                    let leader = cluster.leader.filter(|leader| leader.token.number > token);
                    if leader.is_some() {
                        known.get_or_insert(since.elapsed());
                    }
                    told.push(leader.map(|leader| (leader.node, leader.token.number)));
                }
                told.dedup();
                if let [Some((node, token))] = &*told {
                    let index = NAMES.iter().position(|name| name == node).unwrap();
                    return (index, *token);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (index, token) = within(PATIENCE, "a leader that all know", agreeing).await;
        (index, token, known.unwrap())
    }

    async fn samples(&self, index: usize) -> Page {
        get(
            self.programs[index].address,
            "/api/v1/events?from=host.cpu@earliest&limit=5000",
        )
        .await
        .page()
    }
}

/// When each of the events was produced, and with which token.
fn written(page: &Page) -> Vec<(i64, u64)> {
    let of = |raw: &str| {
        let event: Event<'_> = serde_json::from_str(raw).unwrap();
        (event.ingested_us, event.token.unwrap().number)
    };
    page.events.iter().map(|event| of(&event.raw)).collect()
}

#[tokio::test]
async fn one_of_three_processes_leads_and_all_tell_the_same() {
    let nodes = Nodes::start().await;
    // Who stands is known to each a moment after who leads: the first leader may be alone.
    nodes.all_listed().await;
    let (leader, token, _) = nodes.leader_after(0, &[0, 1, 2], Instant::now()).await;
    for (index, name) in NAMES.into_iter().enumerate() {
        let cluster = nodes.cluster(index).await;
        assert_eq!((cluster.state, &*cluster.node), (LeaderState::Led, name));
        let known = cluster.leader.unwrap();
        assert_eq!(known.lease.is_some(), index == leader, "others do not know the lease");
        let local: Vec<_> = cluster
            .nodes
            .iter()
            .filter(|node| node.local)
            .map(|node| &*node.id)
            .collect();
        assert_eq!(local, [name]);
    }
    within(PATIENCE, "the leader's samples", async {
        while nodes.samples(leader).await.events.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(
        written(&nodes.samples(leader).await)
            .iter()
            .all(|(_, number)| *number == token)
    );
    for index in (0..3).filter(|index| *index != leader) {
        assert!(nodes.samples(index).await.events.is_empty(), "only the leader samples");
    }
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_when_its_lease_is_over() {
    let mut nodes = Nodes::start().await;
    let (mut leader, mut token, _) = nodes.leader_after(0, &[0, 1, 2], Instant::now()).await;
    let mut took = Vec::new();
    for _ in 0..rounds() {
        nodes.programs[leader].process.signal(Signal::KILL);
        nodes.programs[leader].process.ended(PATIENCE).await;
        let killed = Instant::now();
        let others: Vec<_> = (0..3).filter(|index| *index != leader).collect();
        let (next, number, after) = nodes.leader_after(token, &others, killed).await;
        took.push(after);
        nodes.programs[leader].start_again().await;
        (leader, token) = (next, number);
        (leader, token) = match nodes.leader_after(token - 1, &[0, 1, 2], killed).await {
            (next, number, _) if number >= token => (next, number),
            other => panic!("{other:?} after {leader} with {token}"),
        };
    }
    took.sort();
    println!(
        "killed, TTL {TTL:?}: p50 {:?}, worst {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
}

#[tokio::test]
async fn a_leader_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes_up() {
    let nodes = Nodes::start().await;
    let (mut leader, mut token, _) = nodes.leader_after(0, &[0, 1, 2], Instant::now()).await;
    let mut took = Vec::new();
    for _ in 0..rounds() {
        let writing = async {
            while !written(&nodes.samples(leader).await)
                .iter()
                .any(|(_, number)| *number == token)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, "the leader's samples", writing).await;
        nodes.programs[leader].process.signal(Signal::STOP);
        let frozen = Instant::now();
        let others: Vec<_> = (0..3).filter(|index| *index != leader).collect();
        let (next, number, after) = nodes.leader_after(token, &others, frozen).await;
        took.push(after);
        // The other one leads for sure, and this one has not been told.
        tokio::time::sleep(TTL).await;
        let woken_us = now_us();
        nodes.programs[leader].process.signal(Signal::CONT);
        nodes.leader_after(number - 1, &[0, 1, 2], frozen).await;
        let old: Vec<_> = written(&nodes.samples(leader).await);
        let late: Vec<_> = old
            .iter()
            .filter(|(at, number)| *at >= woken_us && *number <= token)
            .collect();
        assert!(late.is_empty(), "it wrote after it woke up: {late:?}");
        (leader, token) = (next, number);
    }
    took.sort();
    println!(
        "frozen, TTL {TTL:?}: p50 {:?}, worst {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
}

#[tokio::test]
async fn the_end_of_a_leader_in_order_hands_over_at_once() {
    let mut nodes = Nodes::start().await;
    let (leader, token, _) = nodes.leader_after(0, &[0, 1, 2], Instant::now()).await;
    let others: Vec<_> = (0..3).filter(|index| *index != leader).collect();
    assert!(nodes.programs[leader].stop().await.success());
    let ended = Instant::now();
    let (_, _, after) = nodes.leader_after(token, &others, ended).await;
    assert!(after < TTL / 2, "the lease was revoked: {after:?}");
    assert_eq!(nodes.etcd.endpoints().len(), 3);
}
