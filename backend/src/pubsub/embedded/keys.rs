//! Keys of idempotency: what was published under each of them, and where it is.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pubsub::IDEMPOTENCY_WINDOW;

#[derive(Debug)]
pub(super) struct Keys {
    used: HashMap<Arc<str>, Used>,
    /// Oldest first, with the offset that tells an entry from a later one of the same key.
    order: VecDeque<(Arc<str>, u64)>,
    most: usize,
}

/// What was published under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Used {
    pub(super) offset: u64,
    pub(super) count: u32,
    pub(super) digest: [u8; 16],
    pub(super) at_us: i64,
}

impl Used {
    /// The offset after it.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.count)
    }

    pub(super) fn is_remembered(&self, now_us: i64) -> bool {
        self.at_us >= remembered_since(now_us)
    }
}

/// What was published before this is remembered no more.
pub(super) fn remembered_since(now_us: i64) -> i64 {
    now_us.saturating_sub_unsigned(IDEMPOTENCY_WINDOW.as_micros() as u64)
}

impl Keys {
    pub(super) fn new(most: usize) -> Self {
        Self {
            used: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    pub(super) fn get(&self, key: &str, now_us: i64) -> Option<Used> {
        self.used.get(key).copied().filter(|used| used.is_remembered(now_us))
    }

    pub(super) fn insert(&mut self, key: &str, used: Used, now_us: i64) {
        let key: Arc<str> = Arc::from(key);
        self.order.push_back((Arc::clone(&key), used.offset));
        self.used.insert(key, used);
        while let Some((key, offset)) = self.order.front() {
            let known = self.used.get(key).filter(|used| used.offset == *offset);
            match known {
                Some(known) if self.used.len() <= self.most && known.is_remembered(now_us) => break,
                Some(_) => _ = self.used.remove(key),
                // It was used again after it had been forgotten.
                None => {}
            }
            self.order.pop_front();
        }
    }

    /// Those whose events are at these offsets, oldest first.
    pub(super) fn within(&self, offsets: std::ops::Range<u64>, now_us: i64) -> Vec<(Arc<str>, Used)> {
        let there = self.order.iter().filter(|(_, offset)| offsets.contains(offset));
        let used = there.filter_map(|(key, offset)| Some((Arc::clone(key), *self.used.get(key)?, *offset)));
        used.filter(|(_, used, offset)| used.offset == *offset && used.is_remembered(now_us))
            .map(|(key, used, _)| (key, used))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 24 * 3_600_000_000;

    fn used(offset: u64, at_us: i64) -> Used {
        Used {
            offset,
            count: 1,
            digest: [0; 16],
            at_us,
        }
    }

    #[test]
    fn the_oldest_go_first_beyond_the_bound() {
        let mut keys = Keys::new(3);
        for offset in 0..10 {
            keys.insert(&offset.to_string(), used(offset, 0), 0);
        }
        let known: Vec<u64> = (0..10).filter(|key| keys.get(&key.to_string(), 0).is_some()).collect();
        assert_eq!(known, [7, 8, 9]);
        assert_eq!(keys.order.len(), 3);
    }

    #[test]
    fn a_key_is_forgotten_after_a_day_and_may_be_used_anew() {
        let mut keys = Keys::new(10);
        keys.insert("a", used(0, 0), 0);
        assert_eq!(keys.get("a", DAY_US), Some(used(0, 0)));
        assert_eq!(keys.get("a", DAY_US + 1), None);
        keys.insert("a", used(5, DAY_US + 1), DAY_US + 1);
        assert_eq!(keys.get("a", DAY_US + 2), Some(used(5, DAY_US + 1)));
        assert_eq!(keys.order.len(), 1);
        assert_eq!(keys.within(0..9, DAY_US).len(), 1);
    }
}
