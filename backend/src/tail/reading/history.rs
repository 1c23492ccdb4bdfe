//! What is not in the window any more: stretches of the engine's log, read and brought in their order.

use std::sync::Arc;

use freshet_wire::GapReason;
use tokio::time::Instant;

use super::super::recent::Recent;
use super::super::scan::Scan;
use super::super::topic::Topic;
use super::super::{Budget, Tail};
use super::place::{Place, told};
use super::{Batch, Reading};
use crate::pubsub::{Chunk, PubSubError};

/// What one look back for ids brings at most, in bytes.
const LOOK_BACK_BYTES: usize = 1 << 20;

/// A stretch that a reader has to read from the engine's log.
#[derive(Debug, Clone)]
pub struct History {
    topic: Arc<Topic>,
    log_id: u32,
    partition: usize,
    from: u64,
    /// Where the window began: the engine may have more by then than it has told the tail of, and no reader overtakes the tail.
    end: u64,
    /// The oldest offset that is kept.
    first: u64,
    /// No ids yet, and how far back they count.
    recent: Recent,
}

impl History {
    /// Reads it, when it is this reader's turn and at a pace that leaves the others alone. What stands there a second time is taken out.
    pub async fn read(&self, tail: &Tail, budget: Budget) -> Result<Chunk, PubSubError> {
        if tail.engine.capabilities().idempotent {
            return self.fetch_from(tail, budget).await;
        }
        let mut scan = self.look_back(tail).await?;
        let mut chunk = self.fetch_from(tail, budget).await?;
        scan.recent.sift(&mut chunk.events, &mut chunk.vacant);
        scan.next = chunk.next;
        tail.scans.keep(scan);
        Ok(chunk)
    }

    async fn fetch_from(&self, tail: &Tail, budget: Budget) -> Result<Chunk, PubSubError> {
        let most = usize::try_from(self.end - self.from).unwrap_or(usize::MAX);
        let budget = Budget {
            events: budget.events.min(most),
            ..budget
        };
        let mut chunk = self.fetch(tail, self.from, budget).await?;
        chunk.end_at(self.end);
        Ok(chunk)
    }

    /// The ids of the events before it.
    async fn look_back(&self, tail: &Tail) -> Result<Scan, PubSubError> {
        let since = self.recent.since(self.from).max(self.first).min(self.from);
        let found = tail.scans.find(self.log_id, self.partition, since, self.from);
        let mut scan = found.unwrap_or_else(|| Scan {
            log_id: self.log_id,
            partition: self.partition,
            since,
            next: since,
            recent: self.recent.clone(),
        });
        while scan.next < self.from {
            let budget = Budget {
                events: usize::try_from(self.from - scan.next).unwrap_or(usize::MAX),
                bytes: LOOK_BACK_BYTES,
            };
            let chunk = self.fetch(tail, scan.next, budget).await?;
            for event in chunk.events.iter().filter(|event| event.offset < self.from) {
                scan.recent.is_new(event.id_hash, event.offset);
            }
            // A log that has nothing there has nothing more before the place.
            let next = if chunk.next > scan.next { chunk.next } else { self.from };
            scan.next = next.min(self.from);
            // Kept at once: who gives up in between, and asks again, goes on from here.
            tail.scans.keep(scan.clone());
        }
        Ok(scan)
    }

    async fn fetch(&self, tail: &Tail, from: u64, budget: Budget) -> Result<Chunk, PubSubError> {
        let _turn = tail.pace.turn().await;
        let partition = u32::try_from(self.partition).unwrap_or(u32::MAX);
        let chunk = tail.engine.read(self.topic.name(), partition, from, budget).await?;
        let bytes = chunk.events.iter().map(|event| event.json.len()).sum();
        tail.pace.spend(bytes, Instant::now());
        Ok(chunk)
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }
}

/// What was read from the engine's log and not brought yet.
#[derive(Debug)]
pub struct Replay {
    history: History,
    chunk: Chunk,
}

impl Reading {
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
            end: log.partitions[partition].window.first(),
            first: log.partitions[partition].first,
            recent: log.partitions[partition].recent.anew(),
        });
        drop(log);
        // Retention has passed it by: the next read tells the gap.
        if history.is_none() {
            place.historic = false;
        }
        history
    }

    /// Takes what was read from the engine's log in; `None` if the reader has moved meanwhile. [`Self::replay`] brings it.
    pub fn accept(&mut self, history: History, chunk: Chunk) -> Option<Replay> {
        self.stands_at(&history)?;
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
