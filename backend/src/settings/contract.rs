//! The promises of [`SettingsStore`] and of [`Live`] on it, asked of an engine: every engine passes them.
//!
//! A program of tests says [`crate::settings_contract`] with its [`Harness`] and has a test for each promise. Each test has a store of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{EngineState, Settings, SettingsDocument};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::change::{self, Author, HISTORY, patched};
use super::{Live, SettingsError, SettingsStore, StoreError};

/// How long anything may take that ought to be there at once.
const SOON: Duration = Duration::from_secs(20);

/// What the suite needs of an engine beside [`SettingsStore`].
#[allow(async_fn_in_trait, reason = "only tests call it, on one thread")]
pub trait Harness {
    /// This node's handle on the store that all of a harness's handles have in common. Where one process alone has it, the same handle again.
    async fn open(&self, node: &str) -> Arc<dyn SettingsStore>;

    /// Writes past the service, as somebody with an editor or the engine's own tool would. These settings are to stand there; `None`: what is no
    /// document at all.
    async fn write(&self, document: &SettingsDocument, settings: Option<&serde_json::Value>);

    /// Ends the way to the store and opens it again; what is stored stays. Meanwhile `between` is done, which may write past the service.
    async fn reconnect(&self, between: impl AsyncFnOnce());
}

/// One test for each promise. The function, which is asynchronous, makes the harness.
#[macro_export]
macro_rules! settings_contract {
    ($harness:path) => {
        $crate::settings_contract!(@tests $harness;
            an_empty_store_is_filled_once
            a_swap_of_what_is_not_there_any_more_changes_nothing
            concurrent_writers_lose_no_update
            every_handle_sees_the_latest
            what_is_invalid_is_refused_by_name_and_the_last_good_stays
            fifty_changes_are_kept_and_each_can_be_restored
            a_lost_connection_loses_no_change
        );
    };
    (@tests $harness:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::settings::contract::$promise(&$harness().await).await;
            }
        )*
    };
}

/// The settings of a process, followed as [`crate::run`] does.
#[derive(Debug)]
pub struct Process {
    pub live: Arc<Live>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Process {
    pub async fn start(store: Arc<dyn SettingsStore>, node: &str) -> Self {
        let live = Arc::new(Live::open(store, node, Settings::default()).await);
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn({
            let live = Arc::clone(&live);
            async move { live.run(stopping).await }
        });
        Self { live, stop, running }
    }

    /// Waits until the settings are told to be so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&freshet_wire::SettingsStatus) -> bool) {
        let mut told = self.live.watch_status();
        let waiting = told.wait_for(|told| is_so(told));
        if timeout(SOON, waiting).await.is_err() {
            panic!("waited {SOON:?} for {what}: {:?}", self.live.status());
        }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.running.await.unwrap();
    }
}

fn payload(bytes: u32) -> serde_json::Value {
    json!({"workload": {"payload_bytes": bytes}})
}

pub async fn an_empty_store_is_filled_once(harness: &impl Harness) {
    let (a, b) = tokio::join!(async { Process::start(harness.open("a").await, "a").await }, async {
        Process::start(harness.open("b").await, "b").await
    });
    for process in [&a, &b] {
        process
            .until("the first version", |told| told.in_force.version == 1)
            .await;
        let first = process.live.current();
        assert_eq!((&*first.changed_by, &first.settings), ("start", &Settings::default()));
        assert_eq!(process.live.history().changes.len(), 1);
    }
    assert_eq!(a.live.current(), b.live.current());
    a.stop().await;
    b.stop().await;
}

pub async fn a_swap_of_what_is_not_there_any_more_changes_nothing(harness: &impl Harness) {
    let store = harness.open("a").await;
    let process = Process::start(Arc::clone(&store), "a").await;
    let before = store.load().await.unwrap();
    process.live.patch(&payload(64), None, "test").await.unwrap();
    let after = store.load().await.unwrap();
    assert!(after.revision > before.revision);
    let good = before.good.as_ref().unwrap();
    let settings = patched(&good.newest.settings, &payload(65)).unwrap();
    let author = Author {
        by: "test",
        node: "a",
        now_us: 1,
    };
    let late = change::next(good, settings, 0, author);
    assert_eq!(store.swap(before.revision, &late).await, Err(StoreError::Moved));
    assert_eq!(store.load().await.unwrap().good, after.good);
    let conflict = process.live.patch(&payload(66), Some(1), "test").await;
    assert_eq!(
        conflict,
        Err(SettingsError::Conflict {
            expected: 1,
            current: 2
        })
    );
    process.stop().await;
}

pub async fn concurrent_writers_lose_no_update(harness: &impl Harness) {
    const WRITERS: u32 = 4;
    const CHANGES: u32 = 10;
    let mut processes = Vec::new();
    for writer in 0..WRITERS {
        let node = format!("n{writer}");
        processes.push(Process::start(harness.open(&node).await, &node).await);
    }
    for process in &processes {
        process
            .until("the first version", |told| told.in_force.version >= 1)
            .await;
    }
    // Each writer adds networks of its own to the list that all of them change: an update that is lost is a network that is missing.
    let writing = processes.iter().enumerate().map(|(writer, process)| {
        let live = Arc::clone(&process.live);
        tokio::spawn(async move {
            for number in 0..CHANGES {
                loop {
                    let now = live.current();
                    let mut exempt = now.settings.limit.exempt.clone();
                    exempt.push(format!("10.{writer}.{number}.0/24"));
                    let patch = json!({"limit": {"exempt": exempt}});
                    match live.patch(&patch, Some(now.version), "test").await {
                        Ok(_) => break,
                        Err(SettingsError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    });
    for writer in writing.collect::<Vec<_>>() {
        timeout(SOON * 3, writer)
            .await
            .expect("the writers to be done")
            .unwrap();
    }
    let last = u64::from(WRITERS * CHANGES) + 1;
    for process in &processes {
        process.until("all changes", |told| told.in_force.version == last).await;
        let all: BTreeSet<_> = process.live.current().settings.limit.exempt.iter().cloned().collect();
        assert_eq!(all.len() as u64, last - 1);
    }
    for process in processes {
        process.stop().await;
    }
}

pub async fn every_handle_sees_the_latest(harness: &impl Harness) {
    let a = Process::start(harness.open("a").await, "a").await;
    let b = Process::start(harness.open("b").await, "b").await;
    b.until("the first version", |told| told.in_force.version == 1).await;
    for bytes in 100..130 {
        let changed = a.live.patch(&payload(bytes), None, "test").await.unwrap();
        assert_eq!(
            a.live.current().version,
            changed.in_force.version,
            "who changed it has it in force"
        );
        b.until("the change", |told| told.in_force == changed.in_force).await;
        let applied = b.live.status().applied[0].clone();
        assert_eq!(
            (applied.version, &*applied.changed_on),
            (changed.in_force.version, "a"),
            "{applied:?}"
        );
        assert!(applied.took_us.is_some());
    }
    // Many at once: what is seen in the end is the last one.
    for bytes in 200..260 {
        a.live.patch(&payload(bytes), None, "test").await.unwrap();
    }
    b.until("the last one", |told| {
        told.in_force.settings.workload.payload_bytes == 259
    })
    .await;
    a.stop().await;
    b.stop().await;
}

pub async fn what_is_invalid_is_refused_by_name_and_the_last_good_stays(harness: &impl Harness) {
    let process = Process::start(harness.open("a").await, "a").await;
    process.live.patch(&payload(64), None, "test").await.unwrap();
    let good = process.live.current();
    let store = harness.open("a").await;
    let mut document = SettingsDocument::clone(store.load().await.unwrap().good.as_ref().unwrap());
    document.newest.version += 1;
    let mut settings = serde_json::to_value(&document.newest.settings).unwrap();
    settings["source"]["cpu_hz"] = json!(1000);
    harness.write(&document, Some(&settings)).await;
    let refuses = |key: &'static str| {
        move |told: &freshet_wire::SettingsStatus| told.refused.as_ref().is_some_and(|refused| refused.key == key)
    };
    process.until("a refusal", refuses("source.cpu_hz")).await;
    assert!(
        process
            .live
            .status()
            .refused
            .as_ref()
            .unwrap()
            .reason
            .contains("0.01 to 20")
    );
    assert_eq!(process.live.current(), good);
    harness.write(&document, None).await;
    process.until("another refusal", refuses("document")).await;
    assert_eq!(process.live.current(), good);
    // What is valid again is in force again, and a change through the API replaces what is not.
    settings["source"]["cpu_hz"] = json!(7);
    harness.write(&document, Some(&settings)).await;
    process
        .until("the valid one", |told| {
            told.refused.is_none() && told.in_force.settings.source.cpu_hz == 7.0
        })
        .await;
    document.newest.version += 1;
    settings["source"]["cpu_hz"] = json!("fast");
    harness.write(&document, Some(&settings)).await;
    process.until("a refusal", refuses("source.cpu_hz")).await;
    let changed = process.live.patch(&payload(65), None, "test").await.unwrap();
    assert_eq!(
        (changed.refused.as_ref(), changed.in_force.settings.source.cpu_hz),
        (None, 7.0)
    );
    assert_eq!(changed.in_force.settings.workload.payload_bytes, 65);
    process.stop().await;
}

pub async fn fifty_changes_are_kept_and_each_can_be_restored(harness: &impl Harness) {
    let process = Process::start(harness.open("a").await, "a").await;
    process
        .until("the first version", |told| told.in_force.version == 1)
        .await;
    for bytes in 1..=60 {
        process.live.patch(&payload(100 + bytes), None, "test").await.unwrap();
    }
    let history = process.live.history();
    assert_eq!((history.version, history.changes.len()), (61, HISTORY));
    let versions: Vec<_> = history.changes.iter().map(|change| change.version).collect();
    assert!(versions.iter().copied().eq((12..=61).rev()), "{versions:?}");
    let stored = harness.open("a").await.load().await.unwrap();
    assert_eq!(stored.good.as_ref().unwrap().history, history.changes);
    let rolled_back = process.live.roll_back(20, Some(61), "test").await.unwrap();
    assert_eq!(rolled_back.in_force.version, 62);
    assert_eq!(rolled_back.in_force.settings.workload.payload_bytes, 119);
    let gone = process.live.roll_back(2, None, "test").await;
    assert!(
        matches!(gone, Err(SettingsError::NotKept { version: 2, .. })),
        "{gone:?}"
    );
    process.stop().await;
}

pub async fn a_lost_connection_loses_no_change(harness: &impl Harness) {
    let process = Process::start(harness.open("a").await, "a").await;
    process.live.patch(&payload(64), None, "test").await.unwrap();
    let store = harness.open("a").await;
    let before = store.load().await.unwrap().good.clone().unwrap();
    let author = Author {
        by: "another",
        node: "z",
        now_us: 1,
    };
    let settings = patched(&before.newest.settings, &payload(77)).unwrap();
    let next = change::next(&before, settings, 0, author);
    harness
        .reconnect(async || {
            let settings = serde_json::to_value(&next.newest.settings).unwrap();
            harness.write(&next, Some(&settings)).await;
        })
        .await;
    process
        .until("what was stored meanwhile", |told| {
            told.in_force.settings.workload.payload_bytes == 77 && told.engine.state == EngineState::Up
        })
        .await;
    let mut changed = process.live.patch(&payload(78), None, "test").await;
    // A connection that was just lost may be noticed by the first who uses it.
    for _ in 0..50 {
        if !matches!(changed, Err(SettingsError::Unavailable(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        changed = process.live.patch(&payload(78), None, "test").await;
    }
    assert_eq!(changed.unwrap().in_force.settings.workload.payload_bytes, 78);
    process.stop().await;
}
