//! Taking a topic away.
//!
//! Its folder gets another name: with this one step the topic is gone, on disk too. What is in the folder goes after that, or at the next
//! start where the process ended in between. The next topic of this name has a folder and an epoch of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::folder;
use super::topic::{Appender, List, TopicLog};
use super::{Shared, unavailable};
use crate::pubsub::PubSubError;

/// What the folder is set aside as.
const REMOVED: &str = "removed";

/// Whether a folder of this name is a topic that was removed.
pub(super) fn is_removed(folder: &str) -> bool {
    let aside = folder
        .split_once('.')
        .and_then(|(_, aside)| aside.strip_prefix(REMOVED));
    aside.is_some_and(|number| number.starts_with('-'))
}

/// Deletes what was set aside.
pub(super) fn sweep(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "a removed topic's files cannot be deleted; it is tried again at the next start");
    }
}

/// Where the folder is from now on; `None` where it was gone.
fn aside(folder: &Path) -> Result<Option<PathBuf>, PubSubError> {
    match folder::set_aside(folder, REMOVED) {
        Ok(aside) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable(folder, &error)),
    }
}

impl Shared {
    /// Not while the topic is being opened. Blocks.
    pub(super) fn remove(&self, name: &str) -> Result<(), PubSubError> {
        if self.is_closed.load(SeqCst) {
            return Err(PubSubError::Closed);
        }
        let topic = self.open.read().get(name).cloned();
        let aside = match topic {
            Some(topic) => topic.set_aside()?,
            // It could not be opened: all there is of it is its folder.
            None => {
                let folder = self.known.lock().folders.get(name).map(|(folder, _)| folder.clone());
                aside(&folder.ok_or_else(|| PubSubError::UnknownTopic(name.to_owned()))?)?
            }
        };
        // In this order: who opens the name now finds it open still, or makes another.
        self.known.lock().folders.remove(name);
        self.open.write().remove(name);
        self.common.health.forget(name, self.common.now_us());
        tracing::info!(topic = name, "removed");
        if let Err(error) = self.common.medium().sync_folder(&self.folder) {
            tracing::warn!(topic = name, %error, "after a power failure it may be there again");
        }
        aside.iter().for_each(|aside| sweep(aside));
        Ok(())
    }
}

impl TopicLog {
    /// From now on nothing is appended, nothing looks for the folder any more, and who waits is told. Where the folder is; `None` where it was gone.
    fn set_aside(&self) -> Result<Option<PathBuf>, PubSubError> {
        let unknown = || PubSubError::UnknownTopic(self.name.to_string());
        // Retention looks for files by their names.
        let _alone = self.dropping.lock();
        let mut append = self.append.lock();
        if append.is_removed {
            return Err(unknown());
        }
        // A reader that finds a file gone looks again, and then there is only the segment that is open anyway.
        let before = self.list();
        *self.list.write() = Arc::new(List {
            segments: vec![Arc::clone(&append.active)],
            generation: before.generation + 1,
        });
        let aside = aside(&self.folder).inspect_err(|_| {
            *self.list.write() = Arc::new(List {
                segments: before.segments.clone(),
                generation: before.generation + 2,
            });
        })?;
        append.is_removed = true;
        append.is_closed = true;
        // The committer and the keeper find nothing to do.
        (append.is_folder_dirty, append.is_marked, append.is_keyed) = (false, false, false);
        (append.refused, append.doubt) = (None, None);
        let told = self.give_up(&mut append);
        drop(append);
        for waiter in told {
            let _ = waiter.done.send(Err(unknown()));
        }
        Ok(aside)
    }

    /// What is not on disk need not get there any more; who waits for it.
    pub(super) fn give_up(&self, append: &mut Appender) -> Vec<super::topic::Waiter> {
        for unsynced in append.unsynced.drain(..) {
            self.common.waiting.fetch_sub(unsynced.cost(), Relaxed);
        }
        append.unsynced_bytes = 0;
        append.told(u64::MAX)
    }
}
