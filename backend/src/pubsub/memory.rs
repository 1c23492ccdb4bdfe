//! A log in memory. As an engine it is forgetful: it numbers events and hands them on, and what is kept of them is the tail's windows. For
//! tests of what stands around the engines it keeps everything, and forgets on command.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_wire::{Engine, EngineState, Epoch, Receipt, Retention};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::fence::Marks;
use super::*;
use crate::encode;
use crate::time::now_us;

/// Topics at most, as on the log in the data folder by default: each may fill a window.
const MOST_TOPICS: usize = 256;

#[derive(Debug)]
pub struct Memory {
    keeps: bool,
    topics: Mutex<BTreeMap<String, Kept>>,
    status: watch::Sender<Engine>,
}

#[derive(Debug)]
struct Kept {
    /// Whether events stay here, beside being handed on.
    keeps: bool,
    epoch: Epoch,
    first: u64,
    next: u64,
    events: Vec<Stored>,
    /// How many offsets have no event before the next one, and why.
    hole: (u64, Option<GapReason>),
    /// What the sink has not heard of yet, while it is to hear of nothing: only tests have it so.
    held: Option<Vec<Stored>>,
    marks: Marks,
    sink: Arc<dyn Sink>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            keeps: true,
            topics: Mutex::default(),
            status: watch::Sender::new(Engine {
                name: "memory".to_owned(),
                state: EngineState::Up,
                since_us: 0,
                detail: String::new(),
            }),
        }
    }
}

impl Memory {
    /// One that keeps nothing.
    pub(crate) fn forgetful() -> Self {
        Self {
            keeps: false,
            ..Self::default()
        }
    }

    /// Forgets what stands before this offset.
    #[cfg(test)]
    pub(crate) fn forget(&self, topic: &str, first: u64) {
        let mut topics = self.topics.lock();
        let Some(kept) = topics.get_mut(topic) else { return };
        kept.events.retain(|event| event.offset >= first);
        kept.first = kept.first.max(first);
        kept.sink.trim(0, kept.first);
    }

    /// Another log takes the place of this one.
    #[cfg(test)]
    pub(crate) fn begin_anew(&self, topic: &str) {
        let mut topics = self.topics.lock();
        let Some(kept) = topics.get_mut(topic) else { return };
        (kept.epoch, kept.first, kept.next) = (Epoch::new(fastrand::u64(..)), 0, 0);
        kept.events.clear();
        kept.sink.log(LogExtent {
            epoch: kept.epoch,
            partitions: vec![Extent::default()],
        });
    }

    /// Leaves so many offsets without an event before the next one, for this reason.
    #[cfg(test)]
    pub(crate) fn skip(&self, topic: &str, count: u64, reason: Option<GapReason>) {
        if let Some(kept) = self.topics.lock().get_mut(topic) {
            kept.hole = (count, reason);
        }
    }

    /// Has the sink hear of nothing that is appended, or of all that was meanwhile.
    #[cfg(test)]
    pub(crate) fn hold(&self, topic: &str, holds: bool) {
        let mut topics = self.topics.lock();
        let Some(kept) = topics.get_mut(topic) else { return };
        let held = std::mem::replace(&mut kept.held, holds.then(Vec::new));
        kept.sink.push(held.unwrap_or_default());
    }

    /// Appends with a given id and time of ingest; returns the event's offset.
    #[cfg(test)]
    pub(crate) fn append(&self, topic: &str, record: &Record, id_hash: u64, now_us: i64) -> Result<u64, PubSubError> {
        let mut topics = self.topics.lock();
        let kept = topics.get_mut(topic).ok_or_else(|| unknown(topic))?;
        Ok(kept.append(topic, record, id_hash, now_us))
    }
}

impl Kept {
    fn append(&mut self, topic: &str, record: &Record, id_hash: u64, now_us: i64) -> u64 {
        let (skipped, vacant) = std::mem::take(&mut self.hole);
        let offset = self.next + skipped;
        let place = encode::Place {
            topic,
            epoch: self.epoch,
            partition: 0,
            offset,
            ingested_us: now_us,
        };
        let stored = Stored {
            partition: 0,
            offset,
            ingested_us: now_us,
            id_hash,
            vacant,
            json: encode::event(&place, record),
        };
        self.next = offset + 1;
        if self.keeps {
            self.events.push(stored.clone());
        }
        match &mut self.held {
            Some(held) => held.push(stored),
            None => self.sink.push(vec![stored]),
        }
        offset
    }
}

fn unknown(topic: &str) -> PubSubError {
    PubSubError::UnknownTopic(topic.to_owned())
}

impl PubSub for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "memory",
            idempotent: false,
            creates_topics: true,
            retains: false,
            microseconds: true,
        }
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.status.subscribe()
    }

    fn keeps(&self) -> bool {
        self.keeps
    }

    fn known(&self) -> Answer<'_, Result<Vec<TopicSpec>, PubSubError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn open(&self, spec: TopicSpec, sink: Arc<dyn Sink>) -> Answer<'_, Result<(), PubSubError>> {
        let mut topics = self.topics.lock();
        if topics.len() >= MOST_TOPICS && !topics.contains_key(&spec.name) {
            return Box::pin(async { Err(PubSubError::TooManyTopics(MOST_TOPICS)) });
        }
        let epoch = Epoch::new(fastrand::u64(..));
        sink.log(LogExtent {
            epoch,
            partitions: vec![Extent::default()],
        });
        let kept = Kept {
            keeps: self.keeps,
            epoch,
            first: 0,
            next: 0,
            events: Vec::new(),
            hole: Default::default(),
            held: None,
            marks: Marks::default(),
            sink,
        };
        topics.insert(spec.name, kept);
        Box::pin(async { Ok(()) })
    }

    fn publish(&self, topic: &str, mut publication: Publication) -> Answer<'static, Result<Vec<Receipt>, PubSubError>> {
        // By its id the tail tells an event that comes a second time.
        if let Some(idempotency) = &publication.idempotency {
            for (index, record) in publication.records.iter_mut().enumerate() {
                record.id.get_or_insert_with(|| idempotency.event_id(index));
            }
        }
        let mut topics = self.topics.lock();
        let checked = match topics.get_mut(topic) {
            Some(kept) => kept.marks.after(&publication.records).map(|after| (kept, after)),
            None => Err(unknown(topic)),
        };
        let (kept, after) = match checked {
            Ok(checked) => checked,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        after.into_iter().for_each(|after| kept.marks = after);
        let (epoch, now_us) = (kept.epoch, now_us());
        let receipts = publication.records.iter().map(|record| {
            let id_hash = record.id.as_deref().map_or(0, id_hash);
            let offset = kept.append(topic, record, id_hash, now_us);
            let id = record.id.clone();
            Receipt {
                topic: topic.to_owned(),
                epoch,
                partition: 0,
                offset,
                id: id.unwrap_or_else(|| format!("{epoch}-{offset}")),
                duplicate: false,
            }
        });
        let receipts: Vec<_> = receipts.collect();
        drop(topics);
        Box::pin(async { Ok(receipts) })
    }

    fn read(
        &self,
        topic: &str,
        _partition: u32,
        from: u64,
        budget: Budget,
    ) -> Answer<'static, Result<Chunk, PubSubError>> {
        let topics = self.topics.lock();
        let Some(kept) = topics.get(topic) else {
            let error = unknown(topic);
            return Box::pin(async { Err(error) });
        };
        let mut chunk = Chunk {
            first: kept.first,
            next: from.max(kept.first),
            ..Chunk::default()
        };
        let mut bytes = 0;
        for event in kept.events.iter().filter(|event| event.offset >= from) {
            bytes += event.json.len();
            if !chunk.events.is_empty() && (chunk.events.len() == budget.events || bytes > budget.bytes) {
                break;
            }
            chunk.next = event.offset + 1;
            chunk.events.push(event.clone());
        }
        Box::pin(async { Ok(chunk) })
    }

    fn at(&self, topic: &str, time_us: i64) -> Answer<'static, Result<Vec<u64>, PubSubError>> {
        let topics = self.topics.lock();
        let found = topics.get(topic).map(|kept| {
            let first = kept.events.iter().find(|event| event.ingested_us >= time_us);
            vec![first.map_or(kept.next, |event| event.offset)]
        });
        let found = found.ok_or_else(|| unknown(topic));
        Box::pin(async { found })
    }

    fn kept(&self, _topic: &str) -> super::Kept {
        super::Kept::default()
    }

    fn retain(&self, _topic: &str, _retention: Retention) {}

    fn remove(&self, topic: &str) -> Answer<'_, Result<(), PubSubError>> {
        let removed = self.topics.lock().remove(topic);
        let removed = removed.map(drop).ok_or_else(|| unknown(topic));
        Box::pin(async { removed })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::contract::{Collector, keyed, open_topic, publication, record, spec};

    #[tokio::test]
    async fn a_topic_that_was_never_opened_is_named_and_nothing_is_taken_for_it() {
        let memory = Arc::new(Memory::default());
        let unopened = Err(PubSubError::UnknownTopic("never".to_owned()));
        assert_eq!(memory.append("never", &record(None, "1"), 0, 1), unopened);
        let engine = Arc::clone(&memory) as Arc<dyn PubSub>;
        let sink: Arc<Collector> = open_topic(&engine, "opened").await;
        let published = engine.publish("never", publication(vec![record(None, "1")])).await;
        assert_eq!(published.map(|_| 0), unopened);
        assert_eq!(memory.append("opened", &record(None, "1"), 0, 1), Ok(0));
        assert_eq!(sink.events(1).await.len(), 1);
    }

    #[tokio::test]
    async fn topics_are_bounded_and_a_removed_one_gives_its_place_back() {
        let engine: Arc<dyn PubSub> = Arc::new(Memory::forgetful());
        for number in 0..MOST_TOPICS {
            open_topic(&engine, &format!("t{number}")).await;
        }
        let sink = || Arc::new(Collector::default()) as Arc<dyn Sink>;
        let more = || engine.open(spec("more"), sink());
        assert_eq!(more().await, Err(PubSubError::TooManyTopics(MOST_TOPICS)));
        engine.remove("t7").await.unwrap();
        assert_eq!(more().await, Ok(()));
    }

    #[tokio::test]
    async fn the_same_key_twice_has_the_same_id() {
        let engine: Arc<dyn PubSub> = Arc::new(Memory::forgetful());
        let sink = open_topic(&engine, "t").await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let receipts = engine.publish("t", keyed("key", "1")).await.unwrap();
            ids.push(receipts[0].id.clone());
        }
        assert_eq!(ids[0], ids[1]);
        assert!(
            sink.events(2)
                .await
                .iter()
                .all(|event| event.id_hash == id_hash(&ids[0]))
        );
    }
}
