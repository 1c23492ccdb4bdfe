//! The leadership in words. Pure. What is not known is said to be unknown; it is never the last thing that was known.

use freshet_wire::{Cluster, ClusterNode, LeaderState, Leadership, NodeAction, NodeFault, NodeRole};

use crate::lane::{LaneId, Status};
use crate::view::chart::scale::TimeScale;
use crate::view::frame::{Frame, is_live};
use crate::view::{Ui, format, lane_name};

/// A value comes at least twice a second. One that is older than this, and than two polls, is not of now.
const OLD_US: f64 = 3e6;

/// What the lane that feeds the cards has brought of the cluster.
#[derive(Clone, Copy)]
pub struct News<'a> {
    pub cluster: Option<&'a Cluster>,
    /// The lane's name.
    pub by: &'static str,
    pub now_us: f64,
    /// It is of now.
    pub fresh: bool,
}

impl<'a> News<'a> {
    pub fn of(frame: &Frame<'a>, ui: Ui) -> Self {
        let lane = frame.model.lane(ui.feed());
        let between_us = match lane.id {
            LaneId::Poll => 2e3 * f64::from(frame.model.interval_ms),
            LaneId::Stream => 0.0,
        };
        let age_us = frame.cluster.map(|cluster| frame.now_us - cluster.now_us as f64);
        Self {
            cluster: frame.cluster,
            by: lane_name(lane.id).0,
            now_us: frame.now_us,
            // Before the first value there is nothing that could be old.
            fresh: is_live(&lane.status) && age_us.is_none_or(|age_us| age_us < OLD_US + between_us)
                || age_us.is_none() && matches!(lane.status, Status::Connecting),
        }
    }

    /// Who leads now, as far as that is known.
    pub fn leader(&self) -> Option<&'a Leadership> {
        let cluster = self
            .cluster
            .filter(|cluster| self.fresh && cluster.state == LeaderState::Led)?;
        cluster.leader.as_ref()
    }

    /// Nobody leads now, and that is known.
    pub fn is_leaderless(&self) -> bool {
        let leaderless = |cluster: &Cluster| cluster.state == LeaderState::Leaderless;
        self.fresh && self.cluster.is_some_and(leaderless)
    }

    /// Up to when something is known.
    pub fn until_us(&self) -> f64 {
        match (self.fresh, self.cluster) {
            (false, Some(cluster)) => cluster.now_us as f64,
            _ => self.now_us,
        }
    }

    /// Who, in what state that is, and the style sheet's class for it.
    pub fn headline(&self) -> (String, String, &'static str) {
        let Some(cluster) = self.cluster else {
            let says = match self.fresh {
                true => ["waiting for ", self.by].concat(),
                false => [self.by, " is down and has brought nothing yet"].concat(),
            };
            return (String::from("Unknown"), says, "unknown");
        };
        if !self.fresh {
            let age = lasted(self.now_us - cluster.now_us as f64);
            let then = match &cluster.leader {
                Some(leader) => [&*leader.node, " led then"].concat(),
                None => String::from("nobody was known to lead then"),
            };
            let says = ["no news by ", self.by, " for ", &*age, ": ", &then].concat();
            return (String::from("Unknown"), says, "unknown");
        }
        let held = lasted(self.now_us - cluster.since_us as f64);
        // A lane that polls seldom tells of then, not of now.
        let age_us = self.now_us - cluster.now_us as f64;
        if age_us > OLD_US
            && let Some(leader) = &cluster.leader
        {
            let says = ["led ", &*lasted(age_us), " ago, when ", self.by, " asked last"].concat();
            return (leader.node.clone(), says, "led");
        }
        match (cluster.state, &cluster.leader) {
            (LeaderState::Led, Some(leader)) => (leader.node.clone(), ["leads for ", &*held].concat(), "led"),
            (LeaderState::Leaderless, _) => (String::from("No leader"), ["for ", &*held].concat(), "leaderless"),
            _ => {
                let says = ["who leads, for ", &*held].concat();
                (String::from("Unknown"), says, "unknown")
            }
        }
    }

    /// How much of the lease is left, as a share of it, and the same in words.
    pub fn lease(&self) -> Option<(f64, String)> {
        let Some(lease) = self.leader()?.lease else {
            return Some((0.0, String::from("its lease is known to itself alone")));
        };
        let whole_us = lease.ttl_us.saturating_sub(lease.margin_us) as f64;
        let share = self.lease_share()?;
        let renewed = lasted(self.now_us - lease.renewed_us as f64);
        let whole = lasted(whole_us);
        let text = match share > 0.0 {
            true => ["lease ", &*whole, ", renewed ", &*renewed, " ago"].concat(),
            // It is renewed more often than that is told: this is no sign of trouble.
            false => ["lease ", &*whole, ", the last renewal told is ", &*renewed, " old"].concat(),
        };
        Some((share, text))
    }

    /// How much of the lease is left, as a share of it; `None` where the leader tells of none.
    pub fn lease_share(&self) -> Option<f64> {
        let lease = self.leader()?.lease?;
        let whole_us = lease.ttl_us.saturating_sub(lease.margin_us) as f64;
        Some(((lease.until_us as f64 - self.now_us) / whole_us.max(1.0)).clamp(0.0, 1.0))
    }

    /// A node: what it does, and when it was heard from.
    pub fn node(&self, node: &ClusterNode) -> (String, String) {
        if !self.fresh {
            return (String::from("unknown"), String::new());
        }
        let leader = self.leader().filter(|leader| leader.node == node.id);
        let mut role = match (node.role, leader) {
            (NodeRole::Leader, Some(leader)) => {
                ["leader for ", &*lasted(self.now_us - leader.since_us as f64)].concat()
            }
            (role, _) => String::from(role_name(role)),
        };
        if node.fault == NodeFault::Isolated {
            role.push_str(", isolated");
        }
        let contact = match (node.role, node.last_contact_us) {
            (NodeRole::Stopped, _) => String::new(),
            (_, None) => String::from("last contact unknown"),
            (NodeRole::Leader, Some(us)) => ["a quorum answered ", &*lasted(self.now_us - us as f64), " ago"].concat(),
            (_, Some(us)) => ["heard from ", &*lasted(self.now_us - us as f64), " ago"].concat(),
        };
        (role, contact)
    }
}

fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Leader => "leader",
        NodeRole::Lapsed => "led; its lease is over",
        NodeRole::Follower => "follower",
        NodeRole::Candidate => "candidate: asks for votes",
        NodeRole::Stopped => "stopped",
        NodeRole::Unknown => "unknown",
    }
}

/// "412 ms", "4.1 s", "4 min 12 s".
pub fn lasted(us: f64) -> String {
    match us.max(0.0) {
        us if us > 0.0 && us < 1000.0 => [&*format::fixed(us, 0), "\u{a0}µs"].concat(),
        us if us < 999_500.0 => [&*format::fixed(us / 1e3, 0), "\u{a0}ms"].concat(),
        us if us < 59_950_000.0 => [&*format::fixed(us / 1e6, 1), "\u{a0}s"].concat(),
        us => format::ago(us),
    }
}

/// What the engine's tokens are.
pub fn token_name(engine: &str) -> &'static str {
    match engine {
        "raft" => "term",
        "etcd" => "revision",
        "zookeeper" => "zxid",
        _ => "token",
    }
}

/// A token in groups of three digits that stay one word.
pub fn number(number: u64) -> String {
    format::count(number).replace(',', "\u{2009}")
}

/// A moment at which a node began to lead, after another or nobody had.
#[derive(Debug, Clone, PartialEq)]
pub struct Election {
    /// Nobody led since then.
    pub gap_us: Option<f64>,
    /// `None`: nobody leads yet.
    pub at_us: Option<f64>,
    /// "node-2 elected"
    pub words: String,
}

impl Election {
    /// Where nobody led, from and to on the canvas; it is seen, however short it was.
    pub fn band(&self, time: &TimeScale) -> Option<(f64, f64)> {
        let to = time.x(self.at_us.unwrap_or(time.now_us)).min(time.right);
        let from = time.x(self.gap_us?).min(to - 1.0).max(time.left);
        (to > time.left + 1.0).then_some((from, to))
    }
}

/// The elections that began or ended since then, oldest first. How the first leader came is not known.
pub fn elections(cluster: &Cluster, since_us: f64) -> Vec<Election> {
    let mut elections = Vec::new();
    for (at, span) in cluster.timeline.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| cluster.timeline.get(at));
        let election = match (span.state, before) {
            (LeaderState::Led, Some(before)) => Election {
                gap_us: (before.state == LeaderState::Leaderless).then_some(before.from_us as f64),
                at_us: Some(span.from_us as f64),
                words: {
                    let led = cluster.timeline[..at]
                        .iter()
                        .rfind(|span| span.state == LeaderState::Led);
                    // A lease that ran out and was renewed: nobody was elected.
                    let same = led.is_some_and(|led| (&led.node, led.token) == (&span.node, span.token));
                    let how = if same { " leads again" } else { " elected" };
                    [span.node.as_deref().unwrap_or("a leader"), how].concat()
                },
            },
            (LeaderState::Leaderless, Some(_)) if span.until_us.is_none() => Election {
                gap_us: Some(span.from_us as f64),
                at_us: None,
                words: String::from("no leader"),
            },
            _ => continue,
        };
        if election.at_us.is_none_or(|us| us >= since_us) {
            elections.push(election);
        }
    }
    elections
}

/// "3 failovers: last 812 ms, p50 790 ms, worst 1.1 s"
pub fn failovers(cluster: &Cluster) -> String {
    let failovers = &cluster.failovers;
    let (Some(last), Some(p50), Some(worst)) = (failovers.last_us, failovers.p50_us, failovers.worst_us) else {
        return String::from("no failover yet");
    };
    let [last, p50, worst] = [last, p50, worst].map(|us| lasted(us as f64));
    match failovers.count {
        1 => ["1 failover: ", &*last].concat(),
        count => {
            let count = format::count(count);
            [&*count, " failovers: last ", &last, ", p50 ", &p50, ", worst ", &worst].concat()
        }
    }
}

/// "2 stale writes refused", of the log's refusals and of what a leader held back itself.
pub fn stale(cluster: &Cluster) -> String {
    let stale = &cluster.stale;
    let mut out = format::count(stale.refused);
    out.push_str(if stale.refused == 1 {
        " stale write"
    } else {
        " stale writes"
    });
    out.push_str(" refused");
    if stale.held_back > 0 {
        out.push_str(", ");
        out.push_str(&format::count(stale.held_back));
        out.push_str(" held back by the leader itself");
    }
    out
}

/// The warning that the leadership moves too often; empty while it does not.
pub fn flapping(cluster: &Cluster) -> String {
    let flapping = &cluster.flapping;
    if !flapping.is_flapping {
        return String::new();
    }
    let changes = format::count(flapping.changes.into());
    let window = format::count((flapping.window_s / 60).into());
    let threshold = format::count(flapping.threshold.into());
    let words = [
        &*changes,
        " changes of leader within ",
        &window,
        " minutes: the leadership is flapping (",
        &threshold,
        " are too many).",
    ];
    words.concat()
}

/// "Stop"
pub fn title(action: NodeAction) -> &'static str {
    match action {
        NodeAction::Stop => "Stop",
        NodeAction::Start => "Start",
        NodeAction::Isolate => "Isolate",
        NodeAction::Heal => "Heal",
        NodeAction::Resign => "Resign",
    }
}

/// What it will do, before it is done; `election` is how long one takes.
pub fn consequence(action: NodeAction, leads: bool, is_needed: bool, election: &str) -> String {
    let what = match action {
        NodeAction::Stop => "It ends at once, as a process that is killed does.",
        NodeAction::Start => "It runs again, with the vote and the log that it kept.",
        NodeAction::Isolate => "It goes on running, but nothing that it sends arrives, nor anything at it.",
        NodeAction::Heal => "It hears the others again, and they hear it.",
        NodeAction::Resign => "It gives the leadership up in order, and another node takes it over.",
    };
    let then = match (action, leads) {
        (NodeAction::Stop | NodeAction::Isolate, _) if is_needed => String::from(
            " Too few are left then to agree: nobody leads, and nothing is sampled, until one is started or healed.",
        ),
        (NodeAction::Stop | NodeAction::Isolate, true) => [
            " It leads: nothing is sampled until the others have elected another",
            election,
            ".",
        ]
        .concat(),
        _ => String::new(),
    };
    let kept = match action {
        NodeAction::Stop | NodeAction::Isolate => " A restart of the whole process undoes it.",
        _ => "",
    };
    [what, &*then, kept].concat()
}

/// ", which takes 750 ms to 1.0 s", where the engine says so.
pub fn election_time(cluster: Option<&Cluster>) -> String {
    let Some(raft) = cluster.and_then(|cluster| cluster.raft.as_ref()) else {
        return String::new();
    };
    // The lease is waited out first.
    let lease = raft.election_timeout_max_ms;
    let [least, most] = [raft.election_timeout_min_ms, raft.election_timeout_max_ms];
    let [least, most] = [least, most].map(|ms| lasted((lease + ms) as f64 * 1e3));
    [", which takes ", &*least, " to ", &most].concat()
}

/// Whether without this node too few are left to elect one.
pub fn is_needed(cluster: &Cluster, node: &str) -> bool {
    let Some(raft) = &cluster.raft else { return false };
    let takes_part = |it: &&ClusterNode| {
        it.id != node && it.fault == NodeFault::None && !matches!(it.role, NodeRole::Stopped | NodeRole::Unknown)
    };
    (cluster.nodes.iter().filter(takes_part).count() as u64) < u64::from(raft.quorum)
}

/// What was done. What comes of it is said where it is live.
pub fn outcome(action: NodeAction, node: &str) -> String {
    let done = match action {
        NodeAction::Stop => " is stopped.",
        NodeAction::Start => " is started.",
        NodeAction::Isolate => " is isolated.",
        NodeAction::Heal => " is healed.",
        NodeAction::Resign => " has resigned.",
    };
    [node, done].concat()
}

#[cfg(test)]
pub(in crate::view) mod tests {
    use super::*;

    /// Three nodes on Raft: node-1 led from 10 s to 20 s, nobody for 0.8 s, and node-2 since; it is 60 s.
    pub(in crate::view) const CLUSTER: &str = r#"{"now_us":60000000,"node":"here","election":{"name":"raft","state":"up","since_us":0,"detail":""},
        "scope":"raft:1","state":"led","since_us":20800000,
        "leader":{"node":"node-2","token":{"scope":"raft:1","number":1234},"since_us":20800000,
            "lease":{"ttl_us":500000,"margin_us":50000,"renewed_us":59900000,"until_us":60350000}},
        "nodes":[
            {"id":"node-1","role":"stopped","local":true,"fault":"stopped","last_contact_us":null,"detail":"","actions":["start"]},
            {"id":"node-2","role":"leader","local":true,"fault":"none","last_contact_us":59950000,"detail":"","actions":["stop","isolate","resign"]},
            {"id":"node-3","role":"follower","local":true,"fault":"isolated","last_contact_us":null,"detail":"","actions":["stop","heal"]}],
        "timeline":[
            {"state":"led","node":"node-1","token":1,"from_us":10000000,"until_us":20000000,"duration_us":10000000},
            {"state":"leaderless","node":null,"token":null,"from_us":20000000,"until_us":20800000,"duration_us":800000},
            {"state":"led","node":"node-2","token":1234,"from_us":20800000,"until_us":null,"duration_us":null}],
        "leader_changes":2,"failovers":{"count":1,"last_us":800000,"p50_us":800000,"worst_us":800000},
        "flapping":{"is_flapping":false,"changes":2,"threshold":4,"window_s":900},
        "stale":{"refused":1,"held_back":2,"last_us":null},
        "raft":{"term":1234,"quorum":2,"heartbeat_ms":50,"election_timeout_min_ms":250,"election_timeout_max_ms":500,"nodes":[]}}"#;

    pub(in crate::view) fn cluster() -> Cluster {
        serde_json::from_str(CLUSTER).unwrap()
    }

    fn news(cluster: Option<&Cluster>, now_us: f64, fresh: bool) -> News<'_> {
        News {
            cluster,
            by: "streaming",
            now_us,
            fresh,
        }
    }

    fn plain(text: &str) -> String {
        text.replace(['\u{a0}', '\u{2009}'], " ")
    }

    fn said(news: &News<'_>) -> (String, String, &'static str) {
        let (who, says, look) = news.headline();
        (who, plain(&says), look)
    }

    #[test]
    fn who_leads_and_for_how_long() {
        let cluster = cluster();
        let news = news(Some(&cluster), 60e6, true);
        assert_eq!(said(&news), ("node-2".into(), "leads for 39.2 s".into(), "led"));
        assert_eq!(news.leader().map(|leader| leader.token.number), Some(1234));
    }

    #[test]
    fn nobody_leads_with_a_clock_that_runs() {
        let mut cluster = cluster();
        (cluster.state, cluster.leader, cluster.since_us) = (LeaderState::Leaderless, None, 59_000_000);
        let at = |now_us| said(&news(Some(&cluster), now_us, true));
        assert_eq!(at(59.4e6), ("No leader".into(), "for 400 ms".into(), "leaderless"));
        assert_eq!(at(61.5e6).1, "for 2.5 s");
        assert!(news(Some(&cluster), 60e6, true).is_leaderless());
        assert!(news(Some(&cluster), 60e6, true).lease().is_none());
    }

    #[test]
    fn what_was_known_is_never_said_of_now() {
        let cluster = cluster();
        let news = news(Some(&cluster), 70e6, false);
        let (who, says, look) = said(&news);
        assert_eq!((who.as_str(), look), ("Unknown", "unknown"));
        assert_eq!(says, "no news by streaming for 10.0 s: node-2 led then");
        assert!(news.leader().is_none() && news.lease().is_none() && !news.is_leaderless());
        assert_eq!(news.node(&cluster.nodes[1]).0, "unknown");
        assert_eq!(news.until_us(), 60e6);
    }

    #[test]
    fn before_anything_came_it_is_unknown() {
        assert_eq!(said(&news(None, 0.0, true)).1, "waiting for streaming");
        assert_eq!(said(&news(None, 0.0, false)).0, "Unknown");
        let mut cluster = cluster();
        (cluster.state, cluster.leader) = (LeaderState::Unknown, None);
        assert_eq!(said(&news(Some(&cluster), 60e6, true)).2, "unknown");
    }

    #[test]
    fn the_lease_runs_down_and_an_old_renewal_is_no_end() {
        let cluster = cluster();
        let at = |now_us| {
            let (share, text) = news(Some(&cluster), now_us, true).lease().unwrap();
            ((share * 100.0).round(), plain(&text))
        };
        assert_eq!(at(60.0e6), (78.0, "lease 450 ms, renewed 100 ms ago".into()));
        assert_eq!(
            at(60.4e6),
            (0.0, "lease 450 ms, the last renewal told is 500 ms old".into())
        );
    }

    #[test]
    fn each_node_is_said_by_role_fault_and_contact() {
        let cluster = cluster();
        let news = news(Some(&cluster), 60e6, true);
        let said: Vec<_> = cluster.nodes.iter().map(|node| news.node(node)).collect();
        let said: Vec<_> = said
            .iter()
            .map(|(role, contact)| (plain(role), plain(contact)))
            .collect();
        assert_eq!(said[0], ("stopped".into(), String::new()));
        assert_eq!(
            said[1],
            ("leader for 39.2 s".into(), "a quorum answered 50 ms ago".into())
        );
        assert_eq!(said[2], ("follower, isolated".into(), "last contact unknown".into()));
    }

    #[test]
    fn an_election_is_marked_with_its_gap_and_the_first_leader_is_none() {
        let mut cluster = cluster();
        let elected = Election {
            gap_us: Some(20e6),
            at_us: Some(20.8e6),
            words: "node-2 elected".into(),
        };
        assert_eq!(elections(&cluster, 0.0), [elected]);
        assert_eq!(elections(&cluster, 30e6), []);
        cluster.timeline.truncate(2);
        cluster.timeline[1].until_us = None;
        let running = elections(&cluster, 30e6);
        assert_eq!((running[0].gap_us, running[0].at_us), (Some(20e6), None));
    }

    #[test]
    fn figures_and_warnings_are_said_with_their_units() {
        let mut cluster = cluster();
        assert_eq!(plain(&failovers(&cluster)), "1 failover: 800 ms");
        cluster.failovers.count = 3;
        assert_eq!(
            plain(&failovers(&cluster)),
            "3 failovers: last 800 ms, p50 800 ms, worst 800 ms"
        );
        cluster.failovers = freshet_wire::Failovers::default();
        assert_eq!(failovers(&cluster), "no failover yet");
        assert_eq!(
            stale(&cluster),
            "1 stale write refused, 2 held back by the leader itself"
        );
        assert_eq!(flapping(&cluster), "");
        cluster.flapping.is_flapping = true;
        cluster.flapping.changes = 5;
        assert!(flapping(&cluster).starts_with("5 changes of leader within 15 minutes"));
        assert_eq!(outcome(NodeAction::Stop, "node-1"), "node-1 is stopped.");
        assert_eq!(plain(&election_time(Some(&cluster))), ", which takes 750 ms to 1.0 s");
        let is_lost = |cluster: &Cluster| {
            let needed = is_needed(cluster, "node-2");
            consequence(NodeAction::Isolate, true, needed, "").contains("Too few are left then to agree")
        };
        for node in &mut cluster.nodes {
            (node.role, node.fault) = (NodeRole::Follower, NodeFault::None);
        }
        assert!(!is_lost(&cluster));
        cluster.nodes[0].role = NodeRole::Stopped;
        assert!(is_lost(&cluster), "one of three is stopped already");
    }
}
