//! Publishing: an idempotent producer, a bound on what waits for the brokers, and who is told what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{Context, Health, MESSAGE_BYTES, Setup};
use super::{DELIVERY, record};
use crate::pubsub::{Idempotency, PubSubError, Publication, Record};

/// What may wait for the brokers, in events and in bytes; one publication always may.
const WAITING_EVENTS: usize = 100_000;
const WAITING_BYTES: usize = 64 << 20;

/// What an event takes beside its data, at most, where its names are not unusually long.
const BESIDE: usize = 1024;

/// Sends events to the brokers.
pub(super) struct Publisher {
    setup: Setup,
    health: Arc<Health>,
    /// Replaced when librdkafka says that it cannot go on.
    producer: RwLock<Arc<ThreadedProducer<Context>>>,
    waiting: Arc<Waiting>,
    /// The ids of events that bring none: `SESSION-NUMBER`.
    session: u64,
    number: AtomicU64,
}

/// What was handed over and not settled yet.
#[derive(Debug, Default)]
struct Waiting {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

impl Waiting {
    /// Takes room for so much, if there is any.
    fn enter(&self, events: usize, bytes: usize) -> bool {
        let before = (
            self.events.fetch_add(events, Relaxed),
            self.bytes.fetch_add(bytes, Relaxed),
        );
        let fits = before.0 + events <= WAITING_EVENTS && before.1 + bytes <= WAITING_BYTES;
        if fits || before.0 == 0 {
            return true;
        }
        self.leave(events, bytes);
        false
    }

    fn leave(&self, events: usize, bytes: usize) {
        self.events.fetch_sub(events, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// Where an event came to stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sent {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) id: String,
}

/// An event on its way.
#[derive(Debug)]
pub(super) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
    bytes: usize,
}

impl Ticket {
    pub(super) fn settle(&self, result: &DeliveryResult<'_>) {
        let outcome = match result {
            Ok(message) => {
                let partition = u32::try_from(message.partition()).unwrap_or(0);
                Ok((partition, u64::try_from(message.offset()).unwrap_or(0)))
            }
            Err((error, _)) => Err(error.clone()),
        };
        self.batch.settle(self.index, outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.batch.waiting.leave(1, self.bytes);
    }
}

/// The events of one publication.
#[derive(Debug)]
struct Batch {
    waiting: Arc<Waiting>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sent: Vec<Sent>,
    /// Not settled yet.
    left: usize,
    failed: usize,
    error: Option<KafkaError>,
    done: Option<oneshot::Sender<Result<Vec<Sent>, PubSubError>>>,
}

impl Batch {
    fn settle(&self, index: usize, outcome: Result<(u32, u64), KafkaError>) {
        let mut state = self.state.lock();
        match outcome {
            Ok((partition, offset)) => {
                if let Some(sent) = state.sent.get_mut(index) {
                    (sent.partition, sent.offset) = (partition, offset);
                }
            }
            Err(error) => {
                state.failed += 1;
                state.error.get_or_insert(error);
            }
        }
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let result = match &state.error {
            None => Ok(std::mem::take(&mut state.sent)),
            Some(error) => Err(refusal(error, state.failed, state.sent.len())),
        };
        if let Some(done) = state.done.take() {
            // Whoever published may not wait for it.
            let _ = done.send(result);
        }
    }
}

/// What it means that so many events of a publication were not confirmed.
fn refusal(error: &KafkaError, failed: usize, of: usize) -> PubSubError {
    let what = match of {
        1 => "the event".to_owned(),
        _ => format!("{failed} of {of} events"),
    };
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) if failed == of => PubSubError::Full,
        Some(RDKafkaErrorCode::MessageTimedOut) => PubSubError::Unavailable(format!(
            "no broker confirmed {what} within {} s; they may be in the log nevertheless",
            DELIVERY.as_secs()
        )),
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => PubSubError::Closed,
        Some(code) => PubSubError::Unavailable(format!("Kafka did not take {what}: {code}")),
        None => PubSubError::Unavailable(format!("Kafka did not take {what}: {error}")),
    }
}

impl Publisher {
    pub(super) fn new(setup: &Setup, health: &Arc<Health>) -> KafkaResult<Self> {
        Ok(Self {
            producer: RwLock::new(Arc::new(producer(setup, health)?)),
            setup: setup.clone(),
            health: Arc::clone(health),
            waiting: Arc::default(),
            session: getrandom::u64().unwrap_or_else(|_| crate::time::now_us().unsigned_abs()) & 0xffff_ffff_ffff,
            number: AtomicU64::new(0),
        })
    }

    /// Hands the events over in their order; the receiver is told when all of them are settled. `partition_key` is the key of
    /// events that bring none.
    pub(super) fn send(
        &self,
        topic: &str,
        partition_key: Option<&str>,
        publication: &Publication,
    ) -> Result<oneshot::Receiver<Result<Vec<Sent>, PubSubError>>, PubSubError> {
        let records = &publication.records;
        let mut bytes = 0;
        for record in records {
            let size = size(record);
            if size > MESSAGE_BYTES - BESIDE {
                return Err(PubSubError::TooLarge {
                    bytes: record.data.get().len(),
                    most: MESSAGE_BYTES - BESIDE - (size - record.data.get().len()),
                });
            }
            bytes += size;
        }
        let (done, settled) = oneshot::channel();
        if records.is_empty() {
            let _ = done.send(Ok(Vec::new()));
            return Ok(settled);
        }
        if !self.waiting.enter(records.len(), bytes) {
            return Err(PubSubError::Full);
        }
        let idempotency = publication.idempotency.as_ref();
        let sent = records.iter().enumerate().map(|(index, record)| Sent {
            id: self.id(record, idempotency, index),
            ..Sent::default()
        });
        let batch = Arc::new(Batch {
            waiting: Arc::clone(&self.waiting),
            state: Mutex::new(State {
                sent: sent.collect(),
                left: records.len(),
                failed: 0,
                error: None,
                done: Some(done),
            }),
        });
        let ids: Vec<String> = batch.state.lock().sent.iter().map(|sent| sent.id.clone()).collect();
        // Held, so that events of two publications of one caller do not go through two producers.
        let producer = self.producer.read();
        let mut refused = None;
        for (index, (record, id)) in records.iter().zip(&ids).enumerate() {
            let ticket = Box::new(Ticket {
                batch: Arc::clone(&batch),
                index,
                bytes: size(record),
            });
            // What comes after an event that was refused would come before it if it were tried again.
            if let Some(error) = &refused {
                batch.settle(index, Err(KafkaError::clone(error)));
                continue;
            }
            let mut message = BaseRecord::with_opaque_to(topic, ticket)
                .payload(record.data.get().as_bytes())
                .headers(record::headers(record, id));
            // A second try goes to where the first one went, or nobody who reads a partition could tell it.
            let same = || idempotency.map(|idempotency| &*idempotency.key);
            message.key = record.key.as_deref().or(partition_key).or_else(same).map(str::as_bytes);
            if let Err((error, _)) = producer.send(message) {
                batch.settle(index, Err(error.clone()));
                refused = Some(error);
            }
        }
        Ok(settled)
    }

    /// The record's own id, or one from the publication's key, or a new one.
    fn id(&self, record: &Record, idempotency: Option<&Idempotency>, index: usize) -> String {
        match (&record.id, idempotency) {
            (Some(id), _) => id.clone(),
            (None, Some(idempotency)) => idempotency.event_id(index),
            (None, None) => format!("{:012x}-{}", self.session, self.number.fetch_add(1, Relaxed)),
        }
    }

    /// Puts another producer in the place of one that cannot go on. What the old one had is refused to whoever waits for it.
    pub(super) fn renew(&self) -> KafkaResult<()> {
        let new = Arc::new(producer(&self.setup, &self.health)?);
        let old = std::mem::replace(&mut *self.producer.write(), new);
        drop(old);
        Ok(())
    }

    /// Waits until nothing waits any more, within this bound.
    pub(super) fn flush(&self, bound: Duration) -> KafkaResult<()> {
        let producer = Arc::clone(&self.producer.read());
        producer.flush(bound)
    }
}

fn producer(setup: &Setup, health: &Arc<Health>) -> KafkaResult<ThreadedProducer<Context>> {
    let delivery_ms = u64::try_from(DELIVERY.as_millis()).unwrap_or(u64::MAX);
    setup
        .producer(delivery_ms)
        .create_with_context(Context(Arc::clone(health)))
}

/// What an event counts towards the bounds, in bytes.
fn size(record: &Record) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    record.data.get().len() + text(&record.key) + text(&record.id) + record.kind.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_has_a_bound_and_one_publication_always_fits() {
        let waiting = Waiting::default();
        assert!(waiting.enter(WAITING_EVENTS * 2, 1), "alone");
        assert!(!waiting.enter(1, 1));
        waiting.leave(WAITING_EVENTS * 2, 1);
        assert!(waiting.enter(1, WAITING_BYTES));
        assert!(!waiting.enter(1, 1), "bytes count, too");
        waiting.leave(1, WAITING_BYTES);
        assert_eq!((waiting.events.load(Relaxed), waiting.bytes.load(Relaxed)), (0, 0));
    }

    #[test]
    fn a_publication_is_told_once_when_all_of_it_is_settled() {
        let (done, mut settled) = oneshot::channel();
        let batch = Batch {
            waiting: Arc::default(),
            state: Mutex::new(State {
                sent: vec![Sent::default(); 2],
                left: 2,
                failed: 0,
                error: None,
                done: Some(done),
            }),
        };
        batch.settle(1, Ok((3, 9)));
        assert!(settled.try_recv().is_err(), "one is on its way");
        batch.settle(0, Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)));
        let error = settled.try_recv().unwrap().unwrap_err().to_string();
        assert!(error.contains("1 of 2 events"), "{error}");
    }
}
