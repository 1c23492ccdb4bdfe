//! Apache Kafka: Freshet's own topics are kept by a cluster, and topics that others write to can be watched.
//!
//! - *Names.* Freshet's topics stand in the cluster under a prefix (`kafka/names.rs`) and are made where they are not there.
//!   Topics to be watched are named as they are there, only read, and never made.
//! - *Order* holds within a partition. Events with the same key share one; those without a key go anywhere.
//! - *Acknowledged* means that all replicas in sync have it. There is no transaction around a batch: when it fails, some of its
//!   events may be in the log. The producer is idempotent, so librdkafka's own tries leave no duplicate; a second publish with the
//!   same key does, and it has the same id.
//! - *Time of ingest* is the record's time stamp: the brokers' clock for Freshet's topics, whatever their producers say for others.
//!   The event has the same bytes for every process and at every replay.
//! - *Epoch* is the topic's id in the cluster, so that a topic that was deleted and made again is another log.
//!
//! The brokers may be away at any time, also at the start: the state says so, and it goes on by itself when they are back.
//! Nothing here blocks a thread of the runtime.

mod client;
mod cluster;
mod follow;
mod history;
mod keeper;
mod names;
mod publish;
mod record;
mod topics;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use freshet_wire::{Cursor, Engine, Receipt, Retention, TopicKind};
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

use self::client::{Health, Setup};
use self::cluster::{Cluster, Policy, until};
use self::follow::Follower;
use self::history::Readers;
use self::keeper::Keeper;
use self::publish::Publisher;
use self::topics::{Log, Place, Topic, Topics};
use super::{Answer, Budget, Capabilities, Chunk, Extent, Kept, PubSub, PubSubError, Publication, Sink, TopicSpec};
use crate::config::KafkaConfig;

const NAME: &str = "kafka";

/// An event that no broker confirmed for so long is refused.
const DELIVERY: Duration = Duration::from_secs(30);

/// How long a question to the cluster may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long what waits for the brokers may hold up the end.
const CLOSING: Duration = Duration::from_secs(3);

/// Topics that are open at most.
const MAX_TOPICS: usize = 256;

/// Kafka's own topics begin so.
const INTERNAL: &str = "__";

/// A cluster, as one process uses it.
pub struct Kafka {
    config: KafkaConfig,
    health: Arc<Health>,
    topics: Arc<Topics>,
    cluster: Arc<Cluster>,
    follower: Arc<Follower>,
    publisher: Arc<Publisher>,
    readers: Arc<Readers>,
    keeper: Arc<Keeper>,
    closed: Arc<AtomicBool>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("config", &self.config.brokers)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// Sets the clients up; what they say of the brokers is in the state. To be called in the runtime.
    pub fn open(config: &KafkaConfig, node: &str) -> Result<Self, PubSubError> {
        if !names::is_legal(&config.prefix) || config.prefix.starts_with(INTERNAL) {
            return Err(PubSubError::Unavailable(format!(
                "pubsub.prefix {:?}: one or more of a-z A-Z 0-9 . _ -, and not {INTERNAL} at its beginning",
                config.prefix
            )));
        }
        if let Some(name) = config.watch.iter().find(|name| !names::is_legal(name)) {
            return Err(PubSubError::Unavailable(format!(
                "pubsub.watch: {name:?} cannot be a topic of a Kafka cluster"
            )));
        }
        for (field, number) in [("partitions", config.partitions), ("replication", config.replication)] {
            if !(1..=Cursor::MAX_PARTITIONS).contains(&(number as usize)) {
                return Err(PubSubError::Unavailable(format!(
                    "pubsub.{field} is {number}; it must be from 1 to {}",
                    Cursor::MAX_PARTITIONS
                )));
            }
        }
        let setup = Setup::new(config, node)?;
        let (look, looked) = sync_channel(1);
        let health = Arc::new(Health::new(look));
        let topics = Arc::new(Topics::default());
        let cannot = |error: KafkaError| PubSubError::Unavailable(error.to_string());
        let cluster = Arc::new(Cluster::new(&setup, &health).map_err(cannot)?);
        let follower = Arc::new(Follower::new(&setup, &health, &topics).map_err(cannot)?);
        let publisher = Arc::new(Publisher::new(&setup, &health).map_err(cannot)?);
        let readers = Arc::new(Readers::new(&setup, &health));
        let keeper = Arc::new(Keeper {
            health: Arc::clone(&health),
            cluster: Arc::clone(&cluster),
            topics: Arc::clone(&topics),
            follower: Arc::clone(&follower),
            publisher: Arc::clone(&publisher),
            readers: Arc::clone(&readers),
            retentions: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let kafka = Self {
            config: config.clone(),
            health,
            topics,
            cluster,
            follower,
            publisher,
            readers,
            keeper,
            closed: Arc::new(AtomicBool::new(false)),
            threads: Arc::default(),
        };
        let (follower, keeper) = (Arc::clone(&kafka.follower), Arc::clone(&kafka.keeper));
        kafka.spawn("kafka-follow", move || follower.run())?;
        kafka.spawn("kafka-keep", move || keeper.run(&looked))?;
        Ok(kafka)
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), PubSubError> {
        let thread = Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error: io::Error| PubSubError::Unavailable(error.to_string()))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn check(&self) -> Result<(), PubSubError> {
        match self.closed.load(Relaxed) {
            true => Err(PubSubError::Closed),
            false => self.health.check(),
        }
    }

    fn is_watched(&self, name: &str) -> bool {
        self.config.watch.iter().any(|watched| watched == name)
    }

    /// The topic's name in the cluster.
    fn spell(&self, name: &str) -> Result<String, PubSubError> {
        if self.is_watched(name) {
            return Ok(name.to_owned());
        }
        names::spell(&self.config.prefix, name).ok_or_else(|| {
            PubSubError::Unavailable(format!(
                "topic {name:?} cannot be kept in Kafka: with its prefix, and its letters beyond ASCII spelled out, it is too long a name there"
            ))
        })
    }

    fn open_topic(&self, spec: &TopicSpec) -> Result<Opening, PubSubError> {
        self.check()?;
        if self.topics.get(&spec.name).is_ok() {
            return Err(PubSubError::Unavailable(format!(
                "topic {:?} is open already",
                spec.name
            )));
        }
        if self.topics.len() >= MAX_TOPICS {
            return Err(PubSubError::TooManyTopics(MAX_TOPICS));
        }
        Ok(Opening {
            spelled: self.spell(&spec.name)?,
            watched: self.is_watched(&spec.name),
            name: spec.name.clone(),
            policy: Policy {
                kind: spec.kind,
                retention: spec.retention,
            },
            partitions: self.config.partitions,
            replication: self.config.replication,
            cluster: Arc::clone(&self.cluster),
            follower: Arc::clone(&self.follower),
            readers: Arc::clone(&self.readers),
            topics: Arc::clone(&self.topics),
        })
    }
}

/// A topic that is about to be opened.
struct Opening {
    name: String,
    spelled: String,
    watched: bool,
    policy: Policy,
    partitions: u32,
    replication: u32,
    cluster: Arc<Cluster>,
    follower: Arc<Follower>,
    readers: Arc<Readers>,
    topics: Arc<Topics>,
}

impl Opening {
    fn run(self, sink: Arc<dyn Sink>) -> Result<(), PubSubError> {
        let cannot = |error: KafkaError| {
            PubSubError::Unavailable(format!("topic {:?} cannot be opened: {}", self.name, words(&error)))
        };
        let cluster = &self.cluster;
        let described = || {
            let found = cluster.describe(&[&self.spelled], ANSWER)?;
            found.into_iter().next().ok_or(KafkaError::Canceled)
        };
        let found = described().map_err(cannot)?;
        match found.error {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) if self.watched => {
                return Err(PubSubError::UnknownTopic(self.name));
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => cluster
                .make(&self.spelled, self.partitions, self.replication, self.policy, ANSWER)
                .map_err(cannot)?,
            Some(code) => return Err(cannot(KafkaError::AdminOp(code))),
            None if found.partitions > Cursor::MAX_PARTITIONS => {
                return Err(PubSubError::Unavailable(format!(
                    "topic {:?} has {} partitions; {} is the most that can be followed",
                    self.name,
                    found.partitions,
                    Cursor::MAX_PARTITIONS
                )));
            }
            None => {}
        }
        // A topic that was made a moment ago has its leaders a moment later.
        let log = until(ANSWER, |left| {
            let found = described()?;
            if found.error.is_some() || !found.is_led {
                return Ok(None);
            }
            let partitions: Vec<u32> = (0..).take(found.partitions).collect();
            let extents = cluster.extents(&self.spelled, &partitions, left)?;
            Ok(Some(Log {
                id: found.id,
                rewound: 0,
                partitions: extents.into_iter().map(Place::from).collect(),
            }))
        });
        let log = log.map_err(cannot)?;
        let topic = Topic::new(
            self.name.clone(),
            self.spelled.clone(),
            self.policy.kind,
            self.watched,
            sink,
            log,
        );
        // What a leader of before may still append is told by what another one has appended already.
        let places = topic.log().partitions;
        let marks = places.iter().zip(0..).map(|(place, partition)| {
            let extent = Extent {
                first: place.first,
                next: place.next,
            };
            self.readers.marks(&topic, partition, extent, ANSWER)
        });
        topic.learn(marks.collect::<Result<_, _>>().map_err(cannot)?);
        let topic = Arc::new(topic);
        self.topics.insert(Arc::clone(&topic));
        if let Err(error) = self.follower.add(&topic) {
            self.topics.remove(&self.name);
            return Err(cannot(error));
        }
        Ok(())
    }
}

/// An error in librdkafka's words, without rdkafka's around them.
fn words(error: &KafkaError) -> String {
    match error {
        KafkaError::AdminOp(code) | KafkaError::OffsetFetch(code) => code.to_string(),
        _ => match error.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => error.to_string(),
        },
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, PubSubError> + Send + 'static,
) -> Result<T, PubSubError> {
    let done = tokio::task::spawn_blocking(run).await;
    done.unwrap_or_else(|error| Err(PubSubError::Unavailable(error.to_string())))
}

fn ready<T: Send + 'static>(result: Result<T, PubSubError>) -> Answer<'static, Result<T, PubSubError>> {
    Box::pin(std::future::ready(result))
}

impl PubSub for Kafka {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            idempotent: false,
            creates_topics: true,
            retains: true,
            microseconds: false,
        }
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.health.status()
    }

    fn known(&self) -> Answer<'_, Result<Vec<TopicSpec>, PubSubError>> {
        if let Err(error) = self.check() {
            return ready(Err(error));
        }
        let cluster = Arc::clone(&self.cluster);
        let config = self.config.clone();
        Box::pin(blocking(move || known(&cluster, &config)))
    }

    fn open(&self, spec: TopicSpec, sink: Arc<dyn Sink>) -> Answer<'_, Result<(), PubSubError>> {
        match self.open_topic(&spec) {
            Ok(opening) => Box::pin(blocking(move || opening.run(sink))),
            Err(error) => ready(Err(error)),
        }
    }

    fn publish(&self, topic: &str, publication: Publication) -> Answer<'static, Result<Vec<Receipt>, PubSubError>> {
        if self.closed.load(Relaxed) {
            return ready(Err(PubSubError::Closed));
        }
        let topic = match self.topics.get(topic) {
            Ok(topic) if topic.watched => return ready(Err(PubSubError::ReadOnly(topic.name.clone()))),
            Ok(topic) => topic,
            Err(error) => return ready(Err(error)),
        };
        // A compacted topic takes no event without a key; of a state there is one value.
        let key = (topic.kind == TopicKind::State).then_some(&*topic.name);
        let settled = match self.publisher.send(&topic.spelled, key, &publication) {
            Ok(settled) => settled,
            Err(error) => return ready(Err(error)),
        };
        Box::pin(async move {
            let sent = settled.await.unwrap_or(Err(PubSubError::Closed))?;
            let epoch = topic.epoch();
            let receipts = sent.into_iter().map(|sent| Receipt {
                topic: topic.name.clone(),
                epoch,
                partition: sent.partition,
                offset: sent.offset,
                id: sent.id,
                duplicate: false,
            });
            Ok(receipts.collect())
        })
    }

    fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        budget: Budget,
    ) -> Answer<'static, Result<Chunk, PubSubError>> {
        let topic = match self.check().and_then(|()| self.topics.get(topic)) {
            Ok(topic) => topic,
            Err(error) => return ready(Err(error)),
        };
        if partition as usize >= topic.partitions() {
            let why = format!("topic {:?} has no partition {partition}", topic.name);
            return ready(Err(PubSubError::Unavailable(why)));
        }
        let (readers, cluster) = (Arc::clone(&self.readers), Arc::clone(&self.cluster));
        Box::pin(async move {
            let turn = Arc::clone(&readers.turns).acquire_owned().await;
            blocking(move || {
                let _turn = turn;
                let chunk = readers.read(&cluster, &topic, partition, from, budget, ANSWER);
                chunk.map_err(|error| {
                    let words = words(&error);
                    PubSubError::Unavailable(format!("topic {:?} cannot be read now: {words}", topic.name))
                })
            })
            .await
        })
    }

    fn at(&self, topic: &str, time_us: i64) -> Answer<'static, Result<Vec<u64>, PubSubError>> {
        let topic = match self.check().and_then(|()| self.topics.get(topic)) {
            Ok(topic) => topic,
            Err(error) => return ready(Err(error)),
        };
        let cluster = Arc::clone(&self.cluster);
        Box::pin(blocking(move || {
            let partitions: Vec<u32> = (0..).take(topic.partitions()).collect();
            let time_ms = time_us.saturating_add(999).div_euclid(1000);
            let found = cluster
                .extents(&topic.spelled, &partitions, ANSWER)
                .and_then(|extents| Ok((extents, cluster.at(&topic.spelled, &partitions, time_ms, ANSWER)?)));
            let (extents, found) = found.map_err(|error| {
                let words = words(&error);
                PubSubError::Unavailable(format!("topic {:?} cannot be searched now: {words}", topic.name))
            })?;
            let pairs = found.into_iter().zip(extents);
            Ok(pairs
                .map(|(found, extent): (_, Extent)| found.unwrap_or(extent.next))
                .collect())
        }))
    }

    fn kept(&self, topic: &str) -> Kept {
        // The protocol that librdkafka speaks tells neither bytes nor age.
        Kept {
            fenced: self.topics.get(topic).map_or(0, |topic| topic.fenced()),
            ..Kept::default()
        }
    }

    fn retain(&self, topic: &str, retention: Retention) {
        if self.topics.get(topic).is_ok_and(|topic| !topic.watched) {
            self.keeper.retentions.lock().insert(topic.to_owned(), retention);
            self.health.look();
        }
    }

    fn close(&self) -> Answer<'_, ()> {
        self.closed.store(true, Relaxed);
        let publisher = Arc::clone(&self.publisher);
        let threads = Arc::clone(&self.threads);
        let (follower, keeper, health) = (
            Arc::clone(&self.follower),
            Arc::clone(&self.keeper),
            Arc::clone(&self.health),
        );
        Box::pin(async move {
            let closed = blocking(move || {
                if let Err(error) = publisher.flush(CLOSING) {
                    tracing::warn!(%error, "not all that was published was confirmed before the end");
                }
                stop(&follower, &keeper, &health);
                for thread in threads.lock().drain(..) {
                    let _ = thread.join();
                }
                Ok(())
            });
            let _ = closed.await;
        })
    }
}

fn stop(follower: &Follower, keeper: &Keeper, health: &Health) {
    follower.stop();
    keeper.stop.store(true, Relaxed);
    health.look();
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The threads hold what they need, and let go of it when they have ended.
        stop(&self.follower, &self.keeper, &self.health);
    }
}

/// Freshet's own topics in the cluster, and those that are to be watched.
fn known(cluster: &Cluster, config: &KafkaConfig) -> Result<Vec<TopicSpec>, PubSubError> {
    let cannot =
        |error: KafkaError| PubSubError::Unavailable(format!("Kafka does not tell of its topics: {}", words(&error)));
    let in_cluster = cluster.names(ANSWER).map_err(cannot)?;
    // By their names in the cluster and here.
    let mut topics: Vec<(String, String)> = in_cluster
        .into_iter()
        .filter_map(|spelled| {
            let name = names::read(&config.prefix, &spelled)?;
            // A name here means one topic, and what is watched was asked for by name.
            (!config.watch.contains(&name)).then_some((spelled, name))
        })
        .collect();
    topics.sort();
    let room = MAX_TOPICS.saturating_sub(config.watch.len());
    if topics.len() > room {
        tracing::warn!(
            there = topics.len(),
            opened = room,
            "there are more topics than are opened"
        );
        topics.truncate(room);
    }
    let own = topics.len();
    topics.extend(config.watch.iter().map(|name| (name.clone(), name.clone())));
    let spelled: Vec<&str> = topics.iter().map(|(spelled, _)| &**spelled).collect();
    // Who may not ask for the policies may read nevertheless.
    let policies = match spelled.is_empty() {
        true => Vec::new(),
        false => cluster.policies(&spelled, ANSWER).unwrap_or_else(|error| {
            tracing::debug!(%error, "Kafka does not tell how long it keeps its topics");
            Vec::new()
        }),
    };
    let specs = topics.into_iter().enumerate().map(|(index, (_, name))| {
        let policy = policies.get(index).copied().flatten();
        let own = index < own;
        TopicSpec {
            name,
            // Of a watched topic each event counts, however the cluster keeps it.
            kind: policy.filter(|_| own).map_or(TopicKind::Log, |policy| policy.kind),
            synthetic: false,
            writable: own,
            retention: policy.map(|policy| policy.retention).unwrap_or_default(),
        }
    });
    Ok(specs.collect())
}
