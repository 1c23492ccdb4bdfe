//! What is too old or too much goes: whole segments, the oldest first, never the one that is written.

use std::fs;
use std::io;
use std::sync::Arc;

use freshet_wire::TopicKind;

use super::folder::{self, KeysFile, keys_name};
use super::keys::remembered_since;
use super::segment::Segment;
use super::topic::{List, TopicLog};

impl TopicLog {
    pub(super) fn drop_old(self: &Arc<Self>) {
        let _alone = self.dropping.lock();
        if let Err(error) = self.try_drop_old() {
            tracing::warn!(topic = &*self.name, %error, "cannot drop what is old; it is tried again");
        }
    }

    fn try_drop_old(self: &Arc<Self>) -> io::Result<()> {
        let now_us = self.common.now_us();
        self.roll_expired(now_us)?;
        self.drop_keys(now_us)?;
        let list = self.list();
        let dropped = &list.segments[..self.droppable(&list, now_us)];
        let Some(kept) = list.segments.get(dropped.len()).filter(|_| !dropped.is_empty()) else {
            return Ok(());
        };
        for (segment, next) in dropped.iter().zip(list.segments[1..].iter()) {
            self.keep_keys(segment, next.base, now_us)?;
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
        for segment in dropped {
            fs::remove_file(segment.path())?;
        }
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
        let is_old = |next: &Arc<Segment>| kept_since_us.is_some_and(|since| next.created_us < since);
        let is_old_or_much = |(segment, next): &(&Arc<Segment>, &Arc<Segment>)| {
            let goes = bytes > max_bytes || is_old(next);
            bytes = bytes.saturating_sub(segment.len());
            goes
        };
        old.iter().zip(&list.segments[1..]).take_while(is_old_or_much).count()
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
    fn keep_keys(&self, segment: &Segment, end: u64, now_us: i64) -> io::Result<()> {
        let keys = self.append.lock().keys.within(segment.base..end, now_us);
        if keys.is_empty() {
            return Ok(());
        }
        let keys: KeysFile = keys.into_iter().map(|(key, used)| (key.to_string(), used)).collect();
        folder::write_whole(self.common.medium(), &self.folder, &keys_name(segment.base), &keys)
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
