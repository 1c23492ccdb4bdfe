//! The window of a partition: its newest events, bounded by bytes. Pure; no clock, no lock.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use freshet_wire::GapReason;

/// One event, as it goes to every reader.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) offset: u64,
    /// When it was ingested; never less than that of the entry before, whatever the clocks did.
    pub(super) ingested_us: i64,
    /// Why there is nothing at the offsets between the entry before and this one, where there are such.
    pub(super) vacant: Option<GapReason>,
    pub(super) json: Bytes,
}

/// Where a window's events lie: those that follow each other in one piece of memory, with one count of its users. A page of many is read as
/// it lies there, instead of from as many places, each with a count of its own.
#[derive(Debug, Default)]
struct Pieces(BytesMut);

impl Pieces {
    /// A quiet topic holds little.
    const LEAST: usize = 2 << 10;
    /// A reader that holds one event keeps its whole piece in memory.
    const MOST: usize = 64 << 10;
    /// What the window holds beyond its events is such a part of them: pieces at both its ends, and the rest of each that was too small for
    /// the next event.
    const SHARE: usize = 16;

    /// Moves an event of a window that holds so many bytes to where its neighbours are, unless it is large itself.
    fn keep(&mut self, json: Bytes, held: usize) -> Bytes {
        let most = (held / Self::SHARE).clamp(Self::LEAST, Self::MOST);
        if json.len() > most / Self::SHARE {
            return json;
        }
        if self.0.capacity() < json.len() {
            self.0 = BytesMut::with_capacity(most);
        }
        self.0.extend_from_slice(&json);
        self.0.split().freeze()
    }
}

/// Events with growing offsets; the oldest go when the bytes run out, the newest always stays.
#[derive(Debug)]
pub(super) struct Window {
    first: u64,
    next: u64,
    entries: VecDeque<Entry>,
    pieces: Pieces,
    bytes: usize,
    max_bytes: usize,
    /// When the newest of the dropped ones was ingested.
    dropped_us: Option<i64>,
}

impl Window {
    /// An empty window; the first event that it holds will have offset `next` or a later one.
    pub(super) fn new(max_bytes: usize, next: u64) -> Self {
        Self {
            first: next,
            next,
            entries: VecDeque::new(),
            pieces: Pieces::default(),
            bytes: 0,
            max_bytes,
            dropped_us: None,
        }
    }

    /// Adds the next event. An offset that was passed already is refused: an engine may deliver again what it delivered.
    pub(super) fn push(&mut self, mut entry: Entry) -> bool {
        if entry.offset < self.next {
            return false;
        }
        // Searching by time needs order, and a wall clock may be set back.
        let before_us = self.entries.back().map(|newest| newest.ingested_us).or(self.dropped_us);
        entry.ingested_us = before_us.map_or(entry.ingested_us, |before_us| entry.ingested_us.max(before_us));
        self.next = entry.offset + 1;
        self.bytes += entry.json.len();
        entry.json = self.pieces.keep(entry.json, self.bytes);
        self.entries.push_back(entry);
        while self.bytes > self.max_bytes && self.entries.len() > 1 {
            self.drop_oldest();
        }
        true
    }

    /// Lets go of the oldest event; its bytes, if there was one.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let dropped = self.entries.pop_front()?;
        self.bytes -= dropped.json.len();
        self.first = dropped.offset + 1;
        self.dropped_us = Some(dropped.ingested_us);
        Some(dropped.json.len())
    }

    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// From here on everything is held (the next offset, when nothing is).
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The offset after the newest event.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn span_us(&self) -> i64 {
        match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => last.ingested_us - first.ingested_us,
            _ => 0,
        }
    }

    /// The entries from `offset` on; `offset` must not lie before [`Self::first`].
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let skip = match self.entries.front() {
            // As a rule no offset is without an event, and the place is a difference.
            Some(front) if self.next - front.offset == self.entries.len() as u64 => {
                usize::try_from(offset.saturating_sub(front.offset)).unwrap_or(usize::MAX)
            }
            _ => self.entries.partition_point(|entry| entry.offset < offset),
        };
        self.entries.range(skip.min(self.entries.len())..)
    }

    /// The first offset ingested at or after `time_us`, and whether one that was dropped would have been it.
    pub(super) fn at(&self, time_us: i64) -> (u64, bool) {
        let before = self.entries.partition_point(|entry| entry.ingested_us < time_us);
        (
            self.entries.get(before).map_or(self.next, |entry| entry.offset),
            self.dropped_us.is_some_and(|dropped| dropped >= time_us),
        )
    }

    /// Whether some event that is held was ingested before this time: then [`Self::at`] knows the answer by itself.
    pub(super) fn reaches_before(&self, time_us: i64) -> bool {
        self.entries.front().is_some_and(|entry| entry.ingested_us < time_us)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(offset: u64, size: usize, ingested_us: i64) -> Entry {
        Entry {
            offset,
            ingested_us,
            vacant: None,
            json: Bytes::from(vec![b'x'; size]),
        }
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_what_is_held_is_the_newest(
            events in prop::collection::vec((1_usize..200, 0_u64..3), 1..200), max in 1_usize..1000,
        ) {
            let mut window = Window::new(max, 7);
            let mut offsets = Vec::new();
            for (size, skipped) in events {
                let offset = window.next() + skipped;
                offsets.push(offset);
                prop_assert!(window.push(entry(offset, size, offset as i64)));
                prop_assert_eq!(window.next(), offset + 1);
                prop_assert!(window.bytes() <= max || window.len() == 1);
                prop_assert_eq!(window.bytes(), window.from(window.first()).map(|e| e.json.len()).sum::<usize>());
                let held: Vec<u64> = window.from(window.first()).map(|e| e.offset).collect();
                prop_assert_eq!(&held[..], &offsets[offsets.len() - held.len()..]);
                for from in window.first()..window.next() {
                    let found: Vec<u64> = window.from(from).map(|e| e.offset).collect();
                    let expected: Vec<u64> = held.iter().copied().filter(|&offset| offset >= from).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }

        #[test]
        fn a_time_is_found_as_a_search_from_the_front_finds_it(times in prop::collection::vec(0_i64..50, 1..50), time in 0_i64..60) {
            let mut times = times;
            times.sort_unstable();
            let mut window = Window::new(20, 0);
            for (offset, &t) in times.iter().enumerate() {
                window.push(entry(offset as u64, 1, t));
            }
            let expected = (window.first()..window.next()).find(|&o| times[o as usize] >= time).unwrap_or(window.next());
            let lost = times[..window.first() as usize].iter().any(|&t| t >= time);
            prop_assert_eq!(window.at(time), (expected, lost));
        }
    }

    #[test]
    fn an_event_larger_than_the_window_is_still_delivered() {
        let mut window = Window::new(10, 0);
        window.push(entry(0, 5, 1));
        window.push(entry(1, 100, 2));
        assert_eq!((window.first(), window.next()), (1, 2));
    }

    #[test]
    fn what_was_passed_is_not_taken_again_and_time_does_not_go_back() {
        let mut window = Window::new(100, 0);
        assert!(window.push(entry(3, 1, 10)));
        assert!(!window.push(entry(3, 1, 11)));
        assert!(window.push(entry(4, 1, 5)));
        assert_eq!(window.newest().unwrap().ingested_us, 10);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn events_that_follow_each_other_lie_together_and_a_large_one_by_itself() {
        let mut window = Window::new(1 << 30, 0);
        let size = |offset: u64| if offset == 450 { 20_000 } else { 300 };
        for offset in 0..500 {
            let json = Bytes::from(vec![offset as u8; size(offset)]);
            window.push(Entry {
                json,
                ..entry(offset, 0, 0)
            });
        }
        let held: Vec<_> = window.from(0).map(|entry| entry.json.clone()).collect();
        for (offset, json) in (0..).zip(&held) {
            assert_eq!(json.len(), size(offset));
            assert!(json.iter().all(|byte| *byte == offset as u8));
        }
        let follows = |one: usize, other: usize| held[one].as_ptr_range().end == held[other].as_ptr();
        let together = (300..449).filter(|&one| follows(one, one + 1)).count();
        assert!(together > 130, "{together} of 149, with few pieces");
        assert!(
            follows(449, 451) && !follows(449, 450),
            "the large one is not between them"
        );
    }
}
