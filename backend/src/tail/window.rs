//! The window of a topic: its newest events, bounded by bytes. Pure; no clock, no lock.

use std::collections::VecDeque;

use bytes::Bytes;

/// One event, as it goes to every reader.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) ingested_us: i64,
    pub(super) json: Bytes,
}

/// Events with consecutive offsets; the oldest go when the bytes run out, the newest always stays.
#[derive(Debug)]
pub(super) struct Window {
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
    /// When the newest of the dropped ones was ingested.
    dropped_us: Option<i64>,
}

impl Window {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            first: 0,
            entries: VecDeque::new(),
            bytes: 0,
            max_bytes,
            dropped_us: None,
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
        while self.bytes > self.max_bytes && self.entries.len() > 1 {
            if let Some(dropped) = self.entries.pop_front() {
                self.bytes -= dropped.json.len();
                self.first += 1;
                self.dropped_us = Some(dropped.ingested_us);
            }
        }
    }

    /// The oldest offset that is held (the next one, when nothing is).
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The offset that the next event will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    pub(super) fn newest_us(&self) -> Option<i64> {
        self.entries.back().map(|entry| entry.ingested_us)
    }

    pub(super) fn span_us(&self) -> i64 {
        match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => last.ingested_us - first.ingested_us,
            _ => 0,
        }
    }

    /// The entries from `offset` on; `offset` must not lie before [`Self::first`].
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let skip = usize::try_from(offset.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.range(skip.min(self.entries.len())..)
    }

    /// The first offset ingested at or after `time_us`, and whether one that was dropped would have been it.
    pub(super) fn at(&self, time_us: i64) -> (u64, bool) {
        let before = self.entries.partition_point(|entry| entry.ingested_us < time_us);
        (
            self.first + before as u64,
            self.dropped_us.is_some_and(|dropped| dropped >= time_us),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(size: usize, ingested_us: i64) -> Entry {
        Entry {
            ingested_us,
            json: Bytes::from(vec![b'x'; size]),
        }
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_offsets_never_skip(sizes in prop::collection::vec(1_usize..200, 1..200), max in 1_usize..1000) {
            let mut window = Window::new(max);
            for (offset, &size) in sizes.iter().enumerate() {
                prop_assert_eq!(window.next(), offset as u64);
                window.push(entry(size, offset as i64));
                prop_assert!(window.bytes() <= max || window.len() == 1);
                prop_assert_eq!(window.bytes(), window.from(window.first()).map(|e| e.json.len()).sum::<usize>());
                // The newest events are the ones that are held.
                let held: Vec<i64> = window.from(window.first()).map(|e| e.ingested_us).collect();
                let expected: Vec<i64> = (window.first() as i64..=offset as i64).collect();
                prop_assert_eq!(held, expected);
            }
        }

        #[test]
        fn a_time_is_found_as_a_search_from_the_front_finds_it(times in prop::collection::vec(0_i64..50, 1..50), time in 0_i64..60) {
            let mut times = times;
            times.sort_unstable();
            let mut window = Window::new(20);
            for &t in &times {
                window.push(entry(1, t));
            }
            let expected = (window.first()..window.next()).find(|&o| times[o as usize] >= time).unwrap_or(window.next());
            let lost = times[..window.first() as usize].iter().any(|&t| t >= time);
            prop_assert_eq!(window.at(time), (expected, lost));
        }
    }

    #[test]
    fn an_event_larger_than_the_window_is_still_delivered() {
        let mut window = Window::new(10);
        window.push(entry(5, 1));
        window.push(entry(100, 2));
        assert_eq!((window.first(), window.next()), (1, 2));
    }
}
