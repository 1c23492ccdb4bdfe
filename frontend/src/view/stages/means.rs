//! Means of the stages, which unlike percentiles add up to the mean of the whole. Pure.

use crate::lane::Lane;
use crate::latency::Arrival;

/// Means in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stages {
    /// Produced to ingested.
    pub ingest_us: f64,
    /// Ingested to sent.
    pub wait_us: f64,
    /// Sent to received: between two clocks.
    pub travel_us: f64,
    /// Received to applied.
    pub apply_us: f64,
}

impl Stages {
    /// Of what was received at or after `since_us`; the arrivals come from the newest to the oldest.
    pub fn of<'a>(newest_first: impl Iterator<Item = &'a Arrival>, since_us: f64) -> Option<Self> {
        let mut sum = Self::default();
        let mut count = 0.0;
        for arrival in newest_first
            .take_while(|it| it.received_us >= since_us)
            .filter(|it| it.counts())
        {
            sum.ingest_us += arrival.ingested_us - arrival.produced_us;
            sum.wait_us += arrival.sent_us - arrival.ingested_us;
            sum.travel_us += arrival.received_us - arrival.sent_us;
            sum.apply_us += arrival.applied_us - arrival.received_us;
            count += 1.0;
        }
        (count > 0.0).then(|| Self {
            ingest_us: sum.ingest_us / count,
            wait_us: sum.wait_us / count,
            travel_us: sum.travel_us / count,
            apply_us: sum.apply_us / count,
        })
    }

    /// Produced to received: the delivery latency.
    pub fn delivery_us(&self) -> f64 {
        self.ingest_us + self.wait_us + self.travel_us
    }

    /// What share of the delivery latency each of its three stages is; `None` where there is none to divide.
    pub fn shares(self) -> Option<[f64; 3]> {
        // Between two clocks a stage may come out below nothing.
        let parts = [self.ingest_us, self.wait_us, self.travel_us].map(|us| us.max(0.0));
        let whole: f64 = parts.iter().sum();
        (whole > 0.0).then(|| parts.map(|us| us / whole))
    }
}

/// From applied to the beginning of the frame after the one that drew it: no browser says when pixels are lit, and a
/// picture that goes to the compositor by itself may come a frame later.
#[derive(Debug, Default)]
pub struct Painted {
    seen: u64,
    /// What the last frame drew: the sum of its times, and their number.
    drawn: (f64, f64),
    /// Sums and numbers of the last seconds, the newest first.
    seconds: [(f64, f64); 5],
    second: i64,
}

impl Painted {
    /// Once each frame.
    pub fn frame(&mut self, lane: &Lane, now_us: f64) {
        let new = lane
            .counters
            .events
            .saturating_sub(self.seen)
            .min(lane.arrivals.len() as u64) as usize;
        self.seen = lane.counters.events;
        let applied = lane
            .arrivals
            .iter_back()
            .take(new)
            .filter(|it| it.counts())
            .map(|it| it.applied_us);
        let drawn = applied.fold((0.0, 0.0), |(sum, count), us| (sum + us, count + 1.0));
        self.add(drawn, now_us);
    }

    fn add(&mut self, drawn: (f64, f64), now_us: f64) {
        let second = (now_us / 1e6) as i64;
        for _ in 0..(second - self.second).clamp(0, 5) {
            self.seconds.rotate_right(1);
            self.seconds[0] = (0.0, 0.0);
        }
        self.second = second;
        let (sum, count) = std::mem::replace(&mut self.drawn, drawn);
        self.seconds[0].0 += count * now_us - sum;
        self.seconds[0].1 += count;
    }

    pub fn mean_us(&self) -> Option<f64> {
        let (sum, count) = self
            .seconds
            .iter()
            .fold((0.0, 0.0), |(sum, n), second| (sum + second.0, n + second.1));
        (count > 0.0).then(|| sum / count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arrival(times: [f64; 5]) -> Arrival {
        let [produced_us, ingested_us, sent_us, received_us, applied_us] = times;
        Arrival {
            topic: 0,
            offset: 0,
            produced_us,
            ingested_us,
            sent_us,
            received_us,
            applied_us,
            foreign: false,
            hidden: false,
            backlog: false,
        }
    }

    proptest! {
        #[test]
        fn stages_add_up_to_the_whole(times in prop::collection::vec(prop::array::uniform5(0.0f64..1e6), 1..50)) {
            let arrivals: Vec<Arrival> = times.into_iter().map(arrival).collect();
            let stages = Stages::of(arrivals.iter(), 0.0).unwrap();
            let mean = arrivals.iter().map(Arrival::latency_us).sum::<f64>() / arrivals.len() as f64;
            prop_assert!((stages.delivery_us() - mean).abs() < 1e-3);
        }
    }

    #[test]
    fn shares_add_up_and_none_is_negative() {
        let stages = |ingest_us, wait_us, travel_us| Stages {
            ingest_us,
            wait_us,
            travel_us,
            apply_us: 9.0,
        };
        assert_eq!(stages(1.0, 2.0, 1.0).shares(), Some([0.25, 0.5, 0.25]));
        assert_eq!(stages(3.0, 1.0, -1.0).shares(), Some([0.75, 0.25, 0.0]));
        assert_eq!(stages(0.0, 0.0, -1.0).shares(), None);
    }

    #[test]
    fn what_came_before_the_window_or_in_a_hidden_tab_is_left_out() {
        let old = arrival([0.0, 1.0, 2.0, 3.0, 4.0]);
        let hidden = Arrival {
            hidden: true,
            ..arrival([10.0, 11.0, 12.0, 13.0, 14.0])
        };
        assert_eq!(Stages::of([&hidden, &old].into_iter(), 10.0), None);
    }

    #[test]
    fn painting_is_counted_at_the_frame_after_the_drawing() {
        let mut painted = Painted::default();
        painted.add((2_000.0, 2.0), 5_000.0);
        assert_eq!(painted.mean_us(), None);
        painted.add((0.0, 0.0), 21_000.0);
        assert_eq!(painted.mean_us(), Some(20_000.0));
        painted.add((0.0, 0.0), 9e6);
        assert_eq!(painted.mean_us(), None, "older than five seconds");
    }
}
