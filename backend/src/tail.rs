//! The tail: the recent events of every topic, in memory, each encoded once; what is older, it has from the engine.
//!
//! Every delivery reads here and nowhere else; so what polling and streaming deliver is the same data by
//! construction. Memory is bounded by bytes a topic, whoever reads or does not: a reader that lags behind
//! holds no queue of its own, it only falls out of the window, and reads on from the engine's log, at a pace that leaves the
//! others alone; what is not there any more either, it is told as a gap.

mod listing;
mod meter;
mod pace;
mod reading;
mod recent;
mod scan;
mod topic;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_wire::{Topic as TopicInfo, TopicKind, TopicScope};
use parking_lot::RwLock;
use tokio::sync::Semaphore;

pub use crate::pubsub::Budget;
use crate::pubsub::{Kept, PubSub, PubSubError, TopicSpec};
pub use listing::Room;
pub(crate) use pace::Pace;
pub use reading::{Batch, History, Place, ReadError, Reading, Replay};
use scan::Scans;
use topic::Waiting;
pub use topic::{Topic, Watch};

/// What a state topic may hold: some seconds for a reader that comes now and then, and no history.
const STATE_BYTES: usize = 256 << 10;

/// See [`Tail::opening`].
const MOST_OPENING: usize = 16;

/// All topics of this process, by name.
#[derive(Debug)]
pub struct Tail {
    topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
    engine: Arc<dyn PubSub>,
    window_bytes: usize,
    pace: Pace,
    scans: Scans,
    /// Every reader that waits, whatever it waits for.
    waiting: Arc<Waiting>,
    /// Topics that may be opened at once: one that its engine is slow with does not hold up the others.
    opening: Semaphore,
}

impl Tail {
    /// `window_bytes` is what a topic may hold, all its partitions together, in bytes of encoded events; `replay_bytes_per_s` bounds what is read
    /// from the engine for those who are not in the window.
    pub fn new(engine: Arc<dyn PubSub>, window_bytes: usize, replay_bytes_per_s: u64) -> Self {
        Self {
            topics: RwLock::default(),
            engine,
            window_bytes,
            pace: Pace::new(replay_bytes_per_s),
            scans: Scans::default(),
            waiting: Arc::default(),
            opening: Semaphore::new(MOST_OPENING),
        }
    }

    /// The local topic of this name, made now if there is none.
    pub fn local(&self, name: &str, kind: TopicKind) -> Arc<Topic> {
        let mut topics = self.topics.write();
        if let Some(topic) = topics.get(name) {
            return Arc::clone(topic);
        }
        let topic = Arc::new(Topic::local(name, kind, self.max_bytes(kind)));
        topics.insert(Arc::clone(topic.name()), Arc::clone(&topic));
        topic
    }

    /// The shared topic of this name, which can be read at once; there is nothing in it until [`Self::open`] has opened it.
    pub fn declare(&self, spec: &TopicSpec) -> Arc<Topic> {
        self.find_or_declare(spec).0
    }

    /// And whether it was declared by this call.
    fn find_or_declare(&self, spec: &TopicSpec) -> (Arc<Topic>, bool) {
        let mut topics = self.topics.write();
        if let Some(topic) = topics.get(&*spec.name) {
            return (Arc::clone(topic), false);
        }
        let topic = Arc::new(Topic::shared(spec, self.engine.keeps(), self.max_bytes(spec.kind)));
        topics.insert(Arc::clone(topic.name()), Arc::clone(&topic));
        (topic, true)
    }

    /// The shared topic of this name, opened with the engine now if that has not been done.
    pub async fn open(&self, spec: TopicSpec) -> Result<Arc<Topic>, PubSubError> {
        loop {
            let (topic, is_new) = self.find_or_declare(&spec);
            if self.open_declared(&spec, &topic, is_new).await? {
                return Ok(topic);
            }
        }
    }

    /// Opens a topic that was declared; one that was taken away since is not made again.
    pub async fn open_known(&self, spec: &TopicSpec) -> Result<(), PubSubError> {
        match self.topic(&spec.name) {
            Some(topic) => self.open_declared(spec, &topic, false).await.map(drop),
            None => Ok(()),
        }
    }

    /// `false` if it was taken away meanwhile, by whoever had declared it and could not open it, or with all that was kept of it.
    async fn open_declared(&self, spec: &TopicSpec, topic: &Arc<Topic>, is_new: bool) -> Result<bool, PubSubError> {
        // One at a time, so that it is not opened twice.
        let _one = topic.opening.lock().await;
        if topic.is_open() {
            return Ok(true);
        }
        if !self.topic(&spec.name).is_some_and(|known| Arc::ptr_eq(&known, topic)) {
            return Ok(false);
        }
        let _some = self.opening.acquire().await;
        let sink = Arc::clone(topic) as Arc<dyn crate::pubsub::Sink>;
        if let Err(error) = self.engine.open(spec.clone(), sink).await {
            if is_new {
                self.topics.write().remove(&**topic.name());
            } else {
                topic.not_opened(&error);
            }
            return Err(error);
        }
        topic.opened();
        Ok(true)
    }

    /// Takes a shared topic away, with all that the engine keeps of it, also one that cannot be opened. Who reads it is told so; who asks for
    /// it from now on is told that there is none. Not to be dropped half-way.
    pub async fn remove(&self, name: &str) -> Result<(), PubSubError> {
        let unknown = || PubSubError::UnknownTopic(name.to_owned());
        let topic = self.topic(name).ok_or_else(unknown)?;
        // Not while it is being opened, and not twice.
        let _one = topic.opening.lock().await;
        if !self.topic(name).is_some_and(|known| Arc::ptr_eq(&known, &topic)) {
            return Err(unknown());
        }
        // Who publishes meanwhile has it opened first: that waits until this one is gone, and makes another.
        let was_open = topic.is_open();
        topic.set_open(false);
        if let Err(error) = self.engine.remove(name).await {
            topic.set_open(was_open);
            return Err(error);
        }
        self.topics.write().remove(name);
        topic.removed();
        Ok(())
    }

    fn max_bytes(&self, kind: TopicKind) -> usize {
        match kind {
            TopicKind::Log => self.window_bytes,
            TopicKind::State => self.window_bytes.min(STATE_BYTES),
        }
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// In the order of their names.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().values().cloned().collect()
    }

    /// What is said of each, in the order of their names.
    pub fn describe(&self, now_us: i64) -> Vec<TopicInfo> {
        let topics = self.topics();
        let topics = topics.iter();
        topics
            .map(|topic| topic.describe(kept(&self.engine, topic), now_us))
            .collect()
    }

    pub fn engine(&self) -> &Arc<dyn PubSub> {
        &self.engine
    }

    /// Wakes every reader: there is something to know that is no event.
    pub fn wake_all(&self) {
        self.waiting.wake();
    }

    pub fn window_bytes(&self) -> usize {
        self.window_bytes
    }
}

/// What the engine tells of a topic; nothing, where it has none of it.
fn kept(engine: &Arc<dyn PubSub>, topic: &Topic) -> Kept {
    match topic.scope() {
        TopicScope::Shared => engine.kept(topic.name()),
        TopicScope::Local => Kept::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::contract::spec;
    use crate::pubsub::memory::Memory;

    #[tokio::test]
    async fn a_topic_that_was_taken_away_is_not_made_again_by_whoever_knew_of_it() {
        let tail = Tail::new(Arc::new(Memory::forgetful()), 1 << 20, 1 << 20);
        let spec = spec("t");
        tail.open_known(&spec).await.unwrap();
        assert!(tail.topic("t").is_none(), "it was never declared");
        tail.declare(&spec);
        tail.open_known(&spec).await.unwrap();
        assert!(tail.topic("t").unwrap().is_open());
        tail.remove("t").await.unwrap();
        tail.open_known(&spec).await.unwrap();
        assert!(tail.topic("t").is_none());
    }
}
