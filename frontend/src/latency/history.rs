//! Latency second by second, from a log-linear histogram.

use super::rank;
use super::ring::Ring;

/// Percentiles of one second, by the time of receipt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// A whole second, on the server's clock.
    pub start_us: f64,
    pub count: u32,
    pub p5_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Latency second by second over the last five minutes. Only the open second has a histogram; a closed one keeps
/// its percentiles, each within 1/64 of the true value (or 0.5 µs, for less than 64 µs).
#[derive(Debug)]
pub struct History {
    closed: Ring<Bucket>,
    open: Histogram,
    open_start_us: f64,
}

const SECOND_US: f64 = 1e6;

impl History {
    pub const SECONDS: usize = 300;

    pub fn new() -> Self {
        Self {
            closed: Ring::new(Self::SECONDS),
            open: Histogram::new(),
            open_start_us: f64::NEG_INFINITY,
        }
    }

    /// Adds the latency of one arrival. The clock's corrections may let `received_us` step back by a little: such a
    /// sample goes to the second that is open.
    pub fn add(&mut self, received_us: f64, latency_us: f64) {
        let start_us = (received_us / SECOND_US).floor() * SECOND_US;
        if start_us > self.open_start_us {
            self.close();
            self.open_start_us = start_us;
        }
        self.open.add(latency_us);
    }

    /// Closes the open second once it is over, also when nothing more comes.
    pub fn tick(&mut self, now_us: f64) {
        if now_us >= self.open_start_us + SECOND_US {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(bucket) = self.open.bucket(self.open_start_us) {
            self.closed.push(bucket);
            self.open.clear();
        }
    }

    /// The closed seconds that had an event, from the oldest to the newest. Not every second has one.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Bucket> {
        self.closed.iter()
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

/// Log-linear counts: steps of 1 µs up to 64 µs, then 32 equal steps for each doubling. Negative values mirror the positive ones.
#[derive(Debug)]
struct Histogram {
    /// Negative values from the largest magnitude down, then the others upwards.
    counts: Vec<u32>,
    total: u32,
}

const STEPS_LOG2: u32 = 5;
const LINEAR: usize = 2 << STEPS_LOG2;
/// 2^40 µs are twelve days; what is beyond counts as that.
const MAX_LOG2: u32 = 40;
const SIDE: usize = LINEAR + ((MAX_LOG2 - STEPS_LOG2 - 1) << STEPS_LOG2) as usize;

impl Histogram {
    fn new() -> Self {
        Self {
            counts: vec![0; 2 * SIDE],
            total: 0,
        }
    }

    fn add(&mut self, value_us: f64) {
        let step = step(value_us.abs());
        let at = if value_us < 0.0 { SIDE - 1 - step } else { SIDE + step };
        self.counts[at] = self.counts[at].saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    fn percentile(&self, p: f64) -> f64 {
        let mut left = rank(p, u64::from(self.total));
        for (at, count) in self.counts.iter().enumerate() {
            let count = u64::from(*count);
            if count >= left {
                return if at < SIDE {
                    -middle(SIDE - 1 - at)
                } else {
                    middle(at - SIDE)
                };
            }
            left -= count;
        }
        f64::NAN // not reached: the counts add up to the total
    }

    fn bucket(&self, start_us: f64) -> Option<Bucket> {
        (self.total > 0).then(|| Bucket {
            start_us,
            count: self.total,
            p5_us: self.percentile(0.05),
            p50_us: self.percentile(0.50),
            p99_us: self.percentile(0.99),
        })
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

/// The step that a magnitude falls into.
fn step(magnitude_us: f64) -> usize {
    let whole = (magnitude_us as u64).min((1 << MAX_LOG2) - 1);
    if (whole as usize) < LINEAR {
        return whole as usize;
    }
    let log2 = whole.ilog2();
    let within = (whole >> (log2 - STEPS_LOG2)) as usize - (1 << STEPS_LOG2);
    LINEAR + (((log2 - STEPS_LOG2 - 1) as usize) << STEPS_LOG2) + within
}

/// The middle of a step.
fn middle(step: usize) -> f64 {
    if step < LINEAR {
        return step as f64 + 0.5;
    }
    let (doubling, within) = ((step - LINEAR) >> STEPS_LOG2, (step - LINEAR) & ((1 << STEPS_LOG2) - 1));
    let width = (1u64 << (doubling + 1)) as f64;
    (((1 << STEPS_LOG2) + within) as f64 + 0.5) * width
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Summary;
    use super::*;

    proptest! {
        #[test]
        fn the_histogram_keeps_its_error_bound(samples in prop::collection::vec(-1e9..1e11f64, 1..200)) {
            let mut history = History::new();
            samples.iter().for_each(|sample| history.add(5.5e6, *sample));
            history.tick(6e6);
            let exact = Summary::of(&mut samples.clone()).unwrap();
            let bucket = *history.iter().next().unwrap();
            prop_assert_eq!(bucket.start_us, 5e6);
            prop_assert_eq!(bucket.count as usize, samples.len());
            for (of_histogram, exact) in
                [(bucket.p5_us, exact.p5_us), (bucket.p50_us, exact.p50_us), (bucket.p99_us, exact.p99_us)]
            {
                let bound = (exact.abs() / 64.0).max(0.5);
                prop_assert!((of_histogram - exact).abs() <= bound, "{of_histogram} for {exact}");
            }
        }

        #[test]
        fn every_step_is_found_again_from_its_middle(at in 0..SIDE) {
            prop_assert_eq!(step(middle(at)), at);
        }
    }

    #[test]
    fn history_goes_second_by_second_and_forgets_the_oldest() {
        let mut history = History::new();
        for second in 0..400 {
            history.add(f64::from(second) * 1e6 + 10.0, f64::from(second));
        }
        history.tick(400e6);
        let starts: Vec<f64> = history.iter().map(|bucket| bucket.start_us).collect();
        assert_eq!(
            starts,
            (100..400).map(|second| f64::from(second) * 1e6).collect::<Vec<_>>()
        );
        history.tick(500e6);
        assert_eq!(
            history.iter().count(),
            History::SECONDS,
            "a second without events makes no bucket"
        );
    }

    #[test]
    fn a_step_back_of_the_clock_by_little_opens_no_second_twice() {
        let mut history = History::new();
        history.add(2_000_010.0, 1.0);
        history.add(1_999_990.0, 1.0);
        history.add(3_000_000.0, 1.0);
        assert_eq!(
            history
                .iter()
                .map(|bucket| (bucket.start_us, bucket.count))
                .collect::<Vec<_>>(),
            [(2e6, 2)]
        );
    }
}
