//! One topic as one lane follows it: where it stands, which gaps were told, and which bytes came.

use freshet_wire::{Cursor, Epoch, Gap};

use super::Newest;
use crate::latency::Ring;

/// A topic that a lane follows.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) name: String,
    /// Index into the lane's topics of the race; `None` for a topic that only feeds a card.
    pub(crate) race: Option<u16>,
    /// When the lane asked for it first, on the server's clock.
    pub(crate) asked_us: Option<f64>,
    /// Where to go on after a loss.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) newest: Option<Newest>,
    /// Index of its last event in the batch that is just being taken in.
    pub(crate) fresh: Option<usize>,
    epoch: Option<Epoch>,
    /// A gap said that the next event may be of another log.
    epoch_told: bool,
    partitions: Vec<Partition>,
    ranges: Ring<RangeHash>,
}

#[derive(Debug)]
struct Partition {
    number: u32,
    /// The offset that comes next; unknown before the first event and after a gap of unknown length.
    next: Option<u64>,
    /// Ranges of offsets, from and past the end, that the server said it does not have.
    told: Vec<(u64, u64)>,
    range: Option<RangeHash>,
}

/// What an event is, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the one that had to come.
    Next,
    /// It was there before.
    Duplicate,
    /// Offsets are missing before it and nobody said so; how many, where that can be known.
    Unexplained { from_offset: u64, count: Option<u64> },
}

/// A fingerprint of the events of one aligned range of offsets, in the order of their offsets: two lanes that have the same one saw
/// the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeHash {
    pub epoch: Epoch,
    pub partition: u32,
    /// A multiple of [`RangeHash::OFFSETS`].
    pub from_offset: u64,
    /// Events in it so far.
    pub count: u32,
    /// FNV-1a (64 bit) over the events' JSON texts, as they came.
    pub hash: u64,
}

impl RangeHash {
    pub const OFFSETS: u64 = 64;
    /// Ranges that are kept for each topic: the last 131,072 offsets.
    pub const KEPT: usize = 2048;

    fn new(epoch: Epoch, partition: u32, offset: u64) -> Self {
        // FNV-1a, the offset basis for 64 bits.
        let hash = 0xcbf2_9ce4_8422_2325;
        Self {
            epoch,
            partition,
            from_offset: offset - offset % Self::OFFSETS,
            count: 0,
            hash,
        }
    }

    /// All of its events came: only then can two of them be compared.
    pub fn is_whole(&self) -> bool {
        u64::from(self.count) == Self::OFFSETS
    }

    fn add(&mut self, text: &str) {
        self.count += 1;
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// Gaps that are remembered until an event comes behind them.
const MAX_TOLD: usize = 64;

impl Track {
    pub(crate) fn new(name: String, race: Option<u16>) -> Self {
        Self {
            name,
            race,
            asked_us: None,
            cursor: None,
            newest: None,
            fresh: None,
            epoch: None,
            epoch_told: false,
            partitions: Vec::new(),
            ranges: Ring::new(RangeHash::KEPT),
        }
    }

    /// Begins anew, with the newest event.
    pub(crate) fn forget_position(&mut self) {
        self.asked_us = None;
        self.cursor = None;
        self.epoch_told = true;
        for partition in &mut self.partitions {
            partition.next = None;
            partition.told.clear();
        }
    }

    /// Takes a gap in; how many of its events had not been told as missing before (`None`: unknown). `Some(0)` is old news:
    /// after a reconnect a gap is told again until an event came behind it.
    pub(crate) fn told(&mut self, gap: &Gap) -> Option<u64> {
        let Some(count) = gap.count else {
            // The log is another one, or nobody knows how much is missing: whatever comes next is right.
            if std::mem::replace(&mut self.epoch_told, true) {
                return Some(0);
            }
            for partition in &mut self.partitions {
                partition.next = None;
                partition.told.clear();
            }
            return None;
        };
        let partition = self.partition(gap.partition);
        let end = gap.from_offset.saturating_add(count);
        // Told again after a reconnect, a gap may have grown: only what it tells anew counts.
        let from = gap.from_offset.max(partition.next.unwrap_or(0));
        let new = partition.untold(from, end);
        partition.tell(from, end);
        Some(new)
    }

    /// Judges an event by its position, and moves on.
    pub(crate) fn advance(&mut self, epoch: Epoch, partition: u32, offset: u64) -> Step {
        let mut step = Step::Next;
        if self.epoch != Some(epoch) {
            if self.epoch.is_some() && !self.epoch_told {
                step = Step::Unexplained {
                    from_offset: offset,
                    count: None,
                };
            }
            self.epoch = Some(epoch);
            for partition in &mut self.partitions {
                partition.next = None;
                partition.told.clear();
            }
        }
        self.epoch_told = false;
        let partition = self.partition(partition);
        if let Some(next) = partition.next {
            if offset < next {
                return Step::Duplicate;
            }
            let missing = partition.untold(next, offset);
            if missing > 0 {
                step = Step::Unexplained {
                    from_offset: next,
                    count: Some(missing),
                };
            }
        }
        partition.told.retain(|(_, end)| *end > offset);
        partition.next = Some(offset.saturating_add(1));
        step
    }

    /// Adds the bytes of an event that was applied to the fingerprint of its range.
    pub(crate) fn hash(&mut self, epoch: Epoch, partition: u32, offset: u64, text: &str) {
        let fresh = RangeHash::new(epoch, partition, offset);
        let partition = self.partition(partition);
        let range = partition.range.get_or_insert(fresh);
        let closed = if (range.epoch, range.from_offset) == (fresh.epoch, fresh.from_offset) {
            range.add(text);
            None
        } else {
            let closed = std::mem::replace(range, fresh);
            range.add(text);
            Some(closed)
        };
        if let Some(closed) = closed {
            self.ranges.push(closed);
        }
    }

    /// The fingerprints, those of the open ranges last.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = &RangeHash> {
        self.ranges
            .iter()
            .chain(self.partitions.iter().filter_map(|partition| partition.range.as_ref()))
    }

    fn partition(&mut self, number: u32) -> &mut Partition {
        let at = match self.partitions.iter().position(|partition| partition.number == number) {
            Some(at) => at,
            None => {
                self.partitions.push(Partition {
                    number,
                    next: None,
                    told: Vec::new(),
                    range: None,
                });
                self.partitions.len() - 1
            }
        };
        &mut self.partitions[at]
    }
}

impl Partition {
    /// Remembers that the offsets from `from` up to `end` are missing. Ranges that touch become one, so what was told is there once.
    fn tell(&mut self, mut from: u64, mut end: u64) {
        if from >= end {
            return;
        }
        self.told.retain(|(other_from, other_end)| {
            let touches = *other_from <= end && from <= *other_end;
            if touches {
                from = from.min(*other_from);
                end = end.max(*other_end);
            }
            !touches
        });
        if self.told.len() == MAX_TOLD {
            self.told.remove(0);
        }
        self.told.push((from, end));
    }

    /// How many offsets from `next` up to `offset` no gap that was told accounts for.
    fn untold(&self, mut next: u64, offset: u64) -> u64 {
        let mut missing = 0;
        while next < offset {
            // As far as a gap that holds `next` goes; else up to where the first gap behind it begins.
            let covered = self
                .told
                .iter()
                .filter(|(from, end)| *from <= next && *end > next)
                .map(|(_, end)| *end)
                .max();
            match covered {
                Some(end) => next = end,
                None => {
                    let begins = self
                        .told
                        .iter()
                        .map(|(from, _)| *from)
                        .filter(|from| *from > next)
                        .min();
                    let until = begins.unwrap_or(offset).min(offset);
                    missing += until - next;
                    next = until;
                }
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::GapReason;
    use proptest::prelude::*;

    use super::*;

    fn epoch(number: u64) -> Epoch {
        Epoch::new(number)
    }

    fn track() -> Track {
        Track::new("t".to_owned(), Some(0))
    }

    fn gap(from_offset: u64, count: Option<u64>) -> Gap {
        let reason = if count.is_some() {
            GapReason::Retention
        } else {
            GapReason::Epoch
        };
        Gap {
            topic: "t".to_owned(),
            partition: 0,
            from_offset,
            count,
            reason,
        }
    }

    proptest! {
        /// A server that tells each of its gaps is believed; one that keeps some of them quiet is found out, to the offset.
        #[test]
        fn what_nobody_told_is_found_to_the_offset(
            runs in prop::collection::vec((1..5u64, 0..4u64, 0..4u64, any::<bool>()), 1..30),
        ) {
            let (mut track, mut offset, mut unexplained, mut quiet) = (track(), 10, 0, 0);
            for (events, told, untold, told_first) in runs {
                for _ in 0..events {
                    match track.advance(epoch(1), 0, offset) {
                        Step::Next => {}
                        Step::Unexplained { count, .. } => unexplained += count.unwrap(),
                        Step::Duplicate => prop_assert!(false, "nothing came twice"),
                    }
                    offset += 1;
                }
                prop_assert_eq!(unexplained, quiet, "a hole shows with the first event behind it");
                if told > 0 {
                    let from = if told_first { offset } else { offset + untold };
                    prop_assert_eq!(track.told(&gap(from, Some(told))), Some(told));
                }
                offset += told + untold;
                quiet += untold;
            }
        }

        /// Whatever is told, however often and overlapping: what is missing is counted once, offset by offset.
        #[test]
        fn gaps_that_are_told_again_and_have_grown_count_each_offset_once(
            tellings in prop::collection::vec((0..60u64, 0..30u64, prop::option::of(0..8u64)), 1..40),
        ) {
            let (mut track, mut missing, mut next) = (track(), std::collections::BTreeSet::new(), None);
            for (from, count, events) in tellings {
                let new: Vec<u64> = (from..from + count).filter(|offset| Some(*offset) >= next && missing.insert(*offset)).collect();
                prop_assert_eq!(track.told(&gap(from, Some(count))), Some(new.len() as u64));
                if let Some(after) = events {
                    let offset = missing.last().map_or(0, |last| last + 1) + after;
                    track.advance(epoch(1), 0, offset);
                    next = next.max(Some(offset + 1));
                }
            }
        }

        #[test]
        fn the_fingerprint_is_of_the_bytes_alone(texts in prop::collection::vec("[a-z]{0,9}", 1..200), cut in any::<prop::sample::Index>()) {
            let (mut one, mut other) = (track(), track());
            for (offset, text) in texts.iter().enumerate() {
                one.hash(epoch(1), 0, offset as u64, text);
                other.hash(epoch(1), 0, offset as u64, text);
            }
            prop_assert!(one.ranges().eq(other.ranges()));
            prop_assert_eq!(one.ranges().map(|range| range.count as usize).sum::<usize>(), texts.len());
            let mut changed = track();
            let at = cut.index(texts.len());
            for (offset, text) in texts.iter().enumerate() {
                changed.hash(epoch(1), 0, offset as u64, if offset == at { "X" } else { text });
            }
            prop_assert!(!one.ranges().eq(changed.ranges()));
        }
    }

    #[test]
    fn the_first_event_may_be_any_and_a_second_of_the_same_offset_is_a_duplicate() {
        let mut track = track();
        assert_eq!(track.advance(epoch(1), 0, 41), Step::Next);
        assert_eq!(track.advance(epoch(1), 0, 41), Step::Duplicate);
        assert_eq!(track.advance(epoch(1), 0, 3), Step::Duplicate);
        assert_eq!(track.advance(epoch(1), 1, 3), Step::Next, "another partition");
        assert_eq!(track.advance(epoch(1), 0, 42), Step::Next);
    }

    #[test]
    fn a_hole_is_explained_by_what_was_told_and_by_nothing_else() {
        let mut track = track();
        track.advance(epoch(1), 0, 1);
        assert_eq!(track.told(&gap(2, Some(3))), Some(3));
        assert_eq!(track.advance(epoch(1), 0, 5), Step::Next);
        assert_eq!(
            track.advance(epoch(1), 0, 8),
            Step::Unexplained {
                from_offset: 6,
                count: Some(2)
            }
        );
        track.told(&gap(11, Some(2)));
        assert_eq!(
            track.advance(epoch(1), 0, 14),
            Step::Unexplained {
                from_offset: 9,
                count: Some(3)
            }
        );
    }

    #[test]
    fn a_gap_that_is_told_again_counts_once() {
        let mut track = track();
        track.advance(epoch(1), 0, 1);
        assert_eq!(track.told(&gap(2, Some(3))), Some(3));
        assert_eq!(track.told(&gap(2, Some(3))), Some(0));
        track.advance(epoch(1), 0, 5);
        assert_eq!(
            track.told(&gap(4, Some(4))),
            Some(2),
            "what was passed is not missing any more"
        );
    }

    #[test]
    fn a_gap_that_grew_until_it_was_told_again_counts_what_it_grew_by() {
        let mut track = track();
        track.advance(epoch(1), 0, 9);
        assert_eq!(track.told(&gap(10, Some(10))), Some(10));
        assert_eq!(track.told(&gap(10, Some(15))), Some(5));
        assert_eq!(track.advance(epoch(1), 0, 25), Step::Next);
    }

    #[test]
    fn another_log_is_right_after_it_was_told_and_wrong_before() {
        let mut track = track();
        track.advance(epoch(1), 0, 100);
        assert_eq!(track.told(&gap(101, None)), None);
        assert_eq!(
            track.told(&gap(101, None)),
            Some(0),
            "told again by the next connection"
        );
        assert_eq!(track.advance(epoch(2), 0, 0), Step::Next);
        assert_eq!(track.advance(epoch(2), 0, 1), Step::Next);
        assert_eq!(
            track.advance(epoch(3), 0, 0),
            Step::Unexplained {
                from_offset: 0,
                count: None
            }
        );
        assert_eq!(track.advance(epoch(3), 0, 1), Step::Next);
    }

    #[test]
    fn who_begins_anew_misses_nothing() {
        let mut track = track();
        track.advance(epoch(1), 0, 5);
        track.forget_position();
        assert_eq!(track.cursor, None);
        assert_eq!(track.advance(epoch(1), 0, 900), Step::Next);
        track.forget_position();
        assert_eq!(track.advance(epoch(2), 0, 3), Step::Next);
    }

    #[test]
    fn ranges_are_aligned_and_bounded() {
        let mut track = track();
        for offset in 60..60 + 64 * (RangeHash::KEPT as u64 + 3) {
            track.hash(epoch(1), 0, offset, "x");
        }
        let ranges: Vec<_> = track.ranges().collect();
        assert_eq!(ranges.len(), RangeHash::KEPT + 1);
        assert!(
            ranges[..RangeHash::KEPT]
                .iter()
                .all(|range| range.is_whole() && range.from_offset.is_multiple_of(64))
        );
    }
}
