//! One session, from its beginning to its end.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_wire::{EngineState, NodeAction, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode, Error, OneshotWatcher, SessionState, Stat, StateWatcher};

use super::heart::Heart;
use super::place::{Place, tag};
use super::pulse::Pulse;
use crate::client::zookeeper::acls;
use crate::config::ZooKeeperConfig;
use crate::election::candidate::{CLOSING, Command, End, Leader, Resigning, Shared, pause};
use crate::election::timeline::Seen;
use crate::election::{ElectionError, Mandate};
use crate::time::steady;

/// How long who resigned waits for another to lead.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Between two tries to read what is there.
const READ_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct Session<'a> {
    shared: &'a Shared,
    client: Client,
    folders: Folders,
    acls: Acls<'static>,
    /// Names this session in its znodes.
    tag: String,
    ttl: Duration,
    pulse: Pulse,
    heart: Heart,
    state: StateWatcher,
    own: Option<Place>,
    /// The path of whoever was last seen to lead.
    leading: Option<String>,
    /// The place that was given up, and is to be deleted.
    given: Option<Place>,
    resigning: Resigning,
    /// Fires when the queue is to be read anew: who leads, and who stands before us.
    first: Watch,
    before: Watch,
    /// Fires when the nodes are to be read anew.
    nodes: Watch,
    is_queue_stale: bool,
    is_nodes_stale: bool,
    /// Not before this moment.
    read_again: Option<Instant>,
}

struct Folders {
    queue: String,
    nodes: String,
}

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<'a> Session<'a> {
    /// Puts this node among the others, in a session that was asked for at this moment.
    pub(super) async fn begin(
        config: &ZooKeeperConfig,
        shared: &'a Shared,
        client: Client,
        asked: Instant,
    ) -> Result<Self, String> {
        let acls = acls(config.user.as_deref());
        let folders = Folders {
            queue: format!("{}/election/candidates", config.path),
            nodes: format!("{}/election/nodes", config.path),
        };
        let ttl = client.session_timeout();
        let tag = tag(client.session_id().0);
        let node = format!("{}/{}-{tag}", folders.nodes, shared.node);
        let standing = async {
            let folder = CreateMode::Persistent.with_acls(acls);
            client.mkdir(&folders.queue, &folder).await?;
            client.mkdir(&folders.nodes, &folder).await?;
            let stat = client.check_stat(&folders.queue).await?.ok_or(Error::NoNode)?;
            let ephemeral = CreateMode::Ephemeral.with_acls(acls);
            client.create(&node, &[], &ephemeral).await?;
            Ok::<_, Error>(stat)
        };
        let stat = timeout(ttl / 2, standing).await;
        let stat = stat
            .map_err(|_| slow())?
            .map_err(|error| format!("{}: {error}", config.path))?;
        let scope = format!("zookeeper:{:x}-{:x}:{}", stat.czxid, stat.ctime, config.path);
        shared.board.set_scope(&scope);
        let pulse = Pulse::new(ttl, asked);
        Ok(Self {
            shared,
            heart: Heart::start(client.clone(), node, pulse.every()),
            state: client.state_watcher(),
            client,
            folders,
            acls,
            tag,
            ttl,
            pulse,
            own: None,
            leading: None,
            given: None,
            resigning: Resigning::default(),
            first: never(),
            before: never(),
            nodes: never(),
            is_queue_stale: true,
            is_nodes_stale: true,
            read_again: None,
        })
    }

    /// Campaigns and watches until the session is over, or somebody wants an end.
    pub(super) async fn run(mut self, queue: &mut mpsc::UnboundedReceiver<Command>) -> End {
        let end = match self.follow(queue).await {
            Ok(end) => end,
            Err(why) => End::Failed(why),
        };
        self.shared.end_mandate();
        // Who fails for another reason than that ZooKeeper is away does not leave others waiting either.
        let is_there = self.client.state() == SessionState::SyncConnected;
        match end {
            End::Closed(_) | End::Retimed => self.leave().await,
            End::Failed(_) if is_there => self.leave().await,
            _ => {}
        }
        end
    }

    async fn follow(&mut self, queue: &mut mpsc::UnboundedReceiver<Command>) -> Result<End, String> {
        loop {
            self.read().await?;
            let wake = [self.read_again, self.resigning.until(), self.next_end()];
            tokio::select! {
                beat = self.heart.beat() => {
                    let beat = beat.ok_or("the heartbeats ended")?;
                    match beat.answer {
                        Ok(()) => self.answered(beat.sent, beat.answered),
                        Err(error) => passing(error)?,
                    }
                }
                state = self.state.changed() => self.became(state)?,
                () = &mut self.first => (self.first, self.is_queue_stale) = (never(), true),
                () = &mut self.before => (self.before, self.is_queue_stale) = (never(), true),
                () = &mut self.nodes => (self.nodes, self.is_nodes_stale) = (never(), true),
                () = pause(wake.into_iter().flatten().min()) => self.ended(),
                command = queue.recv() => match command {
                    None => return Ok(End::Closed(None)),
                    Some(Command::Close(answer)) => return Ok(End::Closed(Some(answer))),
                    Some(Command::Retime) => return Ok(End::Retimed),
                    Some(Command::Act(NodeAction::Stop, answer)) => {
                        let _ = answer.send(Ok(()));
                        return Ok(End::Stopped);
                    }
                    Some(Command::Act(NodeAction::Resign, answer)) => self.resign(answer),
                    Some(Command::Act(action, answer)) => _ = answer.send(Err(self.shared.refused(action))),
                },
            }
            self.resigning.answer(self.shared);
        }
    }

    /// Reads what is said to have changed, if there is a connection to read by.
    async fn read(&mut self) -> Result<(), String> {
        let is_due = self.read_again.is_none_or(|at| at <= steady());
        let is_stale = self.is_queue_stale || self.is_nodes_stale;
        let is_there = self.client.state() == SessionState::SyncConnected;
        // After a long silence a heartbeat has to be answered first.
        let is_alive = self.pulse.known_end() > steady();
        if !(is_stale && is_due && is_there && is_alive) {
            return Ok(());
        }
        self.read_again = None;
        let patience = self.ttl / 4;
        let reading = async {
            if self.is_queue_stale {
                self.read_queue().await?;
                self.is_queue_stale = false;
            }
            if self.is_nodes_stale {
                self.read_nodes().await?;
                self.is_nodes_stale = false;
            }
            Ok(())
        };
        match timeout(patience, reading).await {
            Ok(Ok(())) => self.shared.board.set_engine(EngineState::Up, ""),
            Ok(Err(error)) => {
                passing(error)?;
                self.read_again = Some(steady() + READ_AGAIN);
            }
            Err(_) => {
                self.shared.board.set_engine(EngineState::Degraded, &slow());
                self.read_again = Some(steady() + READ_AGAIN);
            }
        }
        Ok(())
    }

    /// Takes a place in the queue, accepts the lead where it is the first, and watches who leads and who stands before it.
    async fn read_queue(&mut self) -> Result<(), Error> {
        if let Some(given) = &self.given {
            self.delete(given).await?;
            self.given = None;
        }
        loop {
            let names = self.client.list_children(&self.folders.queue).await?;
            let places = Place::queue(&names);
            let Some(own) = places.iter().position(|place| place.tag == self.tag) else {
                let prefix = format!("{}/{}", self.folders.queue, Place::prefix(&self.shared.node, &self.tag));
                let options = CreateMode::EphemeralSequential.with_acls(self.acls);
                self.client.create(&prefix, &[], &options).await?;
                continue;
            };
            // A place of which the answer was lost on the way.
            for second in places[own + 1..].iter().filter(|place| place.tag == self.tag) {
                self.delete(second).await?;
            }
            self.own = Some(places[own].clone());
            let first = self.path(&places[0]);
            if self.leading.as_ref().is_some_and(|leading| *leading != first) {
                // Whoever is the first now has yet to accept.
                self.leading = None;
                self.shared.view.lock().leader = None;
                self.see();
            }
            if own == 0 {
                match self.client.set_data(&first, &[], Some(0)).await {
                    // Accepted now: the application need not wait for the watch.
                    Ok(stat) => self.leads(&places[0], &stat),
                    Err(Error::BadVersion) => {}
                    Err(Error::NoNode) => continue,
                    Err(error) => return Err(error),
                }
            } else {
                self.before = never();
                if own > 1 {
                    let before = self.path(&places[own - 1]);
                    let (stat, watcher) = self.client.check_and_watch_stat(&before).await?;
                    if stat.is_none() {
                        continue;
                    }
                    self.before = watch(watcher);
                }
            }
            let (stat, watcher) = self.client.check_and_watch_stat(&first).await?;
            let Some(stat) = stat else { continue };
            self.first = watch(watcher);
            self.leads(&places[0], &stat);
            return Ok(());
        }
    }

    /// The first in the queue leads, if it has accepted.
    fn leads(&mut self, first: &Place, stat: &Stat) {
        let has_accepted = stat.version > 0;
        let leader = Leader {
            node: first.node.clone(),
            token: u64::try_from(stat.czxid).unwrap_or(0),
            is_ours: first.tag == self.tag,
        };
        {
            let mut view = self.shared.view.lock();
            view.leader = has_accepted.then_some(leader);
            view.is_known = true;
        }
        self.leading = has_accepted.then(|| self.path(first));
        self.see();
        self.shared.board.changed();
    }

    async fn read_nodes(&mut self) -> Result<(), Error> {
        let (names, watcher) = self.client.list_and_watch_children(&self.folders.nodes).await?;
        self.nodes = watch(watcher);
        let nodes = names.iter().filter_map(|name| name.rsplit_once('-'));
        self.shared.view.lock().nodes = nodes.map(|(node, _)| node.to_owned()).collect();
        self.shared.board.changed();
        Ok(())
    }

    fn path(&self, place: &Place) -> String {
        format!("{}/{}", self.folders.queue, place.name)
    }

    async fn delete(&self, place: &Place) -> Result<(), Error> {
        match self.client.delete(&self.path(place), None).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A heartbeat that was sent then is confirmed.
    fn answered(&mut self, sent: Instant, answered: Instant) {
        self.pulse.answered(sent, answered);
        let is_known = {
            let mut view = self.shared.view.lock();
            view.contact = Some(answered);
            view.is_known
        };
        if is_known {
            if let Some(mandate) = self.shared.mandate() {
                mandate.renew(self.pulse.renewed());
            }
            self.see();
        } else {
            self.is_queue_stale = true;
        }
    }

    /// The next moment at which silence means something.
    fn next_end(&self) -> Option<Instant> {
        let is_known = self.shared.view.lock().is_known;
        let lease_end = self.shared.mandate().map(|mandate| mandate.until());
        is_known.then(|| lease_end.map_or(self.pulse.known_end(), |end| end.min(self.pulse.known_end())))
    }

    /// Such a moment has come, or something else that was waited for.
    fn ended(&mut self) {
        if !self.shared.view.lock().is_known {
            return;
        }
        if self.pulse.known_end() > steady() {
            return self.see();
        }
        // The session may be over. If it is not, the queue is read anew.
        self.is_queue_stale = true;
        {
            let mut view = self.shared.view.lock();
            (view.is_known, view.leader) = (false, None);
        }
        self.shared.end_mandate();
        self.shared.board.see(Seen::Unknown);
        self.shared.board.set_engine(EngineState::Down, &slow());
    }

    fn became(&mut self, state: SessionState) -> Result<(), String> {
        match state {
            SessionState::SyncConnected => {
                (self.is_queue_stale, self.is_nodes_stale) = (true, true);
                self.read_again = None;
                Ok(())
            }
            SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                let why = "the way to ZooKeeper broke";
                tracing::info!("{why}, and is opened again");
                self.shared.board.set_engine(EngineState::Degraded, why);
                Ok(())
            }
            SessionState::AuthFailed => Err(Error::AuthFailed.to_string()),
            SessionState::Expired | SessionState::Closed => Err("the session expired".to_owned()),
        }
    }

    fn resign(&mut self, answer: oneshot::Sender<Result<(), ElectionError>>) {
        if self.shared.mandate().is_none() {
            let _ = answer.send(Err(self.shared.refused(NodeAction::Resign)));
            return;
        }
        self.shared.end_mandate();
        self.shared.view.lock().leader = None;
        self.shared.board.see(Seen::Leaderless);
        self.resigning.begin(answer, steady() + HAND_OVER);
        // It takes a place at the end of the queue then.
        self.given = self.own.take();
        self.is_queue_stale = true;
    }

    /// Puts up who leads now; where it is us, and as long as the session surely lasts, the application is told so.
    fn see(&self) {
        let board = &self.shared.board;
        let leader = self.shared.view.lock().leader.clone();
        match leader {
            Some(leader) if leader.is_ours && steady() < self.pulse.lease_end() => {
                let current = self.shared.mandate();
                if current.is_none_or(|mandate| mandate.token().number != leader.token) {
                    self.shared.end_mandate();
                    let token = Token {
                        scope: board.scope().to_string().into(),
                        number: leader.token,
                    };
                    let (node, renewed) = (Arc::clone(&self.shared.node), self.pulse.renewed());
                    let mandate = Mandate::new(node, token, self.ttl, self.pulse.margin(), renewed);
                    board.grant(Some(Arc::new(mandate)));
                }
                board.see(Seen::Led {
                    node: leader.node,
                    token: leader.token,
                });
            }
            leader => {
                self.shared.end_mandate();
                board.see(match leader {
                    // Nobody else may lead, and this node does not: its session may be over, or it is one that it had before.
                    Some(leader) if *leader.node == *self.shared.node => Seen::Leaderless,
                    Some(Leader { node, token, .. }) => Seen::Led { node, token },
                    None => Seen::Leaderless,
                });
            }
        }
    }

    /// Gives up the place in the queue, and goes from among the nodes.
    async fn leave(&mut self) {
        self.heart.stop();
        let node = format!("{}/{}-{}", self.folders.nodes, self.shared.node, self.tag);
        let places = [self.given.take(), self.own.take()];
        let leaving = async {
            for place in places.into_iter().flatten() {
                self.delete(&place).await?;
            }
            self.client.delete(&node, None).await
        };
        let _ = timeout(CLOSING, leaving).await;
    }
}

fn watch(watcher: OneshotWatcher) -> Watch {
    Box::pin(async move { drop(watcher.changed().await) })
}

fn never() -> Watch {
    Box::pin(pending())
}

/// Errors that pass within a session; any other ends it. (What befell a connection is told as an error of the client's own; whether the session
/// is over with it is told by its state.)
fn passing(error: Error) -> Result<(), String> {
    match error {
        Error::ConnectionLoss | Error::Throttled | Error::Custom(_) => Ok(()),
        error => Err(error.to_string()),
    }
}

fn slow() -> String {
    "ZooKeeper does not answer in time".to_owned()
}
