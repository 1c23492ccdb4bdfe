//! What is known of a store that others change as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_wire::{AppliedSettings, Engine, EngineState};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::settings::{Stored, change};
use crate::time::now_us;

/// Processes that are listed.
const MOST_NODES: usize = 64;

/// What stands in an engine's key.
#[derive(Debug)]
pub(in crate::settings) struct There {
    /// The engine's own order of events. Where nothing stands there, of when that was so.
    pub(in crate::settings) mark: u64,
    /// By what the engine compares when it is to be replaced, and the bytes.
    pub(in crate::settings) kept: Option<(i64, Vec<u8>)>,
}

/// What an engine learns is put here, and the rest of the program takes it from here.
#[derive(Debug)]
pub(in crate::settings) struct Board {
    pub(in crate::settings) node: String,
    known: Mutex<Option<Known>>,
    stored: watch::Sender<Option<Arc<Stored>>>,
    status: watch::Sender<Engine>,
    own: watch::Sender<Option<AppliedSettings>>,
    reports: watch::Sender<Vec<AppliedSettings>>,
}

#[derive(Debug)]
struct Known {
    mark: u64,
    handle: Option<i64>,
    stored: Arc<Stored>,
}

impl Board {
    pub(super) fn new(name: &str, node: &str) -> Self {
        let engine = Engine {
            name: name.to_owned(),
            state: EngineState::Connecting,
            since_us: now_us(),
            detail: String::new(),
        };
        Self {
            node: node.to_owned(),
            known: Mutex::default(),
            stored: watch::Sender::new(None),
            status: watch::Sender::new(engine),
            own: watch::Sender::new(None),
            reports: watch::Sender::new(Vec::new()),
        }
    }

    /// Of the newest that is known; 0 where nothing is.
    pub(in crate::settings) fn mark(&self) -> u64 {
        self.known.lock().as_ref().map_or(0, |known| known.mark)
    }

    /// What was seen of the store. What came late is passed over; but what was read, and is older than what was known (`before`) when the
    /// reading began, is what a store has that was put back to an older state, or replaced.
    pub(in crate::settings) fn see(&self, there: There, before: u64) -> Arc<Stored> {
        let mut known = self.known.lock();
        let mut revision = 1;
        if let Some(known) = &*known {
            if there.mark == known.mark || (there.mark < known.mark && there.mark >= before) {
                return Arc::clone(&known.stored);
            }
            if there.mark < known.mark {
                tracing::warn!(
                    mark = there.mark,
                    known = known.mark,
                    "the store of the settings is older than it was: it was put back, or is another one"
                );
            }
            revision = known.stored.revision + 1;
        }
        let (good, refusal, floor) = match there.kept.as_ref().map(|(_, bytes)| change::read(bytes)) {
            None => (None, None, 0),
            Some(Ok(document)) => (Some(Arc::new(document)), None, 0),
            Some(Err((refusal, version))) => (None, Some(refusal), version.unwrap_or(0)),
        };
        let stored = Arc::new(Stored {
            revision,
            good,
            refusal,
            floor,
        });
        *known = Some(Known {
            mark: there.mark,
            handle: there.kept.map(|(handle, _)| handle),
            stored: Arc::clone(&stored),
        });
        // Under the lock, so that the newest is told last.
        self.stored.send_replace(Some(Arc::clone(&stored)));
        stored
    }

    /// What has this revision; `None` where it is not the newest any more.
    pub(super) fn handle(&self, revision: u64) -> Option<Option<i64>> {
        let known = self.known.lock();
        known
            .as_ref()
            .filter(|known| known.stored.revision == revision)
            .map(|known| known.handle)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<Stored>>> {
        self.stored.subscribe()
    }

    pub(super) fn status(&self) -> watch::Receiver<Engine> {
        self.status.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        self.status.borrow().state == EngineState::Up
    }

    pub(in crate::settings) fn fares(&self, state: EngineState, detail: &str) {
        self.status.send_if_modified(|engine| {
            let is_new = (engine.state, &*engine.detail) != (state, detail);
            if is_new {
                (engine.state, engine.detail, engine.since_us) = (state, detail.to_owned(), now_us());
            }
            is_new
        });
    }

    pub(super) fn report(&self, applied: &AppliedSettings) {
        self.own.send_replace(Some(applied.clone()));
    }

    /// What this process applied last.
    pub(in crate::settings) fn own(&self) -> watch::Receiver<Option<AppliedSettings>> {
        self.own.subscribe()
    }

    pub(super) fn reports(&self) -> watch::Receiver<Vec<AppliedSettings>> {
        self.reports.subscribe()
    }

    /// What the processes tell that are there. (While the engine is away, what they told last.)
    pub(in crate::settings) fn tell_reports(&self, reports: &BTreeMap<String, AppliedSettings>) {
        let reports: Vec<_> = reports.values().take(MOST_NODES).cloned().collect();
        self.reports.send_if_modified(|told| {
            let is_new = *told != reports;
            if is_new {
                *told = reports;
            }
            is_new
        });
    }
}

/// What a process tells of itself under its name.
pub(in crate::settings) fn report_of(node: &str, bytes: &[u8]) -> Option<AppliedSettings> {
    let report: AppliedSettings = serde_json::from_slice(bytes).ok()?;
    Some(AppliedSettings {
        node: node.to_owned(),
        ..report
    })
}

#[cfg(test)]
mod tests {
    use freshet_wire::Settings;

    use super::*;
    use crate::settings::change::{Author, first};

    fn there(mark: u64, handle: i64, bytes: &[u8]) -> There {
        There {
            mark,
            kept: Some((handle, bytes.to_vec())),
        }
    }

    fn document() -> Vec<u8> {
        let author = Author {
            by: "test",
            node: "n",
            now_us: 1,
        };
        serde_json::to_vec(&first(Settings::default(), author)).unwrap()
    }

    #[test]
    fn what_comes_late_changes_nothing_and_a_store_that_was_put_back_is_believed() {
        let board = Board::new("test", "n");
        let empty = board.see(There { mark: 3, kept: None }, 0);
        assert_eq!((empty.revision, &empty.good, &empty.refusal), (1, &None, &None));
        let newest = board.see(there(7, 2, &document()), 0);
        assert!(newest.good.is_some());
        // Told by the watch after it was read; and a reading that began before.
        assert_eq!(board.see(there(7, 2, &document()), 0), newest);
        assert_eq!(board.see(There { mark: 5, kept: None }, 3), newest);
        assert_eq!(board.handle(newest.revision), Some(Some(2)));
        assert_eq!(board.handle(empty.revision), None);
        // This reading began when 7 was known.
        let back = board.see(there(6, 1, b"{}"), board.mark());
        assert_eq!((back.revision, back.good.is_none()), (newest.revision + 1, true));
        assert_eq!(back.refusal.as_ref().unwrap().key, "settings");
        assert_eq!(board.watch().borrow().as_ref(), Some(&back));
    }
}
