//! The topics that are open: where each stands in its log, and the sink that it feeds.
//!
//! Only the follower moves a topic on, on its one thread; so what it tells the sink comes in order, though it holds no lock
//! meanwhile: who asks where the topic stands does not wait for the sink.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use freshet_wire::{Epoch, GapReason, TopicKind};
use parking_lot::{Mutex, RwLock};

use super::cluster::TopicId;
use super::record::Heard;
use crate::pubsub::fence::Marks;
use crate::pubsub::{Extent, LogExtent, PubSubError, Sink};

/// An open topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    /// Its name in the cluster.
    pub(super) spelled: String,
    pub(super) kind: TopicKind,
    /// Others write to it, and this service only reads it.
    pub(super) watched: bool,
    sink: Arc<dyn Sink>,
    log: Mutex<Log>,
    /// By partition: the newest token of what was pushed. The follower alone takes it.
    marks: Mutex<Vec<Marks>>,
    fenced: AtomicU64,
}

/// The log behind a topic.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) id: TopicId,
    /// How often its end was lost since this process knows it.
    pub(super) rewound: u64,
    pub(super) partitions: Vec<Place>,
}

impl Log {
    pub(super) fn epoch(&self) -> Epoch {
        self.id.epoch(self.rewound)
    }

    fn extent(&self) -> LogExtent {
        let extents = self.partitions.iter().map(|place| Extent {
            first: place.first,
            next: place.next,
        });
        LogExtent {
            epoch: self.epoch(),
            partitions: extents.collect(),
        }
    }
}

/// Where a topic stands in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) first: u64,
    /// The offset after the last one that was pushed.
    pub(super) next: u64,
    /// Why the next event's offset is not `next`, where that is known.
    pub(super) skipped: Option<GapReason>,
}

impl From<Extent> for Place {
    fn from(extent: Extent) -> Self {
        Self {
            first: extent.first,
            next: extent.next,
            skipped: None,
        }
    }
}

impl Topic {
    /// Tells the sink of its log.
    pub(super) fn new(
        name: String,
        spelled: String,
        kind: TopicKind,
        watched: bool,
        sink: Arc<dyn Sink>,
        log: Log,
    ) -> Self {
        sink.log(log.extent());
        Self {
            name,
            spelled,
            kind,
            watched,
            sink,
            log: Mutex::new(log),
            marks: Mutex::default(),
            fenced: AtomicU64::new(0),
        }
    }

    /// The marks of what stands in the log already, by partition.
    pub(super) fn learn(&self, marks: Vec<Marks>) {
        *self.marks.lock() = marks;
    }

    /// Events that a leader appended which led no more, since the topic is followed here.
    pub(super) fn fenced(&self) -> u64 {
        self.fenced.load(Relaxed)
    }

    pub(super) fn log(&self) -> Log {
        self.log.lock().clone()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.log.lock().epoch()
    }

    pub(super) fn partitions(&self) -> usize {
        self.log.lock().partitions.len()
    }

    /// Hands events on to the sink; those that it had already, of partitions that it does not know yet, or of a leader that led no more,
    /// are left out.
    pub(super) fn push(&self, events: Vec<Heard>) {
        let mut marks = self.marks.lock();
        let mut log = self.log.lock();
        let mut new = Vec::with_capacity(events.len());
        for Heard { mut event, token } in events {
            let Some(place) = log.partitions.get_mut(event.partition as usize) else {
                continue;
            };
            if event.offset < place.next {
                continue;
            }
            let skipped = place.skipped.take();
            if event.offset > place.next || skipped.is_some() {
                // Transactions leave marks in the log, and compaction holes.
                event.vacant = Some(skipped.unwrap_or(GapReason::Vacant));
            }
            place.next = event.offset + 1;
            let partition = event.partition as usize;
            if marks.len() <= partition {
                marks.resize_with(partition + 1, Marks::default);
            }
            if marks[partition].passes(token.as_ref()) {
                new.push(event);
            } else {
                self.fenced.fetch_add(1, Relaxed);
                // What retention took before it was read must not be hidden.
                place.skipped = event
                    .vacant
                    .filter(|reason| reason.is_loss())
                    .or(Some(GapReason::Fenced));
            }
        }
        drop((log, marks));
        if !new.is_empty() {
            self.sink.push(new);
        }
    }

    /// The oldest offset has moved on.
    pub(super) fn trim(&self, partition: u32, first: u64) {
        let mut log = self.log.lock();
        let Some(place) = log.partitions.get_mut(partition as usize) else {
            return;
        };
        if first <= place.first {
            return;
        }
        place.first = first;
        drop(log);
        self.sink.trim(partition, first);
    }

    /// Retention has passed by what was to be pushed next.
    pub(super) fn skip(&self, partition: u32, first: u64) {
        if let Some(place) = self.log.lock().partitions.get_mut(partition as usize) {
            place.skipped = Some(GapReason::Retention);
        }
        self.trim(partition, first);
    }

    /// More partitions, which begin at these offsets. What is in them already is pushed as well: the topic was open when it
    /// was written.
    pub(super) fn grow(&self, firsts: &[u64]) {
        let mut log = self.log.lock();
        let places = firsts.iter().map(|&first| Place::from(Extent { first, next: first }));
        log.partitions.extend(places);
        let extent = log.extent();
        drop(log);
        self.sink.log(extent);
    }

    /// Another log stands behind it.
    pub(super) fn begin(&self, new: Log) {
        let extent = new.extent();
        *self.log.lock() = new;
        self.marks.lock().clear();
        self.sink.log(extent);
    }
}

/// All open topics.
#[derive(Debug, Default)]
pub(super) struct Topics(RwLock<HashMap<String, Arc<Topic>>>);

impl Topics {
    pub(super) fn get(&self, name: &str) -> Result<Arc<Topic>, PubSubError> {
        let found = self.0.read().get(name).cloned();
        found.ok_or_else(|| PubSubError::UnknownTopic(name.to_owned()))
    }

    pub(super) fn spelled(&self, spelled: &str) -> Option<Arc<Topic>> {
        let topics = self.0.read();
        topics.values().find(|topic| topic.spelled == spelled).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.0.read().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().len()
    }

    pub(super) fn insert(&self, topic: Arc<Topic>) {
        self.0.write().insert(topic.name.clone(), topic);
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.write().remove(name);
    }
}
