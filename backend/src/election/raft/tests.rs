//! What the embedded engine promises, in virtual time: minutes of elections pass in seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{LeaderState, NodeAction, NodeRole, Retention, Token, TopicKind};
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{Cluster, Timing};
use crate::config::LogConfig;
use crate::election::timeline::Seen;
use crate::election::{Board, ElectionError, Mandate};
use crate::pubsub::embedded::EmbeddedLog;
use crate::pubsub::{Ack, LogExtent, PubSub, PubSubError, Publication, Record, Sink, Stored, TopicSpec};
use crate::time::{now_us, steady};

/// Longer than any election takes where a quorum can talk.
const LONG: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_millis(500);
const HEARTBEAT: Duration = Duration::from_millis(50);

struct Bench {
    cluster: Arc<Cluster>,
    board: Arc<Board>,
    keeper: JoinHandle<()>,
}

impl Bench {
    async fn open(folder: &TempDir, size: usize) -> Self {
        let board = Arc::new(Board::new("raft:test", "raft"));
        let cluster = Cluster::new(folder.path(), size, Arc::clone(&board), Timing::of(TIMEOUT_MAX), false).unwrap();
        let keeper = tokio::spawn(Arc::clone(&cluster).keep());
        cluster.start().await;
        Self { cluster, board, keeper }
    }

    async fn close(self) {
        self.cluster.close().await;
        self.keeper.abort();
    }

    /// The leader, once there is one with a token greater than this.
    async fn leader_after(&self, token: u64) -> Arc<Mandate> {
        let mut mandates = self.board.mandate();
        let is_next = |mandate: &Option<Arc<Mandate>>| mandate.as_ref().is_some_and(|next| number(next) > token);
        let next = timeout(LONG, mandates.wait_for(is_next)).await;
        next.expect("a leader").unwrap().clone().unwrap()
    }

    async fn act(&self, node: &str, action: NodeAction) {
        self.cluster.act(node, action).await.unwrap();
    }

    fn roles(&self) -> BTreeMap<String, NodeRole> {
        let (nodes, _) = self.cluster.describe(steady(), now_us());
        nodes.into_iter().map(|node| (node.id, node.role)).collect()
    }
}

fn number(mandate: &Mandate) -> u64 {
    mandate.token().number
}

#[tokio::test(start_paused = true)]
async fn a_new_process_elects_at_once_and_the_others_follow() {
    for size in [1, 3, 5] {
        let folder = TempDir::new().unwrap();
        let begun = Instant::now();
        let bench = Bench::open(&folder, size).await;
        let mandate = bench.leader_after(0).await;
        assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
        sleep(HEARTBEAT * 4).await;
        let roles = bench.roles();
        assert_eq!(roles.len(), size);
        for (node, role) in roles {
            let expected = match node == **mandate.node() {
                true => NodeRole::Leader,
                false => NodeRole::Follower,
            };
            assert_eq!(role, expected, "{node}");
        }
        let (nodes, raft) = bench.cluster.describe(steady(), now_us());
        assert!(nodes.iter().all(|node| node.last_contact_us.is_some()), "{nodes:?}");
        assert_eq!(raft.unwrap().term, Some(number(&mandate)));
        bench.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stopped_is_replaced_within_its_lease_and_a_timeout() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let first = bench.leader_after(0).await;
    bench.act(first.node(), NodeAction::Stop).await;
    let stopped = Instant::now();
    assert!(!first.holds(steady()), "the mandate ends with the node");
    assert_eq!(bench.roles()[&**first.node()], NodeRole::Stopped);
    let second = bench.leader_after(number(&first)).await;
    assert_ne!(second.node(), first.node());
    // A tick may be late by one and a half heartbeats, and the votes travel.
    assert!(
        stopped.elapsed() < TIMEOUT_MAX * 2 + HEARTBEAT * 4,
        "{:?}",
        stopped.elapsed()
    );
    // Without a quorum nobody leads, and that is known.
    bench.act(second.node(), NodeAction::Stop).await;
    sleep(LONG).await;
    let reading = bench.board.read(steady(), now_us());
    assert_eq!(reading.seen, Seen::Leaderless);
    assert!(bench.cluster.mandates().is_empty());
    bench.act(first.node(), NodeAction::Start).await;
    let third = bench.leader_after(number(&second)).await;
    assert_eq!(bench.board.read(steady(), now_us()).leader_changes, 3);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn an_isolated_leader_stops_before_another_begins() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let mut last = bench.leader_after(0).await;
    for _ in 0..20 {
        sleep(HEARTBEAT * 3).await;
        bench.act(last.node(), NodeAction::Isolate).await;
        let next = loop {
            let mandates = bench.cluster.mandates();
            assert!(mandates.len() <= 1, "{mandates:?}");
            match mandates.into_iter().next() {
                Some(next) if number(&next) > number(&last) => break next,
                _ => sleep(MS).await,
            }
        };
        assert!(!last.holds(steady()));
        assert_ne!(next.node(), last.node());
        assert_eq!(bench.roles()[&**last.node()], NodeRole::Lapsed);
        bench.act(last.node(), NodeAction::Heal).await;
        // It learns of the other one, and does not depose it.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.roles()[&**last.node()], NodeRole::Follower);
        assert!(next.holds(steady()));
        last = next;
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_does_not_depose_the_leader() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let leader = bench.leader_after(0).await;
    let follower = bench
        .roles()
        .into_iter()
        .find(|(_, role)| *role != NodeRole::Leader)
        .unwrap()
        .0;
    for (away, back) in [
        (NodeAction::Isolate, NodeAction::Heal),
        (NodeAction::Stop, NodeAction::Start),
    ] {
        bench.act(&follower, away).await;
        sleep(LONG).await;
        bench.act(&follower, back).await;
        sleep(LONG).await;
        assert!(leader.holds(steady()), "the same leader, all the time");
        assert_eq!(bench.roles()[&follower], NodeRole::Follower);
    }
}

/// A node forgets with its process what it had promised a leader: it must not vote before that is over.
#[tokio::test(start_paused = true)]
async fn a_follower_that_was_started_again_keeps_what_it_promised() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let leader = bench.leader_after(0).await;
    let followers: Vec<_> = bench
        .roles()
        .into_keys()
        .filter(|node| **node != **leader.node())
        .collect();
    // One has not heard of the leader for long, and votes for itself whenever it is let; the other has just heard of it.
    bench.act(&followers[0], NodeAction::Isolate).await;
    sleep(Duration::from_secs(5)).await;
    bench.act(&followers[1], NodeAction::Stop).await;
    bench.act(leader.node(), NodeAction::Isolate).await;
    bench.act(&followers[0], NodeAction::Heal).await;
    let starting = tokio::spawn({
        let (cluster, node) = (Arc::clone(&bench.cluster), followers[1].clone());
        async move { cluster.act(&node, NodeAction::Start).await }
    });
    while bench
        .cluster
        .mandates()
        .iter()
        .all(|mandate| number(mandate) == number(&leader))
    {
        sleep(MS).await;
    }
    assert!(bench.cluster.mandates().len() == 1 && !leader.holds(steady()));
    starting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_resigns_hands_over_within_100_ms() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 5).await;
    let mut last = bench.leader_after(0).await;
    for _ in 0..20 {
        sleep(HEARTBEAT * 3).await;
        let begun = Instant::now();
        bench.act(last.node(), NodeAction::Resign).await;
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        assert!(!last.holds(steady()));
        let next = bench.leader_after(number(&last)).await;
        assert_ne!(next.node(), last.node());
        last = next;
    }
    assert_eq!(bench.board.read(steady(), now_us()).failovers.count, 20);
}

#[tokio::test(start_paused = true)]
async fn resigning_ends_the_leadership_also_where_nobody_can_take_it_over() {
    let folder = TempDir::new().unwrap();
    let alone = Bench::open(&folder, 1).await;
    let first = alone.leader_after(0).await;
    sleep(LONG).await;
    assert!(first.holds(steady()), "one that is alone renews its lease by itself");
    alone.act(first.node(), NodeAction::Resign).await;
    assert!(!first.holds(steady()));
    alone.leader_after(number(&first)).await;

    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let first = bench.leader_after(0).await;
    let others: Vec<_> = bench
        .roles()
        .into_keys()
        .filter(|node| **node != **first.node())
        .collect();
    for other in &others {
        bench.act(other, NodeAction::Isolate).await;
    }
    bench.act(first.node(), NodeAction::Resign).await;
    assert!(!first.holds(steady()));
    for other in &others {
        bench.act(other, NodeAction::Heal).await;
    }
    let first = bench.leader_after(number(&first)).await;
    bench.act(first.node(), NodeAction::Isolate).await;
    let refused = bench.cluster.act(first.node(), NodeAction::Resign).await;
    assert!(
        matches!(refused, Err(ElectionError::Refused(_))),
        "what is isolated is healed first: {refused:?}"
    );
    bench.leader_after(number(&first)).await;
    let refused = bench.cluster.act(first.node(), NodeAction::Resign).await;
    let leads = bench.roles()[&**first.node()] == NodeRole::Leader;
    assert!(
        leads || matches!(refused, Err(ElectionError::Refused(_))),
        "{refused:?}"
    );
    let unknown = bench.cluster.act("raft-9", NodeAction::Stop).await;
    assert_eq!(unknown, Err(ElectionError::UnknownNode("raft-9".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn terms_never_go_back_however_often_the_process_starts() {
    let folder = TempDir::new().unwrap();
    let mut token = 0;
    for round in 0..10 {
        let bench = Bench::open(&folder, 3).await;
        let mandate = bench.leader_after(0).await;
        assert!(number(&mandate) > token, "{} after {token}", number(&mandate));
        token = number(&mandate);
        if round % 2 == 0 {
            bench.act(mandate.node(), NodeAction::Stop).await;
            let next = bench.leader_after(token).await;
            token = number(&next);
        }
        // Closed, or gone without a word, as with kill -9.
        if round % 3 == 0 {
            bench.close().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_file_is_damaged_does_not_vote_and_the_others_go_on() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let first = bench.leader_after(0).await;
    let token = number(&first);
    bench.close().await;
    let path = folder.path().join("2.raft");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let bench = Bench::open(&folder, 3).await;
    let leader = bench.leader_after(token).await;
    assert_ne!(&**leader.node(), "raft-2");
    let engine = bench.board.engine();
    assert_eq!(engine.state, freshet_wire::EngineState::Degraded);
    assert!(engine.detail.contains("2.raft"), "{}", engine.detail);
    assert_eq!(bench.roles()["raft-2"], NodeRole::Stopped);
    assert!(bench.cluster.act("raft-2", NodeAction::Start).await.is_err());
}

/// How many, from the environment: `make soak` asks for more than a test run has time for.
fn count(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(start_paused = true)]
async fn failovers_in_a_row_always_end_with_a_leader() {
    let failovers = count("FRESHET_FAILOVERS", 15);
    let folder = TempDir::new().unwrap();
    let bench = Bench::open(&folder, 3).await;
    let mut last = bench.leader_after(0).await;
    let mut took = Vec::new();
    for round in 0..failovers {
        let (put, heal) = match round % 3 {
            0 => (NodeAction::Stop, Some(NodeAction::Start)),
            1 => (NodeAction::Isolate, Some(NodeAction::Heal)),
            _ => (NodeAction::Resign, None),
        };
        let begun = Instant::now();
        bench.act(last.node(), put).await;
        let next = bench.leader_after(number(&last)).await;
        if put != NodeAction::Resign {
            took.push(begun.elapsed());
        }
        assert_eq!(bench.cluster.mandates().len(), 1);
        if let Some(heal) = heal {
            bench.act(last.node(), heal).await;
        }
        sleep(HEARTBEAT * 5).await;
        last = next;
    }
    took.sort();
    let reading = bench.board.read(steady(), now_us());
    assert_eq!(
        (reading.seen.state(), reading.failovers.count),
        (LeaderState::Led, failovers as u64)
    );
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "{failovers} failovers; from stop or isolation to the next leader: p50 {p50:?}, p99 {p99:?}, worst {:?}",
        took[took.len() - 1]
    );
}

#[derive(Debug)]
struct Nobody;

impl Sink for Nobody {
    fn log(&self, _: LogExtent) {}
    fn push(&self, _: Vec<Stored>) {}
    fn trim(&self, _: u32, _: u64) {}
}

/// A log with leaders that write to it, those of yesterday among them.
struct Writers {
    log: EmbeddedLog,
    /// Everybody who ever led, and still believes it.
    ever: BTreeMap<u64, Arc<Mandate>>,
    newest: u64,
    refused: u64,
    accepted: u64,
}

impl Writers {
    async fn open(folder: &TempDir) -> Self {
        let log = EmbeddedLog::open(folder.path(), &LogConfig::default()).unwrap();
        let spec = TopicSpec {
            name: "t".to_owned(),
            kind: TopicKind::Log,
            synthetic: true,
            writable: false,
            retention: Retention::default(),
        };
        log.open(spec, Arc::new(Nobody)).await.unwrap();
        Self {
            log,
            ever: BTreeMap::new(),
            newest: 0,
            refused: 0,
            accepted: 0,
        }
    }

    fn write(&self, token: u64) -> Result<(), PubSubError> {
        let record = Record {
            produced_us: 0,
            host: None,
            token: Some(Token {
                scope: "raft:test".into(),
                number: token,
            }),
            kind: "t".into(),
            id: None,
            key: None,
            data: RawValue::from_string("1".to_owned()).unwrap(),
        };
        let publication = Publication {
            records: vec![record],
            idempotency: None,
            ack: Ack::Taken,
        };
        self.log.publish("t", publication).now_or_never().unwrap().map(|_| ())
    }

    /// Invariant 4, now: everybody who believes to lead writes, and so does everybody who ever did.
    fn check(&mut self, cluster: &Cluster, place: &str) {
        let mandates = cluster.mandates();
        assert!(mandates.len() <= 1, "{place}: two lead: {mandates:?}");
        for mandate in mandates {
            let token = number(&mandate);
            let known = self.ever.entry(token).or_insert_with(|| Arc::clone(&mandate));
            assert_eq!(known.node(), mandate.node(), "{place}: token {token} was given twice");
            *known = mandate;
        }
        let now = steady();
        let holding: Vec<_> = self.ever.values().filter(|mandate| mandate.holds(now)).collect();
        assert!(holding.len() <= 1, "{place}: two believe to lead: {holding:?}");
        for mandate in &holding {
            assert_eq!(
                Some(number(mandate)),
                self.ever.keys().next_back().copied(),
                "{place}: an older one leads"
            );
            // The leader of today is always accepted.
            assert_eq!(self.write(number(mandate)), Ok(()), "{place}");
            self.accepted += 1;
            self.newest = number(mandate);
        }
        // Some who were frozen write without a look at the clock.
        for token in self.ever.keys().rev().take(3).copied().collect::<Vec<_>>() {
            match self.write(token) {
                Ok(()) => assert!(
                    token >= self.newest,
                    "{place}: {token} was accepted after {}",
                    self.newest
                ),
                Err(PubSubError::Fenced { newest, .. }) => {
                    assert!(token < newest && newest == self.newest, "{place}");
                    self.refused += 1;
                }
                Err(error) => panic!("{place}: {error}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_never_two_write_and_tokens_only_grow() {
    let steps = count("FRESHET_FAULT_STEPS", 300);
    let seed = count("FRESHET_SEED", 20_260_101) as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    fastrand::seed(seed);
    let (folder, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let size = 3;
    let bench = Bench::open(&folder, size).await;
    let mut writers = Writers::open(&log).await;
    for step in 0..steps {
        let (nodes, _) = bench.cluster.describe(steady(), now_us());
        let node = &nodes[random.usize(..size)];
        let action = node.actions[random.usize(..node.actions.len())];
        let place = format!("seed {seed}, step {step}: {} {action:?}", node.id);
        if random.u8(..8) == 0 {
            bench.cluster.network.delay(MS * random.u32(..120));
        }
        let acting = tokio::spawn({
            let (cluster, node) = (Arc::clone(&bench.cluster), node.id.clone());
            async move { cluster.act(&node, action).await }
        });
        // Faults follow each other closely, or leave time for an election.
        let pause = Duration::from_millis(*random.choice(&[1_u64, 20, 200, 1500]).unwrap());
        let begun = Instant::now();
        while begun.elapsed() < pause || !acting.is_finished() {
            writers.check(&bench.cluster, &place);
            sleep(Duration::from_millis(random.u64(1..20))).await;
        }
        match acting.await.unwrap() {
            // Between the look and the act it may have lost the leadership.
            Ok(()) | Err(ElectionError::Refused(_)) => {}
            Err(error) => panic!("{place}: {error}"),
        }
    }
    bench.cluster.network.delay(Duration::ZERO);
    let (nodes, _) = bench.cluster.describe(steady(), now_us());
    for node in nodes {
        for action in node.actions {
            if matches!(action, NodeAction::Start | NodeAction::Heal) {
                bench.act(&node.id, action).await;
            }
        }
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        bench.cluster.mandates().len(),
        1,
        "seed {seed}: nobody leads at the end"
    );
    writers.check(&bench.cluster, "at the end");
    println!(
        "{steps} steps with seed {seed}: {} leaders, {} writes accepted, {} of older tokens refused",
        writers.ever.len(),
        writers.accepted,
        writers.refused
    );
    assert!(writers.refused > 0 && writers.ever.len() > steps / 50);
}

mod contract {
    use std::sync::Arc;

    use tempfile::TempDir;

    use crate::config::RaftConfig;
    use crate::election::contract::{Group, Harness};
    use crate::election::raft::RaftElection;

    struct Folder(TempDir);

    impl Harness for Folder {
        async fn open(&self) -> Group {
            Group(vec![Arc::new(
                RaftElection::open(self.0.path(), &RaftConfig::default(), super::TIMEOUT_MAX).unwrap(),
            )])
        }
    }

    async fn harness() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    crate::election_contract!(harness);
}
