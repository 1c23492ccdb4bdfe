//! The board: an engine puts up who leads, and the application reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use freshet_wire::{Engine, EngineState, Failovers, Flapping, Span, StaleWrites};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::mandate::Mandate;
use super::timeline::{Moment, Seen, Timeline};
use crate::time::{now_us, steady};

/// What an engine tells of the leadership.
#[derive(Debug)]
pub struct Board {
    scope: RwLock<Arc<str>>,
    made: Instant,
    mandate: watch::Sender<Option<Arc<Mandate>>>,
    timeline: Mutex<Timeline>,
    /// Counts what is worth telling.
    changes: watch::Sender<u64>,
    engine: watch::Sender<Engine>,
    refused: AtomicU64,
    held_back: AtomicU64,
    stale_us: AtomicI64,
}

/// What the timeline says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub seen: Seen,
    pub since_us: i64,
    pub spans: Vec<Span>,
    pub leader_changes: u64,
    pub failovers: Failovers,
    pub flapping: Flapping,
}

impl Board {
    /// `scope` is what the tokens are compared within; `engine` the engine's name.
    pub fn new(scope: &str, engine: &str) -> Self {
        let made = steady();
        let wall_us = now_us();
        Self {
            scope: RwLock::new(scope.into()),
            made,
            mandate: watch::Sender::new(None),
            timeline: Mutex::new(Timeline::new(Moment { wall_us, steady_us: 0 })),
            changes: watch::Sender::new(0),
            engine: watch::Sender::new(Engine {
                name: engine.to_owned(),
                state: EngineState::Connecting,
                since_us: wall_us,
                detail: String::new(),
            }),
            refused: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            stale_us: AtomicI64::new(0),
        }
    }

    pub fn scope(&self) -> Arc<str> {
        Arc::clone(&self.scope.read())
    }

    /// The engine has told which cluster it is.
    #[cfg_attr(
        not(any(feature = "etcd", feature = "zookeeper")),
        expect(dead_code, reason = "the embedded engine knows from the start")
    )]
    pub(crate) fn set_scope(&self, scope: &str) {
        let mut known = self.scope.write();
        if **known != *scope {
            *known = scope.into();
        }
    }

    /// "You lead with this token", and `None`: "you lead no more". See [`Mandate::holds`], which has the last word.
    pub fn mandate(&self) -> watch::Receiver<Option<Arc<Mandate>>> {
        self.mandate.subscribe()
    }

    /// Changes when there is something to tell that is no renewal of a lease.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn engine(&self) -> Engine {
        self.engine.borrow().clone()
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn set_engine(&self, state: EngineState, detail: &str) {
        let changed = self.engine.send_if_modified(|engine| {
            if engine.state == state && engine.detail == detail {
                return false;
            }
            if engine.state != state {
                engine.since_us = now_us();
            }
            (engine.state, engine.detail) = (state, detail.to_owned());
            true
        });
        if changed {
            self.changed();
        }
    }

    /// Tells the application that it leads, or (`None`) that it leads no more.
    pub(crate) fn grant(&self, mandate: Option<Arc<Mandate>>) {
        self.mandate.send_if_modified(|current| {
            let same = match (&*current, &mandate) {
                (Some(current), Some(mandate)) => Arc::ptr_eq(current, mandate),
                (None, None) => true,
                _ => false,
            };
            if !same {
                *current = mandate;
            }
            !same
        });
    }

    /// Whether this is the mandate that the application was told of last.
    pub(crate) fn is_granted(&self, mandate: &Arc<Mandate>) -> bool {
        self.mandate
            .borrow()
            .as_ref()
            .is_some_and(|granted| Arc::ptr_eq(granted, mandate))
    }

    /// Notes who is seen to lead, as of now.
    pub(crate) fn see(&self, seen: Seen) {
        self.see_at(seen, steady());
    }

    /// The same, as of a moment that is past: who was late to look does not shorten what was.
    pub(crate) fn see_at(&self, seen: Seen, at: Instant) {
        let now = steady();
        let at = at.min(now);
        let ago_us = i64::try_from(now.duration_since(at).as_micros()).unwrap_or(i64::MAX);
        let moment = self.moment(at, now_us().saturating_sub(ago_us));
        if self.timeline.lock().note(seen, moment) {
            self.changed();
        }
    }

    fn moment(&self, now: Instant, now_us: i64) -> Moment {
        let steady = now.saturating_duration_since(self.made).as_micros();
        Moment {
            wall_us: now_us,
            steady_us: u64::try_from(steady).unwrap_or(u64::MAX),
        }
    }

    pub fn read(&self, now: Instant, now_us: i64) -> Reading {
        let now = self.moment(now, now_us);
        let mut timeline = self.timeline.lock();
        let (seen, since) = timeline.now();
        Reading {
            seen: seen.clone(),
            since_us: since.wall_us,
            spans: timeline.spans(),
            leader_changes: timeline.leader_changes(),
            failovers: timeline.failovers(),
            flapping: timeline.flapping(now),
        }
    }

    /// Events of a leader that leads no more were refused by the log.
    pub(crate) fn count_refused(&self, events: u64, now_us: i64) {
        self.refused.fetch_add(events, Relaxed);
        self.stale_us.store(now_us, Relaxed);
        self.changed();
    }

    /// Events were not even tried, because the mandate was over.
    pub(crate) fn count_held_back(&self, events: u64, now_us: i64) {
        self.held_back.fetch_add(events, Relaxed);
        self.stale_us.store(now_us, Relaxed);
        self.changed();
    }

    pub fn stale(&self) -> StaleWrites {
        let stale = StaleWrites {
            refused: self.refused.load(Relaxed),
            held_back: self.held_back.load(Relaxed),
            last_us: None,
        };
        StaleWrites {
            last_us: (stale.refused + stale.held_back > 0).then(|| self.stale_us.load(Relaxed)),
            ..stale
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_late_to_look_does_not_shorten_the_time_without_a_leader() {
        let board = Board::new("raft:1", "raft");
        let led = |token| Seen::Led {
            node: "a".to_owned(),
            token,
        };
        std::thread::sleep(Duration::from_millis(30));
        let ended = steady();
        board.see_at(led(1), board.made);
        std::thread::sleep(Duration::from_millis(30));
        board.see_at(Seen::Leaderless, ended);
        board.see(led(2));
        let reading = board.read(steady(), now_us());
        let gap_us = reading.failovers.last_us.expect("a failover");
        assert!(gap_us >= 30_000, "{gap_us}");
        let spans: Vec<_> = reading.spans.iter().map(|span| span.state).collect();
        use freshet_wire::LeaderState::{Leaderless, Led};
        assert_eq!(spans[spans.len() - 3..], [Led, Leaderless, Led]);
    }
}
