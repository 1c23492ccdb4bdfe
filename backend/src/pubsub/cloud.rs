//! Google Cloud Pub/Sub, which has no offsets: what a subscription brings is put into a log in the data folder, the spool, and
//! acknowledged once it is on disk there. Offsets, replay and epoch are the spool's, so they are this data folder's.
//!
//! ```text
//! publish ──▶ the service ──▶ this node's subscription (cloud/follow.rs) ──▶ spool ──▶ sink; then ack, and the receipt
//! ```
//!
//! - *Acknowledged* means that the service has it and that this node's spool has it on disk.
//! - *Duplicates.* Each message is put into the spool under its event's id, so one that comes twice is there once, also after a
//!   restart, within [`super::IDEMPOTENCY_WINDOW`].
//! - *Order.* The event's key is the ordering key; a state topic's events have one. What has no key may come in any order.
//! - *The service away*: the state says so, publishes are refused, and what the spool has is read on. It is tried again for ever.

mod follow;
mod health;
mod message;
mod names;
mod publish;
mod pull;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use freshet_wire::{Engine, EngineState, Receipt, Retention};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::follow::Clients;
use self::health::Health;
use self::publish::Topic;
use super::embedded::EmbeddedLog;
use super::{
    Answer, Budget, Capabilities, Chunk, Kept, LogExtent, PubSub, PubSubError, Publication, Sink, Stored, TopicSpec,
    id_hash,
};
use crate::config::CloudPubSubConfig;

const NAME: &str = "cloud-pubsub";

/// How long a question to the service may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long opening a topic waits for the service; what the spool has is there without it.
const READY: Duration = Duration::from_secs(10);

/// How long the end waits for what was published and did not come back yet. Those who publish were waited for before, 5 s
/// where [`crate::config::Limits::shutdown`] does not say otherwise: with this and the acknowledgements, that is shorter than the 10 s
/// after which a supervisor (Docker's `stop`) ends a process the hard way.
const COMING_BACK: Duration = Duration::from_secs(2);

/// How long it waits for the last acknowledgements.
const ACKNOWLEDGING: Duration = Duration::from_secs(1);

/// A project's topics, as one node uses them.
#[derive(Debug)]
pub struct CloudPubSub {
    shared: Arc<Shared>,
    topics: RwLock<HashMap<String, Open>>,
    closed: AtomicBool,
}

/// A topic that is open, and the task that follows it.
#[derive(Debug)]
struct Open {
    topic: Arc<Topic>,
    follower: JoinHandle<()>,
}

/// What all topics share.
#[derive(Debug)]
struct Shared {
    config: CloudPubSubConfig,
    node: String,
    spool: EmbeddedLog,
    health: Health,
    /// Made when they are first needed: finding credentials may take a while, and may fail.
    clients: OnceCell<Clients>,
    waiting: Arc<publish::Waiting>,
    /// Sources publish from threads of their own, which are in no runtime.
    runtime: Handle,
}

impl CloudPubSub {
    /// Opens the spool in this folder; what the service says is in the state. To be called in the runtime.
    pub fn open(config: &CloudPubSubConfig, folder: &Path, node: &str) -> Result<Self, PubSubError> {
        let wrong = |why: String| Err(PubSubError::Unavailable(why));
        if !names::is_prefix(&config.prefix) {
            return wrong(format!(
                "pubsub.prefix {:?}: a letter, then a-z A-Z 0-9 . _ -; 64 at most, and not goog at its beginning",
                config.prefix
            ));
        }
        if config.project.is_empty() || config.project.contains('/') {
            return wrong(format!("pubsub.project {:?} is no project's id", config.project));
        }
        if config.subscription_expiry_s < 24 * 3600 {
            return wrong("pubsub.subscription_expiry_s: a day (86400) is the least that the service takes".to_owned());
        }
        let spool = EmbeddedLog::open(folder, &config.spool)?;
        let health = Health::new(spool.status());
        Ok(Self {
            shared: Arc::new(Shared {
                config: config.clone(),
                node: node.to_owned(),
                spool,
                health,
                clients: OnceCell::new(),
                waiting: Arc::default(),
                runtime: Handle::current(),
            }),
            topics: RwLock::default(),
            closed: AtomicBool::new(false),
        })
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, PubSubError> {
        let topics = self.topics.read();
        let topic = topics.get(name).map(|open| Arc::clone(&open.topic));
        topic.ok_or_else(|| PubSubError::UnknownTopic(name.to_owned()))
    }
}

/// The spool knows a duplicate by its key; readers know it by its id's hash, as on every engine that gets events twice.
fn with_hashes(events: &mut [Stored]) {
    #[derive(serde::Deserialize)]
    struct Identified<'a> {
        #[serde(borrow)]
        id: std::borrow::Cow<'a, str>,
    }
    for event in events {
        event.id_hash = serde_json::from_slice::<Identified<'_>>(&event.json).map_or(0, |event| id_hash(&event.id));
    }
}

#[derive(Debug)]
struct Hashing(Arc<dyn Sink>);

impl Sink for Hashing {
    fn log(&self, log: LogExtent) {
        self.0.log(log);
    }

    fn push(&self, mut events: Vec<Stored>) {
        with_hashes(&mut events);
        self.0.push(events);
    }

    fn trim(&self, partition: u32, first: u64) {
        self.0.trim(partition, first);
    }
}

impl PubSub for CloudPubSub {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            idempotent: false,
            creates_topics: true,
            retains: true,
            microseconds: true,
        }
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.shared.health.watch()
    }

    fn known(&self) -> Answer<'_, Result<Vec<TopicSpec>, PubSubError>> {
        self.shared.spool.known()
    }

    fn open(&self, spec: TopicSpec, sink: Arc<dyn Sink>) -> Answer<'_, Result<(), PubSubError>> {
        Box::pin(async move {
            if self.closed.load(SeqCst) {
                return Err(PubSubError::Closed);
            }
            let topic = Topic::new(&self.shared, &spec)?;
            let name = spec.name.clone();
            self.shared.spool.open(spec, Arc::new(Hashing(sink))).await?;
            let topic = Arc::new(topic);
            let mut ready = topic.ready.subscribe();
            let follower = tokio::spawn(follow::run(Arc::clone(&self.shared), Arc::clone(&topic)));
            self.topics.write().insert(name, Open { topic, follower });
            // When the service is not there the topic is open nevertheless: what the spool has can be read.
            let mut state = self.shared.health.watch();
            let heard = async {
                tokio::select! {
                    _ = ready.wait_for(|&is_ready| is_ready) => {}
                    _ = state.wait_for(|engine| engine.state == EngineState::Down) => {}
                }
            };
            let _ = timeout(READY, heard).await;
            Ok(())
        })
    }

    fn publish(&self, topic: &str, publication: Publication) -> Answer<'static, Result<Vec<Receipt>, PubSubError>> {
        if self.closed.load(SeqCst) {
            return Box::pin(async { Err(PubSubError::Closed) });
        }
        let sent = self
            .topic(topic)
            .and_then(|topic| topic.publish(&self.shared, &publication));
        Box::pin(async move { sent?.await })
    }

    fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        budget: Budget,
    ) -> Answer<'static, Result<Chunk, PubSubError>> {
        let read = self.shared.spool.read(topic, partition, from, budget);
        Box::pin(async move {
            let mut chunk = read.await?;
            with_hashes(&mut chunk.events);
            Ok(chunk)
        })
    }

    fn at(&self, topic: &str, time_us: i64) -> Answer<'static, Result<Vec<u64>, PubSubError>> {
        self.shared.spool.at(topic, time_us)
    }

    fn kept(&self, topic: &str) -> Kept {
        self.shared.spool.kept(topic)
    }

    fn retain(&self, topic: &str, retention: Retention) {
        self.shared.spool.retain(topic, retention);
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, SeqCst);
            // What was handed over comes back still, and is answered; but not by a service that is away.
            let mut state = self.shared.health.watch();
            tokio::select! {
                _ = timeout(COMING_BACK, self.shared.waiting.empty()) => {}
                _ = state.wait_for(|engine| engine.state == EngineState::Down) => {}
            }
            let topics = std::mem::take(&mut *self.topics.write());
            // The last acknowledgements go out. Without them what is in the spool comes again, and is known then.
            let deadline = Instant::now() + ACKNOWLEDGING;
            for open in topics.values() {
                open.topic.stop.send_replace(true);
            }
            for Open { topic, mut follower } in topics.into_values() {
                if !*topic.ready.borrow() || timeout_at(deadline, &mut follower).await.is_err() {
                    follower.abort();
                    let _ = follower.await;
                }
                topic.close();
            }
            self.shared.spool.close().await;
        })
    }
}

impl Drop for CloudPubSub {
    fn drop(&mut self) {
        for open in self.topics.get_mut().values() {
            open.follower.abort();
        }
    }
}
