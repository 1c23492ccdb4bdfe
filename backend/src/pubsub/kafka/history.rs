//! Reading what is there already: a few consumers, each asked by one reader at a time.
//!
//! A consumer stays where a read ended, so that who reads on is served from what was fetched already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_wire::GapReason;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use tokio::sync::Semaphore;

use super::client::{Context, Health, Setup};
use super::cluster::Cluster;
use super::record::{self, Heard, Origin};
use super::topics::Topic;
use crate::pubsub::fence::Marks;
use crate::pubsub::{Budget, Chunk, Extent, Stored};

/// Reads that go on at once.
pub(super) const READERS: usize = 2;

/// A consumer that nobody asked for so long is let go of.
const IDLE: Duration = Duration::from_secs(15);

/// Who begins in the middle of a log reads so many events back first, to learn the newest token.
const LOOK_BACK: u64 = 100;

/// The consumers that read what is there already.
pub(super) struct Readers {
    setup: Setup,
    health: Arc<Health>,
    /// Who reads holds one of its permits.
    pub(super) turns: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    consumer: BaseConsumer<Context>,
    stands: Option<Stands>,
    used: Instant,
}

/// Where a consumer stands.
struct Stands {
    stretch: Stretch,
    /// Of what lies before.
    marks: Marks,
    /// Read already, and more than the last reader had asked for.
    ahead: Option<Heard>,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    spelled: String,
    epoch: freshet_wire::Epoch,
    partition: u32,
    next: u64,
}

impl Readers {
    pub(super) fn new(setup: &Setup, health: &Arc<Health>) -> Self {
        Self {
            setup: setup.clone(),
            health: Arc::clone(health),
            turns: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
        }
    }

    /// Lets go of consumers that nobody uses: what they have to say is only heard while they read.
    pub(super) fn sweep(&self, now: Instant) {
        let idle = self
            .idle
            .lock()
            .extract_if(.., |reader| now > reader.used + IDLE)
            .collect::<Vec<_>>();
        drop(idle);
    }

    /// Reads on the calling thread, for as long as `bound` at most.
    pub(super) fn read(
        &self,
        cluster: &Cluster,
        topic: &Topic,
        partition: u32,
        from: u64,
        budget: Budget,
        bound: Duration,
    ) -> KafkaResult<Chunk> {
        let end = Instant::now() + bound;
        let extent = cluster.extents(&topic.spelled, &[partition], bound)?;
        let extent = extent.first().copied().unwrap_or_default();
        let mut chunk = Chunk {
            first: extent.first,
            next: from.max(extent.first),
            ..Chunk::default()
        };
        if chunk.next >= extent.next {
            return Ok(chunk);
        }
        let stretch = Stretch {
            spelled: topic.spelled.clone(),
            epoch: topic.epoch(),
            partition,
            next: chunk.next,
        };
        let mut reader = self.reader(&stretch)?;
        // A consumer that failed is not asked again.
        let mut result = reader.read(topic, &stretch, extent.next, budget, end, &mut chunk);
        if let Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)) = result {
            // Retention has passed by the beginning in this moment: say so by beginning where there is something now.
            let firsts = cluster.firsts(&topic.spelled, &[partition], bound)?;
            chunk.first = firsts.first().copied().unwrap_or(chunk.first);
            chunk.next = chunk.next.max(chunk.first);
            let stretch = Stretch {
                next: chunk.next,
                ..stretch
            };
            result = reader.read(topic, &stretch, extent.next, budget, end, &mut chunk);
        }
        result?;
        reader.used = Instant::now();
        self.idle.lock().push(reader);
        Ok(chunk)
    }

    /// The newest tokens in a partition up to its end.
    pub(super) fn marks(&self, topic: &Topic, partition: u32, extent: Extent, bound: Duration) -> KafkaResult<Marks> {
        if topic.watched || extent.next <= extent.first {
            return Ok(Marks::default());
        }
        let stretch = Stretch {
            spelled: topic.spelled.clone(),
            epoch: topic.epoch(),
            partition,
            next: extent.next,
        };
        let mut chunk = Chunk {
            first: extent.first,
            next: extent.next,
            ..Chunk::default()
        };
        let budget = Budget { events: 1, bytes: 0 };
        let mut reader = self.reader(&stretch)?;
        reader.read(topic, &stretch, extent.next, budget, Instant::now() + bound, &mut chunk)?;
        let marks = reader.stands.as_ref().map(|stands| stands.marks.clone());
        reader.used = Instant::now();
        self.idle.lock().push(reader);
        Ok(marks.unwrap_or_default())
    }

    /// A consumer that stands there already, or another one.
    fn reader(&self, stretch: &Stretch) -> KafkaResult<Reader> {
        let mut idle = self.idle.lock();
        let there = idle
            .iter()
            .position(|reader| reader.stands.as_ref().is_some_and(|stands| stands.stretch == *stretch));
        // With as many consumers as turns, one that stands elsewhere is in nobody's way.
        let at = there.or((idle.len() >= READERS).then_some(0));
        if let Some(at) = at {
            return Ok(idle.swap_remove(at));
        }
        drop(idle);
        Ok(Reader {
            consumer: self
                .setup
                .history()
                .create_with_context(Context(Arc::clone(&self.health)))?,
            stands: None,
            used: Instant::now(),
        })
    }
}

impl Reader {
    /// Reads up to the budget, or up to `end_offset`, which is known to have been written.
    fn read(
        &mut self,
        topic: &Topic,
        stretch: &Stretch,
        end_offset: u64,
        budget: Budget,
        end: Instant,
        chunk: &mut Chunk,
    ) -> KafkaResult<()> {
        let kept = self.stands.take().filter(|stands| stands.stretch == *stretch);
        let mut is_fresh = kept.is_none();
        let (mut marks, mut ahead) = kept.map_or_else(Default::default, |stands| (stands.marks, stands.ahead));
        if is_fresh {
            let back = if topic.watched { 0 } else { LOOK_BACK };
            self.assign(stretch, chunk.next.saturating_sub(back).max(chunk.first))?;
        }
        let mut bytes = 0;
        loop {
            let Heard { event, token } = match ahead.take() {
                Some(heard) => heard,
                None => match self.poll(topic, stretch, end) {
                    Ok(Some(heard)) => heard,
                    Ok(None) if chunk.events.is_empty() && chunk.vacant.is_none() => {
                        return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                    }
                    // So much of it came in time.
                    Ok(None) => return Ok(()),
                    Err(KafkaError::PartitionEOF(_)) if is_fresh => {
                        // The end was reached after it was asked for: what is between has no events.
                        if chunk.next < end_offset {
                            chunk.next = end_offset;
                            chunk.vacant = chunk.vacant.or(Some(GapReason::Vacant));
                        }
                        break;
                    }
                    Err(KafkaError::PartitionEOF(_)) => {
                        // That may have been the end as it was when this consumer came here.
                        self.assign(stretch, chunk.next)?;
                        is_fresh = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let counts = marks.passes(token.as_ref());
            if event.offset < chunk.next {
                if event.offset + 1 >= end_offset {
                    break;
                }
                continue;
            }
            if !counts {
                chunk.next = event.offset + 1;
                chunk.vacant = Some(GapReason::Fenced);
                if chunk.next >= end_offset {
                    break;
                }
                continue;
            }
            let first = chunk.events.is_empty();
            if !first && (chunk.events.len() >= budget.events || bytes + event.json.len() > budget.bytes) {
                ahead = Some(Heard { event, token });
                break;
            }
            bytes += event.json.len();
            let vacant = (event.offset > chunk.next).then_some(GapReason::Vacant);
            let vacant = chunk.vacant.take().or(vacant);
            chunk.next = event.offset + 1;
            chunk.events.push(Stored { vacant, ..event });
            if chunk.next >= end_offset {
                break;
            }
        }
        self.stands = Some(Stands {
            stretch: Stretch {
                next: chunk.next,
                ..stretch.clone()
            },
            marks,
            ahead,
        });
        Ok(())
    }

    /// The next event; `None` when there was none in time.
    fn poll(&self, topic: &Topic, stretch: &Stretch, end: Instant) -> KafkaResult<Option<Heard>> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None if left.is_zero() => return Ok(None),
                None => {}
                Some(Ok(message)) => {
                    // What was fetched for a place that it stood at before.
                    if message.topic() != stretch.spelled || u32::try_from(message.partition()) != Ok(stretch.partition)
                    {
                        continue;
                    }
                    let origin = Origin {
                        topic: &topic.name,
                        epoch: stretch.epoch,
                        watched: topic.watched,
                    };
                    return Ok(Some(record::read(origin, &message)));
                }
                // A broker that went away may come back in time.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::Resolve,
                ))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
    }

    fn assign(&self, stretch: &Stretch, next: u64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
        list.add_partition_offset(
            &stretch.spelled,
            i32::try_from(stretch.partition).unwrap_or(i32::MAX),
            offset,
        )?;
        self.consumer.assign(&list)
    }
}
