//! What the answers to heartbeats prove of a session: pure, with `now` passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Until when a session surely lasts.
///
/// A session is kept by ZooKeeper's leader, which hears of a heartbeat late where it was sent to another server: each server tells the leader
/// every half tick which sessions were heard from. A tick is half of the shortest session time-out, so a quarter of ours is enough. A
/// heartbeat therefore counts once another one, sent a quarter later, was answered: both are writes, which only the leader of a majority
/// can confirm, and a server's messages to it keep their order. (A read proves nothing: a server that was cut off from the others answers it,
/// while they let the session expire.)
#[derive(Debug)]
pub(super) struct Pulse {
    ttl: Duration,
    /// When heartbeats were sent and answered that do not count yet; oldest first.
    waiting: VecDeque<(Instant, Instant)>,
    /// The session lasts for a whole time-out from here on.
    renewed: Instant,
    /// When the newest heartbeat that was answered was sent.
    heard: Instant,
}

impl Pulse {
    /// A session that was asked for at this moment, and granted for so long.
    pub(super) fn new(ttl: Duration, asked: Instant) -> Self {
        Self {
            ttl,
            waiting: VecDeque::new(),
            renewed: asked,
            heard: asked,
        }
    }

    /// From one heartbeat to the next.
    pub(super) fn every(&self) -> Duration {
        self.ttl / 10
    }

    /// So much before the session can expire, a mandate ends: clocks drift less than that meanwhile.
    pub(super) fn margin(&self) -> Duration {
        self.ttl / 10
    }

    fn lag(&self) -> Duration {
        self.ttl / 4
    }

    pub(super) fn answered(&mut self, sent: Instant, answered: Instant) {
        self.heard = self.heard.max(sent);
        // Whatever stood still so long may not have been told of those before either.
        if answered.saturating_duration_since(sent) > self.lag() {
            self.waiting.clear();
        }
        while let Some(&(earlier, known)) = self.waiting.front()
            && known + self.lag() <= sent
        {
            self.renewed = self.renewed.max(earlier);
            self.waiting.pop_front();
        }
        self.waiting.push_back((sent, answered));
    }

    /// From where on a mandate lasts for the time-out less the margin.
    pub(super) fn renewed(&self) -> Instant {
        self.renewed
    }

    /// Until when this node may lead by this session.
    pub(super) fn lease_end(&self) -> Instant {
        self.renewed + self.ttl.saturating_sub(self.margin())
    }

    /// Until when what was told of others is worth something.
    pub(super) fn known_end(&self) -> Instant {
        self.heard + self.ttl.saturating_sub(self.margin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock(Instant);

    impl Clock {
        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    fn pulse() -> (Pulse, Clock) {
        let begun = Instant::now();
        (Pulse::new(Duration::from_secs(4), begun), Clock(begun))
    }

    #[test]
    fn a_heartbeat_counts_from_its_sending_once_one_a_quarter_later_is_answered() {
        let (mut pulse, clock) = pulse();
        assert_eq!(pulse.lease_end(), clock.at(3600));
        pulse.answered(clock.at(500), clock.at(510));
        pulse.answered(clock.at(1509), clock.at(1512));
        assert_eq!(pulse.renewed(), clock.at(0), "the leader may not know of it yet");
        assert_eq!(pulse.known_end(), clock.at(1509 + 3600));
        pulse.answered(clock.at(1510), clock.at(1515));
        assert_eq!(pulse.renewed(), clock.at(500));
        assert_eq!(pulse.lease_end(), clock.at(500 + 3600));
    }

    #[test]
    fn with_regular_heartbeats_half_of_the_time_out_is_always_left() {
        let (mut pulse, clock) = pulse();
        let every = u64::try_from(pulse.every().as_millis()).unwrap();
        for beat in 1..100 {
            let left = pulse.lease_end() - clock.at(beat * every + 20);
            assert!(left > Duration::from_millis(1900), "{left:?}");
            pulse.answered(clock.at(beat * every), clock.at(beat * every + 20));
        }
    }

    #[test]
    fn an_answer_that_took_long_starts_the_count_anew() {
        let (mut pulse, clock) = pulse();
        pulse.answered(clock.at(400), clock.at(410));
        // The leader stood still: what it was told before need not be what it knows now.
        pulse.answered(clock.at(2000), clock.at(3100));
        assert_eq!(pulse.renewed(), clock.at(0));
        pulse.answered(clock.at(4090), clock.at(4100));
        assert_eq!(pulse.renewed(), clock.at(0));
        pulse.answered(clock.at(4200), clock.at(4210));
        assert_eq!(pulse.renewed(), clock.at(2000), "sent while it stood still, told after");
    }
}
