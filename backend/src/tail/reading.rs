//! A reader's place in several topics, and the one way in which both deliveries read on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use freshet_wire::{Cursor, From, Gap, GapReason, Position, TopicKind};

use super::Tail;
use super::topic::Topic;
use super::window::Window;

/// How much one read may bring; the first event always comes, however large.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub events: usize,
    pub bytes: usize,
}

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
    #[error("topic {topic:?} has no partition {partition}; it has partition 0 only")]
    UnknownPartition { topic: String, partition: u32 },
    #[error("offset {offset} of topic {topic:?} lies beyond its end: the next event will have offset {next}")]
    BeyondEnd { topic: String, offset: u64, next: u64 },
    #[error("topic {0:?} is asked for twice")]
    Twice(String),
}

/// Where a reader stands in one topic.
#[derive(Debug)]
pub struct Place {
    topic: Arc<Topic>,
    next: u64,
    /// Found when the place was taken, told with the next batch.
    gap: Option<Gap>,
    /// Nothing was read here yet: where the reader begins is news to it.
    fresh: bool,
    /// By the last read.
    moved: bool,
}

impl Place {
    /// Finds a position in its topic.
    pub fn find(tail: &Tail, from: &From) -> Result<Self, ReadError> {
        let topic = tail
            .topic(&from.topic)
            .ok_or_else(|| ReadError::UnknownTopic(from.topic.clone()))?;
        let window = topic.window.read();
        let (first, end) = (window.first(), window.next());
        let mut gap = None;
        let next = match &from.position {
            None => end.saturating_sub(1).max(first),
            Some(Position::Latest) => end,
            Some(Position::Earliest) => first,
            Some(Position::Time(time_us)) => {
                let (offset, lost) = window.at(*time_us);
                // How many of the dropped ones were in time is not known any more.
                gap = lost.then(|| told(&topic, 0, None, GapReason::Retention));
                offset
            }
            Some(Position::Cursor(cursor)) if cursor.epoch != topic.epoch() => {
                gap = Some(told(&topic, cursor.next[0], None, GapReason::Epoch));
                first
            }
            Some(Position::Cursor(cursor)) => {
                check_partition(&topic, cursor.next.len() - 1)?;
                check_end(&topic, cursor.next[0], end)?
            }
            Some(Position::Offset { partition, offset }) => {
                check_partition(&topic, *partition as usize)?;
                check_end(&topic, *offset, end)?
            }
        };
        drop(window);
        Ok(Self {
            topic,
            next,
            gap,
            fresh: true,
            moved: false,
        })
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    fn cursor(&self) -> Cursor {
        Cursor::single(self.topic.epoch(), self.next)
    }
}

/// What a reader lost since it read last, if anything; it goes on from where there is something.
fn catch_up(topic: &Topic, next: &mut u64, window: &Window) -> Option<Gap> {
    let first = window.first();
    if *next >= first {
        return None;
    }
    let from = *next;
    // Of a state the latest value counts: there is no use in the ones between.
    let (to, reason) = match topic.kind() {
        TopicKind::Log => (first, GapReason::Retention),
        TopicKind::State => (window.next() - 1, GapReason::Superseded),
    };
    *next = to;
    Some(told(topic, from, Some(to - from), reason))
}

fn told(topic: &Topic, from_offset: u64, count: Option<u64>, reason: GapReason) -> Gap {
    Gap {
        topic: topic.name().to_string(),
        partition: 0,
        from_offset,
        count,
        reason,
    }
}

fn check_partition(topic: &Topic, partition: usize) -> Result<(), ReadError> {
    match u32::try_from(partition) {
        Ok(0) => Ok(()),
        wrong => Err(ReadError::UnknownPartition {
            topic: topic.name().to_string(),
            partition: wrong.unwrap_or(u32::MAX),
        }),
    }
}

fn check_end(topic: &Topic, offset: u64, next: u64) -> Result<u64, ReadError> {
    if offset > next {
        return Err(ReadError::BeyondEnd {
            topic: topic.name().to_string(),
            offset,
            next,
        });
    }
    Ok(offset)
}

/// A reader's places in all its topics.
#[derive(Debug, Default)]
pub struct Reading {
    places: Vec<Place>,
}

impl Reading {
    /// Finds every position; each topic may stand there once.
    pub fn find(tail: &Tail, froms: &[From]) -> Result<Self, ReadError> {
        let mut reading = Self::default();
        for from in froms {
            if reading.place(&from.topic).is_some() {
                return Err(ReadError::Twice(from.topic.clone()));
            }
            reading.places.push(Place::find(tail, from)?);
        }
        Ok(reading)
    }

    /// Adds a topic, or moves to another position in it.
    pub fn set(&mut self, place: Place) {
        match self
            .places
            .iter_mut()
            .find(|known| Arc::ptr_eq(&known.topic, &place.topic))
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

    pub fn place(&self, topic: &str) -> Option<&Place> {
        self.places.iter().find(|place| &**place.topic.name() == topic)
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where the next read begins, by topic.
    pub fn next(&self) -> BTreeMap<&str, Cursor> {
        self.places
            .iter()
            .map(|place| (&**place.topic.name(), place.cursor()))
            .collect()
    }

    /// The same, of the topics in which the last read moved on.
    pub fn moved(&self) -> BTreeMap<&str, Cursor> {
        let moved = self.places.iter().filter(|place| place.moved);
        moved.map(|place| (&**place.topic.name(), place.cursor())).collect()
    }

    /// True when every place is told and nothing was missed: what comes next depends on the places alone.
    pub fn is_settled(&self) -> bool {
        self.places.iter().all(|place| !place.fresh && place.gap.is_none())
    }

    /// True when there is something to read, or to tell.
    pub fn is_behind(&self) -> bool {
        self.places
            .iter()
            .any(|place| place.topic.end() > place.next || place.fresh || place.gap.is_some())
    }

    /// Where this reader stands: topics and next offsets, in the order in which they were added.
    pub fn stands(&self) -> impl Iterator<Item = (u32, u64)> {
        self.places.iter().map(|place| (place.topic.id(), place.next))
    }

    /// Moves on without reading: another reader that stood here has read for this one.
    pub fn advance(&mut self, steps: &[u64]) {
        for (place, step) in self.places.iter_mut().zip(steps) {
            place.next += step;
        }
    }

    /// Events and bytes between this reader and the end of its topics.
    pub fn lag(&self) -> (u64, u64) {
        self.places.iter().fold((0, 0), |(events, bytes), place| {
            let window = place.topic.window.read();
            let waiting = window.next().saturating_sub(place.next);
            // Only a reader that is behind pays for the sum.
            let size: usize = if waiting == 0 {
                0
            } else {
                window.from(place.next).map(|entry| entry.json.len()).sum()
            };
            (events + waiting, bytes + size as u64)
        })
    }

    /// Reads on: the oldest events of all topics first, so that a busy topic cannot starve a quiet one.
    pub fn read(&mut self, budget: Budget) -> Batch {
        let mut batch = Batch::default();
        let mut found: Vec<(i64, usize, Bytes)> = Vec::new();
        let mut end = 0;
        for (
            index,
            Place {
                topic,
                next,
                gap,
                fresh,
                moved,
            },
        ) in self.places.iter_mut().enumerate()
        {
            let window = topic.window.read();
            let told = batch.gaps.len();
            batch.gaps.extend(gap.take());
            batch.gaps.extend(catch_up(topic, next, &window));
            *moved = std::mem::take(fresh) || batch.gaps.len() > told;
            end += window.next();
            let mut bytes = 0;
            for entry in window.from(*next).take(budget.events) {
                bytes += entry.json.len();
                found.push((entry.ingested_us, index, entry.json.clone()));
                if bytes >= budget.bytes {
                    break;
                }
            }
        }
        // Stable, and each topic's own events are in order already.
        if self.places.len() > 1 {
            found.sort_by_key(|&(ingested_us, ..)| ingested_us);
        }
        let mut bytes = 0;
        for (_, index, json) in found {
            bytes += json.len();
            if !batch.events.is_empty() && (batch.events.len() == budget.events || bytes > budget.bytes) {
                break;
            }
            if self.places[index].topic.kind() == TopicKind::State {
                batch.state_events += 1;
                batch.state_bytes += json.len() as u64;
            }
            self.places[index].next += 1;
            self.places[index].moved = true;
            batch.events.push(json);
        }
        batch.more = self.places.iter().map(|place| place.next).sum::<u64>() < end;
        batch
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::{Epoch, TopicScope};
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::tail::Draft;

    const ALL: Budget = Budget {
        events: usize::MAX,
        bytes: usize::MAX,
    };

    fn tail(window_bytes: usize) -> Tail {
        let tail = Tail::new(window_bytes);
        tail.create("log", TopicKind::Log, TopicScope::Shared, false);
        tail.create("state", TopicKind::State, TopicScope::Local, false);
        tail
    }

    fn append(tail: &Tail, topic: &str, now_us: i64) -> u64 {
        let data = RawValue::from_string("{}".to_owned()).unwrap();
        let draft = Draft {
            produced_us: now_us,
            host: None,
            token: None,
            kind: "test",
            data: &data,
        };
        tail.topic(topic).unwrap().append(&draft, now_us)
    }

    fn reading(tail: &Tail, from: &str) -> Result<Reading, ReadError> {
        Reading::find(tail, &[from.parse().unwrap()])
    }

    fn offsets(batch: &Batch) -> Vec<u64> {
        let offset = |json: &Bytes| {
            let event: freshet_wire::Event<'_> = serde_json::from_slice(json).unwrap();
            event.offset
        };
        batch.events.iter().map(offset).collect()
    }

    proptest! {
        /// Invariants 1 and 3: delivered and reported as gap together cover the range exactly once, in order.
        #[test]
        fn events_and_gaps_cover_the_log_exactly_once(
            window in 200_usize..4000,
            steps in prop::collection::vec((0_u64..30, 1_usize..20, 1_usize..3000, any::<bool>()), 1..40),
        ) {
            let tail = tail(window);
            let mut reading = reading(&tail, "log@earliest").unwrap();
            let mut covered = 0;
            let mut now = 0;
            for (appends, events, bytes, reconnect) in steps {
                for _ in 0..appends {
                    now += 1;
                    append(&tail, "log", now);
                }
                if reconnect {
                    let cursor = reading.next()["log"].clone();
                    let from = From { topic: "log".to_owned(), position: Some(Position::Cursor(cursor)) };
                    reading = Reading::find(&tail, &[from]).unwrap();
                }
                let batch = reading.read(Budget { events, bytes });
                for gap in &batch.gaps {
                    prop_assert_eq!(gap.from_offset, covered);
                    prop_assert_eq!(gap.reason, GapReason::Retention);
                    covered += gap.count.unwrap();
                }
                prop_assert!(batch.events.len() <= events);
                for offset in offsets(&batch) {
                    prop_assert_eq!(offset, covered);
                    covered += 1;
                }
                let end = tail.topic("log").unwrap().window.read().next();
                prop_assert_eq!(batch.more, covered < end);
            }
        }
    }

    #[test]
    fn a_reader_of_a_state_that_fell_behind_gets_the_newest_and_is_told_how_many_were_superseded() {
        let tail = tail(500);
        let mut reading = reading(&tail, "state@earliest").unwrap();
        let last = (0..20).map(|now| append(&tail, "state", now)).last().unwrap();
        let batch = reading.read(ALL);
        assert_eq!(offsets(&batch), [last]);
        assert_eq!(
            (batch.gaps[0].count, batch.gaps[0].reason),
            (Some(last), GapReason::Superseded)
        );
    }

    #[test]
    fn a_cursor_of_another_log_is_told_once_and_read_on_from_the_earliest() {
        let tail = tail(10_000);
        append(&tail, "log", 1);
        let foreign = Cursor::single(Epoch::new(1), 77);
        let mut reading = reading(&tail, &format!("log@{foreign}")).unwrap();
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
    fn every_position_begins_where_it_says() {
        let tail = tail(10_000);
        (0..5).for_each(|now| _ = append(&tail, "log", now * 10));
        let first = |from: &str| offsets(&reading(&tail, from).unwrap().read(ALL)).first().copied();
        assert_eq!(first("log"), Some(4), "the newest only");
        assert_eq!(first("log@earliest"), Some(0));
        assert_eq!(first("log@latest"), None);
        assert_eq!(first("log@offset:0:3"), Some(3));
        assert_eq!(first("log@offset:0:5"), None);
        assert_eq!(first("log@time:20"), Some(2));
        assert_eq!(first("log@time:21"), Some(3));
        assert_eq!(first("log@time:99"), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let tail = tail(10_000);
        let why = |from: &str| reading(&tail, from).unwrap_err();
        assert_eq!(why("nothing"), ReadError::UnknownTopic("nothing".to_owned()));
        assert!(matches!(
            why("log@offset:1:0"),
            ReadError::UnknownPartition { partition: 1, .. }
        ));
        assert!(matches!(why("log@offset:0:1"), ReadError::BeyondEnd { next: 0, .. }));
        let epoch = tail.topic("log").unwrap().epoch();
        assert!(matches!(
            why(&format!("log@{epoch}-9")),
            ReadError::BeyondEnd { offset: 9, .. }
        ));
        assert!(matches!(
            why(&format!("log@{epoch}-0-0")),
            ReadError::UnknownPartition { .. }
        ));
        let twice: Vec<From> = ["log", "log@latest"].iter().map(|from| from.parse().unwrap()).collect();
        assert!(matches!(Reading::find(&tail, &twice), Err(ReadError::Twice(_))));
    }

    #[test]
    fn a_busy_topic_does_not_starve_a_quiet_one() {
        let tail = tail(100_000);
        append(&tail, "state", 5);
        (0..100).for_each(|now| _ = append(&tail, "log", now));
        let froms: Vec<From> = ["log@earliest", "state@earliest"]
            .iter()
            .map(|from| from.parse().unwrap())
            .collect();
        let mut reading = Reading::find(&tail, &froms).unwrap();
        let batch = reading.read(Budget {
            events: 10,
            bytes: usize::MAX,
        });
        assert!(batch.events.iter().any(|json| json.starts_with(br#"{"topic":"state""#)));
        assert!(batch.more);
    }

    #[test]
    fn an_old_time_that_reaches_into_what_was_dropped_is_told_as_a_gap() {
        let tail = tail(500);
        (0..20).for_each(|now| _ = append(&tail, "log", now));
        let batch = reading(&tail, "log@time:1").unwrap().read(ALL);
        assert_eq!(
            (batch.gaps[0].count, batch.gaps[0].reason),
            (None, GapReason::Retention)
        );
    }

    #[tokio::test]
    async fn a_watch_wakes_for_what_came_before_it_and_for_each_of_its_topics() {
        let tail = tail(10_000);
        let mut watch = crate::tail::Watch::new(&tail);
        watch.add(&tail.topic("log").unwrap());
        watch.changed().await;
        append(&tail, "log", 1);
        watch.changed().await;
        drop(watch);
        assert_eq!(tail.topic("log").unwrap().describe(1).readers, 0);
    }
}
