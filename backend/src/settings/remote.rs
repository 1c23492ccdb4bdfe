//! A store outside this process, which several processes share: what is the same for every such engine.
//!
//! ```text
//! remote.rs: connects, and connects again; compares and sets     remote/board.rs: what is known of what stands there
//!   an engine (etcd.rs, zookeeper.rs): reads and writes the one key, watches it, and tells what each process applied
//! ```
//!
//! - *The latest is seen*: whenever the way to the engine broke, or the watch did, what stands there is read anew, and watched from there on.
//! - *Away*: what was known last stays known, so the settings stay in force; whoever would change them is told that the engine is away.

pub(super) mod board;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{AppliedSettings, Engine as EngineStatus, EngineState, SettingsDocument};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::board::{Board, There};
use super::{SettingsStore, StoreError, Stored};
use crate::pubsub::Answer;

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(2500);
/// How long a process that fell silent is listed with what it applied, where the engine grants that.
pub(super) const SILENCE: Duration = Duration::from_secs(6);
/// Between two tries to reach the engine.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long the end may wait for the engine.
const CLOSING: Duration = Duration::from_secs(2);

/// An engine outside this process.
pub(super) trait Engine: fmt::Debug + Send + Sync + 'static {
    type Client: Clone + Send + Sync + 'static;

    /// Its name in the configuration and on the wire, and as people write it.
    const NAME: &'static str;
    const TITLE: &'static str;

    /// The key.
    fn place(&self) -> String;

    fn connect(&self) -> impl Future<Output = Result<Self::Client, String>> + Send;

    /// What stands there now: no older than what was written, by anybody, before this was asked.
    fn read(&self, client: Self::Client) -> impl Future<Output = Result<There, String>> + Send;

    /// Writes if what stands there is still what has this handle (`None`: nothing); else the answer is `None`.
    fn write(
        &self,
        client: Self::Client,
        handle: Option<i64>,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<Option<There>, String>> + Send;

    /// Puts on the board whatever comes to stand there, and what each process applied, until this breaks or the end is asked for.
    fn follow(
        &self,
        client: Self::Client,
        board: &Board,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// The store that an engine keeps.
#[derive(Debug)]
pub(super) struct Remote<E: Engine> {
    shared: Arc<Shared<E>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<E: Engine> {
    engine: E,
    board: Board,
    /// The newest one; it may have lost its connection.
    client: watch::Sender<Option<E::Client>>,
}

impl<E: Engine> fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("engine", &self.engine)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl<E: Engine> Remote<E> {
    /// Follows the store on the runtime that this is called on. The engine may be away: its status says so, and it is tried again.
    pub(super) fn start(engine: E, node: &str) -> Self {
        let shared = Arc::new(Shared {
            engine,
            board: Board::new(E::NAME, node),
            client: watch::Sender::new(None),
        });
        let (stop, stopping) = watch::channel(false);
        let running = Arc::clone(&shared);
        let task = tokio::spawn(async move { running.run(stopping).await });
        Self {
            shared,
            stop,
            task: Mutex::new(Some(task)),
        }
    }
}

impl<E: Engine> Shared<E> {
    async fn run(&self, mut stopping: watch::Receiver<bool>) {
        let mut wait = RETRY_MIN;
        loop {
            let Err(why) = self.session(stopping.clone()).await else {
                return;
            };
            tracing::warn!(
                why,
                "the settings in {} cannot be followed, which is tried again",
                E::TITLE
            );
            let detail = format!(
                "{}: {why}; the last settings stay in force, and cannot be changed",
                E::TITLE
            );
            if self.board.is_up() {
                wait = RETRY_MIN;
                self.board.fares(EngineState::Degraded, &detail);
            } else {
                self.board.fares(EngineState::Down, &detail);
            }
            // Those who wait for the same engine do not come back all at once.
            let pause = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            wait = (wait * 2).min(RETRY_MAX);
            tokio::select! {
                () = sleep(pause) => {}
                () = ended(&mut stopping) => return,
            }
        }
    }

    /// From connecting to whatever ends it.
    async fn session(&self, mut stopping: watch::Receiver<bool>) -> Result<(), String> {
        let client = tokio::select! {
            client = timeout(PATIENCE * 2, self.engine.connect()) => client.map_err(|_| slow())??,
            () = ended(&mut stopping) => return Ok(()),
        };
        self.client.send_replace(Some(client.clone()));
        self.engine.follow(client, &self.board, stopping).await
    }

    /// Who asks at the start waits for the first connection; later the newest one is tried, whatever became of it.
    async fn client(&self) -> Result<E::Client, StoreError> {
        let mut client = self.client.subscribe();
        let mut status = self.board.status();
        let away = || StoreError::Unavailable(self.board.status().borrow().detail.clone());
        let there = async {
            tokio::select! {
                client = client.wait_for(Option::is_some) => client.ok().and_then(|client| client.clone()),
                _ = status.wait_for(|status| status.state == EngineState::Down) => None,
            }
        };
        match timeout(PATIENCE, there).await {
            Ok(Some(client)) => Ok(client),
            Ok(None) => Err(away()),
            Err(_) => Err(StoreError::Unavailable(format!("{}: {}", E::TITLE, slow()))),
        }
    }

    async fn load(&self) -> Result<Arc<Stored>, StoreError> {
        let client = self.client().await?;
        let before = self.board.mark();
        let read = timeout(PATIENCE, self.engine.read(client)).await;
        match read.map_err(|_| slow()).flatten() {
            Ok(there) => Ok(self.board.see(there, before)),
            Err(why) => Err(StoreError::Unavailable(format!(
                "{}: {why}; the settings stay as they are",
                E::TITLE
            ))),
        }
    }

    async fn swap(&self, revision: u64, document: &SettingsDocument) -> Result<Arc<Stored>, StoreError> {
        let client = self.client().await?;
        let Some(handle) = self.board.handle(revision) else {
            return Err(StoreError::Moved);
        };
        let bytes = serde_json::to_vec(document).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let written = timeout(PATIENCE, self.engine.write(client, handle, bytes)).await;
        match written.map_err(|_| slow()).flatten() {
            Ok(Some(there)) => Ok(self.board.see(there, 0)),
            Ok(None) => Err(StoreError::Moved),
            Err(why) => Err(StoreError::Unavailable(format!(
                "{}: {why}; whether the change was stored is not known yet",
                E::TITLE
            ))),
        }
    }
}

impl<E: Engine> SettingsStore for Remote<E> {
    fn place(&self) -> String {
        self.shared.engine.place()
    }

    fn status(&self) -> watch::Receiver<EngineStatus> {
        self.shared.board.status()
    }

    fn watch(&self) -> watch::Receiver<Option<Arc<Stored>>> {
        self.shared.board.watch()
    }

    fn load(&self) -> Answer<'_, Result<Arc<Stored>, StoreError>> {
        Box::pin(self.shared.load())
    }

    fn swap<'a>(
        &'a self,
        revision: u64,
        document: &'a SettingsDocument,
    ) -> Answer<'a, Result<Arc<Stored>, StoreError>> {
        Box::pin(self.shared.swap(revision, document))
    }

    fn report(&self, applied: &AppliedSettings) {
        self.shared.board.report(applied);
    }

    fn reports(&self) -> Option<watch::Receiver<Vec<AppliedSettings>>> {
        Some(self.shared.board.reports())
    }

    fn close(&self) -> Answer<'_, ()> {
        let _ = self.stop.send(true);
        let task = self.task.lock().take();
        Box::pin(async move {
            if let Some(mut task) = task
                && timeout(CLOSING, &mut task).await.is_err()
            {
                task.abort();
            }
        })
    }
}

impl<E: Engine> Drop for Remote<E> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

/// Until the end is asked for.
pub(super) async fn ended(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|&stopping| stopping).await;
}

pub(super) fn slow() -> String {
    "it does not answer in time".to_owned()
}
