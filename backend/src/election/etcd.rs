//! etcd: the leader is whoever put the key, under a lease.
//!
//! ```text
//! etcd.rs: a thread of its own; connects, and begins a session again when one fails
//!   session.rs: a lease, kept alive; the key is put where its version is 0; a watch tells when it is gone
//! ```
//!
//! - *Token*: the revision at which the key was created. The scope names etcd's cluster and the prefix.
//! - *Lease*: it counts from the moment when a renewal was *sent*, so it ends here before it ends in etcd; and a margin earlier still.
//! - *Broken connections, compaction, a slow etcd*: streams are opened again, and what is there is read anew, for as long as the lease lasts.
//!   When it is over by our clock the session ends, whatever etcd says, and it is unknown who leads until etcd answers.
//! - *The end*: the lease is revoked, so that the others need not wait for it.

mod session;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use freshet_wire::{ClusterNode, EngineState, NodeAction, NodeFault, NodeRole, RaftView};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use self::session::{End, Session};
use super::timeline::Seen;
use super::{Board, Election, ElectionError};
use crate::config::EtcdConfig;
use crate::pubsub::Answer;

const NAME: &str = "etcd";

/// Between two tries to reach etcd.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// How long the end may wait for etcd.
const CLOSING: Duration = Duration::from_secs(2);

/// A client of an etcd cluster, and one candidate: this process.
#[derive(Debug)]
pub struct EtcdElection {
    shared: Arc<Shared>,
    commands: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    node: Arc<str>,
    config: EtcdConfig,
    board: Arc<Board>,
    view: Mutex<View>,
}

/// What is known of the others.
#[derive(Debug, Default)]
struct View {
    /// Nodes whose lease lasts.
    nodes: BTreeSet<String>,
    leader: Option<Leader>,
    is_known: bool,
    is_stopped: bool,
    /// When etcd last answered that our lease lasts.
    contact: Option<Instant>,
}

/// Whose the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leader {
    node: String,
    /// The revision at which the key was created.
    token: u64,
    /// It hangs on the lease of this session, not on one that a node of this name had before.
    is_ours: bool,
}

#[derive(Debug)]
enum Command {
    Act(NodeAction, oneshot::Sender<Result<(), ElectionError>>),
    Close(oneshot::Sender<()>),
}

impl EtcdElection {
    /// Campaigns as `node`. etcd may be away: the board says so, and it is tried again.
    pub fn open(config: &EtcdConfig, node: &str) -> Result<Self, ElectionError> {
        let unavailable = |error: io::Error| ElectionError::Unavailable(error.to_string());
        let options = options(config).map_err(unavailable)?;
        let shared = Arc::new(Shared {
            node: node.into(),
            config: config.clone(),
            board: Arc::new(Board::new(NAME, NAME)),
            view: Mutex::default(),
        });
        let (commands, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unavailable)?;
        let running = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("election".to_owned())
            .spawn(move || runtime.block_on(running.run(options, queue)))
            .map_err(unavailable)?;
        Ok(Self {
            shared,
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn command(&self, command: Command) -> Result<(), ElectionError> {
        let commands = self.commands.lock();
        match commands.as_ref().map(|commands| commands.send(command)) {
            Some(Ok(())) => Ok(()),
            _ => Err(ElectionError::Closed),
        }
    }
}

/// Reads the files that the configuration names.
fn options(config: &EtcdConfig) -> io::Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(config.patience())
        .with_timeout(config.patience())
        // A member that lost its leader must not keep us waiting on it. Whether the connection lives is seen by the renewals: etcd takes
        // pings more often than every five seconds for an attack.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(user) = &config.user {
        options = options.with_user(user, config.password.as_deref().unwrap_or_default());
    }
    if let Some(tls) = &config.tls {
        let read = |path| {
            std::fs::read(path).map_err(|error| {
                let path = std::path::Path::display(path);
                io::Error::new(error.kind(), format!("{path}: {error}"))
            })
        };
        let mut with = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&tls.ca)?));
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            with = with.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &tls.server_name {
            with = with.domain_name(name);
        }
        options = options.with_tls(with);
    }
    Ok(options)
}

/// Why waiting is over.
#[derive(Debug, PartialEq, Eq)]
enum Idle {
    GoOn,
    Stopped,
    Closed,
}

impl Shared {
    async fn run(self: Arc<Self>, options: ConnectOptions, mut queue: mpsc::UnboundedReceiver<Command>) {
        let mut wait = RETRY_MIN;
        loop {
            let idle = match Box::pin(self.session(&options, &mut wait, &mut queue)).await {
                End::Closed(answer) => {
                    self.lose();
                    let _ = answer.map(|answer| answer.send(()));
                    return;
                }
                End::Stopped => Idle::Stopped,
                End::Failed(error) => {
                    self.lose();
                    tracing::warn!(error, "etcd does not answer, and is tried again");
                    self.board.set_engine(EngineState::Down, &error);
                    // Those who wait for the same etcd do not come back all at once.
                    let pause = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
                    wait = (wait * 2).min(RETRY_MAX);
                    self.idle(&mut queue, Some(pause)).await
                }
            };
            let idle = match idle {
                Idle::Stopped => {
                    self.lose();
                    self.view.lock().is_stopped = true;
                    self.board.changed();
                    self.idle(&mut queue, None).await
                }
                idle => idle,
            };
            if idle == Idle::Closed {
                return;
            }
        }
    }

    /// From connecting to whatever ends it.
    async fn session(
        &self,
        options: &ConnectOptions,
        wait: &mut Duration,
        queue: &mut mpsc::UnboundedReceiver<Command>,
    ) -> End {
        let begin = async {
            let client = Client::connect(&self.config.endpoints, Some(options.clone())).await;
            let client = client.map_err(|error| error.to_string())?;
            Session::begin(self, client).await
        };
        // Whoever wants the end need not wait for an etcd that does not answer.
        tokio::pin!(begin);
        let session = tokio::select! {
            session = &mut begin => session,
            () = self.ended(queue) => return End::Closed(None),
        };
        match session {
            Ok(session) => {
                *wait = RETRY_MIN;
                session.run(queue).await
            }
            Err(error) => End::Failed(error),
        }
    }

    /// Refuses what is asked meanwhile, until the end is asked for.
    async fn ended(&self, queue: &mut mpsc::UnboundedReceiver<Command>) {
        loop {
            match queue.recv().await {
                None => return,
                Some(Command::Close(answer)) => {
                    let _ = answer.send(());
                    return;
                }
                Some(Command::Act(_, answer)) => {
                    let why = "etcd has not answered yet".to_owned();
                    let _ = answer.send(Err(ElectionError::Unavailable(why)));
                }
            }
        }
    }

    /// Nothing is known any more, and nobody may act here.
    fn lose(&self) {
        let mandate = self.board.mandate().borrow().clone();
        mandate.iter().for_each(|mandate| mandate.revoke());
        self.board.grant(None);
        {
            let mut view = self.view.lock();
            *view = View {
                is_stopped: view.is_stopped,
                ..View::default()
            };
        }
        self.board.see(Seen::Unknown);
    }

    /// Waits for so long, or (`None`) to be started.
    async fn idle(&self, queue: &mut mpsc::UnboundedReceiver<Command>, wait: Option<Duration>) -> Idle {
        let over = async {
            match wait {
                Some(wait) => sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            let command = tokio::select! {
                () = &mut over => return Idle::GoOn,
                command = queue.recv() => command,
            };
            let is_stopped = self.view.lock().is_stopped;
            match command {
                None => return Idle::Closed,
                Some(Command::Close(answer)) => {
                    let _ = answer.send(());
                    return Idle::Closed;
                }
                Some(Command::Act(NodeAction::Start, answer)) if is_stopped => {
                    self.view.lock().is_stopped = false;
                    self.board.changed();
                    let _ = answer.send(Ok(()));
                    return Idle::GoOn;
                }
                Some(Command::Act(NodeAction::Stop, answer)) if !is_stopped => {
                    let _ = answer.send(Ok(()));
                    return Idle::Stopped;
                }
                Some(Command::Act(action, answer)) => {
                    let _ = answer.send(Err(self.refused(action)));
                }
            }
        }
    }

    fn refused(&self, action: NodeAction) -> ElectionError {
        let why = match action {
            NodeAction::Isolate | NodeAction::Heal => "etcd's network is not this process's to cut".to_owned(),
            action => format!("{} cannot {} now", self.node, action.name()),
        };
        ElectionError::Refused(why)
    }
}

impl Election for EtcdElection {
    fn board(&self) -> &Arc<Board> {
        &self.shared.board
    }

    fn nodes(&self, now: Instant, now_us: i64) -> (Vec<ClusterNode>, Option<RaftView>) {
        let own = &*self.shared.node;
        let view = self.shared.view.lock();
        let mandate = self.shared.board.mandate().borrow().clone();
        let leads = mandate.is_some_and(|mandate| mandate.holds(now));
        let mut names: Vec<&str> = view.nodes.iter().map(|node| &**node).collect();
        if !names.contains(&own) {
            names.push(own);
            names.sort_unstable();
        }
        let leader = view.leader.as_ref().map(|leader| &*leader.node);
        let nodes = names.into_iter().map(|name| {
            let is_own = name == own;
            let role = match leader {
                _ if is_own && view.is_stopped => NodeRole::Stopped,
                _ if !view.is_known => NodeRole::Unknown,
                Some(leader) if leader == name && is_own && !leads => NodeRole::Lapsed,
                Some(leader) if leader == name => NodeRole::Leader,
                Some(_) => NodeRole::Follower,
                None => NodeRole::Candidate,
            };
            let actions = match role {
                _ if !is_own => Vec::new(),
                NodeRole::Stopped => vec![NodeAction::Start],
                NodeRole::Leader => vec![NodeAction::Stop, NodeAction::Resign],
                _ => vec![NodeAction::Stop],
            };
            let contact = view.contact.filter(|_| is_own).map(|at| {
                let ago_us = now.saturating_duration_since(at).as_micros();
                now_us.saturating_sub_unsigned(u64::try_from(ago_us).unwrap_or(u64::MAX))
            });
            ClusterNode {
                id: name.to_owned(),
                role,
                local: is_own,
                fault: match role {
                    NodeRole::Stopped => NodeFault::Stopped,
                    _ => NodeFault::None,
                },
                last_contact_us: contact,
                detail: String::new(),
                actions,
            }
        });
        (nodes.collect(), None)
    }

    fn act(&self, node: &str, action: NodeAction) -> Answer<'_, Result<(), ElectionError>> {
        if node != &*self.shared.node {
            let error = ElectionError::UnknownNode(node.to_owned());
            return Box::pin(async { Err(error) });
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.command(Command::Act(action, answer));
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
                let _ = tokio::time::timeout(CLOSING * 2, answered).await;
            }
            self.commands.lock().take();
            let thread = self.thread.lock().take();
            let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
        })
    }
}

impl Drop for EtcdElection {
    /// Without [`Election::close`] it revokes its lease as well, if etcd answers in time.
    fn drop(&mut self) {
        self.commands.get_mut().take();
        let _ = self.thread.get_mut().take().map(JoinHandle::join);
    }
}
