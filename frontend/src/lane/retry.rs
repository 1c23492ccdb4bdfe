//! When to try again, when to ask next, when to give a connection up. Pure: `now` and chance are passed in.
//! Times are microseconds of one clock.

/// Exponential back-off with full jitter: a delay anywhere between nothing and a ceiling that doubles
/// (AWS Architecture Blog, "Exponential Backoff and Jitter", 2015).
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    pub(crate) const BASE_US: f64 = 100_000.0;
    pub(crate) const CAP_US: f64 = 10_000_000.0;

    /// How long to wait before the next attempt; `chance` is in 0..1.
    pub(crate) fn next_us(&mut self, chance: f64) -> f64 {
        let ceiling = Self::BASE_US * f64::from(1u32 << self.attempt.min(20));
        self.attempt += 1;
        ceiling.min(Self::CAP_US) * chance
    }

    /// Attempts since the last success.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// When the next poll is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Due {
    Now,
    /// One interval after the last answer: a new interval counts from there as well.
    AfterAnswer(f64),
    At(f64),
}

impl Due {
    /// After an answer in full: at once where there was more.
    pub(crate) fn answered(now_us: f64, more: bool) -> Self {
        if more { Self::Now } else { Self::AfterAnswer(now_us) }
    }

    /// After a failure: when the server said, plus a little so that not all come back at once; else when the back-off says.
    pub(crate) fn failed(now_us: f64, retry_after_ms: Option<u32>, backoff: &mut Backoff, chance: f64) -> Self {
        let wait_us = backoff.next_us(chance);
        Self::At(match retry_after_ms {
            Some(ms) => now_us + f64::from(ms) * 1000.0 + chance * Backoff::BASE_US,
            None => now_us + wait_us,
        })
    }

    pub(crate) fn at_us(&self, interval_us: f64) -> f64 {
        match self {
            Self::Now => f64::NEG_INFINITY,
            Self::AfterAnswer(answered_us) => answered_us + interval_us,
            Self::At(at_us) => *at_us,
        }
    }
}

/// Finds a connection on which nothing comes any more.
#[derive(Debug)]
pub(crate) struct Watchdog {
    heard_us: f64,
    checked_us: f64,
    limit_us: f64,
}

impl Watchdog {
    /// A check that comes later than this after the one before was itself held up (a sleeping machine, throttled timers):
    /// messages may be waiting behind it.
    const LATE_US: f64 = 3_000_000.0;

    pub(crate) fn new(now_us: f64, limit_us: f64) -> Self {
        Self {
            heard_us: now_us,
            checked_us: now_us,
            limit_us,
        }
    }

    pub(crate) fn heard(&mut self, now_us: f64) {
        self.heard_us = now_us;
    }

    pub(crate) fn set_limit_us(&mut self, limit_us: f64) {
        self.limit_us = limit_us;
    }

    /// True when nothing was heard for the limit. To be called about once a second.
    pub(crate) fn is_stalled(&mut self, now_us: f64) -> bool {
        let late = now_us - self.checked_us > Self::LATE_US;
        self.checked_us = now_us;
        !late && now_us - self.heard_us > self.limit_us
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_back_off_stays_under_its_ceiling(chances in prop::collection::vec(0.0..1.0f64, 1..200)) {
            let mut backoff = Backoff::default();
            for (i, chance) in chances.iter().enumerate() {
                let ceiling = (Backoff::BASE_US * 2f64.powi(i as i32)).min(Backoff::CAP_US);
                let wait = backoff.next_us(*chance);
                prop_assert!((wait - ceiling * chance).abs() < 1e-6 * ceiling);
            }
        }
    }

    #[test]
    fn success_sets_the_back_off_back() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            backoff.next_us(0.5);
        }
        assert_eq!(backoff.next_us(1.0), Backoff::CAP_US);
        assert_eq!(backoff.attempt(), 10);
        backoff.reset();
        assert_eq!(backoff.next_us(1.0), Backoff::BASE_US);
    }

    #[test]
    fn a_new_interval_counts_from_the_last_answer() {
        let due = Due::answered(1_000_000.0, false);
        assert_eq!(due.at_us(30_000_000.0), 31_000_000.0);
        assert_eq!(due.at_us(100_000.0), 1_100_000.0);
    }

    #[test]
    fn what_there_is_more_of_is_asked_for_at_once() {
        assert_eq!(Due::answered(1.0, true), Due::Now);
        assert!(Due::Now.at_us(1e9) < 0.0);
    }

    #[test]
    fn the_servers_word_on_when_to_come_back_is_kept() {
        let mut backoff = Backoff::default();
        let due = Due::failed(5.0, Some(3000), &mut backoff, 0.5);
        assert_eq!(due, Due::At(5.0 + 3_000_000.0 + 50_000.0));
        assert_eq!(
            Due::failed(5.0, None, &mut backoff, 1.0),
            Due::At(5.0 + 200_000.0),
            "and counts as an attempt"
        );
    }

    #[test]
    fn silence_beyond_the_limit_is_a_stall() {
        let mut watchdog = Watchdog::new(0.0, 10e6);
        assert!((1..=10).all(|second| !watchdog.is_stalled(f64::from(second) * 1e6)));
        assert!(watchdog.is_stalled(10.5e6));
        watchdog.heard(11e6);
        assert!(!watchdog.is_stalled(11.5e6));
        watchdog.set_limit_us(1e6);
        assert!(watchdog.is_stalled(12.5e6));
    }

    #[test]
    fn a_check_that_was_itself_late_accuses_nobody() {
        let mut watchdog = Watchdog::new(0.0, 10e6);
        assert!(
            !watchdog.is_stalled(3600e6),
            "the machine slept; messages may be waiting"
        );
        assert!(watchdog.is_stalled(3601e6), "but none came");
    }
}
