//! Following: one consumer reads what is appended to all open topics, and hands it to their sinks in order.
//!
//! It is told its partitions and offsets, joins no group and commits nothing: where it stands is this process's own business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use super::client::{Context, Health, Setup};
use super::record::{self, Heard, Origin};
use super::topics::{Log, Topic, Topics};

/// How long it waits for an event before it looks whether there is something else to do.
const TURN: Duration = Duration::from_millis(100);

/// Events and bytes that are handed on together, at most.
const TOGETHER_EVENTS: usize = 1000;
const TOGETHER_BYTES: usize = 1 << 20;

/// Something that is not as it was with a topic.
#[derive(Debug)]
pub(super) enum Change {
    /// The oldest offset has moved on.
    Trim { partition: u32, first: u64 },
    /// Retention has passed by the offset that was to be read next.
    Skip { partition: u32, first: u64 },
    /// It has more partitions, which begin at these offsets.
    Grow { firsts: Vec<u64> },
    /// Another log stands behind it.
    Begin(Log),
}

/// Reads what is appended to the open topics.
pub(super) struct Follower {
    consumer: BaseConsumer<Context>,
    topics: Arc<Topics>,
    /// Taken in between two reads, so that nothing of an old log is taken for the new one's.
    changes: Mutex<Vec<(Arc<Topic>, Change)>>,
    stop: AtomicBool,
}

impl Follower {
    pub(super) fn new(setup: &Setup, health: &Arc<Health>, topics: &Arc<Topics>) -> KafkaResult<Self> {
        Ok(Self {
            consumer: setup.live().create_with_context(Context(Arc::clone(health)))?,
            topics: Arc::clone(topics),
            changes: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Begins to follow a topic where it stands.
    pub(super) fn add(&self, topic: &Topic) -> KafkaResult<()> {
        let log = topic.log();
        let places = log.partitions.iter().zip(0..);
        self.assign(topic, places.map(|(place, partition)| (partition, place.next)))
    }

    pub(super) fn change(&self, topic: &Arc<Topic>, change: Change) {
        self.changes.lock().push((Arc::clone(topic), change));
    }

    /// Reads until it is stopped.
    pub(super) fn run(&self) {
        while !self.stop.load(Relaxed) {
            for (topic, change) in std::mem::take(&mut *self.changes.lock()) {
                if let Err(error) = self.apply(&topic, change) {
                    tracing::warn!(topic = topic.name, %error, "cannot follow what has changed");
                }
            }
            for (topic, events) in self.read() {
                topic.push(events);
            }
        }
    }

    /// Has [`Self::run`] end soon.
    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Waits for events and takes what is there with the first one, by topic.
    fn read(&self) -> Vec<(Arc<Topic>, Vec<Heard>)> {
        let mut found: Vec<(Arc<Topic>, Vec<Heard>)> = Vec::new();
        let (mut events, mut bytes, mut wait) = (0, 0, TURN);
        while let Some(message) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            // An error was told to the context already.
            let Ok(message) = message else { continue };
            events += 1;
            bytes += message.payload_len();
            self.take(&mut found, &message);
            if events >= TOGETHER_EVENTS || bytes >= TOGETHER_BYTES {
                break;
            }
        }
        found
    }

    fn take(&self, found: &mut Vec<(Arc<Topic>, Vec<Heard>)>, message: &BorrowedMessage<'_>) {
        let at = found.iter().position(|(topic, _)| topic.spelled == message.topic());
        let at = match (at, self.topics.spelled(message.topic())) {
            (Some(at), _) => at,
            (None, Some(topic)) => {
                found.push((topic, Vec::new()));
                found.len() - 1
            }
            (None, None) => return,
        };
        let (topic, events) = &mut found[at];
        let origin = Origin {
            topic: &topic.name,
            epoch: topic.epoch(),
            watched: topic.watched,
        };
        events.push(record::read(origin, message));
    }

    fn apply(&self, topic: &Topic, change: Change) -> KafkaResult<()> {
        match change {
            Change::Trim { partition, first } => topic.trim(partition, first),
            Change::Skip { partition, first } => {
                topic.skip(partition, first);
                self.leave(topic, [partition])?;
                self.assign(topic, [(partition, first)])?;
            }
            Change::Grow { firsts } => {
                let known = u32::try_from(topic.partitions()).unwrap_or(u32::MAX);
                topic.grow(&firsts);
                self.assign(topic, (known..).zip(firsts))?;
            }
            Change::Begin(log) => {
                let known = u32::try_from(topic.partitions()).unwrap_or(u32::MAX);
                self.leave(topic, 0..known)?;
                topic.begin(log);
                self.add(topic)?;
            }
        }
        Ok(())
    }

    fn assign(&self, topic: &Topic, places: impl IntoIterator<Item = (u32, u64)>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in places {
            let offset = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
            list.add_partition_offset(&topic.spelled, number(partition), offset)?;
        }
        self.consumer.incremental_assign(&list)
    }

    fn leave(&self, topic: &Topic, partitions: impl IntoIterator<Item = u32>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&topic.spelled, number(partition));
        }
        match self.consumer.incremental_unassign(&list) {
            // It was not followed: then there is nothing to leave.
            Err(KafkaError::Subscription(_)) => Ok(()),
            result => result,
        }
    }
}

fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
