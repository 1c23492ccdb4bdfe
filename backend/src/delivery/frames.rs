//! Messages that are the same for many readers, built once.
//!
//! Most readers of a topic stand at the same place: at its end. What one of them is sent next is what the others
//! are sent next, to the byte.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::readers::Delivered;

/// Messages remembered at once; readers with other topics find a slot of their own, as a rule.
const SLOTS: usize = 16;

/// Where a reader stands: topic and next offset, in the order in which it subscribed.
pub(super) type Places = Vec<(u32, u64)>;

/// A message that leads from some places to others.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) frame: Bytes,
    pub(super) delivered: Delivered,
    /// How many events on it leads, in the order of the places.
    pub(super) steps: Vec<u64>,
}

type Slot = Option<(Places, Arc<Shared>)>;

/// The messages built last.
#[derive(Debug, Default)]
pub struct Frames {
    slots: [Mutex<Slot>; SLOTS],
}

impl Frames {
    /// The message that was built last for a reader at these places.
    pub(super) fn find(&self, places: &Places) -> Option<Arc<Shared>> {
        let slot = self.slots[slot(places)].lock();
        slot.as_ref()
            .filter(|(known, _)| known == places)
            .map(|(_, shared)| Arc::clone(shared))
    }

    pub(super) fn keep(&self, places: Places, shared: Shared) {
        let slot = &self.slots[slot(&places)];
        *slot.lock() = Some((places, Arc::new(shared)));
    }
}

fn slot(places: &Places) -> usize {
    // By topics alone: of one set of topics only the newest message is of use.
    let topics = places
        .iter()
        .fold(0_u32, |sum, &(topic, _)| sum.wrapping_mul(31).wrapping_add(topic));
    topics as usize % SLOTS
}
