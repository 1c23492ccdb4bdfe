//! Where a reader stands in one topic, and what it lost there.

use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{Cursor, EngineState, Epoch, From, Gap, GapReason, Position, TopicKind};
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::super::Tail;
use super::super::topic::{LogWindows, PartitionWindow, Topic};
use crate::pubsub::POWER_FAILURE_SKIP;

/// How long the engine may take to find a time in its log, or its end.
const MOST_SEARCH: Duration = Duration::from_secs(10);

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
    #[error("the log of topic {topic:?} cannot be searched now: {why}")]
    Unavailable { topic: String, why: String },
    #[error("topic {topic:?} cannot be opened: {why}; it is tried again")]
    NotOpened { topic: String, why: String },
}

/// Where a reader stands in one topic.
#[derive(Debug)]
pub struct Place {
    pub(super) topic: Arc<Topic>,
    pub(super) log_id: u32,
    epoch: Epoch,
    /// The next offset of each partition.
    pub(super) next: Vec<u64>,
    /// The engine had not told of its log when the place was taken: what was asked for then.
    wanted: Option<Option<Position>>,
    /// Found when the place was taken, told with the next batch.
    pub(super) gaps: Vec<Gap>,
    /// Nothing was read here yet: where the reader begins is news to it.
    pub(super) fresh: bool,
    /// By the last read.
    pub(super) moved: bool,
    /// What comes next in some partition is in the engine's log, not in the window.
    pub(super) historic: bool,
    /// What comes next in some partition is beyond its window: another process had told the reader of what is before it.
    pub(super) ahead: bool,
}

impl Place {
    /// Finds a position in its topic. Waits only where a time, or the log's end, has to be asked of the engine.
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
        let mut found = None;
        if let Some(time_us) = from.position.as_ref().and_then(|position| to_ask(&topic, position)) {
            let unavailable = |why: String| ReadError::Unavailable {
                topic: from.topic.clone(),
                why,
            };
            let answer = timeout(MOST_SEARCH, tail.engine.at(topic.name(), time_us)).await;
            let answer = answer.map_err(|_| unavailable("the engine does not answer".to_owned()))?;
            found = Some(answer.map_err(|error| unavailable(error.to_string()))?);
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
            ahead: false,
            topic: Arc::clone(&topic),
        };
        let log = topic.log.read();
        if topic.is_removed() {
            return Err(ReadError::UnknownTopic(from.topic.clone()));
        }
        if log.id == 0 {
            place.wanted = Some(from.position.clone());
        } else {
            place.take(&log, from.position.as_ref(), found.as_deref())?;
        }
        Ok(place)
    }

    /// Finds every position, all at once: the engine may take its time for one of them.
    pub async fn find_all(tail: &Tail, froms: &[From]) -> Result<Vec<Self>, ReadError> {
        try_join_all(froms.iter().map(|from| Self::find(tail, from))).await
    }

    /// Stands where the position says; `found` is what the engine answered where [`to_ask`] had a question.
    fn take(&mut self, log: &LogWindows, position: Option<&Position>, found: Option<&[u64]>) -> Result<(), ReadError> {
        let found = |number: usize| found.and_then(|found| found.get(number)).copied();
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
                    let (offset, lost) = match found(number) {
                        Some(offset) => (offset, offset <= partition.first && partition.first > 0),
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
                    next[number] = self.inside(log, number, offset, found(number))?;
                }
                next
            }
            Some(Position::Offset { partition, offset }) => {
                let number = self.partition(log, *partition as usize)?;
                let mut next: Vec<u64> = ends().collect();
                next[number] = self.inside(log, number, *offset, found(number))?;
                next
            }
        };
        self.historic = self.is_historic(log);
        self.ahead = self.is_ahead(log);
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

    fn inside(&self, log: &LogWindows, number: usize, offset: u64, end: Option<u64>) -> Result<u64, ReadError> {
        let next = log.partitions[number].window.next().max(end.unwrap_or(0));
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
    pub(super) fn is_historic(&self, log: &LogWindows) -> bool {
        let mut places = self.next.iter().zip(&log.partitions);
        !self.topic.is_windowed()
            && places
                .any(|(&next, partition)| next < partition.window.first() && partition.first < partition.window.first())
    }

    /// Whether the reader has seen, of some partition, what the engine has not told this process of yet.
    pub(super) fn is_ahead(&self, log: &LogWindows) -> bool {
        let mut places = self.next.iter().zip(&log.partitions);
        places.any(|(&next, partition)| next > partition.window.next())
    }

    /// Comes to terms with what the topic's log is now: another one, or one with more partitions.
    pub(super) fn follow(&mut self, log: &LogWindows) {
        if log.id == 0 {
            return;
        }
        if let Some(wanted) = self.wanted.take() {
            let wanted = wanted.map(|position| within(position, log));
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
            (self.log_id, self.epoch) = (log.id, log.epoch);
        }
        let more = log.partitions.iter().skip(self.next.len());
        let more: Vec<u64> = more.map(|partition| partition.first).collect();
        self.next.extend(more);
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// True when there is something to read in the window, or to tell.
    pub(super) fn is_behind(&self) -> bool {
        let log_id = self.topic.log_id();
        if log_id == 0 {
            return false;
        }
        let news = self.fresh || !self.gaps.is_empty() || self.log_id != log_id;
        if news || self.historic {
            return news;
        }
        if !self.ahead {
            return self.topic.end() > self.next.iter().sum();
        }
        // One partition that is ahead would make up for another that is behind.
        let log = self.topic.log.read();
        let mut places = self.next.iter().zip(&log.partitions);
        self.next.len() < log.partitions.len() || places.any(|(&next, partition)| next < partition.window.next())
    }

    /// The topic was removed, and the reader was told.
    pub(super) fn is_ended(&self) -> bool {
        self.topic.is_removed() && self.log_id == self.topic.log_id() && self.gaps.is_empty()
    }

    /// `None` as long as the engine has not told of its log, and where there is none any more.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        (!self.next.is_empty()).then(|| Cursor {
            epoch: self.epoch,
            next: self.next.clone(),
        })
    }
}

/// A cursor of this very log may come from a process that has heard of more. Where the log's end cannot be asked for any more, what lies
/// beyond what is known is read again, rather than missed.
fn within(position: Position, log: &LogWindows) -> Position {
    match position {
        Position::Cursor(mut cursor) if cursor.epoch == log.epoch => {
            for (next, partition) in cursor.next.iter_mut().zip(&log.partitions) {
                *next = (*next).min(partition.window.next());
            }
            Position::Cursor(cursor)
        }
        other => other,
    }
}

/// The time to ask the engine for, where the window does not know the place: a time that it does not reach back to, or the end of the
/// log (later than any time) where a position lies beyond what the engine has told of: processes that share a log hear of an event one after
/// the other.
fn to_ask(topic: &Topic, position: &Position) -> Option<i64> {
    if topic.is_windowed() {
        return None;
    }
    let log = topic.log.read();
    let is_beyond = |number: usize, offset: u64| {
        let partition = log.partitions.get(number);
        partition.is_some_and(|partition| offset > partition.window.next())
    };
    match position {
        Position::Time(time_us) => {
            let is_before = |partition: &PartitionWindow| {
                partition.first < partition.window.first() && !partition.window.reaches_before(*time_us)
            };
            (log.id == 0 || log.partitions.iter().any(is_before)).then_some(*time_us)
        }
        Position::Cursor(cursor) if cursor.epoch == log.epoch => {
            let mut places = cursor.next.iter().enumerate();
            places
                .any(|(number, &offset)| is_beyond(number, offset))
                .then_some(i64::MAX)
        }
        Position::Offset { partition, offset } => is_beyond(*partition as usize, *offset).then_some(i64::MAX),
        _ => None,
    }
}

/// What a reader lost since it read last, if anything; it goes on from where there is something.
pub(super) fn catch_up(topic: &Topic, number: usize, next: &mut u64, partition: &PartitionWindow) -> Option<Gap> {
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

pub(super) fn told(topic: &Topic, partition: usize, from_offset: u64, count: Option<u64>, reason: GapReason) -> Gap {
    Gap {
        topic: topic.name().to_string(),
        partition: u32::try_from(partition).unwrap_or(u32::MAX),
        from_offset,
        // As wide as what is passed over after a power failure: nobody knows how many of these offsets had an event.
        count: count.filter(|&count| reason != GapReason::Lost || count < POWER_FAILURE_SKIP),
        reason,
    }
}
