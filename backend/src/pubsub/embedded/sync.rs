//! From the file to the disk.
//!
//! The rule after a sync that failed: the kernel may have dropped what it could not write, and may say of the next sync that all is
//! well. So the file's unsynced part is trusted no more. The events in it keep their offsets, because readers have seen them; they
//! are written again, from memory, into a new segment that takes the place of that part, and only once that one is on disk the topic
//! takes new events. Who waited for the sync that failed was told that it failed: the events are there nevertheless, in the end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::folder::{self, State};
use super::health::Trouble;
use super::segment::{Entry, Header, Segment, file_name};
use super::topic::{Appender, List, TopicLog, Unsynced, Waiter};
use crate::pubsub::PubSubError;

impl TopicLog {
    /// One round: what is written now is on disk when this returns, and who waits for it is told. The committer alone does this.
    pub(super) fn sync(&self) {
        self.to_commit.store(false, SeqCst);
        let mut append = self.append.lock();
        if append.doubt.is_some() {
            drop(append);
            self.repair();
            return;
        }
        // Only what is there now: who comes while the disk works has the next round.
        let end = append.unsynced.back().map_or(append.synced, |last| last.end);
        let mut files: Vec<(Arc<File>, u64)> = Vec::new();
        for unsynced in &append.unsynced {
            match files.last_mut() {
                Some((file, end)) if Arc::ptr_eq(file, &unsynced.file) => *end = unsynced.end,
                _ => files.push((Arc::clone(&unsynced.file), unsynced.end)),
            }
        }
        let written = append.unsynced.back().map(|last| Arc::clone(&last.segment));
        let is_folder_dirty = std::mem::take(&mut append.is_folder_dirty);
        drop(append);

        let medium = self.common.medium();
        let mut result = Ok(());
        let mut synced = None;
        if is_folder_dirty {
            result = medium.sync_folder(&self.folder);
        }
        for (file, end) in files {
            if result.is_ok() {
                result = medium.sync(&file);
            }
            if result.is_ok() {
                synced = Some(end);
            }
        }
        let gone = written.filter(|written| !written.path().exists());

        let mut append = self.append.lock();
        // What is written to a file that nobody finds is gone with the process. One that is written no more retention may have deleted.
        if !append.is_removed && gone.is_some_and(|gone| Arc::ptr_eq(&gone, &append.active)) {
            (result, synced) = (Err(io::Error::other("somebody has taken its file away")), None);
        }
        if let Some(synced) = synced {
            self.book(&mut append, synced);
        }
        match result {
            Ok(()) => {
                debug_assert!(append.synced >= end);
                let told = append.told(end);
                drop(append);
                for waiter in told {
                    let _ = waiter.done.send(Ok(()));
                }
            }
            Err(error) => {
                append.is_folder_dirty |= is_folder_dirty;
                self.doubt(append, &error);
            }
        }
    }

    /// What is before this offset is on disk.
    fn book(&self, append: &mut Appender, synced: u64) {
        while let Some(unsynced) = append.unsynced.pop_front_if(|unsynced| unsynced.end <= synced) {
            append.unsynced_bytes -= unsynced.cost();
            self.common.waiting.fetch_sub(unsynced.cost(), Relaxed);
        }
        append.synced = append.synced.max(synced);
        let (marked, synced) = (&mut append.mark, append.synced);
        if let Err(error) = marked.set(&self.folder, synced) {
            // It says less than it could, and nothing that is wrong.
            tracing::debug!(topic = &*self.name, %error, "cannot mark what is on disk");
        }
    }

    /// Nothing that is not on disk is trusted any more.
    fn doubt(&self, mut append: parking_lot::MutexGuard<'_, Appender>, error: &io::Error) {
        if append.is_removed {
            // It was taken away under the disk's work; nobody waits any more.
            self.give_up(&mut append);
            return;
        }
        let why = format!(
            "what was published last cannot be put on disk ({error}); publishing is refused, and it is tried again"
        );
        let trouble = Trouble::Unsafe(why.clone());
        self.common
            .health
            .set_trouble(&self.name, Some(trouble), self.common.now_us());
        append.doubt = Some(why.clone());
        let told = append.told(u64::MAX);
        drop(append);
        for waiter in told {
            let _ = waiter.done.send(Err(PubSubError::Unavailable(why.clone())));
        }
    }

    /// Writes again what is in doubt. As long as there is doubt nothing is appended, so nothing changes meanwhile.
    fn repair(&self) {
        let unsynced = std::mem::take(&mut self.append.lock().unsynced);
        let result = self.write_again(&unsynced);
        let mut append = self.append.lock();
        append.unsynced = unsynced;
        if let Err(error) = result {
            self.doubt(append, &error);
            return;
        }
        append.doubt = None;
        append.refused = None;
        append.is_folder_dirty = false;
        let end = append.next;
        self.book(&mut append, end);
        drop(append);
        self.common.health.set_trouble(&self.name, None, self.common.now_us());
    }

    fn write_again(&self, unsynced: &VecDeque<Unsynced>) -> io::Result<()> {
        let medium = self.common.medium();
        let Some(first) = unsynced.front() else {
            // Only names were in doubt.
            return medium.sync_folder(&self.folder);
        };
        let header = Header {
            epoch: self.epoch,
            base: first.first,
            created_us: first.ingested_us,
            // Marks that are newer than the segment's beginning refuse nothing that would not be refused.
            marks: self.append.lock().marks.clone(),
        };
        let name = file_name(header.base);
        let beside = self.folder.join(format!("{name}.new"));
        let (segment, file) = Segment::create(medium, &self.common.indexes, beside.clone(), &header)?;
        for publication in unsynced {
            let at = segment.len();
            medium.write(&file, &publication.bytes, at)?;
            segment.note(Entry {
                offset: publication.first,
                at,
                ingested_us: publication.ingested_us,
            });
            segment.set_len(at + publication.bytes.len() as u64);
        }
        medium.sync(&file)?;
        // First the new one is there, then the others go: in between a crash finds everything twice, which is no riddle.
        let path = self.folder.join(&name);
        fs::rename(&beside, &path)?;
        self.replace(first, segment.renamed(path), file);
        for (base, path) in folder::numbered(&self.folder, "seg")? {
            if base > header.base {
                fs::remove_file(path)?;
            }
        }
        medium.sync_folder(&self.folder)
    }

    /// The new segment takes the place of all that was in doubt.
    fn replace(&self, doubtful: &Unsynced, segment: Arc<Segment>, file: Arc<File>) {
        let mut append = self.append.lock();
        let mut list = self.list.write();
        let mut segments = list.segments.clone();
        segments.retain(|before| before.base < segment.base);
        segments.push(Arc::clone(&segment));
        *list = Arc::new(List {
            segments,
            generation: list.generation + 1,
        });
        drop(list);
        if doubtful.segment.base < segment.base {
            // It ends there now, cut off or not.
            doubtful.segment.cut(doubtful.at);
            let _ = self.common.medium().cut(&doubtful.file, doubtful.at);
            doubtful.segment.seal(&self.common.indexes);
        }
        (append.active, append.file) = (segment, file);
    }

    /// For the keeper: there is something that should be on disk by now.
    pub(super) fn is_due(&self, after: Duration) -> bool {
        let append = self.append.lock();
        let old = append.unsynced.front();
        append.doubt.is_some() || append.is_folder_dirty || old.is_some_and(|old| old.since.elapsed() >= after)
    }

    /// Tries whether the disk takes something again, with a file of its own: what stands behind the log's good end would be a riddle after
    /// a crash.
    pub(super) fn probe(&self) {
        let is_refused = |append: &Appender| append.refused.as_ref().map(|refused| refused.since.elapsed());
        let since = is_refused(&self.append.lock());
        if since.is_none_or(|since| since < self.common.options.retry) {
            return;
        }
        let path = self.folder.join("probe.new");
        let medium = self.common.medium();
        let probed = File::create(&path).and_then(|file| {
            medium.write(&file, &[0; 64 << 10], 0)?;
            medium.sync(&file)
        });
        let _ = fs::remove_file(path);
        if probed.is_err() {
            return;
        }
        let mut append = self.append.lock();
        match &mut append.refused {
            Some(refused) if refused.is_uncut => refused.since -= self.common.options.retry,
            _ => append.refused = None,
        }
        drop(append);
        self.common.health.set_trouble(&self.name, None, self.common.now_us());
    }

    /// Notes down that all is on disk, where nothing was appended for a while or nothing will be: so that a power failure later costs nothing.
    pub(super) fn settle(&self, idle: Duration) -> io::Result<()> {
        let settled = |append: &Appender| {
            let whole = append.unsynced.is_empty() && !append.is_folder_dirty && append.doubt.is_none();
            (append.is_marked && whole && append.appended.elapsed() >= idle).then_some(append.next)
        };
        let Some(next) = settled(&self.append.lock()) else {
            return Ok(());
        };
        folder::put_beside(self.common.medium(), &self.folder, "state.json", &State::Whole { next })?;
        let mut append = self.append.lock();
        if settled(&append) == Some(next) {
            // Should the new name not be on disk after a power failure, offsets are passed over that need not be.
            fs::rename(self.folder.join("state.json.new"), self.folder.join("state.json"))?;
            append.is_marked = false;
        }
        Ok(())
    }

    /// Nothing is appended from now on.
    pub(super) fn close(&self) {
        self.append.lock().is_closed = true;
    }

    /// Those who still wait are told that it ended.
    pub(super) fn let_go(&self) {
        let told = self.append.lock().told(u64::MAX);
        for waiter in told {
            let _ = waiter.done.send(Err(PubSubError::Closed));
        }
    }
}

impl Appender {
    /// Those who wait for offsets up to this one.
    pub(super) fn told(&mut self, end: u64) -> Vec<Waiter> {
        // A second publish with the same key waits for an end before those of others.
        let (told, waiting) = self.waiters.drain(..).partition(|waiter| waiter.end <= end);
        self.waiters = waiting;
        told.into()
    }
}
