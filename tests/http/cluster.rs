//! Who leads: the API, the topic, and that the leader's sources alone write.

use std::time::{Duration, Instant};

use freshet_tests::{SOON, Server, Stream, now_us, until, within};
use freshet_wire::{Cluster, Event, LeaderState, NodeFault, NodeRole};
use http::Method;

const TOKEN: &str = "a-token-that-is-long-enough";

async fn cluster(server: &Server) -> Cluster {
    server.get("/api/v1/cluster").await.json()
}

async fn act(server: &Server, node: &str, action: &str) -> Cluster {
    let path = format!("/api/v1/cluster/nodes/{node}/{action}");
    let answer = server.send(Method::POST, &path, &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The leader's node and token, once there is one with a greater token than this.
async fn leader_after(server: &Server, token: u64) -> (String, u64) {
    let mut leader = None;
    until("a leader", async || {
        let known = cluster(server).await.leader;
        leader = known.map(|leader| (leader.node, leader.token.number));
        leader.as_ref().is_some_and(|(_, number)| *number > token)
    })
    .await;
    leader.unwrap()
}

/// The tokens of a topic's events, in order.
fn tokens(page: &freshet_tests::follower::Page) -> Vec<u64> {
    let token = |raw: &str| {
        let event: Event<'_> = serde_json::from_str(raw).unwrap();
        event.token.expect("what the sources append carries a token").number
    };
    page.events.iter().map(|event| token(&event.raw)).collect()
}

#[tokio::test]
async fn a_process_of_its_own_leads_within_a_second_and_says_all_of_it() {
    let begun = Instant::now();
    let server = Server::start().await;
    let (node, token) = leader_after(&server, 0).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    within(SOON, "an event", server.poll("from=host.cpu@latest&wait=5")).await;
    let known = cluster(&server).await;
    assert_eq!((&*known.election.name, known.state), ("raft", LeaderState::Led));
    let leader = known.leader.unwrap();
    assert_eq!((&leader.node, leader.token.number), (&node, token));
    assert_eq!(leader.token.scope, known.scope);
    assert!(leader.since_us <= known.now_us && known.now_us <= now_us());
    let lease = leader.lease.unwrap();
    assert!(
        lease.renewed_us <= known.now_us && known.now_us < lease.until_us,
        "{lease:?}"
    );
    assert_eq!(
        lease.until_us - lease.renewed_us,
        (lease.ttl_us - lease.margin_us) as i64
    );
    assert_eq!(known.nodes.len(), 3);
    for node in &known.nodes {
        let role = match node.id == leader.node {
            true => NodeRole::Leader,
            false => NodeRole::Follower,
        };
        assert_eq!(
            (node.role, node.fault, node.local),
            (role, NodeFault::None, true),
            "{node:?}"
        );
    }
    assert_eq!(
        (known.leader_changes, known.failovers.count, known.failovers.p50_us),
        (1, 0, None)
    );
    assert_eq!(
        (known.stale.refused, known.stale.held_back, known.stale.last_us),
        (0, 0, None)
    );
    let raft = known.raft.unwrap();
    assert_eq!((raft.term, raft.quorum, raft.nodes.len()), (Some(token), 2, 3));
    let metrics = server.get("/metrics").await;
    for line in [
        "freshet_has_leader 1\n",
        "freshet_is_leader 1\n",
        "freshet_leader_changes_seen_total 1\n",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[tokio::test]
async fn work_follows_the_leadership_and_its_token_grows() {
    let server = Server::start().await;
    let mut last = leader_after(&server, 0).await;
    for (put, heal) in [("stop", Some("start")), ("isolate", Some("heal")), ("resign", None)] {
        act(&server, &last.0, put).await;
        let next = leader_after(&server, last.1).await;
        assert_ne!(next.0, last.0);
        until("the new leader's events", async || {
            let page = server.poll("from=host.cpu&limit=1").await;
            tokens(&page).contains(&next.1)
        })
        .await;
        if let Some(heal) = heal {
            act(&server, &last.0, heal).await;
        }
        last = next;
    }
    let page = server.poll("from=host.cpu@earliest&limit=5000").await;
    let tokens = tokens(&page);
    assert!(tokens.is_sorted(), "{tokens:?}");
    let known = cluster(&server).await;
    assert!(known.leader_changes >= 4, "{known:?}");
    assert_eq!(known.failovers.count, known.leader_changes - 1);
    assert!(known.failovers.worst_us >= known.failovers.p50_us && known.failovers.p50_us.is_some());
    assert!(known.timeline.iter().any(|span| span.state == LeaderState::Leaderless));
    assert!(
        known
            .timeline
            .windows(2)
            .all(|two| two[0].until_us == Some(two[1].from_us)),
        "{known:?}"
    );
}

#[tokio::test]
async fn the_topic_tells_of_a_change_as_it_happens_and_renewals_between() {
    let server = Server::quiet(|_| {}).await;
    let (node, token) = leader_after(&server, 0).await;
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["cluster"]).await;
    act(&server, &node, "stop").await;
    let mut states = Vec::new();
    let told = async {
        loop {
            for event in stream.page().await.events {
                let known: Cluster = serde_json::from_str(&event.data).unwrap();
                states.push(known.state);
                if known.leader.is_some_and(|leader| leader.token.number > token) {
                    return;
                }
            }
        }
    };
    within(SOON, "the next leader on the topic", told).await;
    assert!(states.contains(&LeaderState::Leaderless), "{states:?}");
    // Without a change the lease is told twice a second.
    let begun = Instant::now();
    let mut renewed = Vec::new();
    while renewed.len() < 4 {
        for event in stream.page().await.events {
            let known: Cluster = serde_json::from_str(&event.data).unwrap();
            renewed.extend(
                known
                    .leader
                    .and_then(|leader| leader.lease)
                    .map(|lease| lease.renewed_us),
            );
        }
    }
    assert!(renewed.is_sorted() && renewed[3] > renewed[0], "{renewed:?}");
    assert!(begun.elapsed() < SOON);
}

#[tokio::test]
async fn without_a_quorum_nobody_leads_and_nothing_is_sampled() {
    let server = Server::start().await;
    let (first, token) = leader_after(&server, 0).await;
    act(&server, &first, "stop").await;
    let (second, _) = leader_after(&server, token).await;
    let known = act(&server, &second, "stop").await;
    assert_eq!((known.state, known.leader), (LeaderState::Leaderless, None));
    assert!(
        known.nodes.iter().all(|node| node.last_contact_us.is_none()),
        "unknown, not zero"
    );
    // A sample that was under way may have been taken.
    let mut end = server.end_of("host.cpu").await;
    until("the end of the samples", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = std::mem::replace(&mut end, server.end_of("host.cpu").await);
        before == end
    })
    .await;
    assert!(server.get("/metrics").await.text().contains("freshet_has_leader 0\n"));
    // The service goes on: it is only the leader's work that waits.
    server.still_serves().await;
    act(&server, &first, "start").await;
    until("samples again", async || server.end_of("host.cpu").await > end).await;
}

#[tokio::test]
async fn a_restart_leads_with_a_greater_token_of_the_same_scope() {
    let mut server = Server::start().await;
    let mut token = 0;
    let mut scope = None;
    for _ in 0..3 {
        let (node, next) = leader_after(&server, token).await;
        let known = cluster(&server).await;
        assert_eq!(scope.get_or_insert(known.scope.clone()), &known.scope);
        act(&server, &node, "stop").await;
        server.stop().await;
        server.start_again();
        token = next;
        // Faults are not kept.
        leader_after(&server, token).await;
        let nodes = cluster(&server).await.nodes;
        assert!(
            nodes
                .iter()
                .all(|node| node.fault == NodeFault::None && node.role != NodeRole::Stopped),
            "{nodes:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_done_to_a_node_is_refused_by_name() {
    let server = Server::quiet(|config| config.admin_token = None).await;
    let (leader, _) = leader_after(&server, 0).await;
    let follower = ["raft-1", "raft-2"].into_iter().find(|node| *node != leader).unwrap();
    for (path, status, field) in [
        ("raft-9/stop".to_owned(), 404, "id"),
        (format!("{leader}/explode"), 400, "action"),
        (format!("{leader}/start"), 409, "action"),
        (format!("{leader}/heal"), 409, "action"),
        (format!("{follower}/resign"), 409, "action"),
    ] {
        let path = format!("/api/v1/cluster/nodes/{path}");
        let problem = server.send(Method::POST, &path, &[], "").await.problem();
        assert_eq!(
            (problem.status, problem.field.as_deref()),
            (status, Some(field)),
            "{path}: {problem:?}"
        );
    }
    let get = server.get(&format!("/api/v1/cluster/nodes/{leader}/stop")).await;
    assert_eq!(get.status, 405, "{get:?}");

    let guarded = Server::start_with(|config| config.admin_token = Some(TOKEN.to_owned())).await;
    let path = "/api/v1/cluster/nodes/raft-1/stop";
    assert_eq!(guarded.send(Method::POST, path, &[], "").await.problem().status, 401);
    assert_eq!(
        guarded.get("/api/v1/cluster").await.status,
        200,
        "reading needs no token"
    );
    let bearer = format!("Bearer {TOKEN}");
    let allowed = guarded
        .send(Method::POST, path, &[("authorization", &bearer)], "")
        .await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
}

#[tokio::test]
async fn clusters_of_one_and_of_five_elect_too() {
    for nodes in [1, 5] {
        let server = Server::start_with(|config| {
            config.election = freshet::config::Election::Raft(freshet::config::RaftConfig { nodes });
        })
        .await;
        let (leader, token) = leader_after(&server, 0).await;
        assert_eq!(cluster(&server).await.nodes.len(), nodes as usize);
        act(&server, &leader, "resign").await;
        leader_after(&server, token).await;
    }
}
