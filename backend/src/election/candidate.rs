//! A candidate of an engine that elects outside this process: a thread, what it is told to do, and what it knows of the others.
//!
//! The engine brings a session ([`Engine`]): it campaigns in it, keeps it alive, and puts up what it learns. Here is what is the same for
//! every such engine: a session that fails is followed by another, a candidate is stopped and started, and the end waits for nobody.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use freshet_wire::{ClusterNode, EngineState, NodeAction, NodeFault, NodeRole, RaftView};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::timeline::Seen;
use super::{Board, Election, ElectionError, Mandate};
use crate::pubsub::Answer;
use crate::time::steady;

/// Between two tries to reach the engine.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(3);

/// How long the end may wait for the engine.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// An engine in which this process is one candidate among others.
pub(super) trait Engine: fmt::Debug + Send + 'static {
    type Session<'a>;

    /// Its name in the configuration and on the wire, and as people write it.
    const NAME: &'static str;
    const TITLE: &'static str;

    /// Connects, and puts this node among the others.
    async fn begin<'a>(&'a self, shared: &'a Shared) -> Result<Self::Session<'a>, String>;

    /// Campaigns and watches until the session is lost, or somebody wants an end.
    async fn run(session: Self::Session<'_>, queue: &mut mpsc::UnboundedReceiver<Command>) -> End;
}

/// A client of an engine's cluster, and one candidate: this process.
#[derive(Debug)]
pub struct Candidate {
    shared: Arc<Shared>,
    commands: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: Arc<str>,
    pub(super) board: Arc<Board>,
    pub(super) view: Mutex<View>,
    /// How long leases are that are asked for from now on, in seconds.
    ttl_s: AtomicU64,
    title: &'static str,
}

/// What is known of the others.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Nodes whose session lasts.
    pub(super) nodes: BTreeSet<String>,
    pub(super) leader: Option<Leader>,
    pub(super) is_known: bool,
    pub(super) is_stopped: bool,
    /// When the engine last answered that our session lasts.
    pub(super) contact: Option<Instant>,
}

/// Who leads, as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: String,
    pub(super) token: u64,
    /// It leads by this session, not by one that a node of this name had before.
    pub(super) is_ours: bool,
}

#[derive(Debug)]
pub(super) enum Command {
    Act(NodeAction, oneshot::Sender<Result<(), ElectionError>>),
    /// Leases are to be of another length from now on.
    Retime,
    Close(oneshot::Sender<()>),
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it was asked to.
    Closed(Option<oneshot::Sender<()>>),
    /// As if the process had been killed: the session is left to run out.
    Stopped,
    /// Given up for one with another lease.
    Retimed,
    Failed(String),
}

impl Candidate {
    /// Campaigns as `node`. The engine may be away: the board says so, and it is tried again.
    pub(super) fn start<E: Engine>(engine: E, node: &str, ttl: Duration) -> Result<Self, ElectionError> {
        let unavailable = |error: io::Error| ElectionError::Unavailable(error.to_string());
        let shared = Arc::new(Shared {
            node: node.into(),
            board: Arc::new(Board::new(E::NAME, E::NAME)),
            view: Mutex::default(),
            ttl_s: AtomicU64::new(ttl.as_secs()),
            title: E::TITLE,
        });
        let (commands, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unavailable)?;
        let running = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("election".to_owned())
            .spawn(move || runtime.block_on(running.run(engine, queue)))
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

/// Why waiting is over.
#[derive(Debug, PartialEq, Eq)]
enum Idle {
    GoOn,
    Stopped,
    Closed,
}

impl Shared {
    async fn run<E: Engine>(self: Arc<Self>, engine: E, mut queue: mpsc::UnboundedReceiver<Command>) {
        let mut wait = RETRY_MIN;
        loop {
            let idle = match Box::pin(self.session(&engine, &mut wait, &mut queue)).await {
                End::Closed(answer) => {
                    self.lose();
                    let _ = answer.map(|answer| answer.send(()));
                    return;
                }
                End::Stopped => Idle::Stopped,
                End::Retimed => {
                    self.lose();
                    Idle::GoOn
                }
                End::Failed(error) => {
                    self.lose();
                    tracing::warn!(error, "{} does not answer, and is tried again", self.title);
                    self.board.set_engine(EngineState::Down, &error);
                    // Those who wait for the same engine do not come back all at once.
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
    async fn session<E: Engine>(
        &self,
        engine: &E,
        wait: &mut Duration,
        queue: &mut mpsc::UnboundedReceiver<Command>,
    ) -> End {
        // Whoever wants the end need not wait for an engine that does not answer.
        let begin = engine.begin(self);
        tokio::pin!(begin);
        let session = tokio::select! {
            session = &mut begin => session,
            () = self.ended(queue) => return End::Closed(None),
        };
        match session {
            Ok(session) => {
                *wait = RETRY_MIN;
                E::run(session, queue).await
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
                Some(Command::Retime) => {}
                Some(Command::Act(_, answer)) => {
                    let why = format!("{} has not answered yet", self.title);
                    let _ = answer.send(Err(ElectionError::Unavailable(why)));
                }
            }
        }
    }

    /// Nothing is known any more, and nobody may act here.
    fn lose(&self) {
        self.end_mandate();
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
                Some(Command::Retime) => {}
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

    /// How long a lease is to be.
    pub(super) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s.load(Relaxed))
    }

    /// The mandate that holds.
    pub(super) fn mandate(&self) -> Option<Arc<Mandate>> {
        let mandate = self.board.mandate().borrow().clone();
        mandate.filter(|mandate| mandate.holds(steady()))
    }

    /// "You lead no more."
    pub(super) fn end_mandate(&self) {
        let mandate = self.board.mandate().borrow().clone();
        mandate.iter().for_each(|mandate| mandate.revoke());
        self.board.grant(None);
    }

    pub(super) fn refused(&self, action: NodeAction) -> ElectionError {
        let why = match action {
            NodeAction::Isolate | NodeAction::Heal => {
                format!("{}'s network is not this process's to cut", self.title)
            }
            action => format!("{} cannot {} now", self.node, action.name()),
        };
        ElectionError::Refused(why)
    }
}

impl Election for Candidate {
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

    fn retime(&self, ttl: Duration) {
        if self.shared.ttl_s.swap(ttl.as_secs(), Relaxed) != ttl.as_secs() {
            let _ = self.command(Command::Retime);
        }
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

impl Drop for Candidate {
    /// Without [`Election::close`] it ends its session as well, if the engine answers in time.
    fn drop(&mut self) {
        self.commands.get_mut().take();
        let _ = self.thread.get_mut().take().map(JoinHandle::join);
    }
}

/// Until this moment, or for ever.
pub(super) async fn pause(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// Who asked this node to resign, and until when to wait for another to lead.
#[derive(Debug, Default)]
pub(super) struct Resigning(Option<(oneshot::Sender<Result<(), ElectionError>>, Instant)>);

impl Resigning {
    pub(super) fn begin(&mut self, answer: oneshot::Sender<Result<(), ElectionError>>, until: Instant) {
        self.0 = Some((answer, until));
    }

    /// When it need not wait any more.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.as_ref().map(|(_, until)| *until)
    }

    /// Answers once another leads, or once that is not to be expected.
    pub(super) fn answer(&mut self, shared: &Shared) {
        let leader = shared.view.lock().leader.clone();
        let is_next = leader.is_some_and(|leader| *leader.node != *shared.node);
        if self.0.as_ref().is_some_and(|(_, until)| is_next || *until <= steady())
            && let Some((answer, _)) = self.0.take()
        {
            let _ = answer.send(Ok(()));
        }
    }
}
