//! The embedded engine: a log in the data folder.
//!
//! ```text
//! publish ──▶ topic.rs: offsets, one write, the sink ──▶ threads.rs: the committer syncs, once for all who wait ──▶ receipts
//! read, at ──▶ read.rs ──▶ walk.rs: whole records of a segment.rs        keeper: retention.rs, what nobody waits for
//! open ──▶ recovery.rs: finds what is whole, cuts off what was torn, passes over what is damaged, and says it
//! remove ──▶ removal.rs: the folder gets a name that nobody looks for, and goes
//! ```
//!
//! A topic is a folder of segments, files that are only ever appended to. What the log promises:
//!
//! - *An offset never means two events.* What a reader may have seen keeps its offset, whether it reached the disk or not: a write that
//!   failed was seen by nobody and is cut off; what was in a sync that failed is written again (`sync.rs`); after a power failure the log
//!   goes on further on (`recovery.rs`).
//! - *Acknowledged is kept.* A durable publish is answered after `fdatasync` of its file, and of the folder where the file is new.
//! - *Nothing that is not whole is served.* Each record has checksums of its own, and they are looked at by every read.

mod common;
mod folder;
mod health;
mod keys;
mod mark;
mod medium;
mod read;
mod record;
mod recovery;
mod removal;
mod retention;
mod segment;
mod sync;
#[cfg(test)]
mod tests;
mod threads;
mod topic;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use freshet_wire::{Engine, Epoch, Receipt, Retention};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use self::common::{Common, Options};
use self::folder::Description;
use self::topic::TopicLog;
use super::{Answer, Budget, Capabilities, Chunk, Kept, PubSub, PubSubError, Publication, Sink, TopicSpec};
use crate::config::LogConfig;

const NAME: &str = "log";
/// Of each topic: the segment that is written, and the mark.
pub(super) const OPEN_FILES: usize = 2;

/// The log in the data folder.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    config: LogConfig,
    common: Arc<Common>,
    open: RwLock<HashMap<Arc<str>, Arc<TopicLog>>>,
    /// All that are on disk, by name, each with its folder.
    known: Mutex<Known>,
    is_closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    folders: BTreeMap<String, (PathBuf, Description)>,
    /// The greatest number that a folder has.
    newest: u32,
}

impl EmbeddedLog {
    /// Opens the log in this folder, and makes it where there is none. Its topics are opened one by one; see [`PubSub::known`]. Nobody else
    /// may use the folder.
    pub fn open(folder: &Path, config: &LogConfig) -> Result<Self, PubSubError> {
        Self::with(folder, config, Options::default())
    }

    fn with(folder: &Path, config: &LogConfig, options: Options) -> Result<Self, PubSubError> {
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            config: config.clone(),
            common: Arc::new(Common::new(options, topic::most_segment(config))),
            open: RwLock::default(),
            known: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let started = || -> io::Result<_> {
            fs::create_dir_all(folder)?;
            *shared.known.lock() = known(&shared.common, folder)?;
            let committer = threads::commit(Arc::clone(&shared.common))?;
            Ok((committer, threads::keep(Arc::clone(&shared))?))
        };
        let (committer, keeper) = started().map_err(|error| unavailable(folder, &error))?;
        Ok(Self {
            shared,
            committer: Mutex::new(Some(committer)),
            keeper: Mutex::new(Some(keeper)),
        })
    }

    fn topic(&self, name: &str) -> Result<Arc<TopicLog>, PubSubError> {
        let open = self.shared.open.read();
        let topic = open.get(name).cloned();
        topic.ok_or_else(|| PubSubError::UnknownTopic(name.to_owned()))
    }
}

impl Shared {
    /// The folder of a topic, which is made if there is none. Blocks.
    fn describe(&self, spec: &TopicSpec) -> Result<(PathBuf, Description), PubSubError> {
        let mut known = self.known.lock();
        let described = |folder: &Path, description: &Description| {
            let written = description.write(self.common.medium(), folder);
            written.map_err(|error| unavailable(folder, &error))
        };
        if let Some((folder, description)) = known.folders.get_mut(&spec.name) {
            let mut wanted = Description {
                kind: spec.kind,
                synthetic: spec.synthetic,
                writable: spec.writable,
                ..description.clone()
            };
            if recovery::is_gone(folder).map_err(|error| unavailable(folder, &error))? {
                let text = "its events are gone; it begins anew, as another log";
                self.common.health.find(&spec.name, true, text, self.common.now_us());
                wanted.epoch = new_epoch().map_err(|error| unavailable(folder, &error))?;
                begin_anew(&self.common, folder, &wanted).map_err(|error| unavailable(folder, &error))?;
            }
            if wanted != *description {
                described(folder, &wanted)?;
                *description = wanted;
            }
            return Ok((folder.clone(), description.clone()));
        }
        if known.folders.len() >= self.config.max_topics {
            return Err(PubSubError::TooManyTopics(known.folders.len()));
        }
        let number = known.newest + 1;
        let folder = self.folder.join(format!("t{number:06}"));
        let made = || -> io::Result<Description> {
            let description = Description {
                name: spec.name.clone(),
                kind: spec.kind,
                synthetic: spec.synthetic,
                writable: spec.writable,
                epoch: new_epoch()?,
                created_us: self.common.now_us(),
            };
            fs::create_dir_all(&folder)?;
            recovery::begin(&self.common, &folder, &description)?;
            description.write(self.common.medium(), &folder)?;
            self.common.medium().sync_folder(&self.folder)?;
            Ok(description)
        };
        let description = made().map_err(|error| unavailable(&folder, &error))?;
        known.newest = number;
        known
            .folders
            .insert(spec.name.clone(), (folder.clone(), description.clone()));
        Ok((folder, description))
    }
}

fn new_epoch() -> io::Result<Epoch> {
    getrandom::u64().map(Epoch::new).map_err(io::Error::other)
}

/// A log whose files are gone: what was left of the old one must not be taken for a part of the new one.
fn begin_anew(common: &Common, folder: &Path, description: &Description) -> io::Result<()> {
    for name in ["state.json", "keyed", mark::NAME] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for (_, path) in folder::numbered(folder, "keys")? {
        fs::remove_file(path)?;
    }
    recovery::begin(common, folder, description)
}

/// What stands in the folder. A topic that cannot be read is set aside, never deleted.
fn known(common: &Common, folder: &Path) -> io::Result<Known> {
    let mut known = Known::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.strip_prefix('t').filter(|number| number.len() >= 6);
        // Folders that were set aside keep their numbers.
        let digits = number.and_then(|number| number.split('.').next());
        let Some(number) = digits.and_then(|digits| digits.parse::<u32>().ok()) else {
            continue;
        };
        known.newest = known.newest.max(number);
        if removal::is_removed(&name) {
            removal::sweep(&path);
            continue;
        }
        if name.contains('.') || !path.is_dir() {
            continue;
        }
        if recovery::is_stillborn(&path)? {
            fs::remove_dir_all(&path)?;
            continue;
        }
        let why = match Description::find(common.medium(), &path) {
            Ok(Some((description, fault))) => match known.folders.get(&description.name) {
                None => {
                    if let Some(fault) = fault {
                        let text = format!("its topic.json {fault}; it was made again from its copy");
                        common.health.find(&description.name, false, &text, common.now_us());
                    }
                    known.folders.insert(description.name.clone(), (path, description));
                    continue;
                }
                Some((other, _)) => format!("{} is the same topic", other.display()),
            },
            Ok(None) => "it has no topic.json".to_owned(),
            Err(error) => format!("its topic.json cannot be read ({error})"),
        };
        let aside = folder::set_aside(&path, "unreadable")?;
        let text = format!("the folder is set aside as {}: {why}", aside.display());
        common.health.find(&name, true, &text, common.now_us());
    }
    Ok(known)
}

fn unavailable(path: &Path, error: &io::Error) -> PubSubError {
    PubSubError::Unavailable(format!("{}: {error}", path.display()))
}

/// On a thread that may block.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, PubSubError> + Send + 'static,
) -> Result<T, PubSubError> {
    match spawn_blocking(run).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(PubSubError::Closed),
        Err(error) => Err(PubSubError::Unavailable(error.to_string())),
    }
}

impl PubSub for EmbeddedLog {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            idempotent: true,
            creates_topics: true,
            retains: true,
            microseconds: true,
        }
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.shared.common.health.watch()
    }

    fn known(&self) -> Answer<'_, Result<Vec<TopicSpec>, PubSubError>> {
        let retention = Retention {
            max_age_s: Some(self.shared.config.max_age_s),
            max_bytes: Some(self.shared.config.max_bytes),
        };
        let known = self.shared.known.lock();
        let specs = known.folders.values();
        let specs = specs.map(|(_, description)| description.spec(retention)).collect();
        Box::pin(async { Ok(specs) })
    }

    fn open(&self, spec: TopicSpec, sink: Arc<dyn Sink>) -> Answer<'_, Result<(), PubSubError>> {
        Box::pin(async move {
            if self.shared.is_closed.load(SeqCst) {
                return Err(PubSubError::Closed);
            }
            if self.topic(&spec.name).is_ok() {
                let why = format!("topic {:?} is open already", spec.name);
                return Err(PubSubError::Unavailable(why));
            }
            let shared = Arc::clone(&self.shared);
            let topic = blocking(move || {
                let (folder, description) = shared.describe(&spec)?;
                let common = Arc::clone(&shared.common);
                TopicLog::open(common, folder.clone(), &description, &spec, sink)
                    .map_err(|error| unavailable(&folder, &error))
            })
            .await?;
            self.shared.open.write().insert(Arc::clone(&topic.name), topic);
            Ok(())
        })
    }

    fn publish(&self, topic: &str, publication: Publication) -> Answer<'static, Result<Vec<Receipt>, PubSubError>> {
        let appended = self.topic(topic).and_then(|topic| topic.publish(&publication));
        Box::pin(async move {
            let appended = appended?;
            if let Some(durable) = appended.durable {
                durable.await.unwrap_or(Err(PubSubError::Closed))?;
            }
            Ok(appended.receipts)
        })
    }

    fn read(
        &self,
        topic: &str,
        _partition: u32,
        from: u64,
        budget: Budget,
    ) -> Answer<'static, Result<Chunk, PubSubError>> {
        let topic = self.topic(topic);
        Box::pin(async move {
            let topic = topic?;
            blocking(move || {
                let read = topic.read(from, budget);
                read.map_err(|error| unavailable(topic.folder(), &error))
            })
            .await
        })
    }

    fn at(&self, topic: &str, time_us: i64) -> Answer<'static, Result<Vec<u64>, PubSubError>> {
        let topic = self.topic(topic);
        Box::pin(async move {
            let topic = topic?;
            blocking(move || {
                let found = topic.at(time_us);
                found.map_err(|error| unavailable(topic.folder(), &error))
            })
            .await
            .map(|offset| vec![offset])
        })
    }

    fn kept(&self, topic: &str) -> Kept {
        self.topic(topic).map(|topic| topic.kept()).unwrap_or_default()
    }

    fn retain(&self, topic: &str, retention: Retention) {
        if let Ok(topic) = self.topic(topic) {
            *topic.retention.lock() = retention;
            self.shared.common.keep.add(&topic, &topic.to_keep);
        }
    }

    fn remove(&self, topic: &str) -> Answer<'_, Result<(), PubSubError>> {
        let (shared, topic) = (Arc::clone(&self.shared), topic.to_owned());
        Box::pin(blocking(move || shared.remove(&topic)))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.shared.is_closed.store(true, SeqCst);
            let open: Vec<_> = self.shared.open.read().values().cloned().collect();
            for topic in &open {
                topic.close();
                self.shared.common.commit.add(topic, &topic.to_commit);
            }
            self.shared.common.commit.end();
            self.shared.common.keep.end();
            let threads = [self.committer.lock().take(), self.keeper.lock().take()];
            let settled = blocking(move || {
                for thread in threads.into_iter().flatten() {
                    let _ = thread.join();
                }
                for topic in &open {
                    topic.let_go();
                    if let Err(error) = topic.settle(Duration::ZERO) {
                        tracing::warn!(topic = &*topic.name, %error, "cannot note down that all is on disk");
                    }
                }
                Ok(())
            });
            let _ = settled.await;
        })
    }
}

impl Drop for EmbeddedLog {
    /// Without [`PubSub::close`] it ends as if the process had: what is not on disk is left to recovery.
    fn drop(&mut self) {
        self.shared.common.commit.abandon();
        self.shared.common.keep.abandon();
        for thread in [self.committer.get_mut().take(), self.keeper.get_mut().take()] {
            let _ = thread.map(JoinHandle::join);
        }
    }
}
