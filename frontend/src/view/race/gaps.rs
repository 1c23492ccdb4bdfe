//! Where the gaps that were told lie on the time axis: between the events before and after them.

use freshet_wire::GapReason;

use crate::view::chart::race::GapBand;
use crate::view::format;

/// How many are kept to be drawn.
const KEPT: usize = 64;

#[derive(Debug, Clone, PartialEq)]
struct Hole {
    topic: u16,
    /// When the last event before it happened.
    from_us: f64,
    /// When the first event after it happened; none has come as long as this is unknown.
    to_us: Option<f64>,
    told_us: f64,
    count: Option<u64>,
    reason: Option<GapReason>,
    settled: bool,
}

#[derive(Debug, Default)]
pub struct Holes(Vec<Hole>);

impl Holes {
    pub fn add(&mut self, topic: u16, from_us: f64, told_us: f64, count: Option<u64>, reason: Option<GapReason>) {
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        // Kept in the order in which they begin, which is not that in which they are told.
        let at = self.0.iter().take_while(|hole| hole.from_us <= from_us).count();
        self.0.insert(
            at,
            Hole {
                topic,
                from_us,
                to_us: None,
                told_us,
                count,
                reason,
                settled: false,
            },
        );
    }

    /// An event arrived. Within one frame they may be told in any order; [`Holes::settle`] ends it.
    pub fn arrived(&mut self, topic: u16, produced_us: f64, received_us: f64) {
        for hole in &mut self.0 {
            if !hole.settled && hole.topic == topic && received_us >= hole.told_us {
                hole.to_us = Some(hole.to_us.map_or(produced_us, |to| to.min(produced_us)));
            }
        }
    }

    pub fn settle(&mut self) {
        for hole in &mut self.0 {
            hole.settled = hole.to_us.is_some();
        }
    }

    /// What is to be drawn from `from_us` on: holes that overlap have one cause, so they are one band.
    pub fn bands(&self, from_us: f64) -> Vec<GapBand> {
        let end = |hole: &Hole| hole.to_us.unwrap_or(hole.told_us).max(hole.from_us);
        let holes: Vec<&Hole> = self.0.iter().filter(|hole| end(hole) >= from_us).collect();
        holes
            .chunk_by(|a, b| b.from_us <= end(a))
            .map(|together| {
                let count = together
                    .iter()
                    .try_fold(0, |sum: u64, hole| Some(sum.saturating_add(hole.count?)));
                let reason = together.iter().find_map(|hole| hole.reason);
                GapBand {
                    from_us: together[0].from_us,
                    to_us: last_end(together),
                    count,
                    words: words(count, reason),
                }
            })
            .collect()
    }
}

/// Where a band ends: at the last event that follows a gap. A topic on which nothing happens any more has no say in it, unless there
/// is no other.
fn last_end(together: &[&Hole]) -> f64 {
    let known = together.iter().filter_map(|hole| hole.to_us).reduce(f64::max);
    let told = together
        .iter()
        .map(|hole| hole.told_us)
        .fold(f64::NEG_INFINITY, f64::max);
    known.unwrap_or(told).max(together[0].from_us)
}

/// What a gap is called.
pub fn words(count: Option<u64>, reason: Option<GapReason>) -> String {
    let why = match reason {
        Some(GapReason::Retention) => "no longer kept",
        Some(GapReason::Epoch) => "a new log",
        Some(GapReason::Superseded) => "superseded",
        Some(GapReason::Duplicate) => "held twice",
        Some(GapReason::Fenced) => "fenced out",
        Some(GapReason::Vacant) => "no event",
        Some(GapReason::Lost) => "lost by the log",
        None => "nobody said so",
    };
    match count {
        Some(count) => [&format::count(count), " missed: ", why].concat(),
        None => [why, ": number missed unknown"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Option<GapReason> = Some(GapReason::Retention);

    #[test]
    fn a_gap_lies_between_the_events_around_it() {
        let mut holes = Holes::default();
        holes.add(0, 10.0, 50.0, Some(3), WHY);
        assert_eq!(
            holes.bands(0.0)[0].to_us,
            50.0,
            "until then it reaches to when it was told"
        );
        holes.arrived(0, 44.0, 55.0);
        holes.arrived(0, 40.0, 55.0);
        holes.arrived(1, 20.0, 55.0);
        holes.settle();
        holes.arrived(0, 30.0, 60.0);
        let band = &holes.bands(0.0)[0];
        assert_eq!(
            (band.from_us, band.to_us, band.words.as_str()),
            (10.0, 40.0, "3 missed: no longer kept")
        );
    }

    #[test]
    fn a_topic_that_fell_silent_does_not_stretch_the_band_of_the_others() {
        let mut holes = Holes::default();
        holes.add(0, 10.0, 50.0, None, WHY);
        holes.add(1, 12.0, 50.0, None, WHY);
        holes.arrived(0, 40.0, 55.0);
        assert_eq!(holes.bands(0.0)[0].to_us, 40.0);
    }

    #[test]
    fn gaps_with_one_cause_are_one_band_and_an_unknown_number_stays_unknown() {
        let mut holes = Holes::default();
        holes.add(0, 10.0, 50.0, Some(3), WHY);
        holes.add(1, 12.0, 50.0, Some(4), WHY);
        holes.add(0, 90.0, 95.0, None, Some(GapReason::Epoch));
        let words: Vec<_> = holes.bands(0.0).into_iter().map(|band| band.words).collect();
        assert_eq!(words, ["7 missed: no longer kept", "a new log: number missed unknown"]);
        assert_eq!(holes.bands(60.0).len(), 1);
    }
}
