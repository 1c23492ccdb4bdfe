//! One topic of the tail: append, wake, describe.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use bytes::Bytes;
use freshet_wire::{Epoch, Event, Partition, Token, TopicKind, TopicScope, Window as WindowInfo};
use parking_lot::{Mutex, RwLock};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::Tail;
use super::meter::Meter;
use super::window::{Entry, Window};

/// Numbers the topics of this process.
static TOPICS: AtomicU32 = AtomicU32::new(0);

/// A topic's window, and those who wait for it to grow.
#[derive(Debug)]
pub struct Topic {
    id: u32,
    name: Arc<str>,
    kind: TopicKind,
    scope: TopicScope,
    synthetic: bool,
    epoch: Epoch,
    pub(super) window: RwLock<Window>,
    /// The window's next offset, for readers who only want to know whether there is something.
    end: AtomicU64,
    meter: Mutex<Meter>,
    // Apart from the window: waking 2,000 readers must not hold up those who read already.
    waiting: Waiting,
}

/// An event that is about to be appended: the tail gives it its offset and the time of ingest.
#[derive(Debug)]
pub struct Draft<'a> {
    pub produced_us: i64,
    pub host: Option<&'a str>,
    pub token: Option<Token<'a>>,
    pub kind: &'a str,
    pub data: &'a RawValue,
}

impl Topic {
    pub(super) fn new(name: &str, kind: TopicKind, scope: TopicScope, synthetic: bool, max_bytes: usize) -> Self {
        // A log in memory begins anew with the process: offsets start at 0 under an epoch nobody has seen.
        let epoch = Epoch::new(getrandom::u64().unwrap_or_else(|_| crate::time::now_us().unsigned_abs()));
        Self {
            id: TOPICS.fetch_add(1, Relaxed),
            name: Arc::from(name),
            kind,
            scope,
            synthetic,
            epoch,
            window: RwLock::new(Window::new(max_bytes)),
            end: AtomicU64::new(0),
            meter: Mutex::default(),
            waiting: Waiting::default(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Unique in this process, and shorter than its name.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The offset that the next event will have.
    pub fn end(&self) -> u64 {
        self.end.load(Acquire)
    }

    pub fn kind(&self) -> TopicKind {
        self.kind
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Appends one event, encoded here once for all readers, and wakes those who wait. Returns its offset.
    pub fn append(&self, draft: &Draft<'_>, now_us: i64) -> u64 {
        let offset = self.push(draft, now_us);
        self.wake();
        offset
    }

    /// Appends events that are ready together; readers are woken once.
    pub fn append_all<'a>(&self, drafts: impl IntoIterator<Item = Draft<'a>>, now_us: i64) {
        for draft in drafts {
            self.push(&draft, now_us);
        }
        self.wake();
    }

    fn push(&self, draft: &Draft<'_>, now_us: i64) -> u64 {
        let mut window = self.window.write();
        let offset = window.next();
        // Searching by time needs order, and a wall clock may be set back.
        let ingested_us = window.newest_us().map_or(now_us, |newest| newest.max(now_us));
        let event = Event {
            topic: Cow::Borrowed(&self.name),
            epoch: self.epoch,
            partition: 0,
            offset,
            id: Cow::Owned(format!("{}-{offset}", self.epoch)),
            produced_us: draft.produced_us,
            ingested_us,
            host: draft.host.map(Cow::Borrowed),
            token: draft.token.clone(),
            kind: Cow::Borrowed(draft.kind),
            data: draft.data,
        };
        let mut json = Vec::with_capacity(draft.data.get().len() + 256);
        if let Err(error) = serde_json::to_writer(&mut json, &event) {
            // Strings, integers and raw JSON always have a text; nothing here can fail.
            unreachable!("an event without a text: {error}");
        }
        self.meter.lock().add(json.len(), now_us);
        window.push(Entry {
            ingested_us,
            json: Bytes::from(json),
        });
        self.end.store(offset + 1, Release);
        offset
    }

    fn wake(&self) {
        self.waiting.wake();
    }

    /// What `/topics` says of it.
    pub fn describe(&self, now_us: i64) -> freshet_wire::Topic {
        let (events_per_s, bytes_per_s) = self.meter.lock().rates(now_us);
        let window = self.window.read();
        freshet_wire::Topic {
            name: self.name.to_string(),
            kind: self.kind,
            scope: self.scope,
            synthetic: self.synthetic,
            writable: false,
            log: None,
            duplicates: 0,
            epoch: self.epoch,
            partitions: vec![Partition {
                partition: 0,
                first_offset: window.first(),
                next_offset: window.next(),
            }],
            events_per_s,
            bytes_per_s,
            window: WindowInfo {
                events: window.len() as u64,
                bytes: window.bytes() as u64,
                max_bytes: window.max_bytes() as u64,
                span_us: window.span_us(),
            },
            readers: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Readers to be woken.
#[derive(Debug, Default)]
pub(super) struct Waiting(RwLock<Vec<Arc<Notify>>>);

impl Waiting {
    pub(super) fn wake(&self) {
        for reader in self.0.read().iter() {
            reader.notify_one();
        }
    }

    fn len(&self) -> usize {
        self.0.read().len()
    }

    fn join(&self, reader: &Arc<Notify>) {
        self.0.write().push(Arc::clone(reader));
    }

    fn leave(&self, reader: &Arc<Notify>) {
        let mut waiting = self.0.write();
        if let Some(at) = waiting.iter().position(|known| Arc::ptr_eq(known, reader)) {
            waiting.swap_remove(at);
        }
    }
}

/// Wakes one reader when any of its topics grows. A wake-up between two waits is kept.
#[derive(Debug)]
pub struct Watch {
    wake: Arc<Notify>,
    all: Arc<Waiting>,
    topics: Vec<Arc<Topic>>,
}

impl Watch {
    pub fn new(tail: &Tail) -> Self {
        let watch = Self {
            wake: Arc::default(),
            all: Arc::clone(&tail.waiting),
            topics: Vec::new(),
        };
        watch.all.join(&watch.wake);
        watch
    }

    pub fn add(&mut self, topic: &Arc<Topic>) {
        if !self.topics.iter().any(|known| Arc::ptr_eq(known, topic)) {
            topic.waiting.join(&self.wake);
            self.topics.push(Arc::clone(topic));
            // What came before the watch began counts too.
            self.wake.notify_one();
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.topics.iter().position(|topic| &**topic.name() == name) {
            self.topics.swap_remove(at).waiting.leave(&self.wake);
        }
    }

    /// Makes the next wait end at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.all.leave(&self.wake);
        for topic in &self.topics {
            topic.waiting.leave(&self.wake);
        }
    }
}
