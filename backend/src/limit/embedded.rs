//! The engine within this process: a bounded table of what clients have spent.
//!
//! **Eviction.** Only an entry whose quota is whole again is ever given to another client: it says the same as no entry at all. So
//! nobody can flood the table to be forgotten, and nobody's quota is reset by others. Where a shard has no such entry, a client that
//! has none yet shares a bucket with its neighbours (/24 of IPv4, /48 of IPv6) until there is room; then its entry begins where
//! that bucket stands. So also who moves between the two never gets more than b + r·t.
//!
//! A refused request writes nothing, and a client takes an entry a policy, some 100 bytes each.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use freshet_wire::{Engine, EngineState};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::gcra::{Decision, State, admits, decision};
use super::{Client, Decisions, Limiter, Policy};
use crate::time::now_us;

const SHARDS: usize = 64;
/// Entries that an insertion looks at for one that can go; the next insertion goes on from there.
const LOOKED_AT: usize = 16;
/// Buckets for neighbourhoods; two that share one by chance are limited together.
const SHARED: usize = 4096;

/// Whose quota with which policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: Client,
    policy: u8,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    state: State,
    /// Spent here while the distributed engine was away, and not told to it yet.
    is_owed: bool,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Key, u32>,
    entries: Vec<Entry>,
    /// Where the next search for an entry that can go begins.
    hand: usize,
}

impl Shard {
    fn get(&self, key: &Key) -> Option<&Entry> {
        self.places.get(key).map(|&place| &self.entries[place as usize])
    }

    /// False where there is no room.
    fn put(&mut self, entry: Entry, most: usize, now_us: i64) -> bool {
        if let Some(&place) = self.places.get(&entry.key) {
            self.entries[place as usize] = entry;
            return true;
        }
        let place = if self.entries.len() < most {
            self.entries.len()
        } else {
            let free = (0..LOOKED_AT.min(most)).find_map(|_| {
                let place = self.hand;
                self.hand = (self.hand + 1) % most;
                (self.entries[place].state.tat_us <= now_us).then_some(place)
            });
            let Some(place) = free else { return false };
            self.places.remove(&self.entries[place].key);
            place
        };
        let Ok(number) = u32::try_from(place) else { return false };
        self.places.insert(entry.key, number);
        match self.entries.get_mut(place) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
        true
    }
}

/// See the module.
#[derive(Debug)]
pub struct Embedded {
    shards: Box<[Mutex<Shard>]>,
    /// Of a shard, in entries.
    most: usize,
    shared: Mutex<Box<[State]>>,
    /// Until when some shared bucket is not whole; before anybody had to share one, nobody asks for its lock.
    shared_until_us: AtomicI64,
    hasher: RandomState,
    status: watch::Sender<Engine>,
}

/// What a check does beside asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spend {
    Nothing,
    Now,
    /// And notes that the distributed engine does not know of it.
    Owed,
}

impl Embedded {
    /// For so many clients at once, with two policies each.
    pub fn new(clients: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most: (clients * 2).div_ceil(SHARDS).max(1),
            shared: Mutex::new(vec![State::default(); SHARED].into()),
            shared_until_us: AtomicI64::new(i64::MIN),
            hasher: RandomState::new(),
            status: watch::Sender::new(Engine {
                name: "embedded".to_owned(),
                state: EngineState::Up,
                since_us: now_us(),
                detail: String::new(),
            }),
        }
    }

    fn shard(&self, client: Client) -> &Mutex<Shard> {
        // The remainder is below the number of shards.
        &self.shards[(self.hasher.hash_one(client) % SHARDS as u64) as usize]
    }

    fn shared_place(&self, client: Client, policy: u8) -> usize {
        (self.hasher.hash_one((client.neighbourhood(), policy)) % SHARED as u64) as usize
    }

    fn key(client: Client, policy: &Policy) -> Key {
        Key {
            client,
            policy: policy.index() as u8,
        }
    }

    fn decide(&self, client: Client, policies: &[Policy], cost: u32, now_us: i64, spend: Spend) -> Vec<Decision> {
        let mut shard = self.shard(client).lock();
        let shares = self.shared_until_us.load(Relaxed) > now_us;
        let backlog_us = |shard: &Shard, policy: &Policy| {
            let key = Self::key(client, policy);
            match shard.get(&key) {
                Some(entry) => entry.state.backlog_us(policy, now_us),
                None if shares => self.shared.lock()[self.shared_place(client, key.policy)].backlog_us(policy, now_us),
                None => 0,
            }
        };
        let before: Vec<i64> = policies.iter().map(|policy| backlog_us(&shard, policy)).collect();
        let admitted = policies
            .iter()
            .zip(&before)
            .all(|(policy, &before_us)| admits(policy, before_us, cost));
        let spends = admitted && spend != Spend::Nothing;
        if spend == Spend::Owed && !admitted {
            // What it was about to tell the engine when that went away.
            for policy in policies {
                if let Some(&place) = shard.places.get(&Self::key(client, policy)) {
                    shard.entries[place as usize].is_owed = true;
                }
            }
        }
        if spends {
            for (policy, before_us) in policies.iter().zip(&before) {
                let state = State {
                    tat_us: now_us.saturating_add(before_us + policy.cost_us(cost)),
                    interval_us: policy.interval_us,
                };
                let is_owed = spend == Spend::Owed;
                self.write(&mut shard, client, policy, state, is_owed, cost, now_us);
            }
        }
        policies
            .iter()
            .zip(before)
            .map(|(policy, before_us)| {
                let spent_us = if spends { policy.cost_us(cost) } else { 0 };
                decision(policy, before_us, before_us + spent_us, cost)
            })
            .collect()
    }

    #[allow(clippy::too_many_arguments, reason = "one step of `decide`, on its locals")]
    fn write(
        &self,
        shard: &mut Shard,
        client: Client,
        policy: &Policy,
        state: State,
        is_owed: bool,
        cost: u32,
        now_us: i64,
    ) {
        let key = Self::key(client, policy);
        let is_owed = is_owed || shard.get(&key).is_some_and(|entry| entry.is_owed);
        let entry = Entry { key, state, is_owed };
        if shard.put(entry, self.most, now_us) {
            return;
        }
        let mut shared = self.shared.lock();
        let bucket = &mut shared[self.shared_place(client, key.policy)];
        // A neighbour in another shard may have spent of it since it was read: added up, nothing is undone.
        let backlog_us = bucket.backlog_us(policy, now_us) + policy.cost_us(cost);
        *bucket = State {
            tat_us: now_us.saturating_add(backlog_us),
            interval_us: policy.interval_us,
        };
        self.shared_until_us.fetch_max(bucket.tat_us, Relaxed);
    }

    /// As [`Limiter::check`], for a distributed engine that is away.
    #[cfg(feature = "redis")]
    pub(crate) fn check_owing(&self, client: Client, policies: &[Policy], cost: u32, now_us: i64) -> Vec<Decision> {
        self.decide(client, policies, cost, now_us, Spend::Owed)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn peek_now(&self, client: Client, policies: &[Policy], now_us: i64) -> Vec<Decision> {
        self.decide(client, policies, 1, now_us, Spend::Nothing)
    }

    /// What the client spent here that the distributed engine was not told, as a backlog a policy; it is told once.
    #[cfg(feature = "redis")]
    pub(crate) fn take_owed(&self, client: Client, policies: &[Policy], now_us: i64) -> Vec<i64> {
        let mut shard = self.shard(client).lock();
        let owed = policies.iter().map(|policy| {
            let place = shard.places.get(&Self::key(client, policy)).copied();
            let entry = place.map(|place| &mut shard.entries[place as usize]);
            entry.map_or(0, |entry| match std::mem::take(&mut entry.is_owed) {
                true => entry.state.backlog_us(policy, now_us),
                false => 0,
            })
        });
        owed.collect()
    }

    /// Undoes [`Self::take_owed`], where the engine could not be told.
    #[cfg(feature = "redis")]
    pub(crate) fn owe_again(&self, client: Client, policies: &[Policy], owed_us: &[i64]) {
        let mut shard = self.shard(client).lock();
        for (policy, _) in policies.iter().zip(owed_us).filter(|&(_, &owed_us)| owed_us > 0) {
            if let Some(&place) = shard.places.get(&Self::key(client, policy)) {
                shard.entries[place as usize].is_owed = true;
            }
        }
    }

    /// Notes what a distributed engine said, so that the limits go on from there when it goes away. `now_us` is from before it was
    /// asked: so what is noted never runs ahead of what the engine knows.
    #[cfg(feature = "redis")]
    pub(crate) fn note(&self, client: Client, policies: &[Policy], backlogs_us: &[i64], now_us: i64) {
        let mut shard = self.shard(client).lock();
        for (policy, backlog_us) in policies.iter().zip(backlogs_us) {
            let state = State {
                tat_us: now_us.saturating_add(*backlog_us),
                interval_us: policy.interval_us,
            };
            let key = Self::key(client, policy);
            let (known_us, is_owed) = shard.get(&key).map_or((0, false), |entry| {
                (entry.state.backlog_us(policy, now_us), entry.is_owed)
            });
            if *backlog_us > known_us {
                let entry = Entry { key, state, is_owed };
                // Without room it is forgotten: the neighbours' bucket is for what is spent here.
                shard.put(entry, self.most, now_us);
            }
        }
    }

    /// Entries that are held.
    pub fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    /// The most that it holds.
    pub fn max_entries(&self) -> usize {
        self.most * SHARDS
    }
}

impl Limiter for Embedded {
    fn check<'a>(&'a self, client: Client, policies: &'a [Policy], cost: u32, now_us: i64) -> BoxFuture<'a, Decisions> {
        ready(Ok(self.decide(client, policies, cost, now_us, Spend::Now))).boxed()
    }

    fn peek<'a>(&'a self, client: Client, policies: &'a [Policy], now_us: i64) -> BoxFuture<'a, Decisions> {
        ready(Ok(self.decide(client, policies, 1, now_us, Spend::Nothing))).boxed()
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.status.subscribe()
    }
}

#[cfg(test)]
mod tests {
    mod contract {
        crate::limit_contract!(super::harness);
    }

    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use freshet_wire::{Quota, RouteClass};
    use proptest::prelude::*;

    use super::*;
    use crate::limit::contract::Harness;

    /// Time that passes only when the suite says so.
    struct Virtual {
        now_us: AtomicI64,
        limiter: Arc<Embedded>,
    }

    async fn harness(_promise: &str) -> Virtual {
        Virtual {
            now_us: AtomicI64::new(1_700_000_000_000_000),
            limiter: Arc::new(Embedded::new(10_000)),
        }
    }

    impl Harness for Virtual {
        async fn open(&self) -> Arc<dyn Limiter> {
            self.limiter.clone()
        }

        fn now_us(&self) -> i64 {
            self.now_us.load(Relaxed)
        }

        async fn pass(&self, us: u64) {
            self.now_us.fetch_add(us as i64, Relaxed);
            tokio::task::yield_now().await;
        }
    }

    fn policy(quota: u32, window_s: u32) -> Policy {
        Policy::new(RouteClass::Read, false, Quota { quota, window_s })
    }

    fn client(number: u32) -> Client {
        Client::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
    }

    fn ask(limiter: &Embedded, number: u32, policy: Policy, now_us: i64) -> bool {
        limiter.decide(client(number), &[policy], 1, now_us, Spend::Now)[0].allowed
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_the_table_nor_resets_a_quota() {
        let limiter = Embedded::new(1000);
        let policy = policy(10, 1000);
        // One who has spent all of its quota…
        while ask(&limiter, 0, policy, 0) {}
        // …sends from 100,000 other addresses.
        for number in 1..100_000 {
            ask(&limiter, number, policy, i64::from(number));
        }
        assert!(limiter.entries() <= limiter.max_entries() && limiter.max_entries() < 2100);
        assert!(!ask(&limiter, 0, policy, 100_000), "its quota was reset");
    }

    #[test]
    fn an_entry_takes_no_more_memory_than_the_documents_say() {
        // With its place in the map, which doubles when it is seven eighths full.
        let of_map = (size_of::<Key>() + size_of::<u32>()).next_multiple_of(4) + 1;
        assert!(
            size_of::<Entry>() + of_map * 16 / 7 <= 100,
            "{} {of_map}",
            size_of::<Entry>()
        );
    }

    #[test]
    fn entries_whose_quota_is_whole_make_room_for_others() {
        let limiter = Embedded::new(1000);
        let policy = policy(10, 10);
        for number in 0..20_000 {
            // Each has its one request back before the next fifty come.
            assert!(ask(&limiter, number, policy, i64::from(number) * 20_000));
        }
        assert_eq!(limiter.shared_until_us.load(Relaxed), i64::MIN, "nobody had to share");
    }

    #[test]
    fn in_a_full_table_strangers_share_a_bucket_and_other_neighbourhoods_do_not_suffer() {
        let limiter = Embedded::new(32);
        let policy = policy(10, 1000);
        for number in 0..10_000 {
            ask(&limiter, number, policy, 0);
        }
        // All of 10.0.0.0/24 that came too late share one quota.
        let late = 200;
        let admitted = (0..200).filter(|_| ask(&limiter, late, policy, 1)).count();
        assert_eq!(admitted, 0, "the neighbourhood has spent its quota");
        let stranger = 0x00ff_0000;
        assert!(ask(&limiter, stranger, policy, 1), "another neighbourhood has its own");
    }

    #[test]
    fn peeking_spends_nothing_and_makes_no_entry() {
        let limiter = Embedded::new(1000);
        let policies = [policy(10, 10)];
        for _ in 0..100 {
            let peeked = limiter.decide(client(1), &policies, 1, 0, Spend::Nothing);
            assert_eq!(peeked[0].remaining, 10);
        }
        assert_eq!(limiter.entries(), 0);
    }

    #[test]
    fn a_request_that_one_policy_refuses_spends_nothing_with_the_others() {
        let limiter = Embedded::new(1000);
        let burst = Policy::new(RouteClass::Read, true, Quota { quota: 2, window_s: 1 });
        let both = [policy(100, 100), burst];
        let ask = || limiter.decide(client(1), &both, 1, 0, Spend::Now);
        assert!(ask().iter().all(|decision| decision.allowed) && ask()[1].allowed);
        for _ in 0..5 {
            let refused = ask();
            assert_eq!(
                (refused[0].allowed, refused[0].remaining, refused[1].allowed),
                (true, 98, false)
            );
        }
    }

    proptest! {
        /// Also with a table that is always full, so that clients move between the shared bucket and entries of their own.
        #[test]
        fn no_client_is_admitted_more_than_b_plus_r_t(
            table in 1..40_usize, quota in 1..20_u32, window_s in 1..5_u32,
            steps in prop::collection::vec((0..60_u32, 0..200_000_i64, 1..30_u32), 1..200),
        ) {
            let limiter = Embedded::new(table);
            let policy = policy(quota, window_s);
            let mut admitted: HashMap<u32, Vec<i64>> = HashMap::new();
            let mut now_us = 0;
            for (number, wait_us, times) in steps {
                now_us += wait_us;
                for _ in 0..times {
                    if ask(&limiter, number, policy, now_us) {
                        admitted.entry(number).or_default().push(now_us);
                    }
                }
            }
            let (b, r) = (f64::from(quota), f64::from(quota) / f64::from(window_s));
            for times in admitted.values() {
                for (first, from_us) in times.iter().enumerate() {
                    for (count, to_us) in times[first..].iter().enumerate() {
                        let t = (to_us - from_us) as f64 / 1e6;
                        prop_assert!((count + 1) as f64 <= b + r * t + 1e-9, "{} in {t} s", count + 1);
                    }
                }
            }
        }
    }
}
