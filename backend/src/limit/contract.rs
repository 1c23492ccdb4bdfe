//! The promises of [`Limiter`], asked of an engine: every engine passes them.
//!
//! A program of tests says [`crate::limit_contract`] with its [`Harness`] and has a test for each promise. Clients are different ones
//! in each, so that tests can run beside each other on one server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use freshet_wire::{Quota, RouteClass};

use super::{Client, Decision, Limiter, Policy};

/// What the suite needs of an engine beside [`Limiter`].
#[allow(async_fn_in_trait, reason = "only tests call it, on one thread")]
pub trait Harness {
    /// An instance of the engine: another process, as it were, where the engine is a distributed one.
    async fn open(&self) -> Arc<dyn Limiter>;

    /// The time that is passed to the engine.
    fn now_us(&self) -> i64;

    /// Lets so many microseconds pass.
    async fn pass(&self, us: u64);
}

/// One test for each promise. The function, which is asynchronous, makes the harness for the promise of this name.
#[macro_export]
macro_rules! limit_contract {
    ($harness:path) => {
        $crate::limit_contract!(@tests $harness;
            a_whole_quota_is_admitted_at_once_and_no_more
            who_waits_as_told_is_admitted
            peeking_spends_nothing
            a_request_is_admitted_by_all_policies_or_spends_nothing
            clients_and_policies_have_quotas_of_their_own
            a_changed_quota_is_no_fresh_quota
            a_request_that_costs_more_than_there_is_never_comes_through
            many_at_once_are_never_admitted_more_than_b_plus_r_t
        );
    };
    (@tests $harness:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let harness = $harness(stringify!($promise)).await;
                $crate::limit::contract::$promise(&harness).await;
            }
        )*
    };
}

/// A client that nobody else has in this process.
pub fn a_client() -> Client {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    Client::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

pub fn policy(class: RouteClass, is_burst: bool, quota: u32, window_s: u32) -> Policy {
    Policy::new(class, is_burst, Quota { quota, window_s })
}

/// One that is whole again only long after the test.
fn slow(quota: u32) -> Policy {
    policy(RouteClass::Read, false, quota, quota * 600)
}

async fn ask(
    harness: &impl Harness,
    limiter: &Arc<dyn Limiter>,
    client: Client,
    policies: &[Policy],
    cost: u32,
) -> Vec<Decision> {
    limiter.check(client, policies, cost, harness.now_us()).await.unwrap()
}

pub async fn a_whole_quota_is_admitted_at_once_and_no_more(harness: &impl Harness) {
    let (limiter, client, policy) = (harness.open().await, a_client(), slow(20));
    for left in (0..20).rev() {
        let decision = ask(harness, &limiter, client, &[policy], 1).await[0];
        assert!(decision.allowed, "{decision:?}");
        assert_eq!(decision.remaining, left);
    }
    for _ in 0..3 {
        let refused = ask(harness, &limiter, client, &[policy], 1).await[0];
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        let (most, whole) = (600_000_000, 20 * 600_000_000);
        assert!((1..=most).contains(&refused.retry_after_us), "{refused:?}");
        assert!((whole - most..=whole).contains(&refused.reset_us), "{refused:?}");
    }
}

pub async fn who_waits_as_told_is_admitted(harness: &impl Harness) {
    let (limiter, client) = (harness.open().await, a_client());
    let policy = policy(RouteClass::Read, false, 10, 2);
    ask(harness, &limiter, client, &[policy], 10).await;
    let mut refused = ask(harness, &limiter, client, &[policy], 3).await[0];
    for _ in 0..3 {
        assert!(!refused.allowed);
        harness.pass(refused.retry_after_us).await;
        assert!(ask(harness, &limiter, client, &[policy], 3).await[0].allowed);
        refused = ask(harness, &limiter, client, &[policy], 3).await[0];
    }
}

pub async fn peeking_spends_nothing(harness: &impl Harness) {
    let (limiter, client, policies) = (harness.open().await, a_client(), [slow(5)]);
    let peek = || limiter.peek(client, &policies, harness.now_us());
    for _ in 0..20 {
        let peeked = peek().await.unwrap()[0];
        assert!(
            peeked.allowed && peeked.remaining == 5 && peeked.reset_us == 0,
            "{peeked:?}"
        );
    }
    ask(harness, &limiter, client, &policies, 5).await;
    let peeked = peek().await.unwrap()[0];
    assert!(
        !peeked.allowed && peeked.remaining == 0 && peeked.retry_after_us > 0,
        "{peeked:?}"
    );
}

pub async fn a_request_is_admitted_by_all_policies_or_spends_nothing(harness: &impl Harness) {
    let (limiter, client) = (harness.open().await, a_client());
    let small = policy(RouteClass::Read, true, 2, 1200);
    let both = [slow(10), small];
    for _ in 0..2 {
        assert!(
            ask(harness, &limiter, client, &both, 1)
                .await
                .iter()
                .all(|decision| decision.allowed)
        );
    }
    for _ in 0..5 {
        let refused = ask(harness, &limiter, client, &both, 1).await;
        assert_eq!((refused[0].allowed, refused[0].remaining), (true, 8));
        assert_eq!((refused[1].allowed, refused[1].remaining), (false, 0));
    }
}

pub async fn clients_and_policies_have_quotas_of_their_own(harness: &impl Harness) {
    let (limiter, spender, other) = (harness.open().await, a_client(), a_client());
    let of = |class| policy(class, false, 3, 1800);
    ask(harness, &limiter, spender, &[of(RouteClass::Read)], 3).await;
    assert!(!ask(harness, &limiter, spender, &[of(RouteClass::Read)], 1).await[0].allowed);
    assert!(ask(harness, &limiter, spender, &[of(RouteClass::Publish)], 1).await[0].allowed);
    assert!(ask(harness, &limiter, other, &[of(RouteClass::Read)], 3).await[0].allowed);
}

pub async fn a_changed_quota_is_no_fresh_quota(harness: &impl Harness) {
    let (limiter, client) = (harness.open().await, a_client());
    ask(harness, &limiter, client, &[slow(100)], 60).await;
    // Twice as much, at twice the rate: 60 are spent still.
    let more = policy(RouteClass::Read, false, 200, 60_000);
    let remaining = ask(harness, &limiter, client, &[more], 1).await[0].remaining;
    assert_eq!(remaining, 200 - 60 - 1);
    let less = policy(RouteClass::Read, false, 30, 60_000);
    let refused = ask(harness, &limiter, client, &[less], 1).await[0];
    assert!(!refused.allowed && refused.remaining == 0, "{refused:?}");
    assert!(
        refused.reset_us <= 60_000_000_000,
        "no more than the new quota is ever waited for: {refused:?}"
    );
}

pub async fn a_request_that_costs_more_than_there_is_never_comes_through(harness: &impl Harness) {
    let (limiter, client) = (harness.open().await, a_client());
    let refused = ask(harness, &limiter, client, &[slow(5)], 6).await[0];
    assert_eq!(
        (refused.allowed, refused.remaining, refused.retry_after_us),
        (false, 5, u64::MAX)
    );
}

/// Tasks that share a client, over several instances of the engine. Each admission lies between the moments before and after it.
pub async fn many_at_once_are_never_admitted_more_than_b_plus_r_t(harness: &impl Harness) {
    const ROUNDS: usize = 150;
    let limiters = [harness.open().await, harness.open().await, harness.open().await];
    let (client, policy) = (a_client(), policy(RouteClass::Read, false, 40, 1));
    let mut admitted: Vec<(i64, i64)> = Vec::new();
    for _ in 0..ROUNDS {
        let before_us = harness.now_us();
        let asking = (0..12).map(|task| {
            let limiter = Arc::clone(&limiters[task % limiters.len()]);
            tokio::spawn(async move { limiter.check(client, &[policy], 1, before_us).await.unwrap()[0].allowed })
        });
        let mut count = 0;
        for task in asking.collect::<Vec<_>>() {
            count += usize::from(task.await.unwrap());
        }
        let after_us = harness.now_us();
        admitted.extend(std::iter::repeat_n((before_us, after_us), count));
        harness.pass(10_000).await;
    }
    let (first_us, last_us) = (admitted[0].0, admitted[admitted.len() - 1].1);
    for (first, &(from_us, _)) in admitted.iter().enumerate() {
        for (count, &(_, to_us)) in admitted[first..].iter().enumerate() {
            let most = 40.0 + 40.0 * (to_us - from_us) as f64 / 1e6;
            assert!(
                (count + 1) as f64 <= most,
                "{} admitted where {most} are the most",
                count + 1
            );
        }
    }
    let share = admitted.len() as f64 / (40.0 + 40.0 * (last_us - first_us) as f64 / 1e6);
    assert!(share > 0.9, "what there is, is given: {share:.3} of b + r·t");
}
