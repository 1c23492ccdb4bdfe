//! Rates over the last ten seconds.

/// How far back a rate looks.
const SECONDS: usize = 10;

/// Counts events and bytes in one slot a second, so that a rate costs nothing to keep.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The second that `slots[second % SECONDS]` stands for.
    second: i64,
    since: Option<i64>,
    slots: [(u64, u64); SECONDS],
}

impl Meter {
    pub(super) fn add(&mut self, bytes: usize, now_us: i64) {
        let second = self.turn(now_us);
        let slot = &mut self.slots[second];
        slot.0 += 1;
        slot.1 += bytes as u64;
    }

    /// Events and bytes a second.
    pub(super) fn rates(&mut self, now_us: i64) -> (f64, f64) {
        self.turn(now_us);
        let (events, bytes) = self
            .slots
            .iter()
            .fold((0, 0), |sum, slot| (sum.0 + slot.0, sum.1 + slot.1));
        // The current second has only begun; a young topic has not lived for ten.
        let whole = SECONDS as i64 - 1;
        let begun = now_us.rem_euclid(1_000_000) as f64 / 1e6;
        let lived = self.since.map_or(0.0, |since| (now_us - since) as f64 / 1e6);
        let span = (whole as f64 + begun).min(lived).max(1.0);
        (events as f64 / span, bytes as f64 / span)
    }

    fn turn(&mut self, now_us: i64) -> usize {
        let now = now_us.div_euclid(1_000_000);
        self.since.get_or_insert(now_us);
        // A clock that was set back goes on in the slot it was in.
        let passed = (now - self.second).clamp(0, SECONDS as i64);
        for step in 1..=passed {
            self.slots[(now - passed + step).rem_euclid(SECONDS as i64) as usize] = (0, 0);
        }
        self.second = self.second.max(now);
        self.second.rem_euclid(SECONDS as i64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_told_as_it_is_and_silence_brings_it_to_zero() {
        let mut meter = Meter::default();
        let start = 1_700_000_000_000_000;
        for step in 0..300 {
            meter.add(50, start + step * 100_000);
        }
        let (events, bytes) = meter.rates(start + 30_000_000);
        assert!((events - 10.0).abs() < 0.2, "{events}");
        assert!((bytes - 500.0).abs() < 10.0, "{bytes}");
        assert_eq!(meter.rates(start + 41_000_000), (0.0, 0.0));
    }

    #[test]
    fn a_young_topic_is_not_averaged_over_time_it_did_not_live() {
        let mut meter = Meter::default();
        for step in 0..20 {
            meter.add(1, 5_000_000 + step * 100_000);
        }
        let (events, _) = meter.rates(7_000_000);
        assert!((events - 10.0).abs() < 0.1, "{events}");
    }
}
