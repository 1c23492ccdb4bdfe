//! One topic of the tail: what is appended to it, who waits for it, what is said of it.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use freshet_wire::{Epoch, GapReason, Log, Partition, Retention, TopicKind, TopicScope, Window as WindowInfo};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::Tail;
use super::meter::Meter;
use super::recent::{self, Recent};
use super::window::{Entry, Window};
use crate::encode;
use crate::pubsub::{Kept, LogExtent, PubSubError, Record, Sink, Stored, TopicSpec};

/// Numbers the logs of this process; 0 is none.
static LOGS: AtomicU32 = AtomicU32::new(1);

/// A topic's windows, and those who wait for them to grow.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    kind: TopicKind,
    scope: TopicScope,
    /// The windows are all there is of it.
    windowed: bool,
    synthetic: bool,
    writable: bool,
    /// What all its windows together may hold.
    window_bytes: usize,
    pub(super) log: RwLock<LogWindows>,
    /// The log's number, for readers who only want to know whether it is the one they read.
    log_id: AtomicU32,
    /// The engine has it: it can be published to.
    is_open: AtomicBool,
    /// It was taken away; who still reads it has nothing more to expect.
    is_removed: AtomicBool,
    /// Why it could not be opened when that was tried last.
    not_opened: Mutex<Option<String>>,
    /// Held while it is being opened.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// The sum of the partitions' next offsets, for readers who only want to know whether there is something.
    end: AtomicU64,
    meter: Mutex<Meter>,
    duplicates: AtomicU64,
    retention: Mutex<Retention>,
    // Apart from the windows: waking 2,000 readers must not hold up those who read already.
    waiting: Waiting,
}

/// What decides whether a topic is listed, and goes into the sums of all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glance {
    /// A stream is subscribed to it, or a long poll waits.
    pub(super) is_waited_for: bool,
    pub(super) events_per_s: f64,
    pub(super) bytes_per_s: f64,
    pub(super) window_bytes: u64,
    /// When the newest event in a window was ingested.
    pub(super) newest_us: Option<i64>,
    pub(super) partitions: usize,
    pub(super) duplicates: u64,
}

/// The log behind a topic, as much of it as is in memory.
#[derive(Debug)]
pub(super) struct LogWindows {
    /// Unique in this process; 0 as long as the engine has not told of a log.
    pub(super) id: u32,
    pub(super) epoch: Epoch,
    pub(super) partitions: Vec<PartitionWindow>,
    /// Offsets that are looked at for an event's id, in each partition; as many as when the log was first told of.
    width: u64,
}

#[derive(Debug)]
pub(super) struct PartitionWindow {
    /// The oldest offset that the engine keeps; for a local topic, that the window holds.
    pub(super) first: u64,
    pub(super) window: Window,
    /// Why the offsets since the newest event have no event.
    vacant: Option<GapReason>,
    /// Ids since the tail began to follow, on an engine that may hold an event twice.
    pub(super) recent: Recent,
}

impl LogWindows {
    /// Lets go of the oldest events, whichever partition they are in, until all windows together hold no more than this; the newest of all stays.
    fn bound(&mut self, max_bytes: usize) {
        let mut bytes: usize = self.partitions.iter().map(|partition| partition.window.bytes()).sum();
        let mut held: usize = self.partitions.iter().map(|partition| partition.window.len()).sum();
        while bytes > max_bytes && held > 1 {
            let windows = self.partitions.iter_mut().map(|partition| &mut partition.window);
            let oldest = windows
                .filter(|window| window.len() > 0)
                .min_by_key(|window| window.oldest().map(|entry| entry.ingested_us));
            let Some(dropped) = oldest.and_then(Window::drop_oldest) else {
                return;
            };
            bytes -= dropped;
            held -= 1;
        }
    }

    fn end(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.window.next()).sum()
    }
}

impl Topic {
    /// A topic of this process alone: its window is all there is of it, and begins anew with the process.
    pub(super) fn local(name: &str, kind: TopicKind, window_bytes: usize) -> Self {
        let spec = TopicSpec {
            name: name.to_owned(),
            kind,
            synthetic: false,
            writable: false,
            retention: Retention::default(),
        };
        let topic = Self::new(&spec, TopicScope::Local, true, window_bytes);
        // Offsets start at 0 under an epoch that nobody has seen.
        let epoch = Epoch::new(getrandom::u64().unwrap_or_else(|_| crate::time::now_us().unsigned_abs()));
        topic.begin(epoch, &[Default::default()]);
        topic
    }

    /// A topic of an engine, which `keeps` more of it than the windows hold or does not; it is empty until the engine tells of its log.
    pub(super) fn shared(spec: &TopicSpec, keeps: bool, window_bytes: usize) -> Self {
        Self::new(spec, TopicScope::Shared, !keeps, window_bytes)
    }

    fn new(spec: &TopicSpec, scope: TopicScope, windowed: bool, window_bytes: usize) -> Self {
        Self {
            windowed,
            name: Arc::from(&*spec.name),
            kind: spec.kind,
            scope,
            synthetic: spec.synthetic,
            writable: spec.writable,
            window_bytes,
            log: RwLock::new(LogWindows {
                id: 0,
                epoch: Epoch::new(0),
                partitions: Vec::new(),
                width: 0,
            }),
            log_id: AtomicU32::new(0),
            is_open: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
            not_opened: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            end: AtomicU64::new(0),
            meter: Mutex::default(),
            duplicates: AtomicU64::new(0),
            retention: Mutex::new(spec.retention),
            waiting: Waiting::default(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn kind(&self) -> TopicKind {
        self.kind
    }

    pub fn scope(&self) -> TopicScope {
        self.scope
    }

    pub(super) fn is_windowed(&self) -> bool {
        self.windowed
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether the engine has opened it. It tells of the log before it is done with that.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Acquire)
    }

    pub(super) fn opened(&self) {
        *self.not_opened.lock() = None;
        self.is_open.store(true, Release);
    }

    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Release);
    }

    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Acquire)
    }

    /// There is no log behind it any more. For readers it is as if another one had begun, of which nothing will come.
    pub(super) fn removed(&self) {
        let mut log = self.log.write();
        self.is_removed.store(true, Release);
        log.id = LOGS.fetch_add(1, Relaxed);
        log.partitions.clear();
        self.end.store(0, Release);
        self.log_id.store(log.id, Release);
        drop(log);
        self.waiting.wake();
    }

    pub(super) fn not_opened(&self, why: &PubSubError) {
        *self.not_opened.lock() = Some(why.to_string());
    }

    /// Why it cannot be opened; it is tried again by itself.
    pub fn why_not_open(&self) -> Option<String> {
        self.not_opened.lock().clone()
    }

    pub fn epoch(&self) -> Epoch {
        self.log.read().epoch
    }

    /// The number of the log behind it: shorter than its epoch, unique in this process.
    pub fn log_id(&self) -> u32 {
        self.log_id.load(Acquire)
    }

    /// The sum of the offsets that the partitions' next events will have.
    pub fn end(&self) -> u64 {
        self.end.load(Acquire)
    }

    /// What is kept of it from now on, as it is shown; the engine is told apart.
    pub fn set_retention(&self, retention: Retention) {
        *self.retention.lock() = retention;
    }

    /// Appends an event to a local topic, and wakes those who wait. Returns its offset.
    pub fn append(&self, record: &Record, now_us: i64) -> u64 {
        debug_assert_eq!(self.scope, TopicScope::Local, "an engine appends to {}", self.name);
        let mut log = self.log.write();
        let epoch = log.epoch;
        let Some(partition) = log.partitions.first_mut() else {
            return 0;
        };
        let offset = partition.window.next();
        let newest_us = partition.window.newest().map_or(now_us, |newest| newest.ingested_us);
        let place = encode::Place {
            topic: &self.name,
            epoch,
            partition: 0,
            offset,
            ingested_us: now_us.max(newest_us),
        };
        let json = encode::event(&place, record);
        self.meter.lock().add(json.len(), now_us);
        partition.window.push(Entry {
            offset,
            ingested_us: place.ingested_us,
            vacant: None,
            json,
        });
        partition.first = partition.window.first();
        self.end.store(offset + 1, Release);
        drop(log);
        self.waiting.wake();
        offset
    }

    /// Another log, or more partitions of the same.
    fn begin(&self, epoch: Epoch, extents: &[crate::pubsub::Extent]) {
        let mut log = self.log.write();
        if log.id == 0 || log.epoch != epoch {
            log.id = LOGS.fetch_add(1, Relaxed);
            log.epoch = epoch;
            log.partitions.clear();
            log.width = 0;
        }
        let width = match log.width {
            0 => recent::width(extents.len()),
            width => width,
        };
        log.width = width;
        for (number, extent) in extents.iter().enumerate() {
            match log.partitions.get_mut(number) {
                Some(known) => known.first = known.first.max(extent.first),
                None => log.partitions.push(PartitionWindow {
                    first: extent.first,
                    window: Window::new(self.window_bytes, extent.next),
                    vacant: None,
                    recent: Recent::new(width, extent.next),
                }),
            }
        }
        self.end.store(log.end(), Release);
        self.log_id.store(log.id, Release);
        drop(log);
        self.waiting.wake();
    }

    pub(super) fn glance(&self, now_us: i64) -> Glance {
        let (events_per_s, bytes_per_s) = self.meter.lock().rates(now_us);
        let log = self.log.read();
        let windows = || log.partitions.iter().map(|partition| &partition.window);
        let newest = windows().filter_map(Window::newest);
        Glance {
            is_waited_for: self.waiting.len() > 0,
            events_per_s,
            bytes_per_s,
            window_bytes: windows().map(|window| window.bytes() as u64).sum(),
            newest_us: newest.map(|entry| entry.ingested_us).max(),
            partitions: log.partitions.len(),
            duplicates: self.duplicates.load(Relaxed),
        }
    }

    /// What `/topics` says of it; `kept` is the engine's word.
    pub fn describe(&self, kept: Kept, now_us: i64) -> freshet_wire::Topic {
        let (events_per_s, bytes_per_s) = self.meter.lock().rates(now_us);
        let log = self.log.read();
        let windows = || log.partitions.iter().map(|partition| &partition.window);
        freshet_wire::Topic {
            name: self.name.to_string(),
            kind: self.kind,
            scope: self.scope,
            synthetic: self.synthetic,
            writable: self.writable,
            epoch: log.epoch,
            partitions: log
                .partitions
                .iter()
                .zip(0..)
                .map(|(partition, number)| Partition {
                    partition: number,
                    first_offset: partition.first,
                    next_offset: partition.window.next(),
                })
                .collect(),
            events_per_s,
            bytes_per_s,
            window: WindowInfo {
                events: windows().map(|window| window.len() as u64).sum(),
                bytes: windows().map(|window| window.bytes() as u64).sum(),
                max_bytes: self.window_bytes as u64,
                span_us: windows().map(Window::span_us).max().unwrap_or(0),
            },
            log: (!self.windowed).then(|| Log {
                bytes: kept.bytes,
                first_us: kept.first_us,
                retention: *self.retention.lock(),
            }),
            duplicates: self.duplicates.load(Relaxed),
            fenced: kept.fenced,
            unavailable: self.why_not_open(),
            readers: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Sink for Topic {
    fn log(&self, log: LogExtent) {
        self.begin(log.epoch, &log.partitions);
    }

    fn push(&self, events: Vec<Stored>) {
        let now_us = crate::time::now_us();
        let mut log = self.log.write();
        let mut meter = self.meter.lock();
        for event in events {
            let Some(partition) = log.partitions.get_mut(event.partition as usize) else {
                continue;
            };
            if event.offset < partition.window.next() {
                continue;
            }
            if !partition.recent.is_new(event.id_hash, event.offset) {
                self.duplicates.fetch_add(1, Relaxed);
                partition.vacant = merged(partition.vacant, event.vacant.or(Some(GapReason::Duplicate)));
                continue;
            }
            let vacant = merged(partition.vacant.take(), event.vacant);
            meter.add(event.json.len(), now_us);
            partition.window.push(Entry {
                offset: event.offset,
                ingested_us: event.ingested_us,
                vacant,
                json: event.json,
            });
            if self.windowed {
                partition.first = partition.window.first();
            }
        }
        if log.partitions.len() > 1 {
            log.bound(self.window_bytes);
        }
        self.end.store(log.end(), Release);
        drop((meter, log));
        self.waiting.wake();
    }

    fn trim(&self, partition: u32, first: u64) {
        if let Some(partition) = self.log.write().partitions.get_mut(partition as usize) {
            partition.first = partition.first.max(first);
        }
    }
}

/// Of two reasons for one hole, the one that must not be hidden.
pub(super) fn merged(one: Option<GapReason>, other: Option<GapReason>) -> Option<GapReason> {
    let weight = |reason: Option<GapReason>| match reason {
        None => 0,
        Some(GapReason::Vacant) => 1,
        Some(GapReason::Fenced) => 3,
        Some(reason) if reason.is_loss() => 4,
        Some(_) => 2,
    };
    if weight(one) >= weight(other) { one } else { other }
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
            // One of this name that was taken away has no more to say.
            self.remove(topic.name());
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::pubsub::Extent;

    fn topic(window_bytes: usize, partitions: usize) -> Topic {
        let spec = TopicSpec {
            name: "t".to_owned(),
            kind: TopicKind::Log,
            synthetic: false,
            writable: true,
            retention: Retention::default(),
        };
        let topic = Topic::shared(&spec, true, window_bytes);
        topic.log(LogExtent {
            epoch: Epoch::new(1),
            partitions: vec![Extent::default(); partitions],
        });
        topic
    }

    proptest! {
        #[test]
        fn the_windows_of_all_partitions_together_are_bounded_and_hold_the_newest(
            events in prop::collection::vec((0_u32..5, 1_usize..300), 1..150), max in 1_usize..2000,
        ) {
            let topic = topic(max, 5);
            let mut pushed: Vec<(u32, u64, usize)> = Vec::new();
            for (time, (partition, size)) in events.into_iter().enumerate() {
                let offset = pushed.iter().filter(|event| event.0 == partition).count() as u64;
                pushed.push((partition, offset, size));
                topic.push(vec![Stored {
                    partition,
                    offset,
                    ingested_us: time as i64,
                    id_hash: 0,
                    vacant: None,
                    json: Bytes::from(vec![b'x'; size]),
                }]);
                let described = topic.describe(Kept::default(), 0);
                let window = described.window;
                prop_assert_eq!(window.max_bytes, max as u64);
                prop_assert!(window.bytes <= window.max_bytes || window.events == 1, "{:?}", window);
                // The newest of all that came, as many as fit, are held; of each partition the last ones.
                let mut bytes = 0;
                let fit = |event: &&(u32, u64, usize)| {
                    bytes += event.2;
                    bytes <= max
                };
                let newest = pushed.iter().rev().take_while(fit).count().max(1);
                let newest = &pushed[pushed.len() - newest..];
                let log = topic.log.read();
                for (partition, number) in log.partitions.iter().zip(0..) {
                    let held = partition.window.from(partition.window.first()).map(|entry| entry.offset);
                    let held: Vec<u64> = held.collect();
                    let next = pushed.iter().filter(|event| event.0 == number).count() as u64;
                    prop_assert_eq!(&held, &(next - held.len() as u64..next).collect::<Vec<_>>());
                    let newest = newest.iter().find(|event| event.0 == number);
                    prop_assert!(newest.is_none_or(|newest| held.contains(&newest.1)));
                    prop_assert_eq!(partition.first, 0, "the engine has what is in no window");
                }
            }
        }
    }
}
