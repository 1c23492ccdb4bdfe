//! The ids of the events before one, for telling an event that the engine holds twice.
//!
//! Whether an event is the second one is decided by the log alone: by the offsets just before it in its partition. So it is the same for every
//! reader, wherever it began, by the window and by history. Only one thing is not in the log: the tail follows it from where it ended when the
//! service began to, and does not know what stands before that; so a reader of history does not count that either.

use std::collections::{HashMap, VecDeque};

use freshet_wire::GapReason;

use super::topic::merged;
use crate::pubsub::Stored;

/// How many offsets before an event its id is looked for in: shared out evenly over the partitions of its topic.
pub(super) const REMEMBERED: u64 = 16_384;
/// So many in each partition, however many there are.
const LEAST: u64 = 256;

/// Of a log with so many partitions, the offsets that are looked at in each.
pub(super) fn width(partitions: usize) -> u64 {
    (REMEMBERED / (partitions as u64).max(1)).max(LEAST)
}

/// The ids within a width of offsets of one partition.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    width: u64,
    /// From this offset on nothing before it counts.
    began: u64,
    /// Offsets and ids, oldest first.
    order: VecDeque<(u64, u64)>,
    /// The newest offset of each id.
    newest: HashMap<u64, u64>,
}

impl Recent {
    pub(super) fn new(width: u64, began: u64) -> Self {
        Self {
            width,
            began,
            order: VecDeque::new(),
            newest: HashMap::new(),
        }
    }

    /// The same bounds, and no id yet.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.width, self.began)
    }

    /// The first offset that counts for an event at this one.
    pub(super) fn since(&self, offset: u64) -> u64 {
        let since = offset.saturating_sub(self.width);
        match offset >= self.began {
            true => since.max(self.began),
            false => since,
        }
    }

    /// Whether the event at this offset is new; offsets come in their order. An id of 0 stands for none, and is always new.
    pub(super) fn is_new(&mut self, id_hash: u64, offset: u64) -> bool {
        let since = self.since(offset);
        while let Some(&(oldest, id)) = self.order.front().filter(|(oldest, _)| *oldest < since) {
            self.order.pop_front();
            if self.newest.get(&id) == Some(&oldest) {
                self.newest.remove(&id);
            }
        }
        if id_hash == 0 {
            return true;
        }
        self.order.push_back((offset, id_hash));
        self.newest.insert(id_hash, offset).is_none()
    }

    /// Takes out of what was read what stands there a second time: it becomes a hole before the next event.
    pub(super) fn sift(&mut self, events: &mut Vec<Stored>, vacant: &mut Option<GapReason>) {
        let mut hole = None;
        events.retain_mut(|event| {
            let is_new = self.is_new(event.id_hash, event.offset);
            hole = match is_new {
                true => {
                    event.vacant = merged(hole, event.vacant);
                    None
                }
                false => merged(hole, event.vacant.or(Some(GapReason::Duplicate))),
            };
            is_new
        });
        *vacant = merged(hole, *vacant);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever begins in the middle, with the offsets before it, says the same as who came from the beginning.
        #[test]
        fn it_is_decided_by_the_offsets_before_alone(
            ids in prop::collection::vec(0_u64..6, 1..60), width in 1_u64..12, began in 0_u64..60, from in 0_usize..60,
        ) {
            let decide = |recent: &mut Recent, range: std::ops::Range<usize>| -> Vec<bool> {
                range.map(|offset| recent.is_new(ids[offset], offset as u64)).collect()
            };
            let all = decide(&mut Recent::new(width, began), 0..ids.len());
            for (offset, &is_new) in all.iter().enumerate() {
                let least = if offset as u64 >= began { began } else { 0 };
                let before = (offset as u64).saturating_sub(width).max(least) as usize..offset;
                prop_assert_eq!(is_new, ids[offset] == 0 || !ids[before].contains(&ids[offset]), "offset {}", offset);
            }
            let from = from.min(ids.len());
            let mut later = Recent::new(width, began);
            let since = later.since(from as u64) as usize;
            decide(&mut later, since.min(from)..from);
            prop_assert_eq!(&decide(&mut later, from..ids.len())[..], &all[from..]);
        }
    }

    #[test]
    fn memory_is_bounded_by_the_width() {
        let mut recent = Recent::new(width(1), 0);
        for offset in 0..REMEMBERED * 2 {
            assert!(recent.is_new(offset + 1, offset));
        }
        let most = usize::try_from(REMEMBERED).unwrap() + 1;
        assert_eq!((recent.order.len(), recent.newest.len()), (most, most));
        assert_eq!((width(4), width(0), width(10_000)), (4096, REMEMBERED, LEAST));
    }
}
