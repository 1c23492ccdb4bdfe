//! A reader's place in several topics, and the one way in which both deliveries read on from there.
//!
//! What is in a topic's window is read at once; what is older is in the engine's log, and is read with [`Reading::history`]. A reader goes
//! from the one to the other by its place alone: where the window begins, history ends.

mod history;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use freshet_wire::{Cursor, From, Gap, GapReason, TopicKind};

pub use self::history::{History, Replay};
pub use self::place::{Place, ReadError};
use self::place::{catch_up, told};
use super::topic::Topic;
use super::{Budget, Tail};

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
    /// Nothing of this partition stands before it in this read.
    is_first: bool,
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
                end += partition.window.next().saturating_sub(*next);
                streams += 1;
                let mut bytes = 0;
                for (index_here, entry) in partition.window.from(*next).take(budget.events).enumerate() {
                    bytes += entry.json.len();
                    found.push(Found {
                        ingested_us: entry.ingested_us,
                        place: index,
                        partition: number,
                        is_first: index_here == 0,
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
            place.ahead = place.is_ahead(&log);
        }
        // Stable, and each partition's own events are in order already.
        if streams > 1 {
            found.sort_by_key(|found| found.ingested_us);
        }
        let mut bytes = 0;
        for found in found {
            bytes += found.json.len();
            if !batch.events.is_empty() && (batch.events.len() == budget.events || bytes > budget.bytes) {
                break;
            }
            let place = &mut self.places[found.place];
            let next = &mut place.next[found.partition];
            if found.offset > *next {
                // A gap is told before the events after it, and after those before it: then this batch is whole.
                if !found.is_first {
                    break;
                }
                let count = found.offset - *next;
                let reason = found.vacant.unwrap_or(GapReason::Vacant);
                batch
                    .gaps
                    .push(told(&place.topic, found.partition, *next, Some(count), reason));
                end -= count;
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
}

#[cfg(test)]
mod tests;
