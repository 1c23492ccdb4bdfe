//! What a stream publishes: handed over in the order of its messages, topic by topic, and answered when the engine has it.
//!
//! A topic that is not open yet may take its engine long. Only what is published to this topic waits for that.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::Arc;

use freshet_wire::Receipt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::super::{Service, publish};
use crate::error::Error;
use crate::pubsub::{Publication, TopicSpec};

/// The event's reference, and what became of it.
pub(super) type Answered = (Option<String>, Result<Receipt, Error>);

/// An event with its reference.
type Event = (Option<String>, Publication);

/// The events of one stream that are on their way.
pub(super) struct Publishing {
    service: Arc<Service>,
    /// Handed over: they wait for the engine's word.
    handed: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Topics that are being opened, and what waits for each.
    opening: FuturesUnordered<BoxFuture<'static, (String, Result<(), Error>)>>,
    waiting: HashMap<String, Vec<Event>>,
}

impl Publishing {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            handed: FuturesUnordered::new(),
            opening: FuturesUnordered::new(),
            waiting: HashMap::new(),
        }
    }

    /// Events that are not answered yet.
    pub(super) fn len(&self) -> usize {
        self.handed.len() + self.waiting.values().map(Vec::len).sum::<usize>()
    }

    /// Takes an event; `spec` is its topic where that has to be opened first.
    pub(super) fn add(&mut self, topic: &str, spec: Option<TopicSpec>, event: Event) {
        // Also where the topic has been opened meanwhile: what came before goes first.
        if let Some(waiting) = self.waiting.get_mut(topic) {
            waiting.push(event);
        } else if let Some(spec) = spec {
            let opening = publish::open(Arc::clone(&self.service), spec);
            let topic = topic.to_owned();
            self.waiting.insert(topic.clone(), vec![event]);
            self.opening.push(async move { (topic, opening.await) }.boxed());
        } else {
            self.hand_over(topic, event);
        }
    }

    fn hand_over(&mut self, topic: &str, (reference, publication): Event) {
        let receipts = publish::hand_over(&self.service, topic, publication, publish::MESSAGE);
        let answered = async move {
            let receipt = receipts.await.and_then(|mut receipts| {
                let none = || Error::unavailable("the engine gave no receipt");
                receipts.pop().ok_or_else(none)
            });
            (reference, receipt)
        };
        self.handed.push(answered.boxed());
    }

    /// The next event that is answered. Nothing is lost if it is not waited for to the end.
    pub(super) async fn next(&mut self) -> Answered {
        loop {
            tokio::select! {
                biased;
                Some((topic, opened)) = self.opening.next() => self.opened(&topic, opened),
                Some(answered) = self.handed.next() => return answered,
                else => return pending().await,
            }
        }
    }

    fn opened(&mut self, topic: &str, opened: Result<(), Error>) {
        for event in self.waiting.remove(topic).into_iter().flatten() {
            match &opened {
                Ok(()) => self.hand_over(topic, event),
                Err(error) => self.handed.push(ready((event.0, Err(error.clone()))).boxed()),
            }
        }
    }
}
