//! The ids seen last, for telling an event that the engine holds twice.

use std::collections::{HashSet, VecDeque};

/// Ids that are remembered: a second event with the same id is told among so many events of its topic.
pub(super) const REMEMBERED: usize = 16_384;

/// A bounded set; the oldest ids go first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<u64>,
    ids: HashSet<u64>,
}

impl Recent {
    /// Whether this id is new. 0 stands for no id, and is always new.
    pub(super) fn is_new(&mut self, id_hash: u64) -> bool {
        if id_hash == 0 {
            return true;
        }
        if !self.ids.insert(id_hash) {
            return false;
        }
        self.order.push_back(id_hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_within_the_window_and_memory_is_bounded() {
        let mut recent = Recent::default();
        for id in 1..=REMEMBERED as u64 * 2 {
            assert!(recent.is_new(id));
            assert!(!recent.is_new(id));
        }
        assert_eq!((recent.order.len(), recent.ids.len()), (REMEMBERED, REMEMBERED));
        assert!(!recent.is_new(REMEMBERED as u64 + 1), "the oldest that is remembered");
        assert!(recent.is_new(1), "long gone");
        assert!(recent.is_new(0) && recent.is_new(0));
    }
}
