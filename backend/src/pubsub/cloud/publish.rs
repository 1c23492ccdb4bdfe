//! Publishing: to the service, and back by this node's own subscription, which tells the offset.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use freshet_wire::{Receipt, TopicKind};
use google_cloud_pubsub::client::Publisher;
use google_cloud_pubsub::model::Message;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use super::{Shared, message, names};
use crate::pubsub::{PubSubError, Publication, Record, TopicSpec};

/// What was published and did not come back for so long is refused: it may be there nevertheless.
pub(super) const DELIVERY: Duration = Duration::from_secs(30);

/// Events and bytes that may be on their way, over all topics.
const WAITING_EVENTS: usize = 20_000;
const WAITING_BYTES: usize = 64 << 20;

/// A message of the service has 10 MB; attributes take their share.
const MESSAGE_BYTES: usize = 9 << 20;

/// An attribute's value, and an ordering key, in bytes.
const ATTRIBUTE_BYTES: usize = 1024;

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    events: AtomicUsize,
    bytes: AtomicUsize,
    left: Notify,
}

impl Waiting {
    /// Waits until nothing is on its way.
    pub(super) async fn empty(&self) {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            if self.events.load(Relaxed) == 0 {
                return;
            }
            left.await;
        }
    }

    /// One publication always fits, if it is alone.
    fn enter(self: &Arc<Self>, events: usize, bytes: usize) -> Option<Place> {
        let place = Place {
            waiting: Arc::clone(self),
            events,
            bytes,
        };
        let before = self.events.fetch_add(events, Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Relaxed);
        let fits = before == 0 || (before + events <= WAITING_EVENTS && bytes_before + bytes <= WAITING_BYTES);
        fits.then_some(place)
    }
}

/// Gives back what it took.
#[derive(Debug)]
struct Place {
    waiting: Arc<Waiting>,
    events: usize,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.events.fetch_sub(self.events, Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Relaxed);
        self.waiting.left.notify_waiters();
    }
}

/// A topic that is open.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    /// Whole names in the project.
    pub(super) path: String,
    pub(super) subscription: String,
    /// Events without a key have this one.
    key: Option<String>,
    /// The service has the topic and this node's subscription, and answers.
    pub(super) ready: watch::Sender<bool>,
    pub(super) publisher: Mutex<Option<Arc<Publisher>>>,
    /// It is to be followed no more.
    pub(super) stop: watch::Sender<bool>,
    /// This session's tries begin so; another session's messages are nobody's here.
    session: u64,
    number: AtomicU64,
    /// Those who wait for the offset of their event, by try.
    waiters: Mutex<HashMap<String, oneshot::Sender<Result<Receipt, PubSubError>>>>,
}

impl Topic {
    pub(super) fn new(shared: &Shared, spec: &TopicSpec) -> Result<Self, PubSubError> {
        let spelled = names::topic(&shared.config.prefix, &spec.name);
        let subscription = spelled
            .as_deref()
            .and_then(|spelled| names::subscription(spelled, &shared.node));
        let (Some(spelled), Some(subscription)) = (spelled, subscription) else {
            return Err(PubSubError::Unavailable(format!(
                "topic {:?} cannot be kept in Pub/Sub: with its prefix, and its letters beyond ASCII spelled out, it is too long a name there",
                spec.name
            )));
        };
        let project = &shared.config.project;
        let session = getrandom::u64().map_err(|error| PubSubError::Unavailable(error.to_string()))?;
        Ok(Self {
            name: spec.name.clone(),
            path: format!("projects/{project}/topics/{spelled}"),
            subscription: format!("projects/{project}/subscriptions/{subscription}"),
            key: (spec.kind == TopicKind::State).then(|| "state".to_owned()),
            ready: watch::Sender::new(false),
            publisher: Mutex::default(),
            stop: watch::Sender::new(false),
            session,
            number: AtomicU64::new(0),
            waiters: Mutex::default(),
        })
    }

    /// Hands the records over; the future waits until all of them came back and are on disk.
    pub(super) fn publish(
        self: &Arc<Self>,
        shared: &Shared,
        publication: &Publication,
    ) -> Result<impl Future<Output = Result<Vec<Receipt>, PubSubError>> + Send + use<>, PubSubError> {
        let records = &publication.records;
        let mut bytes = 0;
        for record in records {
            check(record)?;
            bytes += record.data.get().len() + ATTRIBUTE_BYTES;
        }
        let publisher = self.publisher.lock().clone();
        let Some(publisher) = publisher.filter(|_| *self.ready.borrow()) else {
            let why = shared.health.watch().borrow().detail.clone();
            let why = if why.is_empty() {
                "Pub/Sub was not heard of yet".to_owned()
            } else {
                why
            };
            return Err(PubSubError::Unavailable(why));
        };
        let place = shared.waiting.enter(records.len(), bytes).ok_or(PubSubError::Full)?;
        let idempotency = publication.idempotency.as_ref();
        let mut sent = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let ticket = format!("{:016x}-{}", self.session, self.number.fetch_add(1, Relaxed));
            let id = match (&record.id, idempotency) {
                (Some(id), _) => id.clone(),
                (None, Some(idempotency)) => idempotency.event_id(index),
                (None, None) => ticket.clone(),
            };
            let (done, told) = oneshot::channel();
            self.waiters.lock().insert(ticket.clone(), done);
            let forget = Forget {
                topic: Arc::clone(self),
                ticket,
            };
            let key = record.key.clone().or_else(|| self.key.clone()).unwrap_or_default();
            let message = Message::new()
                .set_data(record.data.get().as_bytes().to_vec())
                .set_attributes(message::attributes(record, &id, &forget.ticket))
                .set_ordering_key(key.clone());
            let published = publisher.publish(message);
            let publisher = Arc::clone(&publisher);
            // Waited for to its end, which may come after the answer: the client pauses a key of which it lost something, and the
            // key has to go on then.
            let taken = shared.runtime.spawn(async move {
                let taken = published.await;
                if taken.is_err() && !key.is_empty() {
                    publisher.resume_publish(key);
                }
                taken
            });
            sent.push((taken, told, forget));
        }
        // In a task of its own, so that dropping the future takes nothing back.
        let waiting = shared.runtime.spawn(async move {
            let _place = place;
            let each = sent.into_iter().map(|(taken, told, forget)| async move {
                let _forget = forget;
                match taken.await {
                    Ok(Ok(_)) => told.await.unwrap_or(Err(PubSubError::Closed)),
                    Ok(Err(error)) => Err(PubSubError::Unavailable(format!("Pub/Sub did not take it: {error}"))),
                    Err(_) => Err(PubSubError::Closed),
                }
            });
            let all = futures_util::future::join_all(each);
            let gone = "Pub/Sub did not bring back in time what was published; it may come later";
            let all = tokio::time::timeout(DELIVERY, all).await;
            let all = all.map_err(|_| PubSubError::Unavailable(gone.to_owned()))?;
            all.into_iter().collect()
        });
        Ok(async move { waiting.await.unwrap_or(Err(PubSubError::Closed)) })
    }

    /// An event of this try is on disk, or the spool never takes it.
    pub(super) fn tell(&self, ticket: &str, answer: Result<Receipt, PubSubError>) {
        if let Some(waiter) = self.waiters.lock().remove(ticket) {
            let _ = waiter.send(answer);
        }
    }

    /// Nothing comes back any more.
    pub(super) fn close(&self) {
        self.ready.send_replace(false);
        self.publisher.lock().take();
        self.waiters.lock().clear();
    }
}

/// Takes a try out that is not waited for any more.
#[derive(Debug)]
struct Forget {
    topic: Arc<Topic>,
    ticket: String,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.topic.waiters.lock().remove(&self.ticket);
    }
}

fn check(record: &Record) -> Result<(), PubSubError> {
    let bytes = record.data.get().len();
    if bytes > MESSAGE_BYTES {
        return Err(PubSubError::TooLarge {
            bytes,
            most: MESSAGE_BYTES,
        });
    }
    let long = |text: Option<&str>| text.is_some_and(|text| text.len() > ATTRIBUTE_BYTES);
    if long(record.key.as_deref()) || long(record.id.as_deref()) || long(Some(&record.kind)) {
        let why = "an event's key, id and type have 1024 bytes at most in Pub/Sub";
        return Err(PubSubError::Unavailable(why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_has_a_bound_and_one_publication_always_fits() {
        let waiting = Arc::new(Waiting::default());
        let alone = waiting.enter(WAITING_EVENTS * 2, 1);
        assert!(alone.is_some() && waiting.enter(1, 1).is_none());
        drop(alone);
        let full = waiting.enter(1, WAITING_BYTES);
        assert!(full.is_some() && waiting.enter(1, 1).is_none(), "bytes count, too");
        drop(full);
        assert_eq!((waiting.events.load(Relaxed), waiting.bytes.load(Relaxed)), (0, 0));
    }
}
