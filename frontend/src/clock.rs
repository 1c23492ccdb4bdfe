//! The offset between the page's clock and the server's, by the four timestamps of a probe and a minimum-delay
//! filter (RFC 5905, sections 8 and 10). The probes themselves travel in `lane/stream.rs` and `model.rs`.

use web_sys::Performance;

/// What must be added to the page's clock to have the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offset {
    /// Server time − page time, in microseconds.
    pub offset_us: f64,
    /// The true offset lies within ± this, in microseconds, as long as the clocks drift by no more than [`DRIFT`].
    pub bound_us: f64,
}

/// The four timestamps of one probe, in microseconds: page, server, server, page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// The page sent it.
    pub t0_us: f64,
    /// The server received it.
    pub t1_us: f64,
    /// The server answered.
    pub t2_us: f64,
    /// The page had the answer.
    pub t3_us: f64,
}

impl Probe {
    fn offset_us(&self) -> f64 {
        ((self.t1_us - self.t0_us) + (self.t2_us - self.t3_us)) / 2.0
    }

    /// Time on the way, both ways together. The offset is wrong by half of it at most: when one way took all of it.
    fn delay_us(&self) -> f64 {
        (self.t3_us - self.t0_us) - (self.t2_us - self.t1_us)
    }

    /// The server's time in it went backwards, or more passed there than here: a clock was set in the middle of it.
    fn is_broken(&self, resolution_us: f64) -> bool {
        !(self.t2_us >= self.t1_us && self.t3_us >= self.t0_us && self.delay_us() >= -2.0 * resolution_us)
    }
}

/// How fast two clocks may drift apart: RFC 5905's PHI, 15 microseconds a second.
pub const DRIFT: f64 = 15e-6;

/// Probes that are kept (RFC 5905's clock filter has eight stages, for the newest; here they are for the best).
const STAGES: usize = 8;

/// A correction beyond this is a step: times before and after it are not on one scale any more.
const STEP_US: f64 = 50_000.0;

/// What a probe told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It agrees with the earlier ones, within their bounds.
    Agrees,
    /// It contradicts them, by little: they drifted further than they should. Only it was kept.
    Corrected,
    /// It contradicts them, by much, in microseconds: somebody set a clock. Only it was kept.
    Stepped(f64),
    /// It cannot be right and was dropped.
    Broken,
}

/// The best probes: those whose bounds are narrowest now, when all have aged. The narrowest of all counts.
#[derive(Debug)]
pub struct Clock {
    probes: Vec<Probe>,
    /// How coarse the coarser of the two clocks is, in microseconds (RFC 5905's precision).
    pub resolution_us: f64,
    /// Steps that were found.
    pub steps: u32,
}

impl Clock {
    pub fn new(resolution_us: f64) -> Self {
        Self {
            probes: Vec::new(),
            resolution_us,
            steps: 0,
        }
    }

    /// Takes a probe in.
    pub fn observe(&mut self, probe: Probe) -> Outcome {
        if probe.is_broken(self.resolution_us) {
            return Outcome::Broken;
        }
        let outcome = match self.offset(probe.t3_us) {
            Some(known) => {
                // Two truths overlap: each is an interval that must hold the offset.
                let difference = probe.offset_us() - known.offset_us;
                if difference.abs() <= known.bound_us + self.bound_us(&probe, probe.t3_us) {
                    Outcome::Agrees
                } else if difference.abs() <= STEP_US {
                    Outcome::Corrected
                } else {
                    Outcome::Stepped(difference)
                }
            }
            None => Outcome::Agrees,
        };
        if outcome != Outcome::Agrees {
            self.probes.clear();
        }
        if matches!(outcome, Outcome::Stepped(_)) {
            self.steps += 1;
        }
        self.probes.push(probe);
        if self.probes.len() > STAGES {
            // The one that knows least now, not the oldest: behind a queue eight probes in a row tell less than one from before it.
            let worst = (0..self.probes.len())
                .max_by(|a, b| {
                    let bound_us = |at: usize| self.bound_us(&self.probes[at], probe.t3_us);
                    bound_us(*a).total_cmp(&bound_us(*b))
                })
                .unwrap_or(0);
            self.probes.swap_remove(worst);
        }
        outcome
    }

    /// The best knowledge at a moment of the page's clock; `None` before the first probe.
    pub fn offset(&self, page_us: f64) -> Option<Offset> {
        self.probes
            .iter()
            .map(|probe| Offset {
                offset_us: probe.offset_us(),
                bound_us: self.bound_us(probe, page_us),
            })
            .min_by(|a, b| a.bound_us.total_cmp(&b.bound_us))
    }

    /// Half the delay, the coarseness of the clocks, and what they may have drifted apart since.
    fn bound_us(&self, probe: &Probe, page_us: f64) -> f64 {
        probe.delay_us().max(0.0) / 2.0 + self.resolution_us + DRIFT * (page_us - probe.t3_us).max(0.0)
    }
}

/// The page's own clock: `performance.timeOrigin` + `performance.now()`. It never steps while the page lives.
#[derive(Debug, Clone)]
pub struct PageClock {
    performance: Performance,
    origin_us: f64,
}

impl PageClock {
    /// `None` where there is no window.
    pub fn new() -> Option<Self> {
        let performance = web_sys::window()?.performance()?;
        Some(Self {
            origin_us: performance.time_origin() * 1000.0,
            performance,
        })
    }

    /// Microseconds since the Unix epoch, by the page's clock.
    pub fn now_us(&self) -> f64 {
        self.origin_us + self.performance.now() * 1000.0
    }

    /// The smallest step that this clock makes, in microseconds: 5 in Chromium where the page is cross-origin
    /// isolated, 100 where it is not; up to 1000 elsewhere. Looks at a few steps, for 10 ms at most.
    pub fn resolution_us(&self) -> f64 {
        let start_us = self.now_us();
        let (mut last_us, mut smallest_us, mut steps) = (start_us, 1000.0, 0);
        while steps < 8 && last_us - start_us < 10_000.0 {
            let now_us = self.now_us();
            if now_us > last_us {
                smallest_us = f64::min(smallest_us, now_us - last_us);
                last_us = now_us;
                steps += 1;
            }
        }
        smallest_us.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A probe over a network whose two ways take so long, to a server whose clock is ahead by `offset`.
    fn probe(t0_us: f64, offset: f64, there: f64, work: f64, back: f64) -> Probe {
        let t1_us = t0_us + there + offset;
        Probe {
            t0_us,
            t1_us,
            t2_us: t1_us + work,
            t3_us: t0_us + there + work + back,
        }
    }

    proptest! {
        #[test]
        fn equal_ways_give_the_exact_offset(offset in -1e12..1e12f64, way in 0.0..1e6f64, work in 0.0..1e5f64) {
            let mut clock = Clock::new(0.0);
            let probe = probe(1e9, offset, way, work, way);
            clock.observe(probe);
            let known = clock.offset(probe.t3_us).unwrap();
            prop_assert!((known.offset_us - offset).abs() < 0.01);
            prop_assert!((known.bound_us - way).abs() < 0.01);
        }

        #[test]
        fn unequal_ways_stay_within_the_bound(
            offset in -1e12..1e12f64,
            ways in prop::collection::vec((0.0..1e6f64, 0.0..1e6f64), 1..30),
        ) {
            let mut clock = Clock::new(0.0);
            let mut t0_us = 1e9;
            for (there, back) in ways {
                let probe = probe(t0_us, offset, there, 50.0, back);
                prop_assert_eq!(clock.observe(probe), Outcome::Agrees, "nothing contradicts where no clock was set");
                let known = clock.offset(probe.t3_us).unwrap();
                prop_assert!((known.offset_us - offset).abs() <= known.bound_us + 0.01);
                t0_us = probe.t3_us + 2e6;
            }
        }

        #[test]
        fn a_clock_that_drifts_as_far_as_it_may_stays_within_the_bound(there in 0.0..1e5f64, back in 0.0..1e5f64) {
            let mut clock = Clock::new(0.0);
            for second in 0..60 {
                let t0_us = f64::from(second) * 2e6;
                let probe = probe(t0_us, 5e6 + DRIFT * t0_us, there, 0.0, back);
                clock.observe(probe);
                let later_us = probe.t3_us + 1e6;
                let known = clock.offset(later_us).unwrap();
                prop_assert!((known.offset_us - (5e6 + DRIFT * later_us)).abs() <= known.bound_us + 5.0);
            }
        }
    }

    proptest! {
        #[test]
        fn a_coarse_page_clock_stays_within_the_bound(t0 in 1e9..2e9f64, there in 0.0..900.0f64, back in 0.0..900.0f64) {
            let mut probe = probe(t0, 5000.0, there, 10.0, back);
            for page in [&mut probe.t0_us, &mut probe.t3_us] {
                *page = (*page / 100.0).floor() * 100.0;
            }
            let mut clock = Clock::new(100.0);
            prop_assert_eq!(clock.observe(probe), Outcome::Agrees);
            let known = clock.offset(probe.t3_us).unwrap();
            prop_assert!((known.offset_us - 5000.0).abs() <= known.bound_us);
        }
    }

    #[test]
    fn the_probe_of_least_delay_counts() {
        let mut clock = Clock::new(0.0);
        clock.observe(probe(0.0, 1000.0, 40_000.0, 0.0, 10_000.0));
        clock.observe(probe(1e6, 1000.0, 200.0, 0.0, 200.0));
        clock.observe(probe(2e6, 1000.0, 10_000.0, 0.0, 90_000.0));
        let known = clock.offset(2.1e6).unwrap();
        assert_eq!(known.offset_us, 1000.0);
        assert!(known.bound_us < 220.0);
    }

    #[test]
    fn an_old_probe_loses_to_a_newer_one_and_leaves() {
        let mut clock = Clock::new(0.0);
        clock.observe(probe(0.0, 0.0, 100.0, 0.0, 100.0));
        for i in 1..=8 {
            clock.observe(probe(f64::from(i) * 10e6, 0.0, 300.0, 0.0, 300.0));
        }
        assert_eq!(clock.offset(80_000_600.0).unwrap().bound_us, 300.0);
        assert_eq!(clock.probes.len(), STAGES);
        for i in 9..=16 {
            clock.observe(probe(f64::from(i) * 10e6, 0.0, 300.0, 0.0, 300.0));
        }
        assert!(clock.probes.iter().all(|probe| probe.t0_us > 0.0));
    }

    #[test]
    fn probes_behind_a_queue_do_not_drive_out_a_better_one_and_a_step_is_found_among_them() {
        let mut clock = Clock::new(0.0);
        clock.observe(probe(0.0, 500.0, 100.0, 0.0, 100.0));
        for i in 1..=60 {
            // All of the delay on one way: each of them alone would be wrong by 20 ms.
            clock.observe(probe(f64::from(i) * 2e6, 500.0, 200.0, 0.0, 40_000.0));
        }
        let known = clock.offset(122e6).unwrap();
        assert_eq!(known.offset_us, 500.0);
        assert!(known.bound_us < 100.0 + DRIFT * 122e6);
        let after = probe(124e6, 500.0 - 90_000.0, 200.0, 0.0, 40_000.0);
        assert!(matches!(clock.observe(after), Outcome::Stepped(_)));
        assert_eq!(clock.probes.len(), 1, "what was known before is let go");
    }

    #[test]
    fn a_step_of_the_servers_clock_is_found_at_once() {
        for step in [3.6e9, -3.6e9, 60_000.0] {
            let mut clock = Clock::new(0.0);
            for i in 0..8 {
                clock.observe(probe(f64::from(i) * 2e6, 500.0, 300.0, 20.0, 400.0));
            }
            let after = probe(20e6, 500.0 + step, 300.0, 20.0, 400.0);
            assert!(matches!(clock.observe(after), Outcome::Stepped(by) if (by - step).abs() < 1000.0));
            let known = clock.offset(after.t3_us).unwrap();
            assert!((known.offset_us - 500.0 - step).abs() <= known.bound_us);
            assert_eq!(clock.steps, 1);
        }
    }

    #[test]
    fn a_small_contradiction_is_corrected_and_is_no_step() {
        let mut clock = Clock::new(0.0);
        clock.observe(probe(0.0, 0.0, 300.0, 0.0, 300.0));
        assert_eq!(
            clock.observe(probe(2e6, 5_000.0, 300.0, 0.0, 300.0)),
            Outcome::Corrected
        );
        assert_eq!(clock.offset(2.1e6).unwrap().offset_us, 5_000.0);
        assert_eq!(clock.steps, 0);
    }

    #[test]
    fn a_probe_in_which_a_clock_was_set_is_dropped() {
        let mut clock = Clock::new(0.0);
        let mut probe = probe(0.0, 0.0, 100.0, 10.0, 100.0);
        probe.t2_us += 1e6;
        assert_eq!(clock.observe(probe), Outcome::Broken);
        assert_eq!(clock.offset(1e6), None);
    }

    #[test]
    fn nothing_is_known_before_the_first_probe() {
        assert_eq!(Clock::new(0.0).offset(0.0), None);
    }
}
