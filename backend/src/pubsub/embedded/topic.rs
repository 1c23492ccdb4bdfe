//! A topic's log: what is appended to it, and what all that read it share.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Instant;

use freshet_wire::{Epoch, GapReason, Receipt, Retention, TopicKind};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use super::common::Common;
use super::folder::{self, State};
use super::health::Trouble;
use super::keys::{Keys, Used};
use super::mark::Mark;
use super::read::Hints;
use super::record::{Frame, MOST_JSON, MOST_KEY, Place};
use super::retention::Left;
use super::segment::{Entry, Header, Segment, file_name};
use crate::config::LogConfig;
use crate::encode;
use crate::pubsub::fence::Marks;
use crate::pubsub::{Ack, Kept, PubSubError, Publication, Record, Sink, Stored};

/// A log that keeps everything, or much, has segments of this size.
const MOST_SEGMENT: u64 = 16 << 20;
const LEAST_SEGMENT: u64 = 1 << 20;
/// Of a state topic: only the newest one is kept.
const STATE_SEGMENT: u64 = 64 << 10;
/// A log consists of about so many segments, so that retention, which takes whole ones, is about so exact.
const SEGMENTS: u64 = 16;
/// With more than this that is not on disk, the committer does not wait for the next second.
const SOON: usize = 4 << 20;
/// The segments that are written, which never go, are no more of all that is kept than one in this.
const WRITTEN: u64 = 4;
/// A clock that goes back by less is waited for: until then, events have the time of the one before.
const SET_BACK_US: i64 = 60_000_000;
/// What a publication that is not on disk costs beside its bytes.
const OVERHEAD: usize = 160;

/// The size of a segment where it follows from what is kept of all topics together.
pub(super) fn most_segment(config: &LogConfig) -> u64 {
    let share = config.max_total_bytes / (WRITTEN * config.max_topics as u64);
    share.clamp(STATE_SEGMENT, MOST_SEGMENT)
}

#[derive(Debug)]
pub(super) struct TopicLog {
    pub(super) name: Arc<str>,
    pub(super) epoch: Epoch,
    pub(super) kind: TopicKind,
    pub(super) folder: PathBuf,
    pub(super) common: Arc<Common>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) retention: Mutex<Retention>,
    pub(super) append: Mutex<Appender>,
    pub(super) list: RwLock<Arc<List>>,
    /// The offset that the next event will have, for readers.
    pub(super) end: AtomicU64,
    pub(super) hints: Mutex<Hints>,
    pub(super) to_commit: AtomicBool,
    pub(super) to_keep: AtomicBool,
    /// What is old is dropped by one at a time.
    pub(super) dropping: Mutex<Left>,
}

/// The segments that there are, oldest first; never none, and the last one is written.
#[derive(Debug)]
pub(super) struct List {
    pub(super) segments: Vec<Arc<Segment>>,
    /// Grows when a segment took the place of others: what a reader saw in those may have been a file that was about to go.
    pub(super) generation: u64,
}

impl List {
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    pub(super) fn first(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.base)
    }
}

/// The end of the log, where there is one append at a time.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) active: Arc<Segment>,
    pub(super) file: Arc<File>,
    pub(super) next: u64,
    /// The newest event's time.
    pub(super) last_us: i64,
    /// Why there are offsets without an event before the next one, where there are.
    pub(super) vacant: Option<GapReason>,
    pub(super) keys: Keys,
    pub(super) marks: Marks,
    /// Written, and not known to be on disk; kept in memory, because after a failed sync the file's word for it counts nothing.
    pub(super) unsynced: VecDeque<Unsynced>,
    pub(super) unsynced_bytes: usize,
    /// What is before this offset is on disk.
    pub(super) synced: u64,
    /// The same, for whoever opens the log after this process.
    pub(super) mark: Mark,
    pub(super) waiters: VecDeque<Waiter>,
    /// Names in the folder are not on disk yet.
    pub(super) is_folder_dirty: bool,
    /// The state file says that events are being appended.
    pub(super) is_marked: bool,
    pub(super) is_keyed: bool,
    pub(super) refused: Option<Refused>,
    /// Why the file's unsynced part is not trusted; nothing is appended until it was written again.
    pub(super) doubt: Option<String>,
    pub(super) is_closed: bool,
    /// There is no such topic any more.
    pub(super) is_removed: bool,
    pub(super) appended: Instant,
}

/// A publication that is not on disk yet.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) ingested_us: i64,
    pub(super) since: Instant,
}

impl Unsynced {
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// A publisher that waits until everything before this offset is on disk.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) end: u64,
    pub(super) done: oneshot::Sender<Result<(), PubSubError>>,
}

/// The disk did not take an event.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) since: Instant,
    pub(super) why: String,
    /// There may be a part of it behind the file's good end.
    pub(super) is_uncut: bool,
}

/// What was appended: the receipts, and until when they are not to be handed out.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) receipts: Vec<Receipt>,
    pub(super) durable: Option<oneshot::Receiver<Result<(), PubSubError>>>,
}

impl TopicLog {
    /// Appends, and hands over to the sink, before it returns.
    pub(super) fn publish(self: &Arc<Self>, publication: &Publication) -> Result<Appended, PubSubError> {
        let now_us = self.common.now_us();
        let mut append = self.append.lock();
        if append.is_removed {
            return Err(PubSubError::UnknownTopic(self.name.to_string()));
        }
        append.check(&self.common)?;
        if let Some(first) = self.used_before(&append, publication, now_us)? {
            return Ok(self.answer(&mut append, publication, first.offset..first.end(), true));
        }
        if publication.records.is_empty() {
            return Ok(Appended {
                receipts: Vec::new(),
                durable: None,
            });
        }
        if self.common.is_full() {
            self.common.commit.add(self, &self.to_commit);
            return Err(PubSubError::Full);
        }
        let marks = append.marks.after(&publication.records)?;
        let ingested_us = append.stamp(now_us);
        let (bytes, events) = self.encode(&append, publication, ingested_us)?;
        if let Err(error) = self.write(&mut append, &bytes, ingested_us, publication.idempotency.is_some()) {
            return Err(self.refuse(&mut append, &error));
        }

        let first = append.next;
        let end = first + publication.records.len() as u64;
        let at = append.active.len();
        append.active.note(Entry {
            offset: first,
            at,
            ingested_us,
        });
        append.active.set_len(at + bytes.len() as u64);
        append.next = end;
        append.last_us = ingested_us;
        append.vacant = None;
        append.appended = Instant::now();
        self.end.store(end, Release);
        if let Some(marks) = marks {
            append.marks = marks;
        }
        if let Some(idempotency) = &publication.idempotency {
            let used = Used {
                offset: first,
                count: publication.records.len() as u32,
                digest: idempotency.digest,
                at_us: ingested_us,
            };
            append.keys.insert(&idempotency.key, used, now_us);
        }
        let unsynced = Unsynced {
            segment: Arc::clone(&append.active),
            file: Arc::clone(&append.file),
            at,
            bytes,
            first,
            end,
            ingested_us,
            since: append.appended,
        };
        self.common.waiting.fetch_add(unsynced.cost(), Relaxed);
        append.unsynced_bytes += unsynced.cost();
        append.unsynced.push_back(unsynced);
        if append.refused.take().is_some() {
            self.common.health.set_trouble(&self.name, None, now_us);
        }
        self.sink.push(events);
        Ok(self.answer(&mut append, publication, first..end, false))
    }

    /// Where the publication is already, if its key says so.
    fn used_before(
        &self,
        append: &Appender,
        publication: &Publication,
        now_us: i64,
    ) -> Result<Option<Used>, PubSubError> {
        let Some(idempotency) = &publication.idempotency else {
            return Ok(None);
        };
        if idempotency.key.len() > MOST_KEY {
            return Err(PubSubError::TooLarge {
                bytes: idempotency.key.len(),
                most: MOST_KEY,
            });
        }
        match append.keys.get(&idempotency.key, now_us) {
            Some(used) if used.digest == idempotency.digest => Ok(Some(used)),
            Some(used) => Err(PubSubError::KeyReused {
                key: idempotency.key.clone(),
                offset: used.offset,
            }),
            None => Ok(None),
        }
    }

    /// The receipts, and where they have to wait for the disk, what tells when that is done.
    fn answer(
        self: &Arc<Self>,
        append: &mut Appender,
        publication: &Publication,
        offsets: std::ops::Range<u64>,
        duplicate: bool,
    ) -> Appended {
        let receipt = |(index, offset)| {
            let record = publication.records.get::<usize>(index);
            Receipt {
                topic: self.name.to_string(),
                epoch: self.epoch,
                partition: 0,
                offset,
                id: match record.and_then(|record| record.id.clone()) {
                    Some(id) => id,
                    None => encode::event_id(&self.place(offset, 0)),
                },
                duplicate,
            }
        };
        let receipts = offsets.clone().enumerate().map(receipt).collect();
        let mut durable = None;
        if publication.ack == Ack::Durable && offsets.end > append.synced {
            let (done, told) = oneshot::channel();
            append.waiters.push_back(Waiter { end: offsets.end, done });
            durable = Some(told);
            self.common.commit.add(self, &self.to_commit);
        } else if append.unsynced_bytes >= SOON {
            self.common.commit.add(self, &self.to_commit);
        }
        Appended { receipts, durable }
    }

    fn place(&self, offset: u64, ingested_us: i64) -> encode::Place<'_> {
        encode::Place {
            topic: &self.name,
            epoch: self.epoch,
            partition: 0,
            offset,
            ingested_us,
        }
    }

    /// The records as they go into the file, and the events as they go to the readers.
    fn encode(
        &self,
        append: &Appender,
        publication: &Publication,
        ingested_us: i64,
    ) -> Result<(Vec<u8>, Vec<Stored>), PubSubError> {
        let Publication {
            records, idempotency, ..
        } = publication;
        let data = |record: &Record| record.data.get().len() + 320;
        let mut bytes = Vec::with_capacity(records.iter().map(data).sum());
        let mut events = Vec::with_capacity(records.len());
        for (offset, record) in (append.next..).zip(records) {
            let json = encode::event(&self.place(offset, ingested_us), record);
            if json.len() > MOST_JSON {
                return Err(PubSubError::TooLarge {
                    bytes: json.len(),
                    most: MOST_JSON,
                });
            }
            let is_first = events.is_empty();
            let place = Place::First {
                count: records.len() as u32,
                idempotency: idempotency.as_ref(),
            };
            Frame {
                offset,
                ingested_us,
                place: if is_first { place } else { Place::Rest },
                token: record.token.is_some(),
                json: &json,
            }
            .write(&mut bytes);
            events.push(Stored {
                partition: 0,
                offset,
                ingested_us,
                id_hash: 0,
                vacant: append.vacant.filter(|_| is_first),
                json,
            });
        }
        if bytes.len() > self.common.options.most_waiting {
            return Err(PubSubError::TooLarge {
                bytes: bytes.len(),
                most: self.common.options.most_waiting,
            });
        }
        bytes.shrink_to(bytes.len() + bytes.len() / 8);
        Ok((bytes, events))
    }

    /// Puts the bytes at the end of the log, with one write. After an error nothing of them counts.
    fn write(self: &Arc<Self>, append: &mut Appender, bytes: &[u8], ingested_us: i64, keyed: bool) -> io::Result<()> {
        let medium = self.common.medium();
        if append.refused.as_ref().is_some_and(|refused| refused.is_uncut) {
            medium.cut(&append.file, append.active.len())?;
        }
        if !append.is_marked {
            let boot = self.common.options.boot.clone();
            folder::write_whole(medium, &self.folder, "state.json", &State::Appending { boot })?;
            append.is_marked = true;
        }
        if keyed && !append.is_keyed {
            File::create(self.folder.join("keyed"))?;
            append.is_keyed = true;
            append.is_folder_dirty = true;
        }
        if !append.active.is_empty() && self.is_over(append, bytes.len(), ingested_us) {
            self.roll(append, ingested_us)?;
        }
        let at = append.active.len();
        medium.write(&append.file, bytes, at).inspect_err(|_| {
            let is_uncut = medium.cut(&append.file, at).is_err();
            append.refused = Some(Refused {
                since: Instant::now(),
                why: String::new(),
                is_uncut,
            });
        })
    }

    fn refuse(&self, append: &mut Appender, error: &io::Error) -> PubSubError {
        let why = format!("the disk takes no more events ({error}); publishing is refused, and tried again");
        let before = append.refused.take();
        append.refused = Some(Refused {
            since: Instant::now(),
            why: why.clone(),
            is_uncut: before.is_some_and(|before| before.is_uncut),
        });
        let trouble = Trouble::Refused(why.clone());
        self.common
            .health
            .set_trouble(&self.name, Some(trouble), self.common.now_us());
        PubSubError::Unavailable(why)
    }

    /// A segment that is to take no more.
    fn is_over(&self, append: &Appender, bytes: usize, now_us: i64) -> bool {
        let segment = &append.active;
        // Within a segment time does not go back.
        if now_us < append.last_us || segment.len() + bytes as u64 > self.segment_bytes() {
            return true;
        }
        let max_age_us = self.max_age_us().filter(|_| self.kind == TopicKind::Log);
        let first_us = segment.first_us().unwrap_or(segment.created_us);
        max_age_us.is_some_and(|max_age_us| now_us.saturating_sub(first_us) > max_age_us / SEGMENTS as i64)
    }

    pub(super) fn max_age_us(&self) -> Option<i64> {
        let max_age_s = self.retention.lock().max_age_s?;
        Some(i64::try_from(max_age_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX))
    }

    fn segment_bytes(&self) -> u64 {
        let options = &self.common.options;
        if let Some(bytes) = options.segment_bytes {
            return bytes;
        }
        let most = self.common.most_segment;
        match (self.kind, self.retention.lock().max_bytes) {
            (TopicKind::State, _) => STATE_SEGMENT,
            (TopicKind::Log, Some(max_bytes)) => (max_bytes / SEGMENTS).max(LEAST_SEGMENT).min(most),
            (TopicKind::Log, None) => most,
        }
    }

    /// Begins a new segment with the next offset.
    pub(super) fn roll(self: &Arc<Self>, append: &mut Appender, created_us: i64) -> io::Result<()> {
        let header = Header {
            epoch: self.epoch,
            base: append.next,
            created_us,
            marks: append.marks.clone(),
        };
        let path = self.folder.join(file_name(append.next));
        let created = Segment::create(self.common.medium(), &self.common.indexes, path.clone(), &header);
        let (segment, file) = created.inspect_err(|_| {
            // Without its header it would be taken for a damaged one.
            let _ = std::fs::remove_file(&path);
        })?;
        let sealed = std::mem::replace(&mut append.active, Arc::clone(&segment));
        append.file = file;
        append.is_folder_dirty = true;
        let mut list = self.list.write();
        let mut segments = list.segments.clone();
        segments.push(segment);
        *list = Arc::new(List {
            segments,
            generation: list.generation,
        });
        drop(list);
        sealed.seal(&self.common.indexes);
        self.common.keep.add(self, &self.to_keep);
        Ok(())
    }

    pub(super) fn list(&self) -> Arc<List> {
        Arc::clone(&self.list.read())
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Acquire)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn kept(&self) -> Kept {
        let list = self.list();
        let oldest = list.segments.iter().find(|segment| !segment.is_empty());
        Kept {
            bytes: Some(list.bytes()),
            first_us: oldest.map(|oldest| oldest.first_us().unwrap_or(oldest.created_us)),
            // It does not take them.
            fenced: 0,
        }
    }
}

impl Appender {
    /// When an event is ingested that comes now. A clock that was set back far, having been wrong, is followed: else nothing would be too old,
    /// and no time be found, until it was as late as it had said.
    fn stamp(&self, now_us: i64) -> i64 {
        match self.last_us.saturating_sub(now_us) > SET_BACK_US {
            true => now_us,
            false => now_us.max(self.last_us),
        }
    }

    /// Whether anything may be appended now.
    fn check(&self, common: &Common) -> Result<(), PubSubError> {
        if self.is_closed {
            return Err(PubSubError::Closed);
        }
        if let Some(why) = &self.doubt {
            return Err(PubSubError::Unavailable(why.clone()));
        }
        match &self.refused {
            Some(refused) if refused.since.elapsed() < common.options.retry => {
                Err(PubSubError::Unavailable(refused.why.clone()))
            }
            _ => Ok(()),
        }
    }
}
