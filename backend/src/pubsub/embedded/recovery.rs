//! Opening a topic's folder: what is whole is found, what was torn off is cut off, what is damaged is passed over and said.
//!
//! The next offset is known where the log was left whole, and where the process alone ended (what it wrote is there, but for a part of its last
//! write, which no reader has seen). After a power failure what was written last may be gone, and readers may have seen it: then the log goes on
//! [`POWER_FAILURE_SKIP`] further on, and so it does where a damaged end does not tell how many events stood in it. What was on disk once
//! and is not in the file any more is not a write that was torn off: the mark (`mark.rs`) tells how far it went, and the log goes on there.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use freshet_wire::{Event, GapReason};
use parking_lot::{Mutex, RwLock};

use super::common::Common;
use super::folder::{self, Description, KeysFile, State};
use super::keys::{Keys, Used, remembered_since};
use super::mark::Mark;
use super::read::Hints;
use super::record::{Body, MAGIC};
use super::segment::{self, Entry, Header, Segment, file_name};
use super::topic::{Appender, List, TopicLog};
use super::walk::{STRIDE, Step, Walk, Whole};
use crate::pubsub::{Extent, LogExtent, POWER_FAILURE_SKIP, Sink, TopicSpec};

/// A topic's segments in the order of their offsets, and the header of each that has one.
type Segments = (Vec<Arc<Segment>>, Vec<Option<Header>>);

impl TopicLog {
    /// Opens the log in the folder, and tells the sink of it.
    pub(super) fn open(
        common: Arc<Common>,
        folder: PathBuf,
        description: &Description,
        spec: &TopicSpec,
        sink: Arc<dyn Sink>,
    ) -> io::Result<Arc<Self>> {
        let found = Finder {
            common: &common,
            folder: &folder,
            description,
        }
        .find()?;
        let extent = Extent {
            first: found.segments.first().map_or(0, |segment| segment.base),
            next: found.append.next,
        };
        sink.log(LogExtent {
            epoch: description.epoch,
            partitions: vec![extent],
        });
        Ok(Arc::new(Self {
            name: Arc::from(&*description.name),
            epoch: description.epoch,
            kind: spec.kind,
            folder,
            sink,
            retention: Mutex::new(spec.retention),
            list: RwLock::new(Arc::new(List {
                segments: found.segments,
                generation: 0,
            })),
            end: AtomicU64::new(found.append.next),
            append: Mutex::new(found.append),
            hints: Mutex::new(Hints::default()),
            to_commit: AtomicBool::new(false),
            to_keep: AtomicBool::new(false),
            dropping: Mutex::default(),
            common,
        }))
    }
}

/// The first segment of a log that begins.
pub(super) fn begin(common: &Common, folder: &Path, description: &Description) -> io::Result<()> {
    let header = Header {
        epoch: description.epoch,
        base: 0,
        created_us: description.created_us,
        marks: Default::default(),
    };
    let (_, file) = Segment::create(common.medium(), &common.indexes, folder.join(file_name(0)), &header)?;
    common.medium().sync(&file)
}

struct Finder<'a> {
    common: &'a Common,
    folder: &'a Path,
    description: &'a Description,
}

struct Found {
    segments: Vec<Arc<Segment>>,
    append: Appender,
}

impl Finder<'_> {
    fn find(&self) -> io::Result<Found> {
        folder::sweep(self.folder)?;
        let now_us = self.common.now_us();
        let (mut segments, mut headers) = self.segments()?;
        let state = folder::read::<State>(&self.folder.join("state.json")).unwrap_or_else(|error| {
            self.say(false, &format!("state.json cannot be read ({error})"));
            None
        });
        let same_boot = match &state {
            Some(State::Appending { boot }) => *boot == self.common.options.boot && !boot.is_empty(),
            _ => false,
        };
        let is_whole = matches!(state, Some(State::Whole { .. }));
        let Some((last, header)) = segments.last().zip(headers.pop()) else {
            return Err(io::Error::other("there is no segment"));
        };

        let scan = Scan::of(last)?;
        let mut mark = Mark::find(self.folder, self.description.epoch)?;
        let mut tail = scan.tail;
        let mut next = scan.next;
        // What was on disk was acknowledged, all of its publication.
        let open = scan.open_publication(is_whole, same_boot);
        if let Some((at, first)) = open.filter(|&(_, first)| first >= mark.next()) {
            // A part of a publication: none of it was acknowledged.
            (tail, next) = (Tail::Torn { at }, first);
        }
        next = next.max(last.base);
        let mut lost = false;
        let is_untouched = state.is_none() && segments.len() == 1 && last.base == 0 && last.is_empty();
        match (&state, tail) {
            _ if is_untouched => {}
            (Some(State::Whole { next: left }), _) if next < *left => {
                let count = left - next;
                self.say(true, &format!("the last {count} events are gone from its file"));
                (next, lost) = (*left, true);
            }
            // What stands behind the last event is none.
            (Some(State::Whole { .. }), Tail::Damaged { at, .. }) => tail = Tail::Torn { at },
            (Some(State::Whole { .. }), _) => {}
            (_, Tail::Damaged { next: Some(beyond), .. }) if same_boot => (next, lost) = (beyond.max(next), true),
            (_, Tail::Damaged { .. }) => (next, lost) = (next.max(mark.next()) + POWER_FAILURE_SKIP, true),
            _ if same_boot => {}
            _ => {
                self.say(
                    true,
                    "the machine stopped while events were being written, so the last of them may be gone",
                );
                (next, lost) = (next.max(mark.next()) + POWER_FAILURE_SKIP, true);
            }
        }
        if scan.next < mark.next() && !is_whole {
            let count = mark.next() - scan.next;
            self.say(
                true,
                &format!("the last {count} events that were on disk are gone from its file"),
            );
            (next, lost) = (next.max(mark.next()), true);
            if let Tail::Torn { at } = tail {
                tail = Tail::Damaged { at, next: None };
            }
        }
        match tail {
            Tail::Whole => {}
            Tail::Torn { at } => {
                let bytes = last.len() - at;
                self.say(
                    false,
                    &format!("{bytes} bytes were cut off that were being written when the process ended"),
                );
            }
            Tail::Damaged { at, .. } => {
                let bytes = last.len() - at;
                self.say(true, &format!("the last {bytes} bytes of its file are damaged"));
            }
        }
        if scan.damaged > 0 && last.is_news() {
            let damaged = scan.damaged;
            self.say(true, &format!("{damaged} bytes in its newest file are damaged"));
        }

        // A damaged end stays as it is, for whoever wants to look into it; it is written no more.
        let good = match tail {
            Tail::Torn { at } => at,
            _ => last.len(),
        };
        last.cut(good);
        let (active, file) = (Arc::clone(last), last.writer()?);
        if let Tail::Torn { at } = tail {
            self.common.medium().cut(&file, at)?;
        }
        if !is_whole && !is_untouched {
            self.sync_recent(&segments)?;
        }

        // All that was found is on disk by now.
        mark.set(self.folder, next)?;
        let mut marks = header.map(|header| header.marks).unwrap_or_default();
        scan.tokens.iter().for_each(|token| marks.note(token));
        let mut append = Appender {
            active,
            file,
            next,
            last_us: scan.last_us.unwrap_or(i64::MIN).max(last.created_us),
            vacant: lost.then_some(GapReason::Lost),
            keys: Keys::new(self.common.options.most_keys),
            marks,
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            synced: next,
            mark,
            waiters: VecDeque::new(),
            is_folder_dirty: false,
            is_marked: !is_whole && same_boot,
            is_keyed: self.folder.join("keyed").exists(),
            refused: None,
            doubt: None,
            is_closed: false,
            is_removed: false,
            appended: Instant::now(),
        };
        if append.is_keyed {
            self.find_keys(&segments, &scan, &mut append.keys, now_us)?;
        }
        if lost {
            // The offsets that were passed over are so for good, whatever happens next.
            let header = Header {
                epoch: self.description.epoch,
                base: next,
                created_us: append.last_us,
                marks: append.marks.clone(),
            };
            let path = self.folder.join(file_name(next));
            let (segment, file) = Segment::create(self.common.medium(), &self.common.indexes, path, &header)?;
            self.common.medium().sync(&file)?;
            append.active.seal(&self.common.indexes);
            segments.push(Arc::clone(&segment));
            (append.active, append.file) = (segment, file);
        }
        if !append.is_marked && !is_whole && !is_untouched || lost {
            folder::write_whole(self.common.medium(), self.folder, "state.json", &State::Whole { next })?;
            append.is_marked = false;
        }
        if let Some(oldest) = segments.iter().find(|segment| !segment.is_empty()) {
            oldest.find_first_us()?;
        }
        Ok(Found { segments, append })
    }

    /// All that are of this log, oldest first, with their headers where those are whole.
    fn segments(&self) -> io::Result<Segments> {
        let (mut segments, mut headers) = (Vec::new(), Vec::new());
        for (base, path) in folder::numbered(self.folder, "seg")? {
            let (segment, header) = Segment::open(&self.common.indexes, path.clone(), base)?;
            match &header {
                Some(header) if header.epoch != self.description.epoch || header.base != base => {
                    let aside = folder::set_aside(&path, "foreign")?;
                    let aside = aside.file_name().unwrap_or_default().to_string_lossy();
                    self.say(
                        true,
                        &format!("a file of another log was in its folder; it is set aside as {aside}"),
                    );
                    continue;
                }
                Some(_) => {}
                None => self.say(true, &format!("the header of {} is damaged", file_name(base))),
            }
            segments.push(segment);
            headers.push(header);
        }
        Ok((segments, headers))
    }

    /// What was written shortly before the process ended may not be on disk yet.
    fn sync_recent(&self, segments: &[Arc<Segment>]) -> io::Result<()> {
        let mut bytes = 0;
        for segment in segments.iter().rev() {
            self.common.medium().sync(&*segment.reader()?)?;
            bytes += segment.len();
            // No more than this was ever unsynced.
            if bytes > 2 * self.common.options.most_waiting as u64 {
                break;
            }
        }
        self.common.medium().sync_folder(self.folder)
    }

    /// Keys that are still remembered: of segments that are gone, from the files beside them; of the others, from their records.
    fn find_keys(&self, segments: &[Arc<Segment>], last: &Scan, keys: &mut Keys, now_us: i64) -> io::Result<()> {
        for (_, path) in folder::numbered(self.folder, "keys")? {
            match folder::read::<KeysFile>(&path) {
                Ok(found) => {
                    for (key, used) in found
                        .into_iter()
                        .flatten()
                        .filter(|(_, used)| used.is_remembered(now_us))
                    {
                        keys.insert(&key, used, now_us);
                    }
                }
                Err(error) => self.say(
                    false,
                    &format!("the keys in {} cannot be read ({error})", path.display()),
                ),
            }
        }
        let mut found = Vec::new();
        let mut many = last.keys.len();
        for pair in segments.windows(2).rev() {
            if many >= self.common.options.most_keys || pair[1].created_us < remembered_since(now_us) {
                break;
            }
            let scan = Scan::up_to(&pair[0], pair[1].base)?;
            many += scan.keys.len();
            found.push(scan.keys);
        }
        for (key, used) in found.iter().rev().chain([&last.keys]).flatten() {
            if used.is_remembered(now_us) {
                keys.insert(key, *used, now_us);
            }
        }
        Ok(())
    }

    fn say(&self, is_loss: bool, text: &str) {
        let health = &self.common.health;
        health.find(&self.description.name, is_loss, text, self.common.now_us());
    }
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    Whole,
    /// The beginning of a record, up to the file's end.
    Torn {
        at: u64,
    },
    /// No whole record from here on; `next` is the offset beyond, where it can be known.
    Damaged {
        at: u64,
        next: Option<u64>,
    },
}

/// All that is in a segment.
struct Scan {
    next: u64,
    last_us: Option<i64>,
    tail: Tail,
    /// Bytes that are no whole record, before the tail.
    damaged: u64,
    tokens: Vec<freshet_wire::Token<'static>>,
    keys: Vec<(String, Used)>,
    last: Option<Part>,
}

/// A publication of which some records were found.
struct Part {
    at: u64,
    first: u64,
    count: u32,
    seen: u32,
    key: Option<(String, Used)>,
}

impl Scan {
    fn of(segment: &Segment) -> io::Result<Self> {
        Self::up_to(segment, u64::MAX)
    }

    /// Up to this offset; the segment's index is made on the way.
    fn up_to(segment: &Segment, end: u64) -> io::Result<Self> {
        let file: Arc<File> = segment.reader()?;
        let mut scan = Self {
            next: segment.base,
            last_us: None,
            tail: Tail::Whole,
            damaged: 0,
            tokens: Vec::new(),
            keys: Vec::new(),
            last: None,
        };
        let mut walk = Walk::new(&file, segment.records_at(), segment.len(), STRIDE);
        segment.begin_index();
        let mut damage = None;
        while let Some(step) = walk.next()? {
            match step {
                Step::Record(whole) if whole.offset >= end => break,
                Step::Record(whole) => {
                    damage = None;
                    scan.tail = Tail::Whole;
                    scan.record(segment, &whole);
                }
                Step::Damage { at, to, offset } => {
                    scan.damaged += to - at;
                    let at = *damage.get_or_insert(at);
                    scan.tail = Tail::Damaged {
                        at,
                        next: offset.map(|offset| offset + 1),
                    };
                }
                // After damage nobody can tell whether it was the write that was torn.
                Step::Torn { at } => {
                    scan.tail = match damage {
                        Some(at) => Tail::Damaged { at, next: None },
                        None => Tail::Torn { at },
                    }
                }
            }
        }
        if let Tail::Damaged { at, .. } = scan.tail {
            scan.damaged -= (walk.at() - at).min(scan.damaged);
        }
        Ok(scan)
    }

    fn record(&mut self, segment: &Segment, whole: &Whole) {
        let Some(body) = Body::parse(&whole.body) else { return };
        self.next = whole.offset + 1;
        self.last_us = Some(body.ingested_us);
        segment.note(Entry {
            offset: whole.offset,
            at: whole.at,
            ingested_us: body.ingested_us,
        });
        if body.token
            && let Ok(Event { token: Some(token), .. }) = serde_json::from_slice(&body.json)
        {
            let known = self.tokens.last().is_some_and(|last| *last == token);
            if !known {
                self.tokens.push(freshet_wire::Token {
                    scope: token.scope.into_owned().into(),
                    number: token.number,
                });
            }
        }
        match body.count {
            Some(count) => {
                let used = |digest| Used {
                    offset: whole.offset,
                    count,
                    digest,
                    at_us: body.ingested_us,
                };
                self.last = Some(Part {
                    at: whole.at,
                    first: whole.offset,
                    count,
                    seen: 1,
                    key: body.key.map(|key| (key.key, used(key.digest))),
                });
            }
            None => {
                if let Some(part) = &mut self.last
                    && part.first + u64::from(part.seen) == whole.offset
                {
                    part.seen += 1;
                }
            }
        }
        // A key counts once all that was published under it is there.
        if let Some(part) = &mut self.last
            && part.seen == part.count
        {
            self.keys.extend(part.key.take());
        }
    }

    /// Where the last publication begins, if a part of it is missing because its write was torn.
    fn open_publication(&self, is_whole: bool, same_boot: bool) -> Option<(u64, u64)> {
        let part = self.last.as_ref().filter(|part| part.seen < part.count)?;
        // A process that ends leaves the beginning of its write; what a power failure leaves of it may be anything.
        let is_beginning = self.next == part.first + u64::from(part.seen);
        let is_torn = !same_boot || is_beginning && !matches!(self.tail, Tail::Damaged { .. });
        (is_torn && !is_whole).then_some((part.at, part.first))
    }
}

/// What there is of a log whose segments are all gone.
pub(super) fn is_gone(folder: &Path) -> io::Result<bool> {
    Ok(folder::numbered(folder, "seg")?.is_empty())
}

/// The folder of a topic that was never made to its end: nothing was ever published to it.
pub(super) fn is_stillborn(folder: &Path) -> io::Result<bool> {
    if folder.join(folder::DESCRIPTION).exists() {
        return Ok(false);
    }
    for (base, path) in folder::numbered(folder, "seg")? {
        let is_long = fs::metadata(&path)?.len() > segment::MOST_HEADER as u64;
        if base > 0 || is_long || fs::read(&path)?.windows(MAGIC.len()).any(|bytes| bytes == MAGIC) {
            return Ok(false);
        }
    }
    Ok(true)
}
