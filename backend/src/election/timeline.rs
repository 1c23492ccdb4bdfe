//! Who led when, and the gaps between: pure, with `now` passed in.

use std::collections::VecDeque;

use freshet_wire::{Failovers, Flapping, LeaderState, Span};

/// Spans that are kept.
const MOST_SPANS: usize = 64;
/// Gaps that the median is of.
const MOST_GAPS: usize = 1000;
/// So many changes within so many seconds are too many.
const FLAPPING_CHANGES: u32 = 4;
const FLAPPING_WINDOW_S: u32 = 15 * 60;

/// A moment on both clocks: the wall clock, which people read, and one that is never set, by which durations are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub wall_us: i64,
    /// Since whenever; only differences count.
    pub steady_us: u64,
}

/// What an engine says of the leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Led { node: String, token: u64 },
    Leaderless,
    Unknown,
}

impl Seen {
    pub fn state(&self) -> LeaderState {
        match self {
            Self::Led { .. } => LeaderState::Led,
            Self::Leaderless => LeaderState::Leaderless,
            Self::Unknown => LeaderState::Unknown,
        }
    }
}

/// What was seen, as it changed.
#[derive(Debug)]
pub struct Timeline {
    now: (Seen, Moment),
    past: VecDeque<Past>,
    /// The newest leadership that was seen, which may be over.
    last: Option<(String, u64)>,
    /// When it ended, where it was known all the time since that nobody leads.
    ended: Option<Moment>,
    leader_changes: u64,
    /// When the leader changed, within the window; the first leader is no change.
    changes: VecDeque<u64>,
    gaps: VecDeque<u64>,
    failovers: u64,
    worst_us: Option<u64>,
}

#[derive(Debug)]
struct Past {
    seen: Seen,
    from_us: i64,
    until_us: i64,
    duration_us: u64,
}

impl Timeline {
    /// Nothing is known yet.
    pub fn new(now: Moment) -> Self {
        Self {
            now: (Seen::Unknown, now),
            past: VecDeque::new(),
            last: None,
            ended: None,
            leader_changes: 0,
            changes: VecDeque::new(),
            gaps: VecDeque::new(),
            failovers: 0,
            worst_us: None,
        }
    }

    /// What is seen now; whether that is a change.
    pub fn note(&mut self, seen: Seen, now: Moment) -> bool {
        if seen == self.now.0 {
            return false;
        }
        let (before, since) = std::mem::replace(&mut self.now, (seen, now));
        match (&before, &self.now.0) {
            (Seen::Led { .. }, Seen::Leaderless) => self.ended = Some(now),
            (_, Seen::Unknown) => self.ended = None,
            (_, Seen::Led { node, token }) => {
                let led = (node.clone(), *token);
                if self.last.as_ref() != Some(&led) {
                    self.leader_changes += 1;
                    if self.last.is_some() {
                        self.changes.push_back(now.steady_us);
                        let gap = match before {
                            Seen::Led { .. } => Some(0),
                            _ => self.ended.map(|ended| now.steady_us.saturating_sub(ended.steady_us)),
                        };
                        self.failed_over(gap);
                    }
                    self.last = Some(led);
                }
                self.ended = None;
            }
            _ => {}
        }
        // What lasted no time at all was never seen by anybody.
        if since.steady_us < now.steady_us {
            if self.past.len() == MOST_SPANS - 1 {
                self.past.pop_front();
            }
            self.past.push_back(Past {
                seen: before,
                from_us: since.wall_us,
                until_us: now.wall_us,
                duration_us: now.steady_us - since.steady_us,
            });
        }
        true
    }

    fn failed_over(&mut self, gap_us: Option<u64>) {
        let Some(gap_us) = gap_us else { return };
        self.failovers += 1;
        self.worst_us = self.worst_us.max(Some(gap_us));
        if self.gaps.len() == MOST_GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap_us);
    }

    /// What is seen, and since when.
    pub fn now(&self) -> (&Seen, Moment) {
        (&self.now.0, self.now.1)
    }

    pub fn leader_changes(&self) -> u64 {
        self.leader_changes
    }

    /// Oldest first; the last one lasts.
    pub fn spans(&self) -> Vec<Span> {
        let span = |seen: &Seen, from_us, end: Option<(i64, u64)>| {
            let (node, token) = match seen {
                Seen::Led { node, token } => (Some(node.clone()), Some(*token)),
                _ => (None, None),
            };
            Span {
                state: seen.state(),
                node,
                token,
                from_us,
                until_us: end.map(|(until_us, _)| until_us),
                duration_us: end.map(|(_, duration_us)| duration_us),
            }
        };
        let past = self.past.iter();
        let past = past.map(|past| span(&past.seen, past.from_us, Some((past.until_us, past.duration_us))));
        let lasting = span(&self.now.0, self.now.1.wall_us, None);
        past.chain([lasting]).collect()
    }

    pub fn failovers(&self) -> Failovers {
        let mut gaps: Vec<_> = self.gaps.iter().copied().collect();
        gaps.sort_unstable();
        Failovers {
            count: self.failovers,
            last_us: self.gaps.back().copied(),
            p50_us: gaps.len().checked_sub(1).map(|last| gaps[last / 2]),
            worst_us: self.worst_us,
        }
    }

    pub fn flapping(&mut self, now: Moment) -> Flapping {
        let begin = now.steady_us.saturating_sub(u64::from(FLAPPING_WINDOW_S) * 1_000_000);
        while self.changes.front().is_some_and(|&changed| changed < begin) {
            self.changes.pop_front();
        }
        let changes = u32::try_from(self.changes.len()).unwrap_or(u32::MAX);
        Flapping {
            is_flapping: changes >= FLAPPING_CHANGES,
            changes,
            threshold: FLAPPING_CHANGES,
            window_s: FLAPPING_WINDOW_S,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock is set back by an hour in the tenth second.
    fn at(ms: u64) -> Moment {
        let steady_us = ms * 1000;
        let set_us = if ms >= 10_000 { 3_600_000_000 } else { 0 };
        Moment {
            wall_us: 1_700_000_000_000_000 + steady_us as i64 - set_us,
            steady_us,
        }
    }

    fn led(node: &str, token: u64) -> Seen {
        Seen::Led {
            node: node.to_owned(),
            token,
        }
    }

    #[test]
    fn gaps_without_a_leader_are_measured_by_the_clock_that_is_never_set() {
        let mut timeline = Timeline::new(at(0));
        assert_eq!(timeline.failovers(), Failovers::default());
        assert!(timeline.note(led("a", 1), at(300)));
        assert!(!timeline.note(led("a", 1), at(400)), "nothing changed");
        timeline.note(Seen::Leaderless, at(9_500));
        timeline.note(led("b", 2), at(10_400));
        timeline.note(led("c", 3), at(12_000));
        let failovers = timeline.failovers();
        assert_eq!((failovers.count, failovers.last_us), (2, Some(0)));
        assert_eq!((failovers.p50_us, failovers.worst_us), (Some(0), Some(900_000)));
        assert_eq!(timeline.leader_changes(), 3);
        let spans = timeline.spans();
        let states: Vec<_> = spans.iter().map(|span| (span.state, span.duration_us)).collect();
        assert_eq!(
            states,
            [
                (LeaderState::Unknown, Some(300_000)),
                (LeaderState::Led, Some(9_200_000)),
                (LeaderState::Leaderless, Some(900_000)),
                (LeaderState::Led, Some(1_600_000)),
                (LeaderState::Led, None),
            ]
        );
    }

    #[test]
    fn a_leader_that_gets_its_lease_back_is_no_failover_and_no_change() {
        let mut timeline = Timeline::new(at(0));
        timeline.note(led("a", 1), at(1));
        timeline.note(Seen::Leaderless, at(2));
        timeline.note(led("a", 1), at(3));
        assert_eq!((timeline.failovers().count, timeline.leader_changes()), (0, 1));
        // It is another leadership of the same node.
        timeline.note(Seen::Leaderless, at(4));
        timeline.note(led("a", 2), at(6));
        assert_eq!(
            (timeline.failovers().last_us, timeline.leader_changes()),
            (Some(2000), 2)
        );
    }

    #[test]
    fn a_gap_in_which_it_was_unknown_who_leads_has_no_length() {
        let mut timeline = Timeline::new(at(0));
        timeline.note(led("a", 1), at(1));
        timeline.note(Seen::Leaderless, at(2));
        timeline.note(Seen::Unknown, at(3));
        timeline.note(Seen::Leaderless, at(4));
        timeline.note(led("b", 2), at(5));
        assert_eq!(timeline.failovers(), Failovers::default());
        assert_eq!(timeline.leader_changes(), 2);
    }

    #[test]
    fn four_changes_within_the_window_are_flapping_and_pass() {
        let mut timeline = Timeline::new(at(0));
        for token in 0..4 {
            timeline.note(led("a", token), at(1000 + token));
        }
        assert!(!timeline.flapping(at(2000)).is_flapping, "the first one is no change");
        timeline.note(led("b", 4), at(2000));
        let flapping = timeline.flapping(at(3000));
        assert!(flapping.is_flapping && flapping.changes == 4);
        let later = u64::from(FLAPPING_WINDOW_S) * 1000 + 1500;
        let flapping = timeline.flapping(at(later));
        assert!(!flapping.is_flapping && flapping.changes == 1);
    }

    #[test]
    fn only_so_many_spans_are_kept_the_newest_ones() {
        let mut timeline = Timeline::new(at(0));
        for token in 1..=500 {
            timeline.note(led("a", token), at(token));
        }
        let spans = timeline.spans();
        assert_eq!(spans.len(), MOST_SPANS);
        assert_eq!(spans.last().unwrap().token, Some(500));
        assert_eq!(timeline.leader_changes(), 500);
    }
}
