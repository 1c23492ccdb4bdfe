//! What each reader was given and what it cost: counted at the socket and over the polls of its futures.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use freshet_wire::{Gap, GapReason, LaneKind, Reader};
use parking_lot::Mutex;

/// A poller that was silent for longer is not active any more.
const ACTIVE_US: i64 = 60_000_000;

/// How the names begin that readers get who gave none. A client's have no colon.
const UNNAMED: &str = "unnamed:";

/// The figures of one reader. They only grow, but the queue's.
#[derive(Debug)]
pub struct Figures {
    id: Arc<str>,
    lane: LaneKind,
    first_seen_us: i64,
    last_seen_us: AtomicI64,
    connected: AtomicU32,
    pub(crate) counters: Counters,
    pub(crate) queue_events: AtomicU64,
    pub(crate) queue_bytes: AtomicU64,
}

/// What can be added up over readers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) empty: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) state_events: AtomicU64,
    pub(crate) state_bytes: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) cpu_ns: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) unknown_gaps: AtomicU64,
    pub(crate) superseded: AtomicU64,
}

/// What one page or message brought.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Delivered {
    pub(crate) events: u64,
    pub(crate) state_events: u64,
    pub(crate) state_bytes: u64,
}

impl Counters {
    pub(crate) fn delivered(&self, delivered: Delivered) {
        self.events.fetch_add(delivered.events, Relaxed);
        if delivered.state_events > 0 {
            self.state_events.fetch_add(delivered.state_events, Relaxed);
            self.state_bytes.fetch_add(delivered.state_bytes, Relaxed);
        }
    }

    pub(crate) fn gaps<'a>(&self, gaps: impl IntoIterator<Item = &'a Gap>) {
        for gap in gaps {
            match (gap.count, gap.reason) {
                (Some(count), GapReason::Superseded) => self.superseded.fetch_add(count, Relaxed),
                (Some(count), reason) if reason.is_loss() => self.missed.fetch_add(count, Relaxed),
                (None, reason) if reason.is_loss() => self.unknown_gaps.fetch_add(1, Relaxed),
                _ => continue,
            };
        }
    }

    fn add(&self, other: &Self) {
        let pairs = [
            (&self.requests, &other.requests),
            (&self.empty, &other.empty),
            (&self.frames, &other.frames),
            (&self.events, &other.events),
            (&self.state_events, &other.state_events),
            (&self.state_bytes, &other.state_bytes),
            (&self.bytes_in, &other.bytes_in),
            (&self.bytes_out, &other.bytes_out),
            (&self.cpu_ns, &other.cpu_ns),
            (&self.missed, &other.missed),
            (&self.unknown_gaps, &other.unknown_gaps),
            (&self.superseded, &other.superseded),
        ];
        for (sum, part) in pairs {
            sum.fetch_add(part.load(Relaxed), Relaxed);
        }
    }
}

impl Figures {
    fn new(id: Arc<str>, lane: LaneKind, now_us: i64) -> Self {
        Self {
            id,
            lane,
            first_seen_us: now_us,
            last_seen_us: AtomicI64::new(now_us),
            connected: AtomicU32::new(0),
            counters: Counters::default(),
            queue_events: AtomicU64::new(0),
            queue_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn connect(self: &Arc<Self>) -> Connected {
        self.connected.fetch_add(1, Relaxed);
        Connected(Arc::clone(self))
    }

    fn is_unnamed(&self) -> bool {
        self.id.starts_with(UNNAMED)
    }

    /// Who is connected is seen now.
    fn last_seen_us(&self, now_us: i64) -> i64 {
        match self.connected.load(Relaxed) {
            0 => self.last_seen_us.load(Relaxed),
            _ => now_us,
        }
    }

    fn active(&self, now_us: i64) -> bool {
        let polled = self.lane == LaneKind::Poll && now_us - self.last_seen_us.load(Relaxed) < ACTIVE_US;
        polled || self.connected.load(Relaxed) > 0
    }

    fn describe(&self, now_us: i64) -> Reader {
        let counters = &self.counters;
        Reader {
            id: self.id.to_string(),
            lane: self.lane,
            active: self.active(now_us),
            first_seen_us: self.first_seen_us,
            requests: counters.requests.load(Relaxed),
            empty: counters.empty.load(Relaxed),
            frames: counters.frames.load(Relaxed),
            events: counters.events.load(Relaxed),
            state_events: counters.state_events.load(Relaxed),
            state_bytes: counters.state_bytes.load(Relaxed),
            bytes_in: counters.bytes_in.load(Relaxed),
            bytes_out: counters.bytes_out.load(Relaxed),
            cpu_us: counters.cpu_ns.load(Relaxed) / 1000,
            missed: counters.missed.load(Relaxed),
            unknown_gaps: counters.unknown_gaps.load(Relaxed),
            superseded: counters.superseded.load(Relaxed),
            queue_events: self.queue_events.load(Relaxed),
            queue_bytes: self.queue_bytes.load(Relaxed),
        }
    }
}

/// While it lives, the reader is connected.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Figures>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Relaxed);
        self.0.queue_events.store(0, Relaxed);
        self.0.queue_bytes.store(0, Relaxed);
    }
}

type Table = HashMap<(Arc<str>, LaneKind), Arc<Figures>>;

/// All readers that are known: a bounded table.
#[derive(Debug)]
pub struct Readers {
    most: usize,
    table: Mutex<Table>,
    /// Sums of those that had to leave the table, so that totals never shrink.
    left: [Counters; 2],
}

impl Readers {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            table: Mutex::default(),
            left: Default::default(),
        }
    }

    /// The figures of this reader; without a name it goes by its connection.
    pub fn seen(&self, id: Option<&str>, connection: u64, lane: LaneKind, now_us: i64) -> Arc<Figures> {
        let id: Arc<str> = match id {
            Some(id) => Arc::from(id),
            None => Arc::from(format!("{UNNAMED}{connection}")),
        };
        let mut table = self.table.lock();
        if let Some(figures) = table.get(&(Arc::clone(&id), lane)) {
            figures.last_seen_us.store(now_us, Relaxed);
            return Arc::clone(figures);
        }
        if table.len() >= self.most {
            self.make_room(&mut table, now_us);
        }
        let figures = Arc::new(Figures::new(Arc::clone(&id), lane, now_us));
        table.insert((id, lane), Arc::clone(&figures));
        figures
    }

    /// Lets an eighth of the table go, those without a name and the longest silent first. Whose figures somebody still
    /// holds, a stream or a connection that polls, stays: what is counted from now on must not be lost.
    fn make_room(&self, table: &mut Table, now_us: i64) {
        let mut idle: Vec<_> = table
            .iter()
            .filter(|(_, figures)| Arc::strong_count(figures) == 1)
            .map(|(key, figures)| (!figures.is_unnamed(), figures.last_seen_us(now_us), key.clone()))
            .collect();
        idle.sort_by_key(|&(named, last_seen_us, _)| (named, last_seen_us));
        idle.truncate((self.most / 8).max(1));
        for (_, _, key) in idle {
            if let Some(figures) = table.remove(&key) {
                self.left[figures.lane as usize].add(&figures.counters);
            }
        }
    }

    /// At most `most`: the active ones first, of these the ones with names, the last seen first; and how many are known.
    pub fn describe(&self, most: usize, now_us: i64) -> (Vec<Reader>, u32) {
        let mut known: Vec<_> = self.table.lock().values().cloned().collect();
        let total = u32::try_from(known.len()).unwrap_or(u32::MAX);
        // Who gave a name wants to find its figures again.
        known.sort_by_key(|figures| {
            (
                !figures.active(now_us),
                figures.is_unnamed(),
                -figures.last_seen_us(now_us),
            )
        });
        known.truncate(most);
        (known.iter().map(|figures| figures.describe(now_us)).collect(), total)
    }

    /// Sums over all readers of a lane since the process started, and how many are active.
    pub(crate) fn totals(&self, lane: LaneKind, now_us: i64) -> (Counters, u64) {
        let sums = Counters::default();
        sums.add(&self.left[lane as usize]);
        let mut active = 0;
        for figures in self.table.lock().values().filter(|figures| figures.lane == lane) {
            sums.add(&figures.counters);
            active += u64::from(figures.active(now_us));
        }
        (sums, active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_totals_never_shrink() {
        let readers = Readers::new(16);
        let held = readers.seen(Some("stays"), 0, LaneKind::Poll, 0);
        for reader in 0..1000 {
            let figures = readers.seen(Some(&format!("r{reader}")), 0, LaneKind::Poll, reader);
            figures.counters.events.fetch_add(3, Relaxed);
        }
        // What is counted of a request that took its time.
        held.counters.events.fetch_add(1, Relaxed);
        let (listed, total) = readers.describe(100, 1000);
        assert!(total <= 16, "{total}");
        assert_eq!(listed.len(), total as usize);
        assert_eq!(readers.totals(LaneKind::Poll, 1000).0.events.load(Relaxed), 3001);
    }

    #[test]
    fn a_stream_is_found_beside_any_number_of_later_polls() {
        let readers = Readers::new(1000);
        let stream = readers.seen(Some("page"), 0, LaneKind::Stream, 0);
        let connected = stream.connect();
        for reader in 0..200 {
            readers.seen(Some(&format!("r{reader}")), 0, LaneKind::Poll, 10 + reader);
        }
        let found = |now_us| readers.describe(10, now_us).0.iter().any(|reader| reader.id == "page");
        assert!(found(1000));
        drop(connected);
        assert!(!found(1000));
    }

    #[test]
    fn polls_without_a_name_go_by_their_connection() {
        let readers = Readers::new(1000);
        for request in 0..100 {
            readers.seen(None, request % 3, LaneKind::Poll, 0);
        }
        assert_eq!(readers.totals(LaneKind::Poll, 0).1, 3);
    }

    #[test]
    fn gaps_are_counted_by_what_they_mean() {
        let counters = Counters::default();
        let gap = |count, reason| Gap {
            topic: "t".into(),
            partition: 0,
            from_offset: 0,
            count,
            reason,
        };
        counters.gaps(&[
            gap(Some(3), GapReason::Retention),
            gap(Some(5), GapReason::Superseded),
            gap(None, GapReason::Epoch),
        ]);
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        assert_eq!(
            (
                read(&counters.missed),
                read(&counters.superseded),
                read(&counters.unknown_gaps)
            ),
            (3, 5, 1)
        );
    }
}
