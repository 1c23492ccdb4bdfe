//! The tail: the recent events of every topic, in memory, each encoded once.
//!
//! Every delivery reads here and nowhere else; so what polling and streaming deliver is the same data by
//! construction. Memory is bounded by bytes a topic, whoever reads or does not: a reader that lags behind
//! holds no queue of its own, it only falls out of the window, and is told so.

mod meter;
mod reading;
mod topic;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_wire::{TopicKind, TopicScope};
use parking_lot::RwLock;

pub use reading::{Batch, Budget, Place, ReadError, Reading};
use topic::Waiting;
pub use topic::{Draft, Topic, Watch};

/// What a state topic may hold: some seconds for a reader that comes now and then, and no history.
const STATE_BYTES: usize = 256 << 10;

/// All topics of this process, by name.
#[derive(Debug)]
pub struct Tail {
    topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
    window_bytes: usize,
    /// Every reader that waits, whatever it waits for.
    waiting: Arc<Waiting>,
}

impl Tail {
    /// `window_bytes` is what each topic may hold, in bytes of encoded events.
    pub fn new(window_bytes: usize) -> Self {
        Self {
            topics: RwLock::default(),
            window_bytes,
            waiting: Arc::default(),
        }
    }

    /// The topic of this name, made now if there is none.
    pub fn create(&self, name: &str, kind: TopicKind, scope: TopicScope, synthetic: bool) -> Arc<Topic> {
        let mut topics = self.topics.write();
        if let Some(topic) = topics.get(name) {
            return Arc::clone(topic);
        }
        let window_bytes = match kind {
            TopicKind::Log => self.window_bytes,
            TopicKind::State => self.window_bytes.min(STATE_BYTES),
        };
        let topic = Arc::new(Topic::new(name, kind, scope, synthetic, window_bytes));
        topics.insert(Arc::clone(topic.name()), Arc::clone(&topic));
        topic
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// In the order of their names.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().values().cloned().collect()
    }

    /// Wakes every reader: there is something to know that is no event.
    pub fn wake_all(&self) {
        self.waiting.wake();
    }

    pub fn window_bytes(&self) -> usize {
        self.window_bytes
    }
}
