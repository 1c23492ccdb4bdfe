//! What is too old or too much goes, of a topic or of all together: whole segments, the oldest first, never the one that is written.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use freshet_wire::TopicKind;

use super::Shared;
use super::folder::{self, KeysFile, keys_name};
use super::keys::remembered_since;
use super::segment::Segment;
use super::topic::{List, TopicLog};

impl Shared {
    /// As long as all topics together have too much, the oldest segment of the largest one that has another goes.
    pub(super) fn drop_beyond_total(&self) {
        let mut failed: HashSet<Arc<str>> = HashSet::new();
        loop {
            // Anew each time: topics grow and are removed meanwhile, and no more is to go than has to.
            let open: Vec<_> = self.open.read().values().cloned().collect();
            let kept = open.into_iter().map(|topic| (topic.list(), topic)).collect::<Vec<_>>();
            let total: u64 = kept.iter().map(|(list, _)| list.bytes()).sum();
            if total <= self.config.max_total_bytes {
                return;
            }
            // Of a state topic nothing but its newest value is kept anyway.
            let can_give = |(list, topic): &(Arc<List>, Arc<TopicLog>)| {
                topic.kind == TopicKind::Log && list.segments.len() > 1 && !failed.contains(&topic.name)
            };
            let largest = kept.into_iter().filter(can_give).max_by_key(|(list, _)| list.bytes());
            let Some((_, topic)) = largest else { return };
            if !topic.drop_oldest() {
                failed.insert(Arc::clone(&topic.name));
            }
        }
    }
}

impl TopicLog {
    pub(super) fn drop_old(self: &Arc<Self>) {
        self.dropping(|left| self.try_drop_old(left));
    }

    /// Drops the oldest segment, unless it is the one that is written; whether it did.
    fn drop_oldest(&self) -> bool {
        let mut has_dropped = false;
        self.dropping(|left| {
            let (list, now_us) = (self.list(), self.common.now_us());
            let count = usize::from(list.segments.len() > 1);
            let dropped = self.drop_segments(left, &list, count, now_us);
            has_dropped = self.list().first() > list.first();
            dropped.and(left.remove())
        });
        has_dropped
    }

    /// One at a time, and what is wrong with it is said.
    fn dropping(&self, drop: impl FnOnce(&mut Left) -> io::Result<()>) {
        let mut left = self.dropping.lock();
        let why = drop(&mut left)
            .err()
            .map(|error| format!("what is too old or too much cannot be dropped ({error}); it is tried again"));
        self.common.health.set_stuck(&self.name, why, self.common.now_us());
    }

    fn try_drop_old(self: &Arc<Self>, left: &mut Left) -> io::Result<()> {
        let now_us = self.common.now_us();
        // Whatever fails of this, the rest is done: a full disk fails all that needs room, and is helped by all that makes some.
        let rolled = self.roll_expired(now_us);
        let forgot = self.drop_keys(now_us);
        let list = self.list();
        let dropped = self.drop_segments(left, &list, self.droppable(&list, now_us), now_us);
        let removed = left.remove();
        let mut noted = Ok(());
        left.keys
            .retain(|offsets| match self.keep_keys(offsets.clone(), now_us) {
                Err(error) => {
                    noted = Err(error);
                    true
                }
                Ok(()) => false,
            });
        rolled.and(forgot).and(dropped).and(removed).and(noted)
    }

    /// Takes the oldest segments out of the list, so many; their files are left to go.
    fn drop_segments(&self, left: &mut Left, list: &List, count: usize, now_us: i64) -> io::Result<()> {
        let dropped = &list.segments[..count];
        let Some(kept) = list.segments.get(dropped.len()).filter(|_| !dropped.is_empty()) else {
            return Ok(());
        };
        let mut late = Vec::new();
        for (segment, next) in dropped.iter().zip(list.segments[1..].iter()) {
            let offsets = segment.base..next.base;
            match self.keep_keys(offsets.clone(), now_us) {
                Ok(()) => {}
                // Else a full disk would stay full. Only if the process ends before they are written are the keys forgotten.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => late.push(offsets),
                Err(error) => return Err(error),
            }
        }
        kept.find_first_us()?;
        {
            let mut list = self.list.write();
            // What is in doubt may have been replaced meanwhile; what is dropped is older.
            let mut segments = list.segments.clone();
            segments.retain(|segment| segment.base >= kept.base);
            if segments.is_empty() {
                return Ok(());
            }
            *list = Arc::new(List {
                segments,
                generation: list.generation + 1,
            });
        }
        self.sink.trim(0, kept.base);
        // A crash in between leaves old files, which come back as old events and go again.
        left.keys.append(&mut late);
        left.files
            .extend(dropped.iter().map(|segment| segment.path().to_owned()));
        Ok(())
    }

    /// How many of the oldest segments are to go.
    fn droppable(&self, list: &List, now_us: i64) -> usize {
        let Some((_, old)) = list.segments.split_last() else {
            return 0;
        };
        if self.kind == TopicKind::State {
            // The newest value is in the segment that is written, once that one is on disk.
            let newest = list.segments.iter().rposition(|segment| !segment.is_empty());
            let synced = self.append.lock().synced;
            let newest = newest.filter(|&newest| synced > list.segments[newest].base);
            return newest.unwrap_or(0).min(old.len());
        }
        let mut bytes: u64 = list.segments.iter().map(|segment| segment.len()).sum();
        let max_bytes = self.retention.lock().max_bytes.unwrap_or(u64::MAX);
        let kept_since_us = self.max_age_us().map(|age| now_us.saturating_sub(age));
        // What stands before a segment that began before this is older, whatever a clock said that was set back since.
        let is_old = |segment: &Arc<Segment>| kept_since_us.is_some_and(|since| segment.created_us < since);
        let old_until = list.segments.iter().rposition(is_old).unwrap_or(0);
        let is_old_or_much = |(index, segment): &(usize, &Arc<Segment>)| {
            let goes = bytes > max_bytes || *index < old_until;
            bytes = bytes.saturating_sub(segment.len());
            goes
        };
        old.iter().enumerate().take_while(is_old_or_much).count()
    }

    /// A quiet topic's last events get too old in the segment that is written: it is written no more then.
    fn roll_expired(self: &Arc<Self>, now_us: i64) -> io::Result<()> {
        let Some(max_age_us) = self.max_age_us().filter(|_| self.kind == TopicKind::Log) else {
            return Ok(());
        };
        let mut append = self.append.lock();
        let is_whole = append.doubt.is_none() && append.refused.is_none() && append.unsynced.is_empty();
        let is_old = append.last_us < now_us.saturating_sub(max_age_us);
        if is_whole && is_old && !append.active.is_empty() && !append.is_closed {
            let last_us = append.last_us;
            self.roll(&mut append, last_us)?;
        }
        Ok(())
    }

    /// Keys outlive the events that were published under them.
    fn keep_keys(&self, offsets: Range<u64>, now_us: i64) -> io::Result<()> {
        let name = keys_name(offsets.start);
        let keys = self.append.lock().keys.within(offsets, now_us);
        if keys.is_empty() {
            return Ok(());
        }
        let keys: KeysFile = keys.into_iter().map(|(key, used)| (key.to_string(), used)).collect();
        folder::write_whole(self.common.medium(), &self.folder, &name, &keys)
    }

    /// Files of keys that are remembered no more go.
    fn drop_keys(&self, now_us: i64) -> io::Result<()> {
        if !self.append.lock().is_keyed {
            return Ok(());
        }
        for (_, path) in folder::numbered(&self.folder, "keys")? {
            let written = fs::metadata(&path)?.modified()?;
            let written_us = written
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default()
                .as_micros() as i64;
            // They were used before that.
            if written_us < remembered_since(now_us) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// What could not be done yet.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Files that are to go.
    files: Vec<PathBuf>,
    /// Offsets of segments that went, and of whose keys there is no note on disk yet.
    keys: Vec<Range<u64>>,
}

impl Left {
    /// Removes the files; those that cannot be removed stay in the list.
    fn remove(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        self.files.retain(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                result = Err(error);
                true
            }
            _ => false,
        });
        result
    }
}
