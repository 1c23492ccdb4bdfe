//! An engine that is slow with some of its topics: those whose names begin with `slow` are opened, and searched by time, when it is let.

use std::sync::Arc;

use freshet::pubsub::memory::Memory;
use freshet::pubsub::{Answer, Budget, Capabilities, Chunk, Kept, PubSub, PubSubError, Publication, Sink, TopicSpec};
use freshet_wire::{Engine, Receipt, Retention};
use tokio::sync::watch;

use crate::{SOON, within};

/// A log in memory that keeps everything, and stands still where it is told to.
#[derive(Debug)]
pub struct Slow {
    log: Memory,
    is_held: watch::Sender<bool>,
    /// Calls that were held up so far.
    held: watch::Sender<usize>,
}

impl Default for Slow {
    fn default() -> Self {
        Self {
            log: Memory::default(),
            is_held: watch::Sender::new(true),
            held: watch::Sender::new(0),
        }
    }
}

impl Slow {
    /// Holds slow topics up from now on, or lets all go on.
    pub fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// Waits until so many calls have been held up.
    pub async fn has_held(&self, calls: usize) {
        let mut held = self.held.subscribe();
        let waiting = held.wait_for(|&held| held >= calls);
        within(SOON, "the engine to be asked", waiting).await.unwrap();
    }

    async fn pass(&self, topic: &str) {
        let mut is_held = self.is_held.subscribe();
        if topic.starts_with("slow") && *is_held.borrow() {
            self.held.send_modify(|held| *held += 1);
            is_held.wait_for(|&is_held| !is_held).await.unwrap();
        }
    }
}

/// The engine as a server of the tests takes it; what [`Slow`] is told, it does.
#[derive(Debug)]
pub struct SlowEngine(pub Arc<Slow>);

impl PubSub for SlowEngine {
    fn capabilities(&self) -> Capabilities {
        self.0.log.capabilities()
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.0.log.status()
    }

    fn known(&self) -> Answer<'_, Result<Vec<TopicSpec>, PubSubError>> {
        self.0.log.known()
    }

    fn open(&self, spec: TopicSpec, sink: Arc<dyn Sink>) -> Answer<'_, Result<(), PubSubError>> {
        Box::pin(async move {
            self.0.pass(&spec.name).await;
            self.0.log.open(spec, sink).await
        })
    }

    fn publish(&self, topic: &str, publication: Publication) -> Answer<'static, Result<Vec<Receipt>, PubSubError>> {
        self.0.log.publish(topic, publication)
    }

    fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        budget: Budget,
    ) -> Answer<'static, Result<Chunk, PubSubError>> {
        self.0.log.read(topic, partition, from, budget)
    }

    fn at(&self, topic: &str, time_us: i64) -> Answer<'static, Result<Vec<u64>, PubSubError>> {
        let (slow, topic) = (Arc::clone(&self.0), topic.to_owned());
        Box::pin(async move {
            slow.pass(&topic).await;
            slow.log.at(&topic, time_us).await
        })
    }

    fn kept(&self, topic: &str) -> Kept {
        self.0.log.kept(topic)
    }

    fn retain(&self, topic: &str, retention: Retention) {
        self.0.log.retain(topic, retention);
    }

    fn close(&self) -> Answer<'_, ()> {
        self.0.log.close()
    }
}
