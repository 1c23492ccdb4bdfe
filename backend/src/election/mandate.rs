//! What the application is told when it leads: until when, and with which token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use freshet_wire::{Lease, Token};

/// "You lead, with this token, until then." The end moves on as the engine renews the lease, and comes at once when it is revoked.
///
/// The end stands a margin before the moment when another may be elected, because clocks drift and threads wait; it is looked at before each
/// write ([`Mandate::holds`]), so that nobody has to be told in time that it came. What slips through nevertheless (a process that is frozen
/// between the look and the write) is refused by the log, which has seen a newer token.
#[derive(Debug)]
pub struct Mandate {
    node: Arc<str>,
    token: Token<'static>,
    ttl: Duration,
    margin: Duration,
    /// When it was made; the renewals are counted from it.
    made: Instant,
    renewed_us: AtomicU64,
    is_revoked: AtomicBool,
}

impl Mandate {
    /// A mandate of a lease that was renewed at this moment; it ends `ttl` − `margin` later.
    pub(crate) fn new(
        node: Arc<str>,
        token: Token<'static>,
        ttl: Duration,
        margin: Duration,
        renewed: Instant,
    ) -> Self {
        Self {
            node,
            token,
            ttl,
            margin,
            made: renewed,
            renewed_us: AtomicU64::new(0),
            is_revoked: AtomicBool::new(false),
        }
    }

    /// The node that leads.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    pub fn token(&self) -> &Token<'static> {
        &self.token
    }

    /// The lease was renewed at this moment. What was renewed later already, or is revoked, stays so.
    pub(crate) fn renew(&self, at: Instant) {
        let after_us = at.saturating_duration_since(self.made).as_micros();
        let after_us = u64::try_from(after_us).unwrap_or(u64::MAX);
        self.renewed_us.fetch_max(after_us, SeqCst);
    }

    /// Ends it now, and for good.
    pub(crate) fn revoke(&self) {
        self.is_revoked.store(true, SeqCst);
    }

    fn renewed(&self) -> Instant {
        self.made + Duration::from_micros(self.renewed_us.load(SeqCst))
    }

    /// When it ends, unless it is renewed.
    pub fn until(&self) -> Instant {
        self.renewed() + self.ttl.saturating_sub(self.margin)
    }

    /// Whether the application may act on it now.
    pub fn holds(&self, now: Instant) -> bool {
        !self.is_revoked.load(SeqCst) && now < self.until()
    }

    /// The lease, on the wall clock that shows `now_us` at `now`.
    pub(crate) fn lease(&self, now: Instant, now_us: i64) -> Lease {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let ago_us = micros(now.saturating_duration_since(self.renewed()));
        let renewed_us = now_us.saturating_sub_unsigned(ago_us);
        Lease {
            ttl_us: micros(self.ttl),
            margin_us: micros(self.margin),
            renewed_us,
            until_us: renewed_us.saturating_add_unsigned(micros(self.ttl.saturating_sub(self.margin))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mandate(at: Instant) -> Mandate {
        let token = Token {
            scope: "raft:1".into(),
            number: 3,
        };
        let ms = Duration::from_millis;
        Mandate::new("a".into(), token, ms(500), ms(50), at)
    }

    #[test]
    fn it_ends_a_margin_before_the_lease_does_and_moves_on_with_each_renewal() {
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        let mandate = mandate(begun);
        assert!(mandate.holds(after(449)));
        assert!(!mandate.holds(after(450)));
        mandate.renew(after(100));
        // News of an older renewal come late.
        mandate.renew(after(40));
        assert!(mandate.holds(after(549)));
        assert!(!mandate.holds(after(550)));
        let lease = mandate.lease(after(300), 1_000_000);
        assert_eq!((lease.renewed_us, lease.until_us), (800_000, 1_250_000));
    }

    #[test]
    fn what_is_revoked_never_holds_again() {
        let begun = Instant::now();
        let mandate = mandate(begun);
        mandate.revoke();
        mandate.renew(begun + Duration::from_secs(1));
        assert!(!mandate.holds(begun + Duration::from_millis(1)));
    }
}
