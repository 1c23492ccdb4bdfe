//! What was decided, how often: by class, by policy and by client. Totals are exact, and add up, however many clients there were.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use freshet_wire::{ClassStatus, LimitCounts, LimitMoment, PolicyStatus, RouteClass};
use parking_lot::Mutex;

use super::gate::Said;
use super::policy::POLICIES;
use super::{Client, Rules};

const SHARDS: usize = 16;
/// Clients a shard remembers by name.
const MOST_CLIENTS: usize = 256;
/// Seconds that the history goes back.
const MOMENTS: usize = 60;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Limited,
    Shed,
    Denied,
}

/// A client's figures.
#[derive(Debug, Clone, Default)]
pub struct OfClient {
    pub counts: LimitCounts,
    pub last_us: i64,
    /// What the policy with the least left said, and when; of a policy that was not asked again, what it said before. None where no quota
    /// holds for it.
    pub last: Option<(Said, i64)>,
}

/// What a shard of the clients did. All of it is changed under one lock, so that it always adds up.
#[derive(Debug, Default)]
struct Shard {
    clients: HashMap<Client, OfClient>,
    classes: [LimitCounts; RouteClass::ALL.len()],
    policies: [LimitCounts; POLICIES],
}

/// All counters of the limits.
#[derive(Debug)]
pub struct Figures {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    moments: VecDeque<LimitMoment>,
    /// The totals at the last one.
    before: LimitCounts,
}

/// The figures at a moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub total: LimitCounts,
    pub classes: Vec<ClassStatus>,
    pub policies: Vec<PolicyStatus>,
    /// Those with the most requests first.
    pub clients: Vec<(Client, OfClient)>,
    pub others: LimitCounts,
    pub clients_total: u32,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            history: Mutex::default(),
        }
    }
}

fn requests(counts: &LimitCounts) -> u64 {
    counts.allowed + counts.limited + counts.shed + counts.denied
}

fn combine(sum: &mut LimitCounts, part: &LimitCounts, with: fn(u64, u64) -> u64) {
    sum.allowed = with(sum.allowed, part.allowed);
    sum.limited = with(sum.limited, part.limited);
    sum.near = with(sum.near, part.near);
    sum.shed = with(sum.shed, part.shed);
    sum.denied = with(sum.denied, part.denied);
}

fn add(sum: &mut LimitCounts, part: &LimitCounts) {
    combine(sum, part, |sum, part| sum + part);
}

fn without(mut sum: LimitCounts, part: &LimitCounts) -> LimitCounts {
    combine(&mut sum, part, u64::saturating_sub);
    sum
}

impl Figures {
    fn shard(&self, client: Client) -> &Mutex<Shard> {
        &self.shards[(self.hasher.hash_one(client) % SHARDS as u64) as usize]
    }

    /// Counts a request, and what each policy said to it.
    pub fn count(&self, client: Client, class: RouteClass, outcome: Outcome, said: &[Said], now_us: i64) {
        let is_near = outcome == Outcome::Allowed && said.iter().any(Said::is_near);
        let one = LimitCounts {
            allowed: u64::from(outcome == Outcome::Allowed),
            limited: u64::from(outcome == Outcome::Limited),
            near: u64::from(is_near),
            shed: u64::from(outcome == Outcome::Shed),
            denied: u64::from(outcome == Outcome::Denied),
        };
        let mut shard = self.shard(client).lock();
        add(&mut shard.classes[class as usize], &one);
        for said in said {
            let policy = &mut shard.policies[said.policy.index()];
            match outcome {
                Outcome::Allowed => {
                    policy.allowed += 1;
                    policy.near += u64::from(said.is_near());
                }
                _ => policy.limited += u64::from(!said.decision.allowed),
            }
        }
        let known = shard.clients.contains_key(&client);
        if !known && shard.clients.len() >= MOST_CLIENTS {
            make_room(&mut shard.clients);
        }
        let of_client = shard.clients.entry(client).or_default();
        add(&mut of_client.counts, &one);
        of_client.last_us = now_us;
        let tightest = said.iter().min_by(|a, b| a.share_left().total_cmp(&b.share_left()));
        let before = of_client.last.filter(|(before, at_us)| {
            let asked_again = said.iter().any(|said| said.policy == before.policy);
            !asked_again && tightest.is_some_and(|it| before.share_left_after(now_us - at_us) < it.share_left())
        });
        of_client.last = match outcome {
            // Of these no policy was asked.
            Outcome::Shed | Outcome::Denied => of_client.last,
            _ => before.or(tightest.map(|it| (*it, now_us))),
        };
    }

    /// What this client's figures are; none where it is not remembered.
    pub fn of(&self, client: Client) -> OfClient {
        self.shard(client)
            .lock()
            .clients
            .get(&client)
            .cloned()
            .unwrap_or_default()
    }

    /// All that was counted, with so many clients by name.
    pub fn snapshot(&self, rules: &Rules, most: usize) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut classes = [LimitCounts::default(); RouteClass::ALL.len()];
        let mut policies = [LimitCounts::default(); POLICIES];
        for shard in &self.shards {
            let shard = shard.lock();
            classes
                .iter_mut()
                .zip(&shard.classes)
                .for_each(|(sum, part)| add(sum, part));
            policies
                .iter_mut()
                .zip(&shard.policies)
                .for_each(|(sum, part)| add(sum, part));
            snapshot.clients.extend(
                shard
                    .clients
                    .iter()
                    .map(|(client, of_client)| (*client, of_client.clone())),
            );
        }
        snapshot.clients_total = u32::try_from(snapshot.clients.len()).unwrap_or(u32::MAX);
        snapshot
            .clients
            .sort_by_key(|(client, of_client)| (std::cmp::Reverse(requests(&of_client.counts)), *client));
        snapshot.clients.truncate(most);
        for class in RouteClass::ALL {
            let counts = classes[class as usize];
            add(&mut snapshot.total, &counts);
            snapshot.classes.push(ClassStatus { class, counts });
        }
        let mut listed = LimitCounts::default();
        for (_, of_client) in &snapshot.clients {
            add(&mut listed, &of_client.counts);
        }
        snapshot.others = without(snapshot.total, &listed);
        snapshot.policies = rules
            .policies()
            .map(|policy| {
                let counts = policies[policy.index()];
                PolicyStatus {
                    name: policy.name().to_owned(),
                    class: policy.class,
                    quota: policy.quota,
                    allowed: counts.allowed,
                    limited: counts.limited,
                    near: counts.near,
                }
            })
            .collect();
        snapshot
    }

    /// Ends a second of the history; false where nothing happened in it.
    pub fn tick(&self, total: LimitCounts, now_us: i64) -> bool {
        let mut history = self.history.lock();
        let counts = without(total, &history.before);
        history.before = total;
        let oldest_us = now_us - MOMENTS as i64 * 1_000_000;
        while history.moments.front().is_some_and(|moment| moment.at_us <= oldest_us) {
            history.moments.pop_front();
        }
        let happened = requests(&counts) > 0;
        if happened {
            history.moments.push_back(LimitMoment { at_us: now_us, counts });
            if history.moments.len() > MOMENTS {
                history.moments.pop_front();
            }
        }
        happened
    }

    pub fn history(&self) -> Vec<LimitMoment> {
        self.history.lock().moments.iter().copied().collect()
    }
}

/// Forgets the eighth that asked least, and of those the longest silent: they stay in the sums.
fn make_room(clients: &mut HashMap<Client, OfClient>) {
    let mut least: Vec<_> = clients
        .iter()
        .map(|(client, of_client)| (requests(&of_client.counts), of_client.last_us, *client))
        .collect();
    least.sort_unstable();
    for (_, _, client) in least.into_iter().take((MOST_CLIENTS / 8).max(1)) {
        clients.remove(&client);
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::LimitSettings;
    use proptest::prelude::*;

    use super::*;

    fn client(number: u32) -> Client {
        Client::of(std::net::Ipv4Addr::from_bits(number).into())
    }

    proptest! {
        #[test]
        fn totals_are_exact_and_add_up(requests in prop::collection::vec((0..20_000_u32, 0..6_usize, 0..4_usize), 1..8000)) {
            let (figures, rules) = (Figures::default(), Rules::new(1, &LimitSettings::default()));
            let mut expected = [0; 4];
            for (now_us, &(number, class, outcome)) in (0..).zip(&requests) {
                let kind = [Outcome::Allowed, Outcome::Limited, Outcome::Shed, Outcome::Denied][outcome];
                figures.count(client(number), RouteClass::ALL[class], kind, &[], now_us);
                expected[outcome] += 1;
            }
            let snapshot = figures.snapshot(&rules, 50);
            let total = snapshot.total;
            prop_assert_eq!([total.allowed, total.limited, total.shed, total.denied], expected);
            prop_assert!(snapshot.clients.len() <= 50 && snapshot.clients_total as usize <= SHARDS * MOST_CLIENTS);
            let mut sum = snapshot.others;
            for (_, of_client) in &snapshot.clients {
                add(&mut sum, &of_client.counts);
            }
            prop_assert_eq!(sum, total);
            let mut sum = LimitCounts::default();
            for class in &snapshot.classes {
                add(&mut sum, &class.counts);
            }
            prop_assert_eq!(sum, total);
        }
    }

    #[test]
    fn who_asks_most_is_named_beside_any_number_of_others() {
        let (figures, rules) = (Figures::default(), Rules::new(1, &LimitSettings::default()));
        for number in 0..50_000 {
            figures.count(client(number + 1), RouteClass::Read, Outcome::Allowed, &[], 0);
            figures.count(client(0), RouteClass::Read, Outcome::Limited, &[], 0);
        }
        let snapshot = figures.snapshot(&rules, 50);
        assert_eq!(
            (snapshot.clients[0].0, snapshot.clients[0].1.counts.limited),
            (client(0), 50_000)
        );
    }

    /// A policy of so many in so many seconds, of which so many are spent.
    fn said(class: RouteClass, quota: u32, window_s: u32, spent: u32) -> Said {
        let policy = crate::limit::Policy::new(class, false, freshet_wire::Quota { quota, window_s });
        let backlog_us = policy.interval_us * i64::from(spent);
        Said {
            policy,
            decision: crate::limit::gcra::decision(&policy, backlog_us, backlog_us, 1),
        }
    }

    #[test]
    fn who_has_spent_a_quota_is_seen_near_it_whatever_is_asked_next_until_it_is_whole() {
        let figures = Figures::default();
        let last = |now_us, said: &[Said]| {
            figures.count(client(1), RouteClass::Read, Outcome::Allowed, said, now_us);
            figures
                .of(client(1))
                .last
                .map(|(said, at_us)| (said.policy.class, at_us))
        };
        let spent = said(RouteClass::Try, 10, 10, 10);
        let whole = said(RouteClass::Read, 1000, 1, 0);
        assert_eq!(last(0, &[spent]), Some((RouteClass::Try, 0)));
        assert_eq!(
            last(5_000_000, &[whole]),
            Some((RouteClass::Try, 0)),
            "half of it is left"
        );
        assert_eq!(last(10_000_000, &[whole]), Some((RouteClass::Read, 10_000_000)));
        assert_eq!(last(0, &[spent]).map(|it| it.0), Some(RouteClass::Try));
        let fewer = said(RouteClass::Try, 10, 10, 2);
        assert_eq!(
            last(1, &[fewer]),
            Some((RouteClass::Try, 1)),
            "what it says itself is newer"
        );
        assert_eq!(last(2, &[]), None, "no quota holds for it any more");
    }

    #[test]
    fn a_second_in_which_nothing_happened_is_none() {
        let figures = Figures::default();
        let total = LimitCounts {
            allowed: 5,
            ..LimitCounts::default()
        };
        assert!(figures.tick(total, 1_000_000));
        assert!(!figures.tick(total, 2_000_000));
        assert_eq!(figures.history().len(), 1);
        assert!(!figures.tick(total, 62_000_000));
        assert!(figures.history().is_empty(), "a minute is over");
    }
}
