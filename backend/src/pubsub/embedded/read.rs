//! Reading: by offset and by time, whatever is appended, dropped or repaired meanwhile. Every record's checksum is looked at.

use std::io;
use std::sync::Arc;

use freshet_wire::GapReason;

use super::record::Body;
use super::segment::Segment;
use super::topic::{List, TopicLog};
use super::walk::{STRIDE, Step, Walk};
use crate::pubsub::{Budget, Chunk, Stored};

/// One read brings no more than this, whatever it asks for, but for the first event.
const MOST_BYTES: usize = 8 << 20;
const MOST_EVENTS: usize = 64 << 10;
/// The least that is read from a file at once.
const LEAST_STRIDE: usize = 16 << 10;
/// Readers whose places are remembered, the last ones.
const HINTS: usize = 64;

/// Where the last reads ended, as segment, offset and place: who reads on there need not look for it.
#[derive(Debug, Default)]
pub(super) struct Hints {
    places: Vec<(u64, u64, u64)>,
    oldest: usize,
}

impl Hints {
    fn find(&self, segment: u64, offset: u64) -> Option<u64> {
        let known = self.places.iter().find(|place| (place.0, place.1) == (segment, offset));
        known.map(|place| place.2)
    }

    fn note(&mut self, segment: u64, offset: u64, at: u64) {
        if self.places.len() < HINTS {
            self.places.push((segment, offset, at));
        } else {
            self.places[self.oldest] = (segment, offset, at);
            self.oldest = (self.oldest + 1) % HINTS;
        }
    }
}

/// What a reader found may have been about to go: it is to look again.
#[derive(Debug)]
struct Moved;

impl TopicLog {
    pub(super) fn read(self: &Arc<Self>, from: u64, budget: Budget) -> io::Result<Chunk> {
        loop {
            if let Ok(chunk) = self.try_read(from, budget)? {
                return Ok(chunk);
            }
        }
    }

    fn try_read(self: &Arc<Self>, from: u64, budget: Budget) -> io::Result<Result<Chunk, Moved>> {
        let list = self.list();
        // In this order: what is before the end is in the segments' lengths.
        let end = self.end();
        let first = list.first();
        let mut chunk = Chunk {
            next: from.max(first),
            first,
            ..Chunk::default()
        };
        if chunk.next >= end {
            return Ok(Ok(chunk));
        }
        let mut filling = Filling::new(budget, chunk.next);
        let begin = list.segments.partition_point(|segment| segment.base <= chunk.next);
        for index in begin.saturating_sub(1)..list.segments.len() {
            let segment = &list.segments[index];
            let limit = list.segments.get(index + 1).map_or(end, |next| next.base.min(end));
            if filling.sought >= limit {
                continue;
            }
            let found = self.read_segment(segment, limit, &mut filling);
            // Whatever is missing may be missing because the file was about to go.
            let is_missing = found.as_ref().map_or(true, |is_whole| !is_whole);
            if is_missing && self.has_moved(&list) {
                return Ok(Err(Moved));
            }
            match found {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if segment.is_news() {
                        self.say(segment, "is gone");
                    }
                    filling.sought = limit;
                }
                Err(error) => return Err(error),
            }
            if filling.is_full {
                break;
            }
        }
        chunk.events = filling.events;
        chunk.next = if filling.is_full {
            filling.covered
        } else {
            filling.sought
        };
        chunk.vacant = (chunk.next > filling.covered).then_some(GapReason::Lost);
        Ok(Ok(chunk))
    }

    /// Takes what fits of the offsets before the limit; false when not all of them were there.
    fn read_segment(self: &Arc<Self>, segment: &Arc<Segment>, limit: u64, filling: &mut Filling) -> io::Result<bool> {
        let file = segment.reader()?;
        let hint = self.hints.lock().find(segment.id(), filling.sought);
        let at = match hint {
            Some(at) => at,
            None if filling.sought <= segment.base => segment.records_at(),
            None => segment.place_before(&self.common.indexes, |entry| entry.offset > filling.sought)?,
        };
        let (mut damaged, mut is_whole) = (0, true);
        let mut walk = Walk::new(&file, at, segment.len(), filling.stride()).from(filling.sought);
        // Where it is to be read on.
        let on_at = loop {
            let at = walk.at();
            let Some(step) = walk.next()? else { break at };
            match step {
                Step::Record(whole) if whole.offset >= limit => break whole.at,
                Step::Record(whole) => {
                    let Some(body) = Body::parse(&whole.body) else {
                        damaged += whole.size;
                        continue;
                    };
                    is_whole &= whole.offset == filling.covered;
                    if !filling.take(whole.offset, body) {
                        break whole.at;
                    }
                    if filling.is_full {
                        break walk.at();
                    }
                }
                // What stands behind the last offset counts no more, whole or not.
                _ if filling.covered >= limit => break at,
                Step::Damage { at, to, .. } => damaged += to - at,
                Step::Torn { at } => damaged += segment.len() - at,
            }
        };
        self.hints.lock().note(segment.id(), filling.covered, on_at);
        if damaged > 0 && segment.is_news() {
            self.say(segment, &format!("is damaged: {damaged} bytes of it were passed over"));
        }
        is_whole &= damaged == 0;
        if !filling.is_full {
            is_whole &= filling.covered >= limit;
            filling.sought = limit;
        }
        Ok(is_whole)
    }

    fn say(&self, segment: &Arc<Segment>, what: &str) {
        let file = segment.path().file_name().unwrap_or_default().to_string_lossy();
        let text = format!("the file {file} {what}");
        self.common.health.find(&self.name, true, &text, self.common.now_us());
    }

    fn has_moved(&self, list: &List) -> bool {
        self.list.read().generation != list.generation
    }

    /// The first offset ingested at or after this time; the end where there is none.
    pub(super) fn at(self: &Arc<Self>, time_us: i64) -> io::Result<u64> {
        loop {
            let list = self.list();
            let found = self.try_at(&list, time_us);
            if !self.has_moved(&list) {
                return found;
            }
        }
    }

    fn try_at(self: &Arc<Self>, list: &List, time_us: i64) -> io::Result<u64> {
        let end = self.end();
        // Nothing in the segments before that one is young enough; whatever a clock said that was set back since.
        let begin = list.segments.iter().rposition(|segment| segment.created_us < time_us);
        for index in begin.unwrap_or(0)..list.segments.len() {
            let segment = &list.segments[index];
            let limit = list.segments.get(index + 1).map_or(end, |next| next.base.min(end));
            let file = match segment.reader() {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let at = segment.place_before(&self.common.indexes, |entry| entry.ingested_us >= time_us)?;
            let mut walk = Walk::new(&file, at, segment.len(), STRIDE.min(128 << 10));
            while let Some(step) = walk.next()? {
                if let Step::Record(whole) = step
                    && whole.offset < limit
                    && Body::ingested_us(&whole.body).is_some_and(|ingested_us| ingested_us >= time_us)
                {
                    return Ok(whole.offset);
                }
            }
        }
        Ok(end)
    }
}

/// A chunk that is being filled.
struct Filling {
    events: Vec<Stored>,
    bytes: usize,
    budget: Budget,
    /// After the last event; what lies between it and the next one has none.
    covered: u64,
    /// The next offset to look for.
    sought: u64,
    is_full: bool,
}

impl Filling {
    fn new(budget: Budget, from: u64) -> Self {
        Self {
            events: Vec::new(),
            bytes: 0,
            budget: Budget {
                events: budget.events.min(MOST_EVENTS),
                bytes: budget.bytes.min(MOST_BYTES),
            },
            covered: from,
            sought: from,
            is_full: false,
        }
    }

    /// What is still to come, and what stands around it in the file; more than that would be read again the next time.
    fn stride(&self) -> usize {
        let left = self.budget.bytes.saturating_sub(self.bytes);
        (left + left / 4).clamp(LEAST_STRIDE, STRIDE)
    }

    /// False when it does not fit any more.
    fn take(&mut self, offset: u64, body: Body) -> bool {
        let bytes = self.bytes + body.json.len();
        let fits = self.events.len() < self.budget.events && bytes <= self.budget.bytes;
        if !fits && !self.events.is_empty() {
            self.is_full = true;
            return false;
        }
        self.events.push(Stored {
            partition: 0,
            offset,
            ingested_us: body.ingested_us,
            id_hash: 0,
            vacant: (offset > self.covered).then_some(GapReason::Lost),
            json: body.json,
        });
        self.bytes = bytes;
        (self.covered, self.sought) = (offset + 1, offset + 1);
        self.is_full = self.events.len() >= self.budget.events || bytes >= self.budget.bytes;
        true
    }
}
