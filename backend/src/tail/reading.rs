//! A reader's place in several topics, and the one way in which both deliveries read on from there.
//!
//! What is in a topic's window is read at once; what is older is in the engine's log, and is read with [`Reading::history`]. A reader goes
//! from the one to the other by its place alone: where the window begins, history ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use freshet_wire::{Cursor, EngineState, Epoch, From, Gap, GapReason, Position, TopicKind};
use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};

use super::recent::Recent;
use super::topic::{LogWindows, PartitionWindow, Topic};
use super::{Budget, Tail};
use crate::pubsub::{Chunk, POWER_FAILURE_SKIP, PubSubError};

/// How long the engine may take to find a time in its log.
const MOST_SEARCH: Duration = Duration::from_secs(10);

/// What one read brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order of their ingest; each as it was encoded when it was appended.
    pub events: Vec<Bytes>,
    /// How many of them are values of state topics, and their bytes.
    pub state_events: u64,
    pub state_bytes: u64,
    pub gaps: Vec<Gap>,
    /// The budget ended before the events did.
    pub more: bool,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gaps.is_empty()
    }
}

/// Why a position cannot be read from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("there is no topic {0:?}")]
    UnknownTopic(String),
    #[error("topic {0:?} was removed")]
    Removed(String),
    #[error("topic {topic:?} has no partition {partition}; it has {has}")]
    UnknownPartition { topic: String, partition: u32, has: usize },
    #[error("offset {offset} of topic {topic:?} lies beyond its end: the next event will have offset {next}")]
    BeyondEnd { topic: String, offset: u64, next: u64 },
    #[error("topic {0:?} is asked for twice")]
    Twice(String),
    #[error("topic {topic:?} cannot be searched by time now: {why}")]
    Unavailable { topic: String, why: String },
    #[error("topic {topic:?} cannot be opened: {why}; it is tried again")]
    NotOpened { topic: String, why: String },
}

/// Where a reader stands in one topic.
#[derive(Debug)]
pub struct Place {
    topic: Arc<Topic>,
    log_id: u32,
    epoch: Epoch,
    /// The next offset of each partition.
    next: Vec<u64>,
    /// The engine had not told of its log when the place was taken: what was asked for then.
    wanted: Option<Option<Position>>,
    /// Found when the place was taken, told with the next batch.
    gaps: Vec<Gap>,
    /// Nothing was read here yet: where the reader begins is news to it.
    fresh: bool,
    /// By the last read.
    moved: bool,
    /// What comes next in some partition is in the engine's log, not in the window.
    historic: bool,
    /// Ids that came from the engine's log, which may hold an event twice.
    recent: Option<Box<Recent>>,
}

impl Place {
    /// Finds a position in its topic. Waits only where a time has to be looked up in the engine's log.
    pub async fn find(tail: &Tail, from: &From) -> Result<Self, ReadError> {
        let topic = tail
            .topic(&from.topic)
            .ok_or_else(|| ReadError::UnknownTopic(from.topic.clone()))?;
        // An engine that is away says so itself, and readers wait for it; here it is this topic alone.
        if !topic.is_open()
            && let Some(why) = topic.why_not_open()
            && tail.engine.status().borrow().state != EngineState::Down
        {
            let topic = from.topic.clone();
            return Err(ReadError::NotOpened { topic, why });
        }
        let mut times = None;
        if let Some(Position::Time(time_us)) = from.position
            && must_ask(&topic, time_us)
        {
            let unavailable = |why: String| ReadError::Unavailable {
                topic: from.topic.clone(),
                why,
            };
            let found = timeout(MOST_SEARCH, tail.engine.at(topic.name(), time_us)).await;
            let found = found.map_err(|_| unavailable("the engine does not answer".to_owned()))?;
            times = Some(found.map_err(|error| unavailable(error.to_string()))?);
        }
        let mut place = Self {
            log_id: 0,
            epoch: Epoch::new(0),
            next: Vec::new(),
            wanted: None,
            gaps: Vec::new(),
            fresh: true,
            moved: false,
            historic: false,
            recent: None,
            topic: Arc::clone(&topic),
        };
        let log = topic.log.read();
        if topic.is_removed() {
            return Err(ReadError::UnknownTopic(from.topic.clone()));
        }
        if log.id == 0 {
            place.wanted = Some(from.position.clone());
        } else {
            place.take(&log, from.position.as_ref(), times)?;
        }
        Ok(place)
    }

    /// Finds every position, all at once: the engine may take its time for one of them.
    pub async fn find_all(tail: &Tail, froms: &[From]) -> Result<Vec<Self>, ReadError> {
        try_join_all(froms.iter().map(|from| Self::find(tail, from))).await
    }

    /// Stands where the position says; `times` are the offsets that the engine found for a time.
    fn take(
        &mut self,
        log: &LogWindows,
        position: Option<&Position>,
        times: Option<Vec<u64>>,
    ) -> Result<(), ReadError> {
        let firsts = || log.partitions.iter().map(|partition| partition.first);
        let ends = || log.partitions.iter().map(|partition| partition.window.next());
        (self.log_id, self.epoch) = (log.id, log.epoch);
        self.next = match position {
            None => log
                .partitions
                .iter()
                .map(|partition| match partition.window.newest() {
                    Some(newest) => newest.offset,
                    None => partition.window.next().saturating_sub(1).max(partition.first),
                })
                .collect(),
            Some(Position::Latest) => ends().collect(),
            Some(Position::Earliest) => firsts().collect(),
            Some(Position::Time(time_us)) => {
                let mut next = Vec::with_capacity(log.partitions.len());
                for (number, partition) in log.partitions.iter().enumerate() {
                    let (offset, lost) = match times.as_ref().and_then(|times| times.get(number)) {
                        Some(&offset) => (offset, offset <= partition.first && partition.first > 0),
                        None => partition.window.at(*time_us),
                    };
                    if lost {
                        // How many of the dropped ones were in time is not known any more.
                        self.gaps.push(told(&self.topic, number, 0, None, GapReason::Retention));
                    }
                    next.push(offset.clamp(partition.first, partition.window.next()));
                }
                next
            }
            Some(Position::Cursor(cursor)) if cursor.epoch != log.epoch => {
                for (number, &next) in cursor.next.iter().enumerate() {
                    self.gaps.push(told(&self.topic, number, next, None, GapReason::Epoch));
                }
                firsts().collect()
            }
            Some(Position::Cursor(cursor)) => {
                self.partition(log, cursor.next.len() - 1)?;
                // Partitions that are newer than the cursor are read from their beginning.
                let mut next: Vec<u64> = firsts().collect();
                for (number, &offset) in cursor.next.iter().enumerate() {
                    next[number] = self.inside(log, number, offset)?;
                }
                next
            }
            Some(Position::Offset { partition, offset }) => {
                let number = self.partition(log, *partition as usize)?;
                let mut next: Vec<u64> = ends().collect();
                next[number] = self.inside(log, number, *offset)?;
                next
            }
        };
        self.historic = self.is_historic(log);
        Ok(())
    }

    fn partition(&self, log: &LogWindows, number: usize) -> Result<usize, ReadError> {
        match log.partitions.get(number) {
            Some(_) => Ok(number),
            None => Err(ReadError::UnknownPartition {
                topic: self.topic.name().to_string(),
                partition: u32::try_from(number).unwrap_or(u32::MAX),
                has: log.partitions.len(),
            }),
        }
    }

    fn inside(&self, log: &LogWindows, number: usize, offset: u64) -> Result<u64, ReadError> {
        let next = log.partitions[number].window.next();
        if offset > next {
            return Err(ReadError::BeyondEnd {
                topic: self.topic.name().to_string(),
                offset,
                next,
            });
        }
        Ok(offset)
    }

    /// Whether what comes next in some partition is in the engine's log and not in the window.
    fn is_historic(&self, log: &LogWindows) -> bool {
        let mut places = self.next.iter().zip(&log.partitions);
        !self.topic.is_windowed()
            && places
                .any(|(&next, partition)| next < partition.window.first() && partition.first < partition.window.first())
    }

    /// Comes to terms with what the topic's log is now: another one, or one with more partitions.
    fn follow(&mut self, log: &LogWindows) {
        if log.id == 0 {
            return;
        }
        if let Some(wanted) = self.wanted.take() {
            if self.take(log, wanted.as_ref(), None).is_err() {
                // It was asked for before anybody could say that it is not there.
                let _ = self.take(log, Some(&Position::Latest), None);
                self.gaps.push(told(&self.topic, 0, 0, None, GapReason::Epoch));
            }
            self.fresh = true;
        } else if self.log_id != log.id {
            for (number, &next) in self.next.iter().enumerate() {
                self.gaps.push(told(&self.topic, number, next, None, GapReason::Epoch));
            }
            self.next.clear();
            (self.log_id, self.epoch, self.recent) = (log.id, log.epoch, None);
        }
        let more = log.partitions.iter().skip(self.next.len());
        let more: Vec<u64> = more.map(|partition| partition.first).collect();
        self.next.extend(more);
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// True when there is something to read in the window, or to tell.
    fn is_behind(&self) -> bool {
        let log_id = self.topic.log_id();
        if log_id == 0 {
            return false;
        }
        let news = self.fresh || !self.gaps.is_empty() || self.log_id != log_id;
        news || !self.historic && self.topic.end() > self.next.iter().sum()
    }

    /// The topic was removed, and the reader was told.
    fn is_ended(&self) -> bool {
        self.topic.is_removed() && self.log_id == self.topic.log_id() && self.gaps.is_empty()
    }

    /// `None` as long as the engine has not told of its log, and where there is none any more.
    fn cursor(&self) -> Option<Cursor> {
        (!self.next.is_empty()).then(|| Cursor {
            epoch: self.epoch,
            next: self.next.clone(),
        })
    }
}

/// Whether a time can only be found in the engine's log: the window does not reach back to it.
fn must_ask(topic: &Topic, time_us: i64) -> bool {
    let log = topic.log.read();
    !topic.is_windowed()
        && (log.id == 0
            || log.partitions.iter().any(|partition| {
                partition.first < partition.window.first() && !partition.window.reaches_before(time_us)
            }))
}

/// What a reader lost since it read last, if anything; it goes on from where there is something.
fn catch_up(topic: &Topic, number: usize, next: &mut u64, partition: &PartitionWindow) -> Option<Gap> {
    // Of a state the latest value counts: there is no use in the ones between.
    let (to, reason) = match topic.kind() {
        TopicKind::State if *next < partition.window.first() => (partition.window.next() - 1, GapReason::Superseded),
        _ => (partition.first, GapReason::Retention),
    };
    if *next >= to {
        return None;
    }
    let from = std::mem::replace(next, to);
    Some(told(topic, number, from, Some(to - from), reason))
}

fn told(topic: &Topic, partition: usize, from_offset: u64, count: Option<u64>, reason: GapReason) -> Gap {
    Gap {
        topic: topic.name().to_string(),
        partition: u32::try_from(partition).unwrap_or(u32::MAX),
        from_offset,
        // As wide as what is passed over after a power failure: nobody knows how many of these offsets had an event.
        count: count.filter(|&count| reason != GapReason::Lost || count < POWER_FAILURE_SKIP),
        reason,
    }
}

/// A stretch that a reader has to read from the engine's log.
#[derive(Debug, Clone)]
pub struct History {
    topic: Arc<Topic>,
    log_id: u32,
    partition: usize,
    from: u64,
}

impl History {
    /// Reads it, when it is this reader's turn and at a pace that leaves the others alone.
    pub async fn read(&self, tail: &Tail, budget: Budget) -> Result<Chunk, PubSubError> {
        let _turn = tail.pace.turn().await;
        let partition = u32::try_from(self.partition).unwrap_or(u32::MAX);
        let chunk = tail
            .engine
            .read(self.topic.name(), partition, self.from, budget)
            .await?;
        let bytes = chunk.events.iter().map(|event| event.json.len()).sum();
        tail.pace.spend(bytes, Instant::now());
        Ok(chunk)
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }
}

/// A reader's places in all its topics.
#[derive(Debug, Default)]
pub struct Reading {
    places: Vec<Place>,
    /// Whose turn it is to be read from the engine's log.
    turn: usize,
}

/// An event that may go into a batch.
struct Found {
    ingested_us: i64,
    /// Place and partition.
    place: usize,
    partition: usize,
    offset: u64,
    vacant: Option<GapReason>,
    json: Bytes,
}

impl Reading {
    /// Finds every position; each topic may stand there once.
    pub async fn find(tail: &Tail, froms: &[From]) -> Result<Self, ReadError> {
        for (index, from) in froms.iter().enumerate() {
            if froms[..index].iter().any(|known| known.topic == from.topic) {
                return Err(ReadError::Twice(from.topic.clone()));
            }
        }
        Ok(Self {
            places: Place::find_all(tail, froms).await?,
            turn: 0,
        })
    }

    /// Adds a topic, or moves to another position in it.
    pub fn set(&mut self, place: Place) {
        match self
            .places
            .iter_mut()
            .find(|known| known.topic.name() == place.topic.name())
        {
            Some(known) => *known = place,
            None => self.places.push(place),
        }
    }

    pub fn remove(&mut self, topic: &str) -> bool {
        let before = self.places.len();
        self.places.retain(|place| &**place.topic.name() != topic);
        self.places.len() < before
    }

    /// Takes the topics out that were removed, once the end of each has been told by a gap.
    pub fn take_ended(&mut self) -> Vec<Arc<Topic>> {
        let ended = self.places.extract_if(.., |place| place.is_ended());
        ended.map(|place| place.topic).collect()
    }

    pub fn place(&self, topic: &str) -> Option<&Place> {
        self.places.iter().find(|place| &**place.topic.name() == topic)
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where the next read begins, by topic.
    pub fn next(&self) -> BTreeMap<&str, Cursor> {
        let cursors = |place: &'_ Place| place.cursor();
        self.places
            .iter()
            .filter_map(|place| Some((&**place.topic.name(), cursors(place)?)))
            .collect()
    }

    /// The same, of the topics in which the last read moved on.
    pub fn moved(&self) -> BTreeMap<&str, Cursor> {
        let moved = self.places.iter().filter(|place| place.moved);
        moved
            .filter_map(|place| Some((&**place.topic.name(), place.cursor()?)))
            .collect()
    }

    /// True when every place is told and nothing was missed: what comes next depends on the places alone.
    pub fn is_settled(&self) -> bool {
        self.places.iter().all(|place| {
            !place.fresh && place.gaps.is_empty() && !place.historic && place.log_id == place.topic.log_id()
        })
    }

    /// True when there is something to read at once, or to tell.
    pub fn is_behind(&self) -> bool {
        self.places.iter().any(Place::is_behind)
    }

    /// True when some of what comes next is in the engine's log: see [`Self::history`].
    pub fn is_historic(&self) -> bool {
        self.places.iter().any(|place| place.historic)
    }

    /// Where this reader stands: logs and next offsets, in the order in which the topics were added.
    pub fn stands(&self) -> impl Iterator<Item = (u32, u64)> {
        self.places
            .iter()
            .flat_map(|place| place.next.iter().map(|&next| (place.log_id, next)))
    }

    /// Moves on without reading: another reader that stood here has read for this one.
    pub fn advance(&mut self, steps: &[u64]) {
        let next = self.places.iter_mut().flat_map(|place| &mut place.next);
        for (next, step) in next.zip(steps) {
            *next += step;
        }
    }

    /// Events and bytes between this reader and the end of its topics; of bytes, those that are in the windows.
    pub fn lag(&self) -> (u64, u64) {
        let mut lag = (0, 0);
        for place in &self.places {
            let log = place.topic.log.read();
            if log.id != place.log_id {
                continue;
            }
            for (&next, partition) in place.next.iter().zip(&log.partitions) {
                let waiting = partition.window.next().saturating_sub(next);
                // Only a reader that is behind pays for the sum.
                if waiting > 0 {
                    let from = partition.window.from(next.max(partition.window.first()));
                    lag.0 += waiting;
                    lag.1 += from.map(|entry| entry.json.len() as u64).sum::<u64>();
                }
            }
        }
        lag
    }

    /// Reads on in the windows: the oldest events of all topics first, so that a busy topic cannot starve a quiet one.
    pub fn read(&mut self, budget: Budget) -> Batch {
        let mut batch = Batch::default();
        let mut found: Vec<Found> = Vec::new();
        let mut end = 0;
        let mut streams = 0;
        for (index, place) in self.places.iter_mut().enumerate() {
            let topic = Arc::clone(&place.topic);
            let log = topic.log.read();
            place.moved = std::mem::take(&mut place.fresh);
            place.follow(&log);
            place.moved |= !place.gaps.is_empty();
            batch.gaps.append(&mut place.gaps);
            for (number, partition) in log.partitions.iter().enumerate() {
                let Some(next) = place.next.get_mut(number) else {
                    continue;
                };
                if let Some(gap) = catch_up(&topic, number, next, partition) {
                    batch.gaps.push(gap);
                    place.moved = true;
                }
                if *next < partition.window.first() {
                    continue; // history
                }
                end += partition.window.next() - *next;
                streams += 1;
                let mut bytes = 0;
                for entry in partition.window.from(*next).take(budget.events) {
                    bytes += entry.json.len();
                    found.push(Found {
                        ingested_us: entry.ingested_us,
                        place: index,
                        partition: number,
                        offset: entry.offset,
                        vacant: entry.vacant,
                        json: entry.json.clone(),
                    });
                    if bytes >= budget.bytes {
                        break;
                    }
                }
            }
            place.historic = place.is_historic(&log);
        }
        // Stable, and each partition's own events are in order already.
        if streams > 1 {
            found.sort_by_key(|found| found.ingested_us);
        }
        let mut bytes = 0;
        let mut begun: Vec<(usize, usize)> = Vec::new();
        for found in found {
            bytes += found.json.len();
            if !batch.events.is_empty() && (batch.events.len() == budget.events || bytes > budget.bytes) {
                break;
            }
            let place = &mut self.places[found.place];
            let next = &mut place.next[found.partition];
            if found.offset > *next {
                // A gap is told before the events after it, and after those before it: then this batch is whole.
                if begun.contains(&(found.place, found.partition)) {
                    break;
                }
                let count = found.offset - *next;
                let reason = found.vacant.unwrap_or(GapReason::Vacant);
                batch
                    .gaps
                    .push(told(&place.topic, found.partition, *next, Some(count), reason));
                end -= count;
            }
            if found.vacant.is_some() || begun.is_empty() {
                begun.push((found.place, found.partition));
            }
            if place.topic.kind() == TopicKind::State {
                batch.state_events += 1;
                batch.state_bytes += found.json.len() as u64;
            }
            *next = found.offset + 1;
            place.moved = true;
            end -= 1;
            batch.events.push(found.json);
        }
        batch.more = end > 0 || self.places.iter().any(|place| place.historic);
        batch
    }

    /// The stretch that is to be read next from the engine's log, if a place stands before its window; the places take turns.
    pub fn history(&mut self) -> Option<History> {
        let count = self.places.len();
        let turn = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|&index| self.places[index].historic)?;
        self.turn = turn + 1;
        let place = &mut self.places[turn];
        let log = place.topic.log.read();
        let found = place
            .next
            .iter()
            .zip(&log.partitions)
            .position(|(&next, partition)| next >= partition.first && next < partition.window.first());
        let history = found.map(|partition| History {
            topic: Arc::clone(&place.topic),
            log_id: place.log_id,
            partition,
            from: place.next[partition],
        });
        drop(log);
        // Retention has passed it by: the next read tells the gap.
        if history.is_none() {
            place.historic = false;
        }
        history
    }

    /// Takes what was read from the engine's log in; `None` if the reader has moved meanwhile. [`Self::replay`] brings it.
    pub fn accept(&mut self, history: History, mut chunk: Chunk) -> Option<Replay> {
        let place = self.stands_at(&history)?;
        // A second event with the same id becomes a hole before the next one.
        let recent = place.recent.get_or_insert_default();
        let mut hole = None;
        chunk.events.retain_mut(|event| {
            if !recent.is_new(event.id_hash) {
                hole = Some(GapReason::Duplicate);
                return false;
            }
            event.vacant = event.vacant.or(hole.take());
            true
        });
        chunk.vacant = chunk.vacant.or(hole);
        Some(Replay { history, chunk })
    }

    /// Brings what was read from the engine's log up to the next gap within it; `None` when all of it was brought.
    pub fn replay(&mut self, replay: &mut Replay) -> Option<Batch> {
        let Replay { history, chunk } = replay;
        let place = self.stands_at(history)?;
        let (topic, number) = (Arc::clone(&place.topic), history.partition);
        let next = &mut place.next[number];
        let mut batch = Batch {
            more: true,
            ..Batch::default()
        };
        let pass = |batch: &mut Batch, next: &mut u64, to: u64, reason| {
            if to > *next {
                batch.gaps.push(told(&topic, number, *next, Some(to - *next), reason));
                *next = to;
            }
        };
        pass(&mut batch, next, chunk.first, GapReason::Retention);
        let mut taken = 0;
        for event in &chunk.events {
            if event.offset > *next {
                // A gap is told before the events after it, and after those before it.
                if !batch.events.is_empty() {
                    break;
                }
                pass(
                    &mut batch,
                    next,
                    event.offset,
                    event.vacant.unwrap_or(GapReason::Vacant),
                );
            }
            taken += 1;
            if event.offset == *next {
                batch.events.push(event.json.clone());
                *next += 1;
            }
        }
        chunk.events.drain(..taken);
        if chunk.events.is_empty() && batch.events.is_empty() {
            pass(&mut batch, next, chunk.next, chunk.vacant.unwrap_or(GapReason::Vacant));
        }
        history.from = *next;
        place.moved = true;
        let historic = place.is_historic(&topic.log.read());
        place.historic = historic;
        (!batch.is_empty()).then_some(batch)
    }

    fn stands_at(&mut self, history: &History) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| {
            Arc::ptr_eq(&place.topic, &history.topic)
                && place.log_id == history.log_id
                && place.next.get(history.partition) == Some(&history.from)
        })
    }
}

/// What was read from the engine's log and not brought yet.
#[derive(Debug)]
pub struct Replay {
    history: History,
    chunk: Chunk,
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::pubsub::memory::Memory;
    use crate::pubsub::{Record, TopicSpec};

    const ALL: Budget = Budget {
        events: usize::MAX,
        bytes: usize::MAX,
    };

    /// A tail on a log in memory, with the shared topic `log` and the local ones `local` and `state`.
    struct Bench {
        engine: Arc<Memory>,
        tail: Tail,
    }

    fn bench(window_bytes: usize) -> Bench {
        let engine = Arc::new(Memory::default());
        let tail = Tail::new(Arc::clone(&engine) as _, window_bytes, 1 << 40);
        now(tail.open(spec("log"))).unwrap();
        tail.local("local", TopicKind::Log);
        tail.local("state", TopicKind::State);
        Bench { engine, tail }
    }

    fn spec(name: &str) -> TopicSpec {
        TopicSpec {
            name: name.to_owned(),
            kind: TopicKind::Log,
            synthetic: false,
            writable: false,
            retention: Default::default(),
        }
    }

    fn record(now_us: i64) -> Record {
        Record {
            produced_us: now_us,
            host: None,
            token: None,
            kind: "test".into(),
            id: None,
            key: None,
            data: RawValue::from_string("{}".to_owned()).unwrap(),
        }
    }

    /// Nothing here waits for anything.
    fn now<T>(future: impl Future<Output = T>) -> T {
        if tokio::runtime::Handle::try_current().is_ok() {
            return future.now_or_never().unwrap();
        }
        // Bounds of time are set, though never reached.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _here = runtime.enter();
        future.now_or_never().unwrap()
    }

    impl Bench {
        fn append(&self, topic: &str, now_us: i64) -> u64 {
            match topic {
                "log" => self.append_shared(topic, now_us),
                local => self.tail.topic(local).unwrap().append(&record(now_us), now_us),
            }
        }

        fn append_shared(&self, topic: &str, now_us: i64) -> u64 {
            self.engine.append(topic, &record(now_us), 0, now_us).unwrap()
        }

        fn append_with_id(&self, topic: &str, now_us: i64, id: u64) {
            self.engine.append(topic, &record(now_us), id, now_us).unwrap();
        }

        fn reading(&self, from: &str) -> Result<Reading, ReadError> {
            now(Reading::find(&self.tail, &[from.parse().unwrap()]))
        }

        /// One read, of history where the reader stands in it.
        fn read(&self, reading: &mut Reading, budget: Budget) -> Vec<Batch> {
            let batch = reading.read(budget);
            if !batch.is_empty() {
                return vec![batch];
            }
            let Some(history) = reading.history() else {
                return vec![batch];
            };
            let chunk = now(history.read(&self.tail, budget)).unwrap();
            let mut replay = reading.accept(history, chunk).unwrap();
            std::iter::from_fn(|| reading.replay(&mut replay)).collect()
        }

        /// All there is.
        fn all(&self, from: &str) -> (Vec<u64>, Vec<Gap>) {
            let mut reading = self.reading(from).unwrap();
            let (mut events, mut gaps) = (Vec::new(), Vec::new());
            loop {
                let batches = self.read(&mut reading, ALL);
                if batches.iter().all(Batch::is_empty) {
                    return (events, gaps);
                }
                for batch in batches {
                    events.extend(offsets(&batch));
                    gaps.extend(batch.gaps);
                }
            }
        }
    }

    fn offsets(batch: &Batch) -> Vec<u64> {
        let offset = |json: &Bytes| {
            let event: freshet_wire::Event<'_> = serde_json::from_slice(json).unwrap();
            event.offset
        };
        batch.events.iter().map(offset).collect()
    }

    #[test]
    fn the_end_of_a_removed_topic_is_told_once_and_the_next_one_of_its_name_is_another() {
        let bench = bench(1 << 20);
        bench.append("log", 1);
        let from = |text: &str| text.parse::<From>().unwrap();
        let find = |text: &str| now(Reading::find(&bench.tail, &[from(text)]));
        let mut reading = find("log@earliest").unwrap();
        let mut late = find("log@latest").unwrap();
        let (cursor, epoch) = (reading.next()["log"].clone(), bench.tail.topic("log").unwrap().epoch());
        assert_eq!(reading.read(ALL).events.len(), 1);
        now(bench.tail.remove("log")).unwrap();
        let unknown = Err(PubSubError::UnknownTopic("log".to_owned()));
        assert_eq!(now(bench.tail.remove("log")), unknown);
        assert_eq!(find("log").err(), Some(ReadError::UnknownTopic("log".to_owned())));
        for reading in [&mut reading, &mut late] {
            assert!(
                reading.is_behind() && reading.take_ended().is_empty(),
                "it is to be told first"
            );
            let batch = reading.read(ALL);
            assert!(batch.events.is_empty() && !batch.more);
            let gap = &batch.gaps[0];
            assert_eq!((gap.from_offset, gap.count, gap.reason), (1, None, GapReason::Epoch));
            assert!(!reading.is_behind());
        }
        assert_eq!(reading.take_ended().len(), 1);
        assert!(reading.places().is_empty());

        // A reader that comes again reads the new one, also one that was not told yet.
        let topic = now(bench.tail.open(spec("log"))).unwrap();
        assert_ne!(topic.epoch(), epoch);
        bench.append("log", 2);
        late.set(now(Place::find(&bench.tail, &from(&format!("log@{cursor}")))).unwrap());
        assert!(late.take_ended().is_empty() && late.places().len() == 1);
        let batch = late.read(ALL);
        assert_eq!((batch.events.len(), batch.gaps[0].reason), (1, GapReason::Epoch));
    }

    proptest! {
        /// Invariants 1 and 3: delivered and reported as gap together cover the range exactly once, in order; what the engine still
        /// has is delivered, however small the window.
        #[test]
        fn events_and_gaps_cover_the_log_exactly_once(
            shared: bool,
            window in 200_usize..4000,
            steps in prop::collection::vec((0_u64..30, 1_usize..20, 1_usize..3000, any::<bool>(), 0_u64..4), 1..40),
        ) {
            let name = if shared { "log" } else { "local" };
            let bench = bench(window);
            let mut reading = bench.reading(&format!("{name}@earliest")).unwrap();
            let (mut covered, mut forgotten, mut end, mut time) = (0, 0, 0, 0);
            for (appends, events, bytes, reconnect, forget) in steps {
                for _ in 0..appends {
                    time += 1;
                    end = bench.append(name, time) + 1;
                }
                if shared && forget == 0 {
                    forgotten = (end / 2).max(forgotten);
                    bench.engine.forget(name, forgotten);
                }
                if reconnect {
                    let cursor = reading.next()[name].clone();
                    let from = From { topic: name.to_owned(), position: Some(Position::Cursor(cursor)) };
                    reading = now(Reading::find(&bench.tail, &[from])).unwrap();
                }
                for batch in bench.read(&mut reading, Budget { events, bytes }) {
                    for gap in &batch.gaps {
                        prop_assert_eq!(gap.from_offset, covered);
                        prop_assert_eq!(gap.reason, GapReason::Retention);
                        covered += gap.count.unwrap();
                        prop_assert!(!shared || covered <= forgotten, "the engine still has it");
                    }
                    prop_assert!(batch.events.len() <= events);
                    for offset in offsets(&batch) {
                        prop_assert_eq!(offset, covered);
                        covered += 1;
                    }
                    prop_assert!(covered == end || batch.more);
                }
            }
            while covered < end {
                let before = covered;
                for batch in bench.read(&mut reading, ALL) {
                    covered += batch.gaps.iter().map(|gap| gap.count.unwrap()).sum::<u64>() + batch.events.len() as u64;
                }
                prop_assert!(covered > before);
            }
            prop_assert!(!reading.is_behind() && reading.history().is_none());
        }
    }

    #[test]
    fn a_reader_of_a_state_that_fell_behind_gets_the_newest_and_is_told_how_many_were_superseded() {
        let bench = bench(500);
        let mut reading = bench.reading("state@earliest").unwrap();
        let last = (0..20).map(|now| bench.append("state", now)).last().unwrap();
        let batch = reading.read(ALL);
        assert_eq!(offsets(&batch), [last]);
        assert_eq!(
            (batch.gaps[0].count, batch.gaps[0].reason),
            (Some(last), GapReason::Superseded)
        );
    }

    #[test]
    fn a_cursor_of_another_log_is_told_once_and_read_on_from_the_earliest() {
        let bench = bench(10_000);
        bench.append("log", 1);
        let foreign = Cursor::single(Epoch::new(1), 77);
        let mut reading = bench.reading(&format!("log@{foreign}")).unwrap();
        let batch = reading.read(ALL);
        assert_eq!(offsets(&batch), [0]);
        assert_eq!(batch.gaps.len(), 1);
        assert_eq!(
            (batch.gaps[0].from_offset, batch.gaps[0].count, batch.gaps[0].reason),
            (77, None, GapReason::Epoch)
        );
        assert!(reading.read(ALL).is_empty());
    }

    #[test]
    fn a_log_that_becomes_another_one_under_a_reader_is_told_and_read_from_its_beginning() {
        let bench = bench(10_000);
        (0..3).for_each(|now| _ = bench.append("log", now));
        let mut reading = bench.reading("log@earliest").unwrap();
        assert_eq!(offsets(&reading.read(ALL)), [0, 1, 2]);
        bench.engine.begin_anew("log");
        assert!(reading.is_behind() && !reading.is_settled());
        bench.append("log", 9);
        let batch = reading.read(ALL);
        assert_eq!(
            (batch.gaps[0].from_offset, batch.gaps[0].count, batch.gaps[0].reason),
            (3, None, GapReason::Epoch)
        );
        assert_eq!(offsets(&batch), [0]);
        assert!(!reading.is_behind() && reading.is_settled());
    }

    #[test]
    fn who_asks_before_the_engine_has_answered_gets_what_comes_then() {
        let bench = bench(10_000);
        let topic = Arc::new(Topic::shared(&spec("later"), true, 10_000));
        bench
            .tail
            .topics
            .write()
            .insert(Arc::clone(topic.name()), Arc::clone(&topic));
        let mut reading = bench.reading("later@earliest").unwrap();
        assert!(!reading.is_behind() && reading.read(ALL).is_empty() && reading.next().is_empty());
        now(bench.tail.engine().open(spec("later"), topic)).unwrap();
        assert!(reading.is_behind());
        bench.append_shared("later", 1);
        let batch = reading.read(ALL);
        assert_eq!((offsets(&batch), batch.gaps.len()), (vec![0], 0));
    }

    #[test]
    fn offsets_without_an_event_are_told_with_their_reason_between_their_neighbours() {
        let bench = bench(500);
        let holes = [(3, Some(GapReason::Vacant)), (9, Some(GapReason::Lost)), (11, None)];
        for offset in 0..14 {
            match holes.iter().find(|hole| hole.0 == offset) {
                Some(&(_, reason)) => bench.engine.skip("log", 1, reason),
                None => _ = bench.append("log", offset as i64),
            }
        }
        for (from, expected) in [("log@earliest", &holes[..]), ("log@offset:0:9", &holes[1..])] {
            let (events, gaps) = bench.all(from);
            let told: Vec<_> = gaps
                .iter()
                .map(|gap| (gap.from_offset, gap.count, gap.reason))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|&(offset, reason)| (offset, Some(1), reason.unwrap_or(GapReason::Vacant)))
                .collect();
            assert_eq!(told, expected, "{from}");
            assert!(events.is_sorted() && events.last() == Some(&13), "{from}: {events:?}");
        }
    }

    #[test]
    fn an_event_that_the_engine_holds_twice_is_brought_once_by_the_window_and_by_history() {
        for window in [10_000, 300] {
            let bench = bench(window);
            for (offset, id) in [1, 2, 1, 3, 3, 4, 5, 5].into_iter().enumerate() {
                bench.append_with_id("log", offset as i64, id);
            }
            bench.append_with_id("log", 8, 6);
            let mut topic = bench.reading("log@earliest").unwrap();
            let _ = topic.read(ALL);
            let (events, gaps) = bench.all("log@earliest");
            assert_eq!(events, [0, 1, 3, 5, 6, 8], "window {window}");
            assert_eq!(gaps.iter().map(|gap| gap.from_offset).collect::<Vec<_>>(), [2, 4, 7]);
            assert!(gaps.iter().all(|gap| gap.reason == GapReason::Duplicate), "{gaps:?}");
            assert_eq!(
                bench.tail.describe(9).iter().map(|topic| topic.duplicates).sum::<u64>(),
                3
            );
        }
    }

    #[test]
    fn every_position_begins_where_it_says() {
        for window in [10_000, 1] {
            let bench = bench(window);
            (0..5).for_each(|now| _ = bench.append("log", now * 10));
            let first = |from: &str| bench.all(from).0.first().copied();
            assert_eq!(first("log"), Some(4), "the newest only");
            assert_eq!(first("log@earliest"), Some(0));
            assert_eq!(first("log@latest"), None);
            assert_eq!(first("log@offset:0:3"), Some(3));
            assert_eq!(first("log@offset:0:5"), None);
            assert_eq!(first("log@time:20"), Some(2));
            assert_eq!(first("log@time:21"), Some(3));
            assert_eq!(first("log@time:99"), None);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let bench = bench(10_000);
        let why = |from: &str| bench.reading(from).unwrap_err();
        assert_eq!(why("nothing"), ReadError::UnknownTopic("nothing".to_owned()));
        assert!(matches!(
            why("log@offset:1:0"),
            ReadError::UnknownPartition {
                partition: 1,
                has: 1,
                ..
            }
        ));
        assert!(matches!(why("log@offset:0:1"), ReadError::BeyondEnd { next: 0, .. }));
        let epoch = bench.tail.topic("log").unwrap().epoch();
        assert!(matches!(
            why(&format!("log@{epoch}-9")),
            ReadError::BeyondEnd { offset: 9, .. }
        ));
        assert!(matches!(
            why(&format!("log@{epoch}-0-0")),
            ReadError::UnknownPartition { .. }
        ));
        let twice: Vec<From> = ["log", "log@latest"].iter().map(|from| from.parse().unwrap()).collect();
        assert!(matches!(
            now(Reading::find(&bench.tail, &twice)),
            Err(ReadError::Twice(_))
        ));
    }

    #[test]
    fn a_busy_topic_does_not_starve_a_quiet_one() {
        let bench = bench(100_000);
        bench.append("state", 5);
        (0..100).for_each(|now| _ = bench.append("log", now));
        let froms: Vec<From> = ["log@earliest", "state@earliest"]
            .iter()
            .map(|from| from.parse().unwrap())
            .collect();
        let mut reading = now(Reading::find(&bench.tail, &froms)).unwrap();
        let batch = reading.read(Budget {
            events: 10,
            bytes: usize::MAX,
        });
        assert!(batch.events.iter().any(|json| json.starts_with(br#"{"topic":"state""#)));
        assert!(batch.more);
    }

    #[test]
    fn an_old_time_that_reaches_into_what_was_dropped_is_told_as_a_gap() {
        let bench = bench(500);
        for topic in ["local", "log"] {
            (0..20).for_each(|now| _ = bench.append(topic, now));
        }
        bench.engine.forget("log", 10);
        for from in ["local@time:1", "log@time:1"] {
            let (_, gaps) = bench.all(from);
            assert_eq!((gaps[0].count, gaps[0].reason), (None, GapReason::Retention), "{from}");
            assert_eq!(gaps.len(), 1, "{from}");
        }
    }

    #[tokio::test]
    async fn a_watch_wakes_for_what_came_before_it_and_for_each_of_its_topics() {
        let bench = bench(10_000);
        let mut watch = crate::tail::Watch::new(&bench.tail);
        watch.add(&bench.tail.topic("log").unwrap());
        watch.changed().await;
        bench.append("log", 1);
        watch.changed().await;
        drop(watch);
        assert!(bench.tail.describe(1).iter().all(|topic| topic.readers == 0));
    }
}
