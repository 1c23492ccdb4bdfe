//! ZooKeeper: one znode with the document, and beside it an ephemeral one a process, with what it applied.
//!
//! - *Compare and set*: `setData` with the version that was read, or `create` where nothing is.
//! - *Watch*: a persistent recursive watch (ZooKeeper 3.6 or newer) says that something changed, and then it is read. What changed while there
//!   was no connection no watch tells, so what is there is read anew after each reconnection, and every few seconds in any case.
//! - *Order*: by the transactions' numbers (zxid). A server may lag behind the others, so a reading first has it catch up (`sync`).

use std::collections::BTreeMap;
use std::time::Duration;

use freshet_wire::EngineState;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, Error, EventType, PersistentWatcher, SessionState, WatchedEvent,
};

use super::StoreError;
use super::remote::board::{Board, There, report_of};
use super::remote::{Engine, PATIENCE, Remote, SILENCE, ended, slow};
use crate::client::zookeeper::{acls, connect, connector};
use crate::config::SettingsZooKeeper;

/// How often it is read without having been told to.
const EVERY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct ZooKeeper(SettingsZooKeeper);

/// Follows the znode. ZooKeeper may be away: the status says so, and it is tried again.
pub(super) fn open(config: &SettingsZooKeeper, node: &str) -> Result<Remote<ZooKeeper>, StoreError> {
    Ok(Remote::start(ZooKeeper(config.clone()), node))
}

impl ZooKeeper {
    fn folder(&self) -> String {
        format!("{}/settings", self.0.path)
    }

    fn applied(&self) -> String {
        format!("{}/applied", self.folder())
    }

    fn acls(&self) -> Acls<'static> {
        acls(self.0.user.as_deref())
    }

    async fn look(&self, client: &Client) -> Result<There, Error> {
        let folder = self.folder();
        client.sync(&folder).await?;
        // Before the document: where that is gone, it went after this.
        let stat = client.check_stat(&folder).await?.ok_or(Error::NoNode)?;
        match client.get_data(&self.place()).await {
            Ok((bytes, stat)) => Ok(There {
                mark: unsigned(stat.mzxid),
                kept: Some((i64::from(stat.version), bytes)),
            }),
            Err(Error::NoNode) => Ok(There {
                mark: unsigned(stat.pzxid),
                kept: None,
            }),
            Err(error) => Err(error),
        }
    }

    /// Reads the document and what the processes tell, and puts both on the board.
    async fn see(&self, client: &Client, board: &Board) -> Result<(), Error> {
        let before = board.mark();
        let there = self.look(client).await?;
        board.see(there, before);
        let mut reports = BTreeMap::new();
        let applied = self.applied();
        for node in client.list_children(&applied).await? {
            match client.get_data(&format!("{applied}/{node}")).await {
                Ok((bytes, _)) => {
                    if let Some(report) = report_of(&node, &bytes) {
                        reports.insert(node, report);
                    }
                }
                Err(Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        board.tell_reports(&reports);
        Ok(())
    }

    async fn begin(&self, client: &Client, board: &Board) -> Result<PersistentWatcher, Error> {
        let own = format!("{}/{}", self.applied(), board.node);
        // That of an earlier session goes with it, in its own time.
        match client.delete(&own, None).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
        let ephemeral = CreateMode::Ephemeral.with_acls(self.acls());
        client.create(&own, b"null", &ephemeral).await?;
        let watcher = client.watch(&self.folder(), AddWatchMode::PersistentRecursive).await?;
        self.see(client, board).await?;
        Ok(watcher)
    }

    /// What an event means: whether to read, or the end of the session.
    fn heard(&self, event: &WatchedEvent, board: &Board) -> Result<bool, String> {
        if event.event_type != EventType::Session {
            return Ok(true);
        }
        match event.session_state {
            SessionState::SyncConnected => Ok(true),
            SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                let why = "ZooKeeper: the way to it broke, and is opened again; the last settings stay in force";
                board.fares(EngineState::Degraded, why);
                Ok(false)
            }
            SessionState::AuthFailed => Err(Error::AuthFailed.to_string()),
            SessionState::Expired | SessionState::Closed => Err("the session expired".to_owned()),
        }
    }
}

impl Engine for ZooKeeper {
    type Client = Client;

    const NAME: &'static str = "zookeeper";
    const TITLE: &'static str = "ZooKeeper";

    fn place(&self) -> String {
        format!("{}/document", self.folder())
    }

    async fn connect(&self) -> Result<Client, String> {
        let connector = connector(self.0.user.as_deref(), self.0.password.as_deref(), SILENCE);
        let client = connect(connector, &self.0.servers).await?;
        // Whoever is given the client finds where the document belongs.
        let folder = CreateMode::Persistent.with_acls(self.acls());
        let made = timeout(PATIENCE, client.mkdir(&self.applied(), &folder)).await;
        made.map_err(|_| slow())?.map_err(|error| self.failed(&error))?;
        Ok(client)
    }

    async fn read(&self, client: Client) -> Result<There, String> {
        self.look(&client).await.map_err(|error| self.failed(&error))
    }

    async fn write(&self, client: Client, handle: Option<i64>, bytes: Vec<u8>) -> Result<Option<There>, String> {
        let place = self.place();
        let written = match handle {
            Some(version) => {
                let version = i32::try_from(version).map_err(|error| error.to_string())?;
                client.set_data(&place, &bytes, Some(version)).await
            }
            None => {
                let lasting = CreateMode::Persistent.with_acls(self.acls());
                client.create(&place, &bytes, &lasting).await.map(|(stat, _)| stat)
            }
        };
        match written {
            Ok(stat) => Ok(Some(There {
                mark: unsigned(stat.mzxid),
                kept: Some((i64::from(stat.version), bytes)),
            })),
            Err(Error::BadVersion | Error::NodeExists | Error::NoNode) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn follow(&self, client: Client, board: &Board, mut stopping: watch::Receiver<bool>) -> Result<(), String> {
        let mut own = board.own();
        let path = format!("{}/{}", self.applied(), board.node);
        let begun = timeout(PATIENCE, self.begin(&client, board)).await;
        let mut watcher = begun.map_err(|_| slow())?.map_err(|error| self.failed(&error))?;
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every.tick().await;
        own.mark_changed();
        board.fares(EngineState::Up, "");
        loop {
            let is_due = tokio::select! {
                event = watcher.changed() => {
                    let mut is_due = self.heard(&event, board)?;
                    // One reading answers to all that came by now.
                    while let Some(event) = watcher.changed().now_or_never() {
                        is_due |= self.heard(&event, board)?;
                    }
                    is_due
                }
                _ = every.tick() => true,
                changed = own.changed(), if client.state() == SessionState::SyncConnected => {
                    changed.map_err(|error| error.to_string())?;
                    let report = own.borrow_and_update().clone();
                    if let Some(report) = report {
                        let report = serde_json::to_vec(&report).map_err(|error| error.to_string())?;
                        match timeout(PATIENCE, client.set_data(&path, &report, None)).await {
                            Ok(Ok(_)) => {}
                            Ok(Err(error)) if !is_passing(&error) => return Err(self.failed(&error)),
                            // It is told again once there is a connection.
                            _ => own.mark_changed(),
                        }
                    }
                    false
                }
                () = ended(&mut stopping) => {
                    // So that the others need not wait for the session's end.
                    let _ = client.delete(&path, None).await;
                    return Ok(());
                }
            };
            if !is_due || client.state() != SessionState::SyncConnected {
                continue;
            }
            match timeout(PATIENCE, self.see(&client, board)).await {
                Ok(Ok(())) => board.fares(EngineState::Up, ""),
                Ok(Err(error)) if is_passing(&error) => {}
                Ok(Err(error)) => return Err(self.failed(&error)),
                Err(_) => {
                    let why = format!("ZooKeeper: {}; the last settings stay in force", slow());
                    board.fares(EngineState::Degraded, &why);
                }
            }
        }
    }
}

impl ZooKeeper {
    fn failed(&self, error: &Error) -> String {
        format!("{}: {error}", self.folder())
    }
}

/// What befell a connection; whether the session is over with it is told by its state.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::ConnectionLoss | Error::Throttled | Error::Custom(_))
}

/// Transactions' numbers are never negative.
fn unsigned(zxid: i64) -> u64 {
    u64::try_from(zxid).unwrap_or(0)
}
