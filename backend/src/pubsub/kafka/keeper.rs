//! Looking after the cluster: whether it answers, and what has changed behind the open topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use freshet_wire::{Cursor, EngineState, Retention};
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::client::Health;
use super::cluster::{Cluster, Description, Policy};
use super::follow::{Change, Follower};
use super::history::Readers;
use super::publish::Publisher;
use super::topics::{Log, Place, Topic, Topics};
use crate::pubsub::Extent;

/// How often it looks when all is well.
const PEACE: Duration = Duration::from_secs(2);
/// How long it waits after a look that was not answered.
const TROUBLE: Duration = Duration::from_millis(200);

/// How long an answer may take: when all is well, where a busy cluster is no reason to call it away; and when there is a reason to ask.
const PATIENCE: Duration = Duration::from_secs(5);
const IMPATIENCE: Duration = Duration::from_millis(1500);

/// Looks after the cluster, on a thread of its own.
pub(super) struct Keeper {
    pub(super) health: Arc<Health>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) topics: Arc<Topics>,
    pub(super) follower: Arc<Follower>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) readers: Arc<Readers>,
    /// How much is to be kept of topics from now on.
    pub(super) retentions: Mutex<BTreeMap<String, Retention>>,
    pub(super) stop: AtomicBool,
}

/// Why a topic is not as it should be.
enum Trouble {
    /// The cluster says so.
    Told(String),
    /// It does not answer what is asked about it.
    Unanswered(KafkaError),
}

impl Keeper {
    /// Looks until it is stopped; `look` says that it should look now.
    pub(super) fn run(&self, look: &Receiver<()>) {
        let mut asked = true;
        while !self.stop.load(Relaxed) {
            self.cluster.listen(Instant::now());
            self.readers.sweep(Instant::now());
            if self.health.broken.swap(false, Relaxed)
                && let Err(error) = self.publisher.renew()
            {
                tracing::error!(%error, "there is no other producer to be had");
                self.health.broken.store(true, Relaxed);
            }
            let well = matches!(self.health.state(), EngineState::Up | EngineState::Degraded);
            self.look(if well && !asked { PATIENCE } else { IMPATIENCE });
            let wait = match self.health.state() {
                EngineState::Up | EngineState::Degraded => PEACE,
                _ => TROUBLE,
            };
            asked = match look.recv_timeout(wait) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    fn look(&self, bound: Duration) {
        let topics = self.topics.all();
        let names: Vec<&str> = topics.iter().map(|topic| &*topic.spelled).collect();
        let found = match self.cluster.describe(&names, bound) {
            Ok(found) => found,
            Err(error) => return self.health.silent(&error),
        };
        let astray = self.health.astray.swap(false, Relaxed);
        let mut trouble = Vec::new();
        for topic in &topics {
            let Some(found) = found.iter().find(|found| found.name == topic.spelled) else {
                continue;
            };
            let why = match self.compare(topic, found, astray, bound) {
                Ok(()) => continue,
                Err(Trouble::Told(why)) => why,
                // One broker of several may be gone, or all of them, since this look began: then nobody waits for each topic's answer.
                Err(Trouble::Unanswered(error)) => {
                    self.health.astray.fetch_or(astray, Relaxed);
                    match self.cluster.describe(&names, IMPATIENCE) {
                        Ok(_) => error.to_string(),
                        Err(error) => return self.health.silent(&error),
                    }
                }
            };
            trouble.push(format!("topic {:?}: {why}", topic.name));
        }
        self.health.answers(&trouble);
        self.retain(bound);
    }

    /// Compares a topic with what the cluster says of it, and has the follower take in what is different.
    fn compare(&self, topic: &Arc<Topic>, found: &Description, astray: bool, bound: Duration) -> Result<(), Trouble> {
        let told = |why: String| Err(Trouble::Told(why));
        match found.error {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return told("it is gone from the cluster".to_owned());
            }
            Some(code) => return told(code.to_string()),
            None if !found.is_led => return told("a partition has no leader".to_owned()),
            None if found.partitions > Cursor::MAX_PARTITIONS => {
                return told(format!("it has {} partitions now, which is too many", found.partitions));
            }
            None => {}
        }
        let changes = self.changes(topic, found, astray, bound);
        for change in changes.map_err(Trouble::Unanswered)? {
            self.follower.change(topic, change);
        }
        Ok(())
    }

    fn changes(&self, topic: &Topic, found: &Description, astray: bool, bound: Duration) -> KafkaResult<Vec<Change>> {
        let log = topic.log();
        let partitions: Vec<u32> = (0..).take(found.partitions).collect();
        let known = log.partitions.len();
        if found.id != log.id || found.partitions < known {
            tracing::warn!(topic = topic.name, "the topic was made anew");
            let firsts = self.cluster.firsts(&topic.spelled, &partitions, bound)?;
            return Ok(vec![Change::Begin(beginning(found, 0, &firsts))]);
        }
        if !astray {
            let firsts = self.cluster.firsts(&topic.spelled, &partitions, bound)?;
            let mut changes = trims(&log, &firsts);
            if found.partitions > known {
                changes.push(Change::Grow {
                    firsts: firsts[known..].to_vec(),
                });
            }
            return Ok(changes);
        }
        let extents = self.cluster.extents(&topic.spelled, &partitions, bound)?;
        let firsts: Vec<u64> = extents.iter().map(|extent| extent.first).collect();
        if log
            .partitions
            .iter()
            .zip(&extents)
            .any(|(place, extent)| place.next > extent.next)
        {
            // Offsets that were used are used again, by other events.
            tracing::error!(topic = topic.name, "the cluster lost the end of the log");
            return Ok(vec![Change::Begin(beginning(found, log.rewound + 1, &firsts))]);
        }
        let passed = |(place, partition): (&Place, u32)| {
            let first = *firsts.get(partition as usize)?;
            (place.next < first).then_some(Change::Skip { partition, first })
        };
        let mut changes: Vec<Change> = log.partitions.iter().zip(0..).filter_map(passed).collect();
        changes.extend(trims(&log, &firsts));
        if found.partitions > known {
            changes.push(Change::Grow {
                firsts: firsts[known..].to_vec(),
            });
        }
        Ok(changes)
    }

    /// Tells the cluster how much to keep of topics, where that has changed.
    fn retain(&self, bound: Duration) {
        let wanted = self.retentions.lock().clone();
        for (name, retention) in wanted {
            let Ok(topic) = self.topics.get(&name) else { continue };
            let policy = Policy {
                kind: topic.kind,
                retention,
            };
            let partitions = u32::try_from(topic.partitions()).unwrap_or(u32::MAX);
            match self.cluster.retain(&topic.spelled, partitions, policy, bound) {
                Ok(()) => {
                    let mut left = self.retentions.lock();
                    if left.get(&name) == Some(&retention) {
                        left.remove(&name);
                    }
                }
                Err(error) => tracing::warn!(topic = name, %error, "the cluster does not take the retention yet"),
            }
        }
    }
}

/// A log that is followed from its beginning: the topic was open when it began.
fn beginning(found: &Description, rewound: u64, firsts: &[u64]) -> Log {
    let places = firsts.iter().map(|&first| Place::from(Extent { first, next: first }));
    Log {
        id: found.id,
        rewound,
        partitions: places.collect(),
    }
}

fn trims(log: &Log, firsts: &[u64]) -> Vec<Change> {
    let places = log.partitions.iter().zip(firsts).zip(0..);
    places
        .filter(|((place, first), _)| **first > place.first)
        .map(|((_, &first), partition)| Change::Trim { partition, first })
        .collect()
}
