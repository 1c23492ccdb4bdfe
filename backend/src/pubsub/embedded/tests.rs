//! What the log promises, held against a disk that fails, files that are damaged and processes that end.

mod contract;
mod model;
mod reading;
mod recovery;
mod removal;
mod sync;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use freshet_wire::{EngineState, GapReason, Receipt, Retention, Token, TopicKind};
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::common::{Clock, Options};
use super::medium::{Disk, Medium};
use super::*;
use crate::pubsub::{Ack, IDEMPOTENCY_WINDOW, Idempotency, LogExtent, POWER_FAILURE_SKIP, Record, Stored};

const ALL: Budget = Budget {
    events: usize::MAX,
    bytes: usize::MAX,
};
const TOPIC: &str = "Thema π";

/// What the log hands over.
#[derive(Debug, Default)]
struct Taker {
    extents: Mutex<Vec<LogExtent>>,
    events: Mutex<Vec<Stored>>,
    trims: Mutex<Vec<u64>>,
}

impl Sink for Taker {
    fn log(&self, log: LogExtent) {
        self.extents.lock().push(log);
    }

    fn push(&self, events: Vec<Stored>) {
        self.events.lock().extend(events);
    }

    fn trim(&self, partition: u32, first: u64) {
        assert_eq!(partition, 0);
        self.trims.lock().push(first);
    }
}

/// A disk that fails on command. What it is told to sync it counts, and does not sync: tests do not pull the plug.
#[derive(Debug, Default)]
struct Faulty {
    syncs: AtomicUsize,
    /// So many syncs fail from now on.
    failing_syncs: AtomicUsize,
    /// Only so many bytes are still taken.
    room: Mutex<Option<u64>>,
    /// Cutting fails.
    no_cut: AtomicUsize,
    /// Held by a test that wants the disk to be busy.
    busy: Mutex<()>,
    /// Syncs that were asked for and are not done.
    waiting: AtomicUsize,
}

impl Medium for Faulty {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut room = self.room.lock();
        if let Some(room) = &mut *room {
            let part = bytes.len().min(usize::try_from(*room).unwrap());
            *room -= part as u64;
            Disk.write(file, &bytes[..part], at)?;
            if part < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            return Ok(());
        }
        Disk.write(file, bytes, at)
    }

    fn sync(&self, _file: &File) -> io::Result<()> {
        self.waiting.fetch_add(1, SeqCst);
        let _busy = self.busy.lock();
        self.waiting.fetch_sub(1, SeqCst);
        self.syncs.fetch_add(1, SeqCst);
        self.fails()
    }

    fn cut(&self, file: &File, len: u64) -> io::Result<()> {
        if self.no_cut.load(SeqCst) > 0 {
            return Err(io::Error::other("no cutting"));
        }
        Disk.cut(file, len)
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Faulty {
    fn fails(&self) -> io::Result<()> {
        let left = self
            .failing_syncs
            .try_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(io::Error::other("the cable is loose")),
            Err(_) => Ok(()),
        }
    }
}

/// A log in a folder of its own, with one topic open.
#[derive(Debug)]
struct Bench {
    folder: TempDir,
    log: EmbeddedLog,
    taker: Arc<Taker>,
    medium: Arc<Faulty>,
    clock: Arc<AtomicI64>,
    boot: String,
    options: fn(&mut Options),
    kind: TopicKind,
    retention: Retention,
}

const UNBOUNDED: Retention = Retention {
    max_age_s: None,
    max_bytes: None,
};

impl Bench {
    async fn new(options: fn(&mut Options)) -> Self {
        Self::of(TopicKind::Log, UNBOUNDED, options).await
    }

    async fn of(kind: TopicKind, retention: Retention, options: fn(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (medium, clock) = (Arc::new(Faulty::default()), Arc::new(AtomicI64::new(1_000_000)));
        let log = start(folder.path(), &medium, &clock, "boot-1", options);
        let mut bench = Self {
            folder,
            log,
            taker: Arc::default(),
            medium,
            clock,
            boot: "boot-1".to_owned(),
            options,
            kind,
            retention,
        };
        bench.open().await;
        bench
    }

    async fn open(&mut self) {
        self.taker = Arc::default();
        let spec = TopicSpec {
            kind: self.kind,
            retention: self.retention,
            ..spec(TOPIC)
        };
        self.log.open(spec, Arc::clone(&self.taker) as _).await.unwrap();
    }

    /// The process ends, by `kill -9` or in order, and another one starts; in between `meanwhile` happens to its files.
    async fn restart(&mut self, in_order: bool, meanwhile: impl FnOnce(&Path)) {
        if in_order {
            self.log.close().await;
        }
        // It must be gone before the next one comes, as the lock on the data folder has it.
        let elsewhere = tempfile::tempdir().unwrap();
        self.log = start(elsewhere.path(), &self.medium, &self.clock, &self.boot, self.options);
        meanwhile(&self.topic_folder());
        self.log = start(self.folder.path(), &self.medium, &self.clock, &self.boot, self.options);
        self.open().await;
    }

    fn topic_folder(&self) -> PathBuf {
        self.folder.path().join("t000001")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let found = folder::numbered(&self.topic_folder(), "seg").unwrap();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// Appends, without waiting for the disk.
    fn put(&self, records: Vec<Record>, key: Option<&str>) -> Result<Vec<Receipt>, PubSubError> {
        let publication = publication(records, key, Ack::Taken);
        self.log.publish(TOPIC, publication).now_or_never().unwrap()
    }

    fn put_one(&self, text: &str) -> u64 {
        self.put(vec![record(text)], None).unwrap()[0].offset
    }

    /// All there is from an offset on: offsets with their data, and the holes between them.
    async fn all(&self, from: u64) -> (Vec<(u64, String)>, Vec<(u64, u64)>) {
        self.all_by(from, ALL).await
    }

    async fn all_by(&self, from: u64, budget: Budget) -> (Vec<(u64, String)>, Vec<(u64, u64)>) {
        let (mut events, mut holes, mut next) = (Vec::new(), Vec::new(), from);
        loop {
            let chunk = self.log.read(TOPIC, 0, next, budget).await.unwrap();
            if chunk.first > next {
                next = chunk.first;
            }
            for event in &chunk.events {
                if event.offset > next {
                    assert_eq!(event.vacant, Some(GapReason::Lost), "before {}", event.offset);
                    holes.push((next, event.offset));
                } else {
                    assert_eq!(event.vacant, None, "before {}", event.offset);
                }
                events.push((event.offset, data(event)));
                next = event.offset + 1;
            }
            if chunk.next > next {
                assert_eq!(chunk.vacant, Some(GapReason::Lost));
                holes.push((next, chunk.next));
                next = chunk.next;
            } else if chunk.events.is_empty() {
                return (events, holes);
            }
        }
    }

    fn extent(&self) -> (u64, u64) {
        let extents = self.taker.extents.lock();
        let extent = extents.last().unwrap().partitions[0];
        (extent.first, extent.next)
    }

    fn state(&self) -> (EngineState, String) {
        let engine = self.log.status().borrow().clone();
        (engine.state, engine.detail)
    }
}

fn start(
    folder: &Path,
    medium: &Arc<Faulty>,
    clock: &Arc<AtomicI64>,
    boot: &str,
    change: fn(&mut Options),
) -> EmbeddedLog {
    let clock = Arc::clone(clock);
    let mut options = Options {
        medium: Arc::clone(medium) as _,
        clock: Clock(Arc::new(move || clock.load(SeqCst))),
        boot: boot.to_owned(),
        retry: Duration::ZERO,
        // The keeper is called where a test wants it.
        tick: Duration::from_secs(3600),
        ..Options::default()
    };
    change(&mut options);
    EmbeddedLog::with(folder, &LogConfig::default(), options).unwrap()
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        kind: TopicKind::Log,
        synthetic: false,
        writable: true,
        retention: UNBOUNDED,
    }
}

fn record(text: &str) -> Record {
    Record {
        produced_us: 5,
        host: None,
        token: None,
        kind: "test".into(),
        id: None,
        key: None,
        data: RawValue::from_string(serde_json::to_string(text).unwrap()).unwrap(),
    }
}

fn fenced(text: &str, scope: &str, number: u64) -> Record {
    Record {
        token: Some(Token {
            scope: scope.to_owned().into(),
            number,
        }),
        ..record(text)
    }
}

fn publication(records: Vec<Record>, key: Option<&str>, ack: Ack) -> Publication {
    let digest = |records: &[Record]| {
        let text: String = records.iter().map(|record| record.data.get()).collect();
        u128::from(crc32fast::hash(text.as_bytes())).to_le_bytes()
    };
    Publication {
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            digest: digest(&records),
        }),
        records,
        ack,
    }
}

/// The event's data; it must say of itself what the log says of it.
fn data(event: &Stored) -> String {
    let parsed: freshet_wire::Event<'_> = serde_json::from_slice(&event.json).unwrap();
    assert_eq!((parsed.offset, parsed.ingested_us), (event.offset, event.ingested_us));
    assert_eq!(parsed.topic, TOPIC);
    serde_json::from_str(parsed.data.get()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
