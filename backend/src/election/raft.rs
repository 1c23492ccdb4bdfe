//! The embedded engine: Raft, with 1, 3 or 5 nodes in this process.
//!
//! ```text
//! raft.rs: a thread of its own, so that no load on the service delays an election
//!   cluster.rs: starts, stops, turns what Raft says into mandates ──▶ the board
//!     member.rs: one node        network.rs: calls between them, and faults
//!     store.rs: vote and log on disk        machine.rs: who is a member
//! ```
//!
//! The nodes of one process fail together when it does; what they show is how an election goes. Faults that were put by hand are not kept.

mod cluster;
mod machine;
mod member;
mod network;
mod store;
#[cfg(test)]
mod tests;
mod types;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use freshet_wire::{ClusterNode, NodeAction, RaftView};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use self::cluster::{Cluster, Timing};
use self::store::Store;
use super::{Board, Election, ElectionError};
use crate::config::RaftConfig;
use crate::pubsub::Answer;

const NAME: &str = "raft";

/// Raft within this process.
#[derive(Debug)]
pub struct RaftElection {
    board: Arc<Board>,
    cluster: Arc<Cluster>,
    commands: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Command {
    Act(String, NodeAction, oneshot::Sender<Result<(), ElectionError>>),
    Close(oneshot::Sender<()>),
}

/// `cluster.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    id: String,
    nodes: u32,
}

impl RaftElection {
    /// Opens the cluster in this folder, and makes it where there is none. With this timeout it elects in the background.
    pub fn open(folder: &Path, config: &RaftConfig, timeout: Duration) -> Result<Self, ElectionError> {
        let unavailable = |error: io::Error| ElectionError::Unavailable(format!("{}: {error}", folder.display()));
        let description = describe(folder, config).map_err(unavailable)?;
        let board = Arc::new(Board::new(&format!("{NAME}:{}", description.id), NAME));
        let cluster = Cluster::new(
            folder,
            description.nodes as usize,
            Arc::clone(&board),
            Timing::of(timeout),
            true,
        )?;
        let (commands, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(unavailable)?;
        let running = Arc::clone(&cluster);
        let thread = thread::Builder::new()
            .name("election".to_owned())
            .spawn(move || runtime.block_on(run(running, queue)))
            .map_err(unavailable)?;
        Ok(Self {
            board,
            cluster,
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn command(&self, command: Command) -> Result<(), ElectionError> {
        let commands = self.commands.lock();
        let sent = commands.as_ref().map(|commands| commands.send(command));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(ElectionError::Closed),
        }
    }
}

/// Runs the cluster until it is closed, or the engine dropped.
async fn run(cluster: Arc<Cluster>, mut queue: mpsc::UnboundedReceiver<Command>) {
    tokio::spawn(Arc::clone(&cluster).keep());
    cluster.start().await;
    while let Some(command) = queue.recv().await {
        match command {
            Command::Act(node, action, answer) => {
                let cluster = Arc::clone(&cluster);
                tokio::spawn(async move { answer.send(cluster.act(&node, action).await) });
            }
            Command::Close(answer) => {
                cluster.close().await;
                let _ = answer.send(());
                return;
            }
        }
    }
    cluster.close().await;
}

/// What the folder says of the cluster. The number of nodes is fixed when it is made. Where no node remembers anything, it is another cluster:
/// its terms begin anew, and must not be compared with those before.
fn describe(folder: &Path, config: &RaftConfig) -> io::Result<Description> {
    fs::create_dir_all(folder)?;
    let path = folder.join("cluster.json");
    let known: Option<Description> = match fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(known) = known {
        if known.nodes != config.nodes {
            tracing::warn!(
                kept = known.nodes,
                asked = config.nodes,
                "the number of nodes was fixed when the cluster was made"
            );
        }
        let file = |id| folder.join(format!("{id}.raft"));
        // A file that is damaged remembers something, too.
        let is_pristine = |id| Store::open(&file(id), true).is_ok_and(|store| store.is_pristine());
        if !(1..=known.nodes).all(is_pristine) {
            return Ok(known);
        }
    }
    let id = getrandom::u32().map_err(io::Error::other)?;
    let description = Description {
        id: format!("{id:08x}"),
        nodes: config.nodes,
    };
    let new = folder.join("cluster.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(&description)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(description)
}

impl Election for RaftElection {
    fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn nodes(&self, now: Instant, now_us: i64) -> (Vec<ClusterNode>, Option<RaftView>) {
        self.cluster.describe(now, now_us)
    }

    fn act(&self, node: &str, action: NodeAction) -> Answer<'_, Result<(), ElectionError>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.command(Command::Act(node.to_owned(), action, answer));
        Box::pin(async move {
            sent?;
            answered.await.unwrap_or(Err(ElectionError::Closed))
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        let (answer, answered) = oneshot::channel();
        let sent = self.command(Command::Close(answer));
        Box::pin(async move {
            if sent.is_ok() {
                let _ = answered.await;
            }
            self.commands.lock().take();
            let thread = self.thread.lock().take();
            let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
        })
    }
}

impl Drop for RaftElection {
    /// Without [`Election::close`] it ends as well; nobody waits for it but this.
    fn drop(&mut self) {
        self.commands.get_mut().take();
        let _ = self.thread.get_mut().take().map(JoinHandle::join);
    }
}
