//! A ring of the newest items.

/// The newest `capacity` items, in the order in which they came. Memory grows to the capacity only as it is used.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    items: Vec<T>,
    /// Where the oldest is, once the ring is full.
    oldest: usize,
    capacity: usize,
}

impl<T> Ring<T> {
    /// Keeps at most `capacity` items, and at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            items: Vec::new(),
            oldest: 0,
            capacity: capacity.max(1),
        }
    }

    /// Adds the newest; a full ring drops its oldest.
    pub fn push(&mut self, item: T) {
        if self.items.len() < self.capacity {
            self.items.push(item);
        } else {
            self.items[self.oldest] = item;
            self.oldest = (self.oldest + 1) % self.capacity;
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn clear(&mut self) {
        self.items.clear();
        self.oldest = 0;
    }

    pub fn newest(&self) -> Option<&T> {
        self.iter_back().next()
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let (newer, older) = self.items.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// From the newest to the oldest.
    pub fn iter_back(&self) -> impl Iterator<Item = &T> {
        self.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ring_keeps_the_newest_in_order(items in prop::collection::vec(any::<u16>(), 0..100), capacity in 1..20usize) {
            let mut ring = Ring::new(capacity);
            items.iter().for_each(|item| ring.push(*item));
            let kept = &items[items.len().saturating_sub(capacity)..];
            prop_assert_eq!(ring.iter().copied().collect::<Vec<_>>(), kept);
            prop_assert_eq!(ring.iter_back().copied().collect::<Vec<_>>(), kept.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(ring.len(), kept.len());
            prop_assert_eq!(ring.newest(), kept.last());
        }
    }
}
