//! A segment: one file of a topic's log, named by the offset at which it begins.
//!
//! ```text
//! header   "FreshLog" │ bytes of the header u32 │ CRC-32 of the rest u32 │ epoch, base, created_us, marks (JSON)
//! records  see record.rs
//! ```
//!
//! No event within is older than `created_us`, and none of the segments before is younger, unless the clock was set back before it began.
//! *A segment ends where the next one
//! begins*: what stands in it from that offset on was written again elsewhere, and counts no more.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Weak};

use freshet_wire::Epoch;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::medium::Medium;
use super::record::Body;
use super::walk::{STRIDE, Step, Walk};
use crate::pubsub::fence::Marks;

const MAGIC: &[u8; 8] = b"FreshLog";
/// What comes before the JSON.
const FIXED: usize = 16;
/// A header is not longer than this.
pub(super) const MOST_HEADER: usize = 64 << 10;
/// Between two entries of an index.
const SPARSE: u64 = 64 << 10;
/// Entries of all indexes together: of 16 GiB of log.
const MOST_ENTRIES: usize = 256 << 10;

/// The first bytes of a segment's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) epoch: Epoch,
    pub(super) base: u64,
    pub(super) created_us: i64,
    /// Of the events before it.
    pub(super) marks: Marks,
}

impl Header {
    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; FIXED - MAGIC.len()]);
        serde_json::to_writer(&mut bytes, self)?;
        if bytes.len() > MOST_HEADER {
            return Err(io::Error::other("the scopes of the fencing tokens are too long"));
        }
        let length = bytes.len() as u32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[FIXED..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// With the place of the first record.
    fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let short = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
        let length = short(8)? as usize;
        let whole = bytes.get(..length)?;
        if !whole.starts_with(MAGIC) || length < FIXED || crc32fast::hash(&whole[FIXED..]) != short(12)? {
            return None;
        }
        let header = serde_json::from_slice(&whole[FIXED..]).ok()?;
        Some((header, length as u64))
    }
}

/// Where a record stands, of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) at: u64,
    pub(super) ingested_us: i64,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// Unique in this process, also where one takes the other's place.
    id: u64,
    pub(super) base: u64,
    pub(super) created_us: i64,
    path: PathBuf,
    /// Where the first record stands.
    records_at: u64,
    /// Bytes that may be read.
    len: AtomicU64,
    /// Of the first event; the least there is where it is not known.
    first_us: AtomicI64,
    /// Open as long as it is written; else it is opened for each read.
    file: Mutex<Option<Arc<File>>>,
    index: Mutex<Option<Vec<Entry>>>,
    entries: Arc<AtomicUsize>,
    /// That it is damaged has been said.
    told: AtomicBool,
}

impl Drop for Segment {
    fn drop(&mut self) {
        let kept = self.index.get_mut().as_ref().map_or(0, Vec::len);
        self.entries.fetch_sub(kept, Relaxed);
    }
}

fn next_id() -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(0);
    IDS.fetch_add(1, Relaxed)
}

/// Names a segment's file.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.seg")
}

impl Segment {
    /// Makes an empty one. Its name is on disk once the folder is synced.
    pub(super) fn create(
        medium: &dyn Medium,
        indexes: &Indexes,
        path: PathBuf,
        header: &Header,
    ) -> io::Result<(Arc<Self>, Arc<File>)> {
        let bytes = header.encode()?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
        medium.write(&file, &bytes, 0)?;
        let file = Arc::new(file);
        let segment = Self {
            id: next_id(),
            base: header.base,
            created_us: header.created_us,
            path,
            records_at: bytes.len() as u64,
            len: AtomicU64::new(bytes.len() as u64),
            first_us: AtomicI64::new(i64::MIN),
            file: Mutex::new(Some(Arc::clone(&file))),
            index: Mutex::new(Some(Vec::new())),
            entries: Arc::clone(&indexes.entries),
            told: AtomicBool::new(false),
        };
        Ok((Arc::new(segment), file))
    }

    /// One that is there, and its header where that is whole. Without it the name says where it begins, and the first event when.
    pub(super) fn open(indexes: &Indexes, path: PathBuf, base: u64) -> io::Result<(Arc<Self>, Option<Header>)> {
        let file = File::open(&path)?;
        let len = file.metadata()?.len();
        let mut bytes = vec![0; MOST_HEADER.min(usize::try_from(len).unwrap_or(MOST_HEADER)).min(4096)];
        file.read_exact_at(&mut bytes, 0)?;
        let mut decoded = Header::decode(&bytes);
        if decoded.is_none() && len > bytes.len() as u64 {
            bytes.resize(MOST_HEADER.min(usize::try_from(len).unwrap_or(MOST_HEADER)), 0);
            file.read_exact_at(&mut bytes, 0)?;
            decoded = Header::decode(&bytes);
        }
        let (header, records_at) = match decoded {
            Some((header, records_at)) => (Some(header), records_at),
            None => (None, 0),
        };
        let created_us = match &header {
            Some(header) => header.created_us,
            None => first_event(&file, 0, len)?.unwrap_or(i64::MIN),
        };
        let segment = Self {
            id: next_id(),
            base,
            created_us,
            path,
            records_at,
            len: AtomicU64::new(len),
            first_us: AtomicI64::new(i64::MIN),
            file: Mutex::new(None),
            index: Mutex::new(None),
            entries: Arc::clone(&indexes.entries),
            told: AtomicBool::new(header.is_none()),
        };
        Ok((Arc::new(segment), header))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn records_at(&self) -> u64 {
        self.records_at
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Acquire)
    }

    /// Nothing was written to it.
    pub(super) fn is_empty(&self) -> bool {
        self.len() <= self.records_at
    }

    pub(super) fn set_len(&self, len: u64) {
        self.len.store(len, Release);
    }

    /// What stands from there on counts no more.
    pub(super) fn cut(&self, len: u64) {
        if let Some(index) = &mut *self.index.lock() {
            let before = index.len();
            index.truncate(index.partition_point(|entry| entry.at < len));
            self.entries.fetch_sub(before - index.len(), Relaxed);
        }
        self.set_len(len);
    }

    /// When its first event was ingested, where that is known.
    pub(super) fn first_us(&self) -> Option<i64> {
        Some(self.first_us.load(Relaxed)).filter(|&first_us| first_us != i64::MIN)
    }

    /// Reads when its first event was ingested, where it is not known yet.
    pub(super) fn find_first_us(&self) -> io::Result<()> {
        if self.first_us().is_none() && !self.is_empty() {
            let first_us = first_event(&*self.reader()?, self.records_at, self.len())?;
            self.first_us.store(first_us.unwrap_or(i64::MIN), Relaxed);
        }
        Ok(())
    }

    /// The file, to be read.
    pub(super) fn reader(&self) -> io::Result<Arc<File>> {
        match &*self.file.lock() {
            Some(file) => Ok(Arc::clone(file)),
            None => File::open(&self.path).map(Arc::new),
        }
    }

    /// The file, to be written; it stays open from now on.
    pub(super) fn writer(&self) -> io::Result<Arc<File>> {
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(&self.path)?);
        *self.file.lock() = Some(Arc::clone(&file));
        Ok(file)
    }

    /// It is written no more. Its index stays, as long as there is room.
    pub(super) fn seal(self: &Arc<Self>, indexes: &Indexes) {
        *self.file.lock() = None;
        indexes.enlist(self);
    }

    /// It has another name now.
    pub(super) fn renamed(self: Arc<Self>, path: PathBuf) -> Arc<Self> {
        let index = self.index.lock().take();
        let segment = Self {
            id: next_id(),
            base: self.base,
            created_us: self.created_us,
            path,
            records_at: self.records_at,
            len: AtomicU64::new(self.len()),
            first_us: AtomicI64::new(self.first_us.load(Relaxed)),
            file: Mutex::new(self.file.lock().take()),
            index: Mutex::new(index),
            entries: Arc::clone(&self.entries),
            told: AtomicBool::new(false),
        };
        Arc::new(segment)
    }

    /// Takes note of an event that was written.
    pub(super) fn note(&self, entry: Entry) {
        if self.first_us.load(Relaxed) == i64::MIN {
            self.first_us.store(entry.ingested_us, Relaxed);
        }
        if let Some(index) = &mut *self.index.lock()
            && note(index, entry)
        {
            self.entries.fetch_add(1, Relaxed);
        }
    }

    /// Begins its index anew, for a walk over all of it that [`Self::note`]s what it finds.
    pub(super) fn begin_index(&self) {
        let before = self.index.lock().replace(Vec::new());
        self.entries.fetch_sub(before.map_or(0, |index| index.len()), Relaxed);
    }

    /// A place at or before the first event that has this property, which all events after it have too.
    pub(super) fn place_before(
        self: &Arc<Self>,
        indexes: &Indexes,
        is_beyond: impl Fn(&Entry) -> bool,
    ) -> io::Result<u64> {
        let before = |index: &[Entry]| {
            let beyond = index.partition_point(|entry| !is_beyond(entry));
            beyond.checked_sub(1).map_or(self.records_at, |entry| index[entry].at)
        };
        if let Some(index) = &*self.index.lock() {
            return Ok(before(index));
        }
        // Two may do this at once; the second one's takes the place of the first one's.
        let mut index = Vec::new();
        let file = self.reader()?;
        let mut walk = Walk::new(&file, self.records_at, self.len(), STRIDE);
        while let Some(step) = walk.next()? {
            if let Step::Record(whole) = step
                && let Some(ingested_us) = Body::ingested_us(&whole.body)
            {
                note(
                    &mut index,
                    Entry {
                        offset: whole.offset,
                        at: whole.at,
                        ingested_us,
                    },
                );
            }
        }
        let place = before(&index);
        self.entries.fetch_add(index.len(), Relaxed);
        let earlier = self.index.lock().replace(index);
        self.entries.fetch_sub(earlier.map_or(0, |index| index.len()), Relaxed);
        indexes.enlist(self);
        Ok(place)
    }

    /// True the first time.
    pub(super) fn is_news(&self) -> bool {
        !self.told.swap(true, Relaxed)
    }
}

/// True when the entry is one that the index keeps.
fn note(index: &mut Vec<Entry>, entry: Entry) -> bool {
    let is_far = index.last().is_none_or(|last| entry.at >= last.at + SPARSE);
    if is_far {
        index.push(entry);
    }
    is_far
}

fn first_event(file: &File, at: u64, end: u64) -> io::Result<Option<i64>> {
    let mut walk = Walk::new(file, at, end, 4096);
    while let Some(step) = walk.next()? {
        if let Step::Record(whole) = step {
            return Ok(Body::ingested_us(&whole.body));
        }
    }
    Ok(None)
}

/// The indexes of all segments that are written no more: the one that was built first goes first, and is built again when it is asked for.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    entries: Arc<AtomicUsize>,
    built: Mutex<VecDeque<Weak<Segment>>>,
}

impl Indexes {
    fn enlist(&self, segment: &Arc<Segment>) {
        let mut built = self.built.lock();
        built.push_back(Arc::downgrade(segment));
        while self.entries.load(Relaxed) > MOST_ENTRIES || built.len() > MOST_ENTRIES {
            let Some(oldest) = built.pop_front() else { break };
            // One that is written still keeps its index.
            if let Some(oldest) = oldest.upgrade().filter(|oldest| oldest.file.lock().is_none()) {
                let dropped = oldest.index.lock().take();
                self.entries.fetch_sub(dropped.map_or(0, |index| index.len()), Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_goes_unseen() {
        let mut marks = Marks::default();
        marks.note(&freshet_wire::Token {
            scope: "raft:π".into(),
            number: 7,
        });
        let header = Header {
            epoch: Epoch::new(1),
            base: 2,
            created_us: -3,
            marks,
        };
        let bytes = header.encode().unwrap();
        assert_eq!(Header::decode(&bytes), Some((header, bytes.len() as u64)));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), None, "bit {bit}");
        }
    }
}
