//! Where requests are admitted: networks, what is open at once, quotas; and the figures of it.
//!
//! In this order, the cheapest first: a denied network (403), load (503), quotas (429). Whoever is shed has spent no quota. For an
//! exempt network no quota holds, and it is heard also when the process comes late; the bound on what is open in all holds for it too.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use freshet_wire::{
    ClientLimits, Engine, LimitStatus, LimitedClient, Load, OnFailure, RouteClass, SettingsVersion, Standing,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::figures::{Figures, Outcome, Snapshot};
use super::gcra::decision;
use super::load::{Held, Kind, Lag, Open};
use super::pass::Pass;
use super::{Client, Clock, Decision, Limiter, LimiterError, Policy, Rules};
use crate::config::{LimitConfig, Limits};
use crate::time::now_us;

/// Clients that a value of the topic names.
const MOST_CLIENTS: usize = 50;

/// Why a stream is not opened.
pub const TOO_MANY_STREAMS: &str = "this client has as many streams as one may have";

/// What a policy said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub policy: Policy,
    pub decision: Decision,
}

impl Said {
    /// At most a fifth of the quota is left.
    pub fn is_near(&self) -> bool {
        u64::from(self.decision.remaining) * 5 <= u64::from(self.policy.quota.quota)
    }

    pub fn share_left(&self) -> f64 {
        f64::from(self.decision.remaining) / f64::from(self.policy.quota.quota.max(1))
    }

    /// The same so many microseconds later, if nothing more is spent.
    pub fn share_left_after(&self, us: i64) -> f64 {
        let whole_us = f64::from(self.policy.quota.window_s) * 1e6;
        let spent_us = self.decision.reset_us as f64 - us.max(0) as f64;
        1.0 - (spent_us / whole_us.max(1.0)).clamp(0.0, 1.0)
    }

    /// Where the client stands now: for the next request of cost 1, whatever this one cost and was told.
    pub fn standing(&self, now_us: i64) -> Standing {
        Standing {
            policy: self.policy.name().to_owned(),
            quota: self.policy.quota,
            remaining: self.decision.remaining,
            full_us: now_us.saturating_add_unsigned(self.decision.reset_us),
            retry_after_us: self.of_cost(1).decision.retry_after_us,
        }
    }

    /// What would be said now to a request of another cost.
    fn of_cost(&self, cost: u32) -> Self {
        let backlog_us = i64::try_from(self.decision.reset_us).unwrap_or(i64::MAX);
        Self {
            policy: self.policy,
            decision: decision(&self.policy, backlog_us, backlog_us, cost),
        }
    }

    /// It costs more than the whole quota: waiting does not help.
    pub fn is_never(&self) -> bool {
        self.decision.retry_after_us == u64::MAX
    }

    /// Whole seconds, rounded up, until there is more: until the same is admitted, or, where it was, until the quota is whole.
    fn reset_s(&self) -> u64 {
        let us = match self.decision.allowed {
            true => self.decision.reset_us,
            false if self.is_never() => self.decision.reset_us,
            false => self.decision.retry_after_us,
        };
        us.div_ceil(1_000_000)
    }
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on, and counts as open as long as `Held` lives; `said` goes into the headers.
    Admitted { said: Vec<Said>, held: Option<Held> },
    /// 429.
    Limited(Refusal),
    /// 503, and why.
    Shed(String),
    /// 403.
    Denied,
}

/// A request for which some policies had no room.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub said: Vec<Said>,
    /// What it would have cost.
    pub cost: u32,
}

impl Refusal {
    /// The names of the policies that refused.
    pub fn violated(&self) -> Vec<String> {
        let refusing = self.said.iter().filter(|said| !said.decision.allowed);
        refusing.map(|said| said.policy.name().to_owned()).collect()
    }

    /// The most that can be admitted at once, where this costs more.
    pub fn most_ever(&self) -> Option<u32> {
        let never = self.said.iter().filter(|said| said.is_never());
        never.map(|said| said.policy.quota.quota).min()
    }

    /// Whole seconds after which all of them have room.
    pub fn retry_after_s(&self) -> u64 {
        let refusing = self.said.iter().filter(|said| !said.decision.allowed);
        refusing.map(Said::reset_s).max().unwrap_or(1).max(1)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Gate {
    limiter: Arc<dyn Limiter>,
    config: LimitConfig,
    bounds: Limits,
    settings: watch::Receiver<Arc<SettingsVersion>>,
    rules: RwLock<Arc<Rules>>,
    clock: Clock,
    figures: Figures,
    open: Arc<Open>,
    lag: Lag,
    refused_connections: AtomicU64,
    since_us: i64,
}

impl Gate {
    pub fn new(
        limiter: Arc<dyn Limiter>,
        config: &LimitConfig,
        bounds: &Limits,
        settings: watch::Receiver<Arc<SettingsVersion>>,
    ) -> Self {
        let gate = Self {
            limiter,
            config: config.clone(),
            bounds: bounds.clone(),
            settings,
            rules: RwLock::default(),
            clock: Clock::new(),
            figures: Figures::default(),
            open: Arc::default(),
            lag: Lag::default(),
            refused_connections: AtomicU64::new(0),
            since_us: now_us(),
        };
        gate.rules();
        gate
    }

    /// The policies in force: those of the newest settings, from the moment these are accepted.
    pub fn rules(&self) -> Arc<Rules> {
        let settings = self.settings.borrow();
        {
            let rules = self.rules.read();
            if rules.version == settings.version {
                return Arc::clone(&rules);
            }
        }
        let rules = Arc::new(Rules::new(settings.version, &settings.settings.limit));
        *self.rules.write() = Arc::clone(&rules);
        rules
    }

    /// Who a request comes from.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        Client::of_request(peer, headers, &self.config)
    }

    /// Decides about a request of this class.
    pub async fn admit(&self, client: Client, class: RouteClass) -> Verdict {
        let verdict = self.enter(client, class).await;
        self.counted(client, class, verdict)
    }

    /// As [`Self::admit`], for a request whose whole cost is known only when its body was read: it spends 1 now, and the rest by its
    /// pass. It is counted when it is known what it comes to.
    pub async fn begin(self: &Arc<Self>, client: Client, class: RouteClass) -> (Verdict, Option<Arc<Pass>>) {
        match self.enter(client, class).await {
            Verdict::Admitted { said, held } => {
                let pass = Pass::new(self, client, class, said.clone());
                (Verdict::Admitted { said, held }, Some(Arc::new(pass)))
            }
            refused => (self.counted(client, class, refused), None),
        }
    }

    /// Decides, and counts nothing.
    async fn enter(&self, client: Client, class: RouteClass) -> Verdict {
        let rules = self.rules();
        if rules.is_denied(client) {
            return Verdict::Denied;
        }
        let held = match self.hold_request(client, &rules) {
            Ok(held) => held,
            Err(why) => return Verdict::Shed(why),
        };
        // Before it is counted and spends something. Of several at once one may still be refused at the door.
        if class == RouteClass::Connect && self.hold_stream(client).is_none() {
            return Verdict::Shed(TOO_MANY_STREAMS.to_owned());
        }
        match self.decide(client, class, &rules, 1).await {
            Verdict::Admitted { said, .. } => Verdict::Admitted { said, held: Some(held) },
            refused => refused,
        }
    }

    /// Decides about what holds nothing open of its own: a message of a stream. An open stream is not shed, and its network is not
    /// asked for again.
    pub async fn admit_message(&self, client: Client, class: RouteClass) -> Verdict {
        let verdict = self.decide(client, class, &self.rules(), 1).await;
        self.counted(client, class, verdict)
    }

    /// Decides about what needs no quota: it is only denied, or shed.
    pub fn admit_free(&self, client: Client) -> Verdict {
        let rules = self.rules();
        if rules.is_denied(client) {
            return Verdict::Denied;
        }
        match self.hold_request(client, &rules) {
            Ok(held) => Verdict::Admitted {
                said: Vec::new(),
                held: Some(held),
            },
            Err(why) => Verdict::Shed(why),
        }
    }

    /// Spends, and counts nothing.
    pub(super) async fn decide(&self, client: Client, class: RouteClass, rules: &Rules, cost: u32) -> Verdict {
        let policies = rules.of(class);
        if policies.is_empty() || rules.is_exempt(client) {
            return Verdict::Admitted {
                said: Vec::new(),
                held: None,
            };
        }
        let now_us = self.clock.now_us();
        match self.limiter.check(client, policies, cost, now_us).await {
            Ok(decisions) => {
                let said = said(policies, decisions);
                match said.iter().all(|said| said.decision.allowed) {
                    true => Verdict::Admitted { said, held: None },
                    false => Verdict::Limited(Refusal { said, cost }),
                }
            }
            Err(error @ LimiterError::Unavailable(_)) => Verdict::Shed(error.to_string()),
        }
    }

    /// Spends what a request of this cost, which has spent 1, has not spent yet. A refusal is about the whole of it.
    pub(super) async fn decide_rest(&self, client: Client, class: RouteClass, cost: u32) -> Verdict {
        let rules = self.rules();
        let most = rules.of(class).iter().map(|policy| policy.quota.quota).min();
        let never = most.is_some_and(|most| cost > most) && !rules.is_exempt(client);
        let said = match never {
            // Where it stands, it is told; and nothing is spent.
            true => match self.limiter.peek(client, rules.of(class), self.clock.now_us()).await {
                Ok(decisions) => said(rules.of(class), decisions),
                Err(LimiterError::Unavailable(why)) => return Verdict::Shed(why),
            },
            false => match self.decide(client, class, &rules, cost - 1).await {
                Verdict::Limited(refusal) => refusal.said,
                other => return other,
            },
        };
        let said = said.iter().map(|said| said.of_cost(cost)).collect();
        Verdict::Limited(Refusal { said, cost })
    }

    fn counted(&self, client: Client, class: RouteClass, verdict: Verdict) -> Verdict {
        let none: &[Said] = &[];
        let (outcome, said) = match &verdict {
            Verdict::Admitted { said, .. } => (Outcome::Allowed, &said[..]),
            Verdict::Limited(refusal) => (Outcome::Limited, &refusal.said[..]),
            Verdict::Shed(_) => (Outcome::Shed, none),
            Verdict::Denied => (Outcome::Denied, none),
        };
        self.count(client, class, outcome, said);
        verdict
    }

    pub(super) fn count(&self, client: Client, class: RouteClass, outcome: Outcome, said: &[Said]) {
        self.figures.count(client, class, outcome, said, now_us());
    }

    fn hold_request(&self, client: Client, rules: &Rules) -> Result<Held, String> {
        let is_exempt = rules.is_exempt(client);
        if self.lag.is_over() && !is_exempt {
            return Err("the service is overloaded: it comes late to what it has taken on already".to_owned());
        }
        let most_of_client = match is_exempt {
            true => u32::MAX,
            false => self.bounds.client_requests,
        };
        self.open
            .hold(client, Kind::Request, self.bounds.requests, most_of_client)
            .ok_or_else(|| "more requests are open than are answered at once".to_owned())
    }

    /// A stream, as long as what is returned lives; `None` where the client has too many.
    pub fn hold_stream(&self, client: Client) -> Option<Held> {
        let most_of_client = match self.rules().is_exempt(client) {
            true => u32::MAX,
            false => self.bounds.client_streams,
        };
        self.open.hold(client, Kind::Stream, u32::MAX, most_of_client)
    }

    /// A connection, as long as what is returned lives; `None` where its peer, which is no trusted proxy, has too many.
    pub fn hold_connection(&self, peer: IpAddr) -> Option<Held> {
        let client = Client::of(peer);
        let is_proxy = self.config.trusted_proxies.iter().any(|proxy| proxy.contains(peer));
        let most = match is_proxy || self.rules().is_exempt(client) {
            true => u32::MAX,
            false => u32::try_from(self.bounds.peer_connections).unwrap_or(u32::MAX),
        };
        self.open.hold(client, Kind::Connection, u32::MAX, most)
    }

    /// A connection was refused.
    pub fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    /// Watches over the load until the process stops.
    pub async fn watch_load(&self, stopping: watch::Receiver<bool>) {
        self.lag.watch(self.bounds.lag, stopping).await;
    }

    /// Where a client stands with every policy; spends nothing.
    pub async fn stand(&self, client: Client) -> Result<ClientLimits, LimiterError> {
        let rules = self.rules();
        let policies: Vec<Policy> = rules.policies().copied().collect();
        let decisions = self.limiter.peek(client, &policies, self.clock.now_us()).await?;
        let now_us = now_us();
        Ok(ClientLimits {
            client: self.name(client, &rules),
            exempt: rules.is_exempt(client),
            now_us,
            standings: said(&policies, decisions)
                .iter()
                .map(|said| said.standing(now_us))
                .collect(),
            counts: self.figures.of(client).counts,
        })
    }

    fn name(&self, client: Client, rules: &Rules) -> String {
        match rules.mask {
            true => client.masked(),
            false => client.to_string(),
        }
    }

    /// The engine's state, as it changes.
    pub fn engine(&self) -> watch::Receiver<Engine> {
        self.limiter.status()
    }

    /// What holds while it is away.
    pub fn on_failure(&self) -> Option<OnFailure> {
        self.limiter.on_failure()
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// All counters, and whether a request was counted since it was asked with `tick`, which ends a second of the history.
    pub fn status(&self, tick: bool) -> (LimitStatus, bool) {
        let rules = self.rules();
        let snapshot = self.figures.snapshot(&rules, MOST_CLIENTS);
        let happened = tick && self.figures.tick(snapshot.total, now_us());
        let Snapshot {
            total,
            classes,
            policies,
            clients,
            others,
            clients_total,
        } = snapshot;
        let clients = clients
            .into_iter()
            .map(|(client, of_client)| LimitedClient {
                client: self.name(client, &rules),
                counts: of_client.counts,
                last_us: of_client.last_us,
                standing: of_client.last.map(|(said, at_us)| said.standing(at_us)),
            })
            .collect();
        let status = LimitStatus {
            engine: self.limiter.status().borrow().clone(),
            on_failure: self.limiter.on_failure(),
            without_engine: self.limiter.without_engine(),
            since_us: self.since_us,
            total,
            classes,
            policies,
            clients,
            others,
            clients_total,
            history: self.figures.history(),
            load: self.load(),
            masked: rules.mask,
        };
        (status, happened)
    }

    fn load(&self) -> Load {
        Load {
            requests: self.open.count(Kind::Request),
            max_requests: self.bounds.requests,
            max_client_requests: self.bounds.client_requests,
            streams: self.open.count(Kind::Stream),
            max_client_streams: self.bounds.client_streams,
            refused_connections: self.refused_connections.load(Relaxed),
            lag_us: self.lag.lag_us(),
            max_lag_us: u64::try_from(self.bounds.lag.as_micros()).unwrap_or(u64::MAX),
            shedding: self.lag.is_over() || self.open.count(Kind::Request) >= self.bounds.requests,
        }
    }
}

fn said(policies: &[Policy], decisions: Vec<Decision>) -> Vec<Said> {
    policies
        .iter()
        .zip(decisions)
        .map(|(&policy, decision)| Said { policy, decision })
        .collect()
}

/// `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers-11 has them: lists (RFC 9651) of the policies' names,
/// with `q` and `w` of the policy, and with `r` and `t` of the client. `t` is the time after which there is more: until the whole
/// quota is back, or, with an answer 429, until the same request is admitted, so that it agrees with `Retry-After`.
pub fn write_headers(said: &[Said], headers: &mut HeaderMap) {
    if said.is_empty() {
        return;
    }
    let list = |item: fn(&Said) -> String| said.iter().map(item).collect::<Vec<_>>().join(", ");
    let policies = list(|said| {
        let quota = said.policy.quota;
        format!("\"{}\";q={};w={}", said.policy.name(), quota.quota, quota.window_s)
    });
    let left = list(|said| {
        format!(
            "\"{}\";r={};t={}",
            said.policy.name(),
            said.decision.remaining,
            said.reset_s()
        )
    });
    for (name, value) in [("ratelimit-policy", policies), ("ratelimit", left)] {
        // Names and numbers are visible ASCII.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::{Quota, Settings};
    use serde_json::json;

    use super::*;
    use crate::limit::embedded::Embedded;

    /// Settings that a test changes.
    struct Settable(watch::Sender<Arc<SettingsVersion>>);

    impl Settable {
        fn new() -> Self {
            Self(watch::Sender::new(Arc::new(SettingsVersion {
                version: 1,
                changed_us: 0,
                changed_by: String::new(),
                changed_on: String::new(),
                changes: Vec::new(),
                settings: Settings::default(),
            })))
        }

        fn patch(&self, patch: &serde_json::Value) {
            self.0.send_modify(|version| {
                let settings = crate::settings::change::patched(&version.settings, patch).unwrap();
                *version = Arc::new(SettingsVersion {
                    version: version.version + 1,
                    settings,
                    ..SettingsVersion::clone(version)
                });
            });
        }
    }

    fn gate(change: impl FnOnce(&mut Limits)) -> (Gate, Settable) {
        let store = Settable::new();
        let mut bounds = Limits::default();
        change(&mut bounds);
        let limiter = Arc::new(Embedded::new(1000));
        (
            Gate::new(limiter, &LimitConfig::default(), &bounds, store.0.subscribe()),
            store,
        )
    }

    fn client(last: u8) -> Client {
        Client::of([192, 0, 2, last].into())
    }

    async fn is_admitted(gate: &Gate, client: Client, class: RouteClass) -> bool {
        matches!(gate.admit(client, class).await, Verdict::Admitted { .. })
    }

    #[tokio::test]
    async fn a_changed_policy_holds_at_once_and_nobody_gets_a_fresh_quota() {
        let (gate, store) = gate(|_| {});
        let slow = json!({"limit": {"try": {"burst": {"quota": 0}, "sustained": {"quota": 10, "window_s": 10_000}}}});
        store.patch(&slow);
        for _ in 0..10 {
            assert!(is_admitted(&gate, client(1), RouteClass::Try).await);
        }
        assert!(!is_admitted(&gate, client(1), RouteClass::Try).await);
        let twice = json!({"limit": {"try": {"sustained": {"quota": 20, "window_s": 20_000}}}});
        store.patch(&twice);
        let mut admitted = 0;
        while is_admitted(&gate, client(1), RouteClass::Try).await {
            admitted += 1;
        }
        assert_eq!(admitted, 10, "what was spent stays spent");
    }

    #[tokio::test]
    async fn exempt_networks_have_no_quota_and_denied_ones_no_entry() {
        let (gate, store) = gate(|_| {});
        let change = json!({"limit": {"exempt": ["192.0.2.1"], "denied": ["192.0.2.8/29"], "try": {"burst": {"quota": 2, "window_s": 1000}}}});
        store.patch(&change);
        for _ in 0..50 {
            assert!(is_admitted(&gate, client(1), RouteClass::Try).await);
        }
        assert!(matches!(gate.admit(client(9), RouteClass::Read).await, Verdict::Denied));
        assert!(matches!(gate.admit_free(client(9)), Verdict::Denied));
        for admitted in [true, true, false] {
            assert_eq!(is_admitted(&gate, client(2), RouteClass::Try).await, admitted);
        }
        let (status, _) = gate.status(false);
        assert_eq!(
            (status.total.allowed, status.total.limited, status.total.denied),
            (52, 1, 1)
        );
        let burst = status
            .policies
            .iter()
            .find(|policy| policy.name == "try-burst")
            .unwrap();
        assert_eq!((burst.allowed, burst.limited, burst.near), (2, 1, 1));
    }

    #[tokio::test]
    async fn who_is_shed_has_spent_no_quota() {
        let (gate, _store) = gate(|bounds| (bounds.requests, bounds.client_requests) = (3, 2));
        let first = gate.admit(client(1), RouteClass::Try).await;
        let second = gate.admit(client(1), RouteClass::Try).await;
        for _ in 0..100 {
            assert!(matches!(gate.admit(client(1), RouteClass::Try).await, Verdict::Shed(_)));
        }
        let other = gate.admit(client(2), RouteClass::Try).await;
        assert!(
            matches!(other, Verdict::Admitted { .. }),
            "one client's requests do not keep another out"
        );
        assert!(matches!(gate.admit(client(3), RouteClass::Try).await, Verdict::Shed(_)));
        let standings = gate.stand(client(1)).await.unwrap().standings;
        let burst = standings
            .iter()
            .find(|standing| standing.policy == "try-burst")
            .unwrap();
        assert_eq!(burst.remaining, burst.quota.quota - 2);
        drop((first, second, other));
        assert!(is_admitted(&gate, client(1), RouteClass::Try).await);
    }

    #[test]
    fn headers_are_lists_of_structured_fields() {
        let policy = Policy::new(
            RouteClass::Read,
            false,
            Quota {
                quota: 1200,
                window_s: 60,
            },
        );
        let said = |allowed, remaining, reset_us, retry_after_us| Said {
            policy,
            decision: Decision {
                allowed,
                remaining,
                reset_us,
                retry_after_us,
            },
        };
        let mut headers = HeaderMap::new();
        write_headers(&[said(true, 1180, 1_000_000, 0)], &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"read\";q=1200;w=60");
        assert_eq!(headers["ratelimit"], "\"read\";r=1180;t=1");
        let refused = said(false, 0, 60_000_000, 49_999);
        write_headers(&[refused], &mut headers);
        assert_eq!(headers["ratelimit"], "\"read\";r=0;t=1");
        let refusal = Refusal {
            said: vec![refused],
            cost: 1,
        };
        assert_eq!(
            (refusal.retry_after_s(), refusal.violated()),
            (1, vec!["read".to_owned()])
        );
    }
}
