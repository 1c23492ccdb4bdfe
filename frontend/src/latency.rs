//! Pure latency arithmetic: arrivals, rings, windows, percentiles. No Leptos, no browser.
//!
//! Percentiles are nearest-rank (the smallest sample that at least p of all samples do not exceed): always a
//! latency that some event really had, but in [`History`], whose log-linear histogram (the idea of HdrHistogram) rounds it.

mod history;
mod ring;

pub use history::{Bucket, History};
pub use ring::Ring;

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
