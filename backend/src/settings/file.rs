//! The embedded engine: `settings.toml` in the data folder, which the API replaces and anybody may edit.
//!
//! ```text
//! file.rs: compare and set, and what an edit becomes     file/watch.rs: notices edits, and waits until they are whole
//!   file/text.rs: TOML from settings and back, with the comments that stand in it     file/folder.rs: the files, and crashes between them
//! ```
//!
//! - *One truth.* `settings.json` beside it is the record: the newest version, its history, and the text that the file had with it. The file
//!   is what people edit. When it says something else than the record, it was edited, and that is a version like any other.
//! - *An edit is applied once, or refused.* A file in which a key is missing or wrong is not applied: one that is half written is waited
//!   for, and one that stays so is refused with its reason, while the last good version stays in force, also after a restart.
//! - *Nobody's edit is written over.* The API compares what stands in the file with what it read. A file that it replaces because it was
//!   refused is kept as `settings.toml.refused`. (Between that look and the rename there are microseconds in which an editor's save would be lost.)

mod folder;
pub(crate) mod text;
mod watch;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use freshet_wire::{Engine, EngineState, Settings, SettingsDocument};
use notify::RecommendedWatcher;
use parking_lot::Mutex;
use tokio::sync::watch::{self as channel, Receiver};
use tokio::task::spawn_blocking;

use self::folder::{FILE, Folder, Record};
use super::change::{self, Author};
use super::{Refusal, SettingsStore, StoreError, Stored};
use crate::pubsub::Answer;
use crate::time::now_us;

/// How long a change through the API waits for somebody who is writing the file.
const BUSY: Duration = Duration::from_millis(50);
const BUSY_TRIES: u32 = 20;

/// `settings.toml` in a folder.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    watching: Mutex<Option<Watching>>,
}

#[derive(Debug)]
struct Watching {
    /// Its end ends the thread.
    watcher: Option<RecommendedWatcher>,
    looks: Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    folder: Folder,
    node: String,
    inner: Mutex<Inner>,
    stored: channel::Sender<Option<Arc<Stored>>>,
    status: channel::Sender<Engine>,
}

#[derive(Debug)]
struct Inner {
    /// What stands in the file, as far as it was looked at; `None` when there is no file.
    text: Option<String>,
    document: Option<Arc<SettingsDocument>>,
    refusal: Option<Refusal>,
    revision: u64,
}

/// Whether what stands in the file was dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Done,
    /// Somebody may be writing it.
    Unsettled,
}

impl FileStore {
    /// Opens the file, or makes it with `seed`. This process alone uses the folder.
    pub fn open(folder: &Path, node: &str, seed: &Settings) -> Result<Self, StoreError> {
        let folder = Folder::new(folder);
        let opened = Self::opened(&folder, node, seed);
        let (inner, now_us) = (opened.map_err(|error| unavailable(&folder, &error))?, now_us());
        let engine = Engine {
            name: "file".to_owned(),
            state: EngineState::Up,
            since_us: now_us,
            detail: String::new(),
        };
        let shared = Arc::new(Shared {
            folder,
            node: node.to_owned(),
            stored: channel::Sender::new(None),
            inner: Mutex::new(inner),
            status: channel::Sender::new(engine),
        });
        // Whatever was edited while nobody watched; a file that is wrong need not be waited for.
        shared
            .look(&mut shared.inner.lock(), false)
            .map_err(|error| unavailable(&shared.folder, &error))?;
        shared.publish(&shared.inner.lock());
        let watching = watch::start(&shared).map_err(|error| unavailable(&shared.folder, &error))?;
        Ok(Self {
            shared,
            watching: Mutex::new(Some(watching)),
        })
    }

    fn opened(folder: &Folder, node: &str, seed: &Settings) -> io::Result<Inner> {
        let record = folder.recover()?;
        let text = folder.read()?.map(|file| file.text);
        let author = Author {
            by: "start",
            node,
            now_us: now_us(),
        };
        let mut inner = Inner {
            text: None,
            document: None,
            refusal: None,
            revision: 1,
        };
        match (record, text) {
            (Some(record), Some(text)) => {
                // Settings that this program has and the one that wrote the file had not: they are added to it.
                let is_as_written = text == record.text;
                let document = Arc::new(record.document);
                if is_as_written && text::read(&text).is_err() {
                    let filled = text::render(&document.newest.settings);
                    folder.replace(&filled, &document)?;
                    inner.text = Some(filled);
                } else if is_as_written {
                    inner.text = Some(text);
                }
                inner.document = Some(document);
            }
            (Some(Record { document, .. }), None) => {
                let text = text::render(&document.newest.settings);
                folder.replace(&text, &document)?;
                (inner.text, inner.document) = (Some(text), Some(Arc::new(document)));
            }
            // A file that was put there before the first start seeds the store; it is looked at like an edit.
            (None, Some(_)) => {}
            (None, None) => {
                let document = change::first(seed.clone(), author);
                let text = text::render(seed);
                folder.replace(&text, &document)?;
                (inner.text, inner.document) = (Some(text), Some(Arc::new(document)));
            }
        }
        Ok(inner)
    }
}

impl Shared {
    /// Looks at the file. With patience, what is wrong in it or was written just now is left for later.
    fn look(&self, inner: &mut Inner, is_patient: bool) -> io::Result<Look> {
        let file = self.folder.read()?;
        let text = file.as_ref().map(|file| &file.text);
        if text == inner.text.as_ref() && text.is_some() {
            return Ok(Look::Done);
        }
        if is_patient && file.as_ref().is_some_and(|file| file.is_fresh()) {
            return Ok(Look::Unsettled);
        }
        let read = match &file {
            Some(file) => text::read(&file.text),
            None => Err(Refusal::new(
                "document",
                format!("{FILE} is gone: save it again, or change a setting here, which writes it anew"),
            )),
        };
        match read {
            Err(_) if is_patient => return Ok(Look::Unsettled),
            Err(refusal) if inner.refusal.as_ref() == Some(&refusal) && text == inner.text.as_ref() => {}
            Err(refusal) => {
                inner.refusal = Some(refusal);
                inner.revision += 1;
            }
            Ok(settings) => {
                let author = Author {
                    by: FILE,
                    node: &self.node,
                    now_us: file.as_ref().map_or_else(now_us, |file| file.changed_us),
                };
                let document = match &inner.document {
                    Some(document) if document.newest.settings == settings => Arc::clone(document),
                    Some(document) => Arc::new(change::next(document, settings, 0, author)),
                    None => Arc::new(change::first(settings, author)),
                };
                let is_new = inner.document.as_ref() != Some(&document);
                if is_new {
                    let text = text.cloned().unwrap_or_default();
                    self.folder.write_record(&text, &document)?;
                }
                if is_new || inner.refusal.is_some() {
                    inner.revision += 1;
                }
                (inner.document, inner.refusal) = (Some(document), None);
            }
        }
        inner.text = file.map(|file| file.text);
        self.publish(inner);
        Ok(Look::Done)
    }

    fn swap(&self, revision: u64, document: &SettingsDocument) -> Result<Arc<Stored>, StoreError> {
        let mut tries = 0;
        let mut inner = loop {
            let mut inner = self.inner.lock();
            let look = self
                .look(&mut inner, tries < BUSY_TRIES)
                .map_err(|error| self.failed(&error))?;
            if look == Look::Done {
                break inner;
            }
            drop(inner);
            tries += 1;
            std::thread::sleep(BUSY);
        };
        if inner.revision != revision {
            return Err(StoreError::Moved);
        }
        let text = self.text_of(&inner, document);
        let replacing = || {
            if let (Some(_), Some(text)) = (&inner.refusal, &inner.text) {
                self.folder.keep_refused(text)?;
            }
            self.folder.replace(&text, document)
        };
        replacing().map_err(|error| self.failed(&error))?;
        *inner = Inner {
            text: Some(text),
            document: Some(Arc::new(document.clone())),
            refusal: None,
            revision: inner.revision + 1,
        };
        self.well();
        Ok(self.publish(&inner))
    }

    /// What stands in the file, with these settings in it; comments stay.
    fn text_of(&self, inner: &Inner, document: &SettingsDocument) -> String {
        let settings = &document.newest.settings;
        let edited = inner
            .text
            .as_ref()
            .zip(inner.document.as_ref())
            .filter(|_| inner.refusal.is_none());
        edited
            .and_then(|(text, now)| text::edit(text, &change::differences(&now.newest.settings, settings)))
            .filter(|text| text::read(text).as_ref() == Ok(settings))
            .unwrap_or_else(|| text::render(settings))
    }

    fn publish(&self, inner: &Inner) -> Arc<Stored> {
        let stored = Arc::new(Stored {
            revision: inner.revision,
            good: inner.document.clone(),
            refusal: inner.refusal.clone(),
            floor: 0,
        });
        self.stored.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&stored);
            if is_new {
                *known = Some(Arc::clone(&stored));
            }
            is_new
        });
        stored
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        let error = unavailable(&self.folder, error);
        self.fares(EngineState::Degraded, &error.to_string());
        error
    }

    fn well(&self) {
        self.fares(EngineState::Up, "");
    }

    fn fares(&self, state: EngineState, detail: &str) {
        self.status.send_if_modified(|engine| {
            let is_new = (engine.state, &*engine.detail) != (state, detail);
            if is_new {
                (engine.state, engine.detail, engine.since_us) = (state, detail.to_owned(), now_us());
            }
            is_new
        });
    }
}

fn unavailable(folder: &Folder, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", folder.file().display()))
}

impl SettingsStore for FileStore {
    fn place(&self) -> String {
        self.shared.folder.file().display().to_string()
    }

    fn status(&self) -> Receiver<Engine> {
        self.shared.status.subscribe()
    }

    fn watch(&self) -> Receiver<Option<Arc<Stored>>> {
        self.shared.stored.subscribe()
    }

    fn load(&self) -> Answer<'_, Result<Arc<Stored>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking(move || {
            let mut inner = shared.inner.lock();
            shared.look(&mut inner, true).map_err(|error| shared.failed(&error))?;
            Ok(shared.publish(&inner))
        }))
    }

    fn swap<'a>(
        &'a self,
        revision: u64,
        document: &'a SettingsDocument,
    ) -> Answer<'a, Result<Arc<Stored>, StoreError>> {
        let (shared, document) = (Arc::clone(&self.shared), document.clone());
        Box::pin(blocking(move || shared.swap(revision, &document)))
    }

    fn close(&self) -> Answer<'_, ()> {
        let watching = self.watching.lock().take();
        Box::pin(async move {
            let _ = spawn_blocking(move || watching.map(Watching::end)).await;
        })
    }
}

impl Watching {
    fn end(self) {
        drop((self.watcher, self.looks));
        let _ = self.thread.join();
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        let _ = self.watching.get_mut().take().map(Watching::end);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
}

#[cfg(test)]
mod tests;
