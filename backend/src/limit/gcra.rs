//! The generic cell rate algorithm, as all engines compute it: whole microseconds, and nothing but sums and comparisons.
//!
//! ITU-T I.371 and ATM Forum TM 4.1 (virtual scheduling). A client's only state with a policy is the *theoretical arrival time*
//! (TAT): the moment at which its quota is whole again. A request of cost n moves it on by n·T, T being the time in which one request
//! comes back, and is admitted if the new TAT is at most b·T ahead of now. Hence no interval of length t admits more than b + t/T.
//!
//! T is the window divided by the quota, rounded **up** to a microsecond, so that rounding never admits more; at the highest rate that
//! is taken (10,000/s) it admits at most 1 % less.

use super::policy::Policy;

/// A client's state with a policy. The default is a whole quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// When the quota is whole again, in microseconds of the engine's clock.
    pub tat_us: i64,
    /// The T under which that was computed.
    pub interval_us: i64,
}

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// Requests of cost 1 that would still be admitted at once.
    pub remaining: u32,
    /// In how many microseconds the quota is whole, if nothing more is spent.
    pub reset_us: u64,
    /// In how many microseconds the same would be admitted; 0 where it was, or [`u64::MAX`] where it never is.
    pub retry_after_us: u64,
}

impl State {
    /// How far the TAT is ahead of now, under the policy as it is now. What was spent before a policy was changed stays spent: it
    /// is converted to the new T, and never counts for more than the new quota.
    pub fn backlog_us(self, policy: &Policy, now_us: i64) -> i64 {
        let backlog_us = self.tat_us.saturating_sub(now_us).max(0);
        if self.interval_us == policy.interval_us || backlog_us == 0 {
            // More than the whole quota it can only be after a clock was set back.
            return backlog_us.min(policy.tolerance_us());
        }
        let scaled = (i128::from(backlog_us) * i128::from(policy.interval_us) + i128::from(self.interval_us.max(1))
            - 1)
            / i128::from(self.interval_us.max(1));
        i64::try_from(scaled).unwrap_or(i64::MAX).min(policy.tolerance_us())
    }
}

/// Whether `cost` requests find room behind this backlog.
pub fn admits(policy: &Policy, backlog_us: i64, cost: u32) -> bool {
    backlog_us.saturating_add(policy.cost_us(cost)) <= policy.tolerance_us()
}

/// What is to be said of a request that stood behind `before_us` and, if it was admitted with every other policy, now stands behind
/// `after_us`.
pub fn decision(policy: &Policy, before_us: i64, after_us: i64, cost: u32) -> Decision {
    let allowed = admits(policy, before_us, cost);
    let free_us = (policy.tolerance_us() - after_us).max(0);
    let over_us = before_us.saturating_add(policy.cost_us(cost)) - policy.tolerance_us();
    let retry_after_us = match allowed {
        true => 0,
        // More than the whole quota: waiting does not help.
        false if cost > policy.quota.quota => u64::MAX,
        false => u64::try_from(over_us).unwrap_or(0),
    };
    Decision {
        allowed,
        remaining: u32::try_from(free_us / policy.interval_us).unwrap_or(u32::MAX),
        reset_us: u64::try_from(after_us).unwrap_or(0),
        retry_after_us,
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::{Quota, RouteClass};
    use proptest::prelude::*;

    use super::*;

    fn policy(quota: u32, window_s: u32) -> Policy {
        Policy::new(RouteClass::Read, false, Quota { quota, window_s })
    }

    /// One client of one policy.
    #[derive(Debug, Default)]
    struct Client(State);

    impl Client {
        fn ask(&mut self, policy: &Policy, cost: u32, now_us: i64) -> Decision {
            let before_us = self.0.backlog_us(policy, now_us);
            let after_us = match admits(policy, before_us, cost) {
                true => before_us + policy.cost_us(cost),
                false => before_us,
            };
            self.0 = State {
                tat_us: now_us + after_us,
                interval_us: policy.interval_us,
            };
            decision(policy, before_us, after_us, cost)
        }
    }

    #[test]
    fn a_whole_quota_is_admitted_at_once_and_then_one_an_interval() {
        // 7 a second do not divide a second into whole microseconds.
        let (policy, mut client) = (policy(7, 1), Client::default());
        for left in (0..7).rev() {
            let decision = client.ask(&policy, 1, 1000);
            assert!(decision.allowed && decision.remaining == left, "{decision:?}");
        }
        let refused = client.ask(&policy, 1, 1000);
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        assert_eq!(refused.retry_after_us, 142_858);
        assert!(!client.ask(&policy, 1, 1000 + 142_857).allowed);
        assert!(client.ask(&policy, 1, 1000 + 142_858).allowed);
    }

    #[test]
    fn retry_after_is_the_first_moment_at_which_the_same_is_admitted() {
        let (policy, mut client) = (policy(10, 3), Client::default());
        client.ask(&policy, 10, 0);
        let wait_us = i64::try_from(client.ask(&policy, 4, 0).retry_after_us).unwrap();
        assert!(!client.ask(&policy, 4, wait_us - 1).allowed);
        assert!(client.ask(&policy, 4, wait_us).allowed);
        assert_eq!(client.ask(&policy, 11, 0).retry_after_us, u64::MAX);
        assert_eq!(client.ask(&policy, u32::MAX, 0).retry_after_us, u64::MAX);
    }

    #[test]
    fn a_changed_quota_is_no_fresh_quota() {
        let (old, mut client) = (policy(100, 10), Client::default());
        client.ask(&old, 60, 0);
        let more = policy(1000, 10);
        assert_eq!(client.ask(&more, 1, 0).remaining, 1000 - 60 - 1);
        let mut client = Client::default();
        client.ask(&old, 60, 0);
        let less = policy(50, 10);
        assert_eq!(
            client.ask(&less, 1, 0),
            Decision {
                allowed: false,
                remaining: 0,
                reset_us: 10_000_000,
                retry_after_us: 200_000,
            }
        );
    }

    proptest! {
        #[test]
        fn no_interval_admits_more_than_b_plus_r_t(
            quota in 1..50_u32, window_s in 1..20_u32,
            steps in prop::collection::vec((0..400_000_i64, 1..4_u32), 1..300),
            change in prop::option::of((0..300_usize, 1..50_u32, 1..20_u32)),
        ) {
            let mut policy = policy(quota, window_s);
            let (mut client, mut now_us) = (Client::default(), 0);
            let mut admitted: Vec<(i64, u32)> = Vec::new();
            for (step, (wait_us, cost)) in steps.into_iter().enumerate() {
                if let Some((at, quota, window_s)) = change && at == step {
                    // The bound is the new policy's from here on.
                    policy = self::policy(quota, window_s);
                    admitted.clear();
                }
                now_us += wait_us;
                if client.ask(&policy, cost, now_us).allowed {
                    admitted.push((now_us, cost));
                }
            }
            let (b, r) = (f64::from(policy.quota.quota), f64::from(policy.quota.quota) / f64::from(policy.quota.window_s));
            for (first, &(from_us, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for &(to_us, cost) in &admitted[first..] {
                    sum += cost;
                    let t = (to_us - from_us) as f64 / 1e6;
                    prop_assert!(f64::from(sum) <= b + r * t + 1e-9, "{sum} in {t} s of b {b} and r {r}");
                }
            }
        }

        #[test]
        fn who_waits_as_told_is_admitted(quota in 1..1000_u32, window_s in 1..100_u32, spent in 0..2000_u32, cost in 1..10_u32) {
            let (policy, mut client) = (policy(quota, window_s), Client::default());
            for _ in 0..spent {
                client.ask(&policy, 1, 0);
            }
            let decision = client.ask(&policy, cost, 0);
            if decision.retry_after_us != u64::MAX {
                prop_assert!(decision.allowed || client.ask(&policy, cost, decision.retry_after_us as i64).allowed);
            } else {
                prop_assert!(cost > quota);
            }
        }
    }
}
