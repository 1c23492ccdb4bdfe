//! What the topics of one log share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::folder::boot_id;
use super::health::Health;
use super::medium::{Disk, Medium};
use super::segment::Indexes;
use super::topic::TopicLog;
use crate::pubsub::IDEMPOTENCY_KEYS;

/// Microseconds since the Unix epoch, by whose clock is asked.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<dyn Fn() -> i64 + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What tests set otherwise.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) clock: Clock,
    pub(super) boot: String,
    /// After the disk refused an event, the next one is tried this much later.
    pub(super) retry: Duration,
    /// How often the keeper looks around.
    pub(super) tick: Duration,
    /// A topic without appends for so long is noted down as whole.
    pub(super) idle: Duration,
    /// Bytes that are not on disk yet, of all topics together.
    pub(super) most_waiting: usize,
    pub(super) most_keys: usize,
    /// The size of a segment, where it does not follow from the retention.
    pub(super) segment_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            medium: Arc::new(Disk),
            clock: Clock(Arc::new(crate::time::now_us)),
            boot: boot_id(),
            retry: Duration::from_millis(250),
            tick: Duration::from_millis(400),
            idle: Duration::from_secs(60),
            most_waiting: 64 << 20,
            most_keys: IDEMPOTENCY_KEYS,
            segment_bytes: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Common {
    pub(super) options: Options,
    pub(super) health: Health,
    pub(super) indexes: Indexes,
    /// A segment of a log has no more bytes, whatever is kept of its topic.
    pub(super) most_segment: u64,
    /// Bytes that are written and not on disk yet, of all topics.
    pub(super) waiting: AtomicUsize,
    /// Topics for the committer.
    pub(super) commit: Work,
    /// Topics for the keeper.
    pub(super) keep: Work,
}

impl Common {
    pub(super) fn new(options: Options, most_segment: u64) -> Self {
        let now_us = (options.clock.0)();
        Self {
            options,
            health: Health::new(now_us),
            indexes: Indexes::default(),
            most_segment,
            waiting: AtomicUsize::new(0),
            commit: Work::default(),
            keep: Work::default(),
        }
    }

    pub(super) fn now_us(&self) -> i64 {
        (self.options.clock.0)()
    }

    pub(super) fn medium(&self) -> &dyn Medium {
        &*self.options.medium
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Relaxed) >= self.options.most_waiting
    }
}

/// Topics that wait for a thread.
#[derive(Debug, Default)]
pub(super) struct Work {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    topics: Vec<Arc<TopicLog>>,
    is_ending: bool,
}

/// What a thread is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Topics(Vec<Arc<TopicLog>>),
    /// Nothing came for as long as it was to wait.
    Nothing,
    End,
}

impl Work {
    /// `is_queued` is the topic's own note that it is in this queue already.
    pub(super) fn add(&self, topic: &Arc<TopicLog>, is_queued: &AtomicBool) {
        if !is_queued.swap(true, SeqCst) {
            self.queue.lock().topics.push(Arc::clone(topic));
            self.wake.notify_one();
        }
    }

    /// The thread ends when what is queued is done.
    pub(super) fn end(&self) {
        self.queue.lock().is_ending = true;
        self.wake.notify_all();
    }

    /// The thread ends, whatever is queued.
    pub(super) fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.is_ending = true;
        queue.topics.clear();
        self.wake.notify_all();
    }

    pub(super) fn next(&self, wait: Option<Duration>) -> Next {
        let mut queue = self.queue.lock();
        loop {
            if !queue.topics.is_empty() {
                return Next::Topics(std::mem::take(&mut queue.topics));
            }
            if queue.is_ending {
                return Next::End;
            }
            match wait {
                None => self.wake.wait(&mut queue),
                Some(wait) => {
                    if self.wake.wait_for(&mut queue, wait).timed_out() {
                        let nothing = queue.topics.is_empty() && !queue.is_ending;
                        if nothing {
                            return Next::Nothing;
                        }
                    }
                }
            }
        }
    }
}
