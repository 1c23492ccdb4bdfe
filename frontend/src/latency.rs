//! Pure latency arithmetic: arrivals, rings, windows, percentiles. No Leptos, no browser.
//!
//! Percentiles are nearest-rank (the smallest sample that at least p of all samples do not exceed): always a
//! latency that some event really had, but in [`History`], whose log-linear histogram (the idea of HdrHistogram) rounds it.

/// One event as one lane brought it to this page. All times are on the server's clock, in microseconds since
/// the Unix epoch (an `f64` is exact to 0.25 µs until the year 2100); the page's own were moved by the offset of the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Index into the lane's list of topics.
    pub topic: u16,
    pub offset: u64,
    /// When the event happened; `ingested_us` where its clock is another host's (then `foreign`).
    pub produced_us: f64,
    pub ingested_us: f64,
    /// When the server had the page or the message together.
    pub sent_us: f64,
    /// When the lane had it in this page, before it was decoded.
    pub received_us: f64,
    /// When the model had it.
    pub applied_us: f64,
    /// Latency starts at `ingested_us`: the producer's clock is not the server's.
    pub foreign: bool,
    /// The tab was hidden: browsers slow timers down then, so these are kept apart.
    pub hidden: bool,
    /// It was there before this lane asked for its topic (a topic begins with its newest event): nothing was late.
    pub backlog: bool,
}

impl Arrival {
    /// Delivery latency, in microseconds. May be negative within the clock's bound; never clamped.
    pub fn latency_us(&self) -> f64 {
        self.received_us - self.produced_us
    }

    /// Whether it counts in the figures of its lane.
    pub fn counts(&self) -> bool {
        !self.hidden && !self.backlog
    }
}

/// The newest `capacity` items, in the order in which they came. Memory grows to the capacity only as it is used.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    items: Vec<T>,
    /// Where the oldest is, once the ring is full.
    oldest: usize,
    capacity: usize,
}

impl<T> Ring<T> {
    /// Keeps at most `capacity` items, and at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            items: Vec::new(),
            oldest: 0,
            capacity: capacity.max(1),
        }
    }

    /// Adds the newest; a full ring drops its oldest.
    pub fn push(&mut self, item: T) {
        if self.items.len() < self.capacity {
            self.items.push(item);
        } else {
            self.items[self.oldest] = item;
            self.oldest = (self.oldest + 1) % self.capacity;
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn clear(&mut self) {
        self.items.clear();
        self.oldest = 0;
    }

    pub fn newest(&self) -> Option<&T> {
        self.iter_back().next()
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let (newer, older) = self.items.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// From the newest to the oldest.
    pub fn iter_back(&self) -> impl Iterator<Item = &T> {
        self.iter().rev()
    }
}

/// What a set of latencies amounts to, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub count: usize,
    pub mean_us: f64,
    pub p5_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub worst_us: f64,
}

impl Summary {
    /// `None` for no samples. Reorders them.
    pub fn of(samples: &mut [f64]) -> Option<Self> {
        let count = samples.len();
        let worst_us = samples.iter().copied().reduce(f64::max)?;
        let mean_us = samples.iter().sum::<f64>() / count as f64;
        // Each selection leaves the smaller samples on its left, so the next one looks only there.
        let mut select = |p: f64, within: usize| -> (usize, f64) {
            let at = rank(p, count as u64) as usize - 1;
            (at, *samples[..within].select_nth_unstable_by(at, f64::total_cmp).1)
        };
        let (p99, p99_us) = select(0.99, count);
        let (p50, p50_us) = select(0.50, p99 + 1);
        let (_, p5_us) = select(0.05, p50 + 1);
        Some(Self {
            count,
            mean_us,
            p5_us,
            p50_us,
            p99_us,
            worst_us,
        })
    }
}

/// The nearest rank of `p` among `count` samples: 1 for the smallest.
fn rank(p: f64, count: u64) -> u64 {
    ((p * count as f64).ceil() as u64).clamp(1, count)
}

/// The latencies of what was received at or after `since_us`; the arrivals come from the newest to the oldest.
pub fn summary<'a>(newest_first: impl IntoIterator<Item = &'a Arrival>, since_us: f64) -> Option<Summary> {
    let mut samples: Vec<f64> = newest_first
        .into_iter()
        .take_while(|arrival| arrival.received_us >= since_us)
        .filter(|arrival| arrival.counts())
        .map(Arrival::latency_us)
        .collect();
    Summary::of(&mut samples)
}

/// The mean latency that polling must have: the server is read once every interval + round trip, so an event waits half of
/// that on average, and then travels for half a round trip.
pub fn predict_poll_us(interval_us: f64, round_trip_us: f64) -> f64 {
    interval_us / 2.0 + round_trip_us
}

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

    use super::*;

    fn arrival(produced_us: f64, received_us: f64) -> Arrival {
        Arrival {
            topic: 0,
            offset: 0,
            produced_us,
            ingested_us: produced_us,
            sent_us: received_us,
            received_us,
            applied_us: received_us,
            foreign: false,
            hidden: false,
            backlog: false,
        }
    }

    /// The definition, written the slow way.
    fn nearest_rank(sorted: &[f64], p: f64) -> f64 {
        let not_exceeding = |value: f64| sorted.iter().filter(|sample| **sample <= value).count() as f64;
        *sorted
            .iter()
            .find(|value| not_exceeding(**value) >= p * sorted.len() as f64)
            .unwrap()
    }

    proptest! {
        #[test]
        fn a_summary_says_what_a_sorted_list_says(mut samples in prop::collection::vec(-1e3..1e7f64, 1..400)) {
            let summary = Summary::of(&mut samples.clone()).unwrap();
            samples.sort_by(f64::total_cmp);
            prop_assert_eq!(summary.count, samples.len());
            prop_assert_eq!(summary.p5_us, nearest_rank(&samples, 0.05));
            prop_assert_eq!(summary.p50_us, nearest_rank(&samples, 0.50));
            prop_assert_eq!(summary.p99_us, nearest_rank(&samples, 0.99));
            prop_assert_eq!(summary.worst_us, samples[samples.len() - 1]);
            let mean = samples.iter().sum::<f64>() / samples.len() as f64;
            prop_assert!((summary.mean_us - mean).abs() <= 1e-6 * mean.abs().max(1.0));
        }

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

        #[test]
        fn a_ring_keeps_the_newest_in_order(items in prop::collection::vec(any::<u16>(), 0..100), capacity in 1..20usize) {
            let mut ring = Ring::new(capacity);
            items.iter().for_each(|item| ring.push(*item));
            let kept = &items[items.len().saturating_sub(capacity)..];
            prop_assert_eq!(ring.iter().copied().collect::<Vec<_>>(), kept);
            prop_assert_eq!(ring.iter_back().copied().collect::<Vec<_>>(), kept.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(ring.len(), kept.len());
            prop_assert_eq!(ring.newest(), kept.last());
        }
    }

    #[test]
    fn a_summary_of_nothing_is_nothing() {
        assert_eq!(Summary::of(&mut []), None);
        let mut hidden = arrival(1.0, 2.0);
        hidden.hidden = true;
        let mut backlog = arrival(1.0, 2.0);
        backlog.backlog = true;
        assert_eq!(summary([&hidden, &backlog], 0.0), None);
    }

    #[test]
    fn a_window_ends_where_it_should_and_negatives_are_kept() {
        let arrivals = [arrival(5.0, 4.0), arrival(0.0, 3.0), arrival(0.0, 2.9)];
        let summary = summary(&arrivals, 3.0).unwrap();
        assert_eq!(
            (summary.count, summary.p5_us, summary.mean_us, summary.worst_us),
            (2, -1.0, 1.0, 3.0)
        );
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

    /// Events at random moments against a poller that is simulated step by step.
    #[test]
    fn the_prediction_for_polling_holds_in_a_simulation() {
        for (interval_us, round_trip_us) in [(1e6, 2e3), (1e6, 3e5), (1e5, 5e4)] {
            let (mut total, mut count, mut asked_us) = (0.0, 0.0, 0.0);
            let mut event_us = 0.0;
            for _ in 0..2000 {
                let read_us = asked_us + round_trip_us / 2.0;
                let received_us = asked_us + round_trip_us;
                while event_us <= read_us {
                    total += received_us - event_us;
                    count += 1.0;
                    event_us += 7_919.0;
                }
                asked_us = received_us + interval_us;
            }
            let (mean, predicted) = (total / count, predict_poll_us(interval_us, round_trip_us));
            assert!((mean - predicted).abs() / predicted < 0.02, "{mean} for {predicted}");
        }
    }
}
