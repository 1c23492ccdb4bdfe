//! Three processes that elect one of them: killed, frozen, and woken up still believing.

use std::time::{Duration, Instant};

use freshet_tests::follower::Page;
use freshet_tests::http::get;
use freshet_tests::program::Program;
use freshet_tests::{now_us, within};
use freshet_wire::{Cluster, Event, LeaderState};
use rustix::process::Signal;
use tempfile::TempDir;

use super::ensemble::Ensemble;

/// How long an election may take, beside other work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Times each fault is put; the environment asks for more.
fn rounds() -> usize {
    let asked = std::env::var("FRESHET_PROCESS_FAULTS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(2)
}

struct Nodes<E> {
    ensemble: E,
    _config: TempDir,
    programs: Vec<Program>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl<E: Ensemble> Nodes<E> {
    async fn start() -> Self {
        let ensemble = E::start(3).await;
        let config = tempfile::tempdir().unwrap();
        let path = config.path().join("freshet.toml");
        std::fs::write(&path, ensemble.table()).unwrap();
        let path = path.to_str().unwrap();
        let mut programs = Vec::new();
        for name in NAMES {
            programs.push(Program::start(&["--config", path, "--node-id", name]).await);
        }
        Self {
            ensemble,
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

    /// The process that leads by its own account, with its token.
    async fn leading(&self) -> Option<(usize, u64)> {
        for index in 0..NAMES.len() {
            let leader = self.cluster(index).await.leader;
            let lease = leader.as_ref().and_then(|leader| leader.lease.as_ref());
            if lease.is_some_and(|lease| lease.until_us > now_us()) {
                return leader.map(|leader| (index, leader.token.number));
            }
        }
        None
    }

    /// In the log of each, no older token comes after a newer one.
    async fn tokens_only_grew(&self) {
        for index in 0..NAMES.len() {
            let written = written(&self.samples(index).await);
            assert!(written.is_sorted_by_key(|(_, number)| *number), "{written:?}");
        }
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

#[expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]
fn report(what: &str, ttl: Duration, mut took: Vec<Duration>) {
    took.sort();
    let (p50, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{what} {} times, TTL {ttl:?}: p50 {p50:?}, worst {worst:?}", took.len());
}

/// When each of the events was produced, and with which token.
fn written(page: &Page) -> Vec<(i64, u64)> {
    let of = |raw: &str| {
        let event: Event<'_> = serde_json::from_str(raw).unwrap();
        (event.ingested_us, event.token.unwrap().number)
    };
    page.events.iter().map(|event| of(&event.raw)).collect()
}

pub(crate) async fn one_of_three_processes_leads_and_all_tell_the_same<E: Ensemble>() {
    let nodes = Nodes::<E>::start().await;
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

pub(crate) async fn a_leader_that_is_killed_is_replaced_when_its_lease_is_over<E: Ensemble>() {
    let mut nodes = Nodes::<E>::start().await;
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
    nodes.tokens_only_grew().await;
    report("killed", E::TTL, took);
}

pub(crate) async fn a_leader_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes_up<E: Ensemble>() {
    let nodes = Nodes::<E>::start().await;
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
        tokio::time::sleep(E::TTL).await;
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
    nodes.tokens_only_grew().await;
    report("frozen", E::TTL, took);
}

pub(crate) async fn the_end_of_a_leader_in_order_hands_over_at_once<E: Ensemble>() {
    let mut nodes = Nodes::<E>::start().await;
    let (leader, token, _) = nodes.leader_after(0, &[0, 1, 2], Instant::now()).await;
    let others: Vec<_> = (0..3).filter(|index| *index != leader).collect();
    assert!(nodes.programs[leader].stop().await.success());
    let ended = Instant::now();
    let (_, _, after) = nodes.leader_after(token, &others, ended).await;
    assert!(after < E::TTL / 2, "it did not wait for the lease: {after:?}");
}

pub(crate) async fn the_end_of_the_servers_own_leader_is_survived<E: Ensemble>() {
    let mut nodes = Nodes::<E>::start().await;
    let (_, mut token, _) = nodes.leader_after(0, &[0, 1, 2], Instant::now()).await;
    let mut gaps = Vec::new();
    for _ in 0..rounds() {
        let server = nodes.ensemble.leader().await;
        nodes.ensemble.kill(server).await;
        // Whether the one that leads stays or another comes: tokens never go back, and the longest time without is noted.
        let (killed, mut led, mut gap) = (Instant::now(), Instant::now(), Duration::ZERO);
        while killed.elapsed() < E::TTL * 3 {
            if let Some((_, number)) = nodes.leading().await {
                assert!(number >= token, "{number} after {token}");
                // From one look at which one led to the next: a little more than it was.
                gap = gap.max(led.elapsed());
                (token, led) = (number, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gaps.push(gap.max(led.elapsed()));
        (_, token, _) = nodes.leader_after(token - 1, &[0, 1, 2], killed).await;
        nodes.ensemble.start_again(server).await;
    }
    nodes.tokens_only_grew().await;
    report("without a leader after the servers' own was killed", E::TTL, gaps);
}

/// A test for each, against this engine's real servers.
macro_rules! process_tests {
    ($ensemble:ty) => {
        $crate::processes::process_tests!($ensemble:
            one_of_three_processes_leads_and_all_tell_the_same
            a_leader_that_is_killed_is_replaced_when_its_lease_is_over
            a_leader_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes_up
            the_end_of_a_leader_in_order_hands_over_at_once
            the_end_of_the_servers_own_leader_is_survived
        );
    };
    ($ensemble:ty: $($promise:ident)+) => {
        $(
            #[tokio::test]
            async fn $promise() {
                $crate::processes::$promise::<$ensemble>().await;
            }
        )+
    };
}
pub(crate) use process_tests;
