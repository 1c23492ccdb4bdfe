//! Messages that are the same for many readers, built once.
//!
//! Most readers of a topic stand at the same place: at its end. What one of them is sent next is what the others
//! are sent next, to the byte.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use parking_lot::Mutex;

/// Places remembered at once; readers with other topics or at other places find a slot of their own.
const SLOTS: usize = 16;

/// Where a reader stands: topic and next offset, in the order in which it subscribed.
pub(super) type Places = Vec<(u32, u64)>;

/// A message that leads from some places to others.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) frame: Bytes,
    pub(super) events: u64,
    /// How many events on it leads, in the order of the places.
    pub(super) steps: Vec<u64>,
}

/// The messages built last.
#[derive(Debug, Default)]
pub struct Frames {
    slots: [Mutex<Option<(Places, Shared)>>; SLOTS],
}

impl Frames {
    /// The message that was built last for a reader at these places.
    pub(super) fn find(&self, places: &Places) -> Option<Shared> {
        let slot = self.slots[slot(places)].lock();
        slot.as_ref()
            .filter(|(known, _)| known == places)
            .map(|(_, shared)| shared.clone())
    }

    pub(super) fn keep(&self, places: Places, shared: Shared) {
        let slot = &self.slots[slot(&places)];
        *slot.lock() = Some((places, shared));
    }
}

fn slot(places: &Places) -> usize {
    let mut hasher = DefaultHasher::new();
    // By topics alone: of one set of topics only the newest message is of use.
    places.iter().for_each(|(topic, _)| topic.hash(&mut hasher));
    (hasher.finish() % SLOTS as u64) as usize
}
