//! The settings in force in this process, and how they are changed.

use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{
    AppliedSettings, Engine, RefusedSettings, Settings, SettingsDocument, SettingsHistory, SettingsStatus,
    SettingsVersion,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::change::{self, Author};
use super::{Refusal, SettingsError, SettingsStore, StoreError, Stored};
use crate::time::now_us;

/// Tries of a change that others come before.
const TRIES: u32 = 64;
/// Between two tries to fill a store that is empty.
const FILL_AGAIN: Duration = Duration::from_secs(1);

/// The settings in force, who watches them, and the store behind them.
#[derive(Debug)]
pub struct Live {
    node: String,
    store: Arc<dyn SettingsStore>,
    state: Mutex<State>,
    current: watch::Sender<Arc<SettingsVersion>>,
    told: watch::Sender<Arc<SettingsStatus>>,
}

#[derive(Debug)]
struct State {
    document: Arc<SettingsDocument>,
    /// Of what was seen last.
    revision: Option<u64>,
    refused: Option<RefusedSettings>,
    applied: AppliedSettings,
    /// Versions that were applied, but for the one that was found at the start.
    changes: u64,
}

impl Live {
    /// Reads the store once. Where it does not answer, `seed` is in force as version 0 until it does.
    pub async fn open(store: Arc<dyn SettingsStore>, node: &str, seed: Settings) -> Self {
        let now_us = now_us();
        let author = Author {
            by: "start",
            node,
            now_us,
        };
        let mut document = change::first(seed, author);
        document.newest.version = 0;
        document.history.clear();
        let document = Arc::new(document);
        let applied = AppliedSettings {
            node: node.to_owned(),
            version: 0,
            applied_us: now_us,
            took_us: None,
            changed_on: node.to_owned(),
        };
        let first = Arc::new(document.newest.clone());
        let status = SettingsStatus {
            in_force: document.newest.clone(),
            engine: store.status().borrow().clone(),
            place: store.place(),
            refused: None,
            applied: vec![applied.clone()],
        };
        let live = Self {
            node: node.to_owned(),
            store,
            state: Mutex::new(State {
                document,
                revision: None,
                refused: None,
                applied,
                changes: 0,
            }),
            current: watch::Sender::new(first),
            told: watch::Sender::new(Arc::new(status)),
        };
        match live.store.load().await {
            Ok(stored) => live.see(&stored).await,
            Err(error) => tracing::warn!(%error, "the settings cannot be read yet; the defaults are in force"),
        }
        live
    }

    /// The version in force.
    pub fn current(&self) -> Arc<SettingsVersion> {
        Arc::clone(&self.current.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<SettingsVersion>> {
        self.current.subscribe()
    }

    /// What is told of them.
    pub fn status(&self) -> Arc<SettingsStatus> {
        Arc::clone(&self.told.borrow())
    }

    pub fn watch_status(&self) -> watch::Receiver<Arc<SettingsStatus>> {
        self.told.subscribe()
    }

    pub fn history(&self) -> SettingsHistory {
        let state = self.state.lock();
        SettingsHistory {
            version: state.document.newest.version,
            changes: state.document.history.clone(),
        }
    }

    /// Versions that came while this process ran, and were applied.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Applies a JSON merge patch (RFC 7396) whole or not at all; `expected` is the version it was made for.
    pub async fn patch(
        &self,
        patch: &Value,
        expected: Option<u64>,
        by: &str,
    ) -> Result<Arc<SettingsStatus>, SettingsError> {
        self.change(expected, by, |document| {
            change::patched(&document.newest.settings, patch)
        })
        .await
    }

    /// Has the settings be again what they were at this version.
    pub async fn roll_back(
        &self,
        version: u64,
        expected: Option<u64>,
        by: &str,
    ) -> Result<Arc<SettingsStatus>, SettingsError> {
        self.change(expected, by, |document| change::rolled_back(document, version))
            .await
    }

    async fn change(
        &self,
        expected: Option<u64>,
        by: &str,
        change: impl Fn(&SettingsDocument) -> Result<Settings, SettingsError>,
    ) -> Result<Arc<SettingsStatus>, SettingsError> {
        for _ in 0..TRIES {
            let stored = self.store.load().await.map_err(unavailable)?;
            self.see(&stored).await;
            let base = Arc::clone(&self.state.lock().document);
            let current = base.newest.version;
            if let Some(expected) = expected.filter(|&expected| expected != current) {
                return Err(SettingsError::Conflict { expected, current });
            }
            let settings = change(&base)?;
            if settings == base.newest.settings {
                return Ok(self.status());
            }
            let author = Author {
                by,
                node: &self.node,
                now_us: now_us(),
            };
            let next = change::next(&base, settings, stored.floor, author);
            match self.store.swap(stored.revision, &next).await {
                Ok(stored) => {
                    self.apply(&stored);
                    return Ok(self.status());
                }
                // Made again on what is there now: neither change is lost.
                Err(StoreError::Moved) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(unavailable(StoreError::Moved))
    }

    /// Follows the store until the process is asked to stop.
    pub async fn run(&self, mut stopping: watch::Receiver<bool>) {
        let (mut stored, mut engine) = (self.store.watch(), self.store.status());
        let mut reports = self.store.reports();
        self.tell();
        loop {
            let newest = stored.borrow_and_update().clone();
            if let Some(newest) = newest {
                self.see(&newest).await;
            }
            let reported = async {
                match &mut reports {
                    Some(reports) => reports.changed().await,
                    None => std::future::pending().await,
                }
            };
            let is_unfilled = self.state.lock().document.newest.version == 0;
            tokio::select! {
                changed = stored.changed() => if changed.is_err() { return },
                changed = engine.changed() => match changed {
                    Ok(()) => { engine.borrow_and_update(); self.tell(); }
                    Err(_) => return,
                },
                changed = reported => match changed {
                    Ok(()) => self.tell(),
                    Err(_) => return,
                },
                () = tokio::time::sleep(FILL_AGAIN), if is_unfilled => {}
                _ = stopping.wait_for(|&stopping| stopping) => return,
            }
        }
    }

    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Applies what is stored; a store that is empty is filled with what is in force here.
    async fn see(&self, stored: &Arc<Stored>) {
        if !stored.is_empty() {
            return self.apply(stored);
        }
        let document = {
            let state = self.state.lock();
            // What was told late may be empty no more.
            if state.revision.is_some_and(|revision| revision > stored.revision) {
                return;
            }
            Arc::clone(&state.document)
        };
        let document = match document.newest.version {
            0 => {
                let author = Author {
                    by: "start",
                    node: &self.node,
                    now_us: now_us(),
                };
                Arc::new(change::first(document.newest.settings.clone(), author))
            }
            _ => {
                tracing::warn!(
                    place = self.store.place(),
                    "the settings are gone from the store, and are put back"
                );
                document
            }
        };
        match self.store.swap(stored.revision, &document).await {
            Ok(stored) => self.apply(&stored),
            Err(StoreError::Moved) => {
                if let Ok(stored) = self.store.load().await {
                    self.apply(&stored);
                }
            }
            Err(error) => tracing::warn!(%error, "the empty store cannot be filled yet"),
        }
    }

    /// Puts the newest good version in force, and says what was refused.
    fn apply(&self, stored: &Stored) {
        let report = {
            let mut state = self.state.lock();
            if state.revision.is_some_and(|revision| revision > stored.revision) {
                return;
            }
            let is_first = state.document.newest.version == 0 && state.revision.is_none();
            state.revision = Some(stored.revision);
            let known = state.document.newest.version;
            let mut refusal = stored.refusal.clone();
            let mut report = None;
            if let Some(good) = &stored.good {
                if good.newest.version > known {
                    let now_us = now_us();
                    state.document = Arc::clone(good);
                    state.applied = AppliedSettings {
                        node: self.node.clone(),
                        version: good.newest.version,
                        applied_us: now_us,
                        took_us: (!is_first).then_some(now_us.saturating_sub(good.newest.changed_us)),
                        changed_on: good.newest.changed_on.clone(),
                    };
                    state.changes += u64::from(!is_first);
                    self.current.send_replace(Arc::new(good.newest.clone()));
                    report = Some(state.applied.clone());
                } else if refusal.is_none() && **good != *state.document {
                    refusal = Some(Refusal::new(
                        "version",
                        format!(
                            "version {} was put into the store, and version {known} is in force: a changed document has a greater one",
                            good.newest.version
                        ),
                    ));
                }
            }
            let is_same = |refused: &RefusedSettings, refusal: &Refusal| {
                refused.key == refusal.key && refused.reason == refusal.reason
            };
            state.refused = match (state.refused.take(), refusal) {
                (_, None) => None,
                (Some(refused), Some(refusal)) if is_same(&refused, &refusal) => Some(refused),
                (_, Some(refusal)) => {
                    tracing::warn!(
                        key = refusal.key,
                        reason = refusal.reason,
                        "what is stored as settings is refused"
                    );
                    Some(RefusedSettings {
                        refused_us: now_us(),
                        key: refusal.key,
                        reason: refusal.reason,
                    })
                }
            };
            self.tell_of(&state);
            report
        };
        if let Some(report) = report {
            self.store.report(&report);
        }
    }

    fn tell(&self) {
        self.tell_of(&self.state.lock());
    }

    /// Under the state's lock, so that what is told last is what is so.
    fn tell_of(&self, state: &State) {
        let mut applied = vec![state.applied.clone()];
        if let Some(reports) = self.store.reports() {
            let others = reports.borrow();
            applied.extend(others.iter().filter(|other| other.node != self.node).cloned());
        }
        let engine: Engine = self.store.status().borrow().clone();
        let status = SettingsStatus {
            in_force: state.document.newest.clone(),
            engine,
            place: self.store.place(),
            refused: state.refused.clone(),
            applied,
        };
        self.told.send_if_modified(|told| {
            let is_new = **told != status;
            if is_new {
                *told = Arc::new(status);
            }
            is_new
        });
    }
}

fn unavailable(error: StoreError) -> SettingsError {
    SettingsError::Unavailable(error.to_string())
}
