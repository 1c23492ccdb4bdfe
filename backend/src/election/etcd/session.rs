//! One lease, from its grant to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, KeyValue, LeaseKeepAliveStream, LeaseKeeper, PutOptions,
    ResponseHeader, Txn, TxnOp, WatchOptions, WatchStream,
};
use freshet_wire::{EngineState, NodeAction, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};

use crate::client::etcd::{failed, unsigned};
use crate::config::EtcdConfig;
use crate::election::candidate::{CLOSING, Command, End, Leader, Resigning, Shared, pause};
use crate::election::timeline::Seen;
use crate::election::{ElectionError, Mandate};
use crate::time::steady;

/// Who resigned leaves the key to the others for so long, unless one has it.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// Between two tries to open the streams again, within a lease.
const REOPEN: Duration = Duration::from_millis(100);

pub(super) struct Session<'a> {
    config: EtcdConfig,
    shared: &'a Shared,
    client: Client,
    lease: i64,
    ttl: Duration,
    /// When the newest renewal that was confirmed was sent.
    renewed: Instant,
    /// No campaign before this moment, or before somebody leads.
    hold_off: Option<Instant>,
    /// The token that was given up: we do not lead with it, and the key is to be deleted.
    resigned: u64,
    is_given: bool,
    resigning: Resigning,
}

/// The streams, which are opened again when they break.
struct Streams {
    keeper: LeaseKeeper,
    kept: LeaseKeepAliveStream,
    watch: WatchStream,
    /// When the renewals that are not answered yet were sent.
    sent: VecDeque<Instant>,
}

type Failed = String;

impl<'a> Session<'a> {
    /// Is granted a lease, and puts this node among the others.
    pub(super) async fn begin(config: EtcdConfig, shared: &'a Shared, mut client: Client) -> Result<Self, Failed> {
        let patience = config.patience();
        let asked = steady();
        let ttl_s = i64::try_from(config.ttl_s).unwrap_or(i64::MAX);
        let granted = timeout(patience, client.lease_grant(ttl_s, None)).await;
        let granted = granted.map_err(|_| slow("a lease"))?.map_err(failed)?;
        let cluster = granted.header().map_or(0, ResponseHeader::cluster_id);
        shared.board.set_scope(&format!("etcd:{cluster:x}:{}", config.prefix));
        let session = Self {
            config,
            shared,
            client,
            lease: granted.id(),
            // It may have granted more or less than was asked for.
            ttl: Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0)),
            renewed: asked,
            hold_off: None,
            resigned: 0,
            is_given: false,
            resigning: Resigning::default(),
        };
        Ok(session)
    }

    /// Campaigns and watches until the lease is lost, or somebody wants an end.
    pub(super) async fn run(mut self, queue: &mut mpsc::UnboundedReceiver<Command>) -> End {
        loop {
            let broken = match self.open().await {
                Ok(streams) => {
                    self.shared.board.set_engine(EngineState::Up, "");
                    match self.follow(streams, queue).await {
                        Ok(end) => {
                            if let End::Closed(_) | End::Retimed = end {
                                self.revoke().await;
                            }
                            return end;
                        }
                        Err(broken) => broken,
                    }
                }
                Err(broken) => {
                    if self.shared.mandate().is_none() {
                        self.shared.view.lock().is_known = false;
                        self.shared.board.grant(None);
                        self.shared.board.see(Seen::Unknown);
                    }
                    broken
                }
            };
            if steady() >= self.lease_end() {
                return End::Failed(broken);
            }
            tracing::info!(broken, "the way to etcd broke, and is opened again");
            self.shared.board.set_engine(EngineState::Degraded, &broken);
            // What it told of the leader may be over by now; our own mandate lasts as long as its lease.
            sleep(REOPEN).await;
        }
    }

    fn lease_end(&self) -> Instant {
        self.renewed + self.ttl.saturating_sub(self.config.margin())
    }

    /// Reads what is there, and opens the streams from that revision on.
    async fn open(&mut self) -> Result<Streams, Failed> {
        // Each of the calls has a time of its own; all of them have what is left of the lease.
        let lease_end = self.lease_end();
        let open = async {
            // Again after each break: the others may have taken us for gone.
            let node = self.config.key(&format!("nodes/{}", self.shared.node));
            let put = PutOptions::new().with_lease(self.lease);
            self.client.put(node, "", Some(put)).await.map_err(failed)?;
            let all = GetOptions::new().with_prefix();
            let there = self.client.get(self.config.key(""), Some(all)).await.map_err(failed)?;
            let revision = there.header().map_or(0, ResponseHeader::revision);
            {
                let mut view = self.shared.view.lock();
                view.nodes.clear();
                view.leader = None;
                view.is_known = true;
            }
            there.kvs().iter().for_each(|kv| self.put(kv));
            self.see();
            let from = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
            let watch = self.client.watch(self.config.key(""), Some(from));
            let watch = watch.await.map_err(failed)?;
            let sent = VecDeque::from([steady()]);
            // It sends a renewal, and waits for the answer to it.
            let (keeper, kept) = self.client.lease_keep_alive(self.lease).await.map_err(failed)?;
            Ok::<_, Failed>(Streams {
                keeper,
                kept,
                watch,
                sent,
            })
        };
        let opened = timeout_at(lease_end.into(), open).await;
        // Whether the key was deleted is to be seen again.
        self.is_given = false;
        let mut streams = opened.map_err(|_| slow("the streams"))??;
        if let Some(sent) = streams.sent.pop_front() {
            self.renewed(sent);
        }
        Ok(streams)
    }

    async fn follow(
        &mut self,
        mut streams: Streams,
        queue: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Result<End, Failed> {
        let mut every = interval(self.ttl / 5);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every.tick().await;
        loop {
            let leader = self.shared.view.lock().leader.clone();
            let leaderless = leader.is_none();
            if let Some(leader) = leader {
                if leader.is_ours && leader.token <= self.resigned {
                    self.give().await?;
                } else if !leader.is_ours {
                    self.hold_off = None;
                }
            }
            if leaderless && self.hold_off.is_none_or(|until| until <= steady()) {
                self.hold_off = None;
                self.campaign().await?;
            }
            let hold_off = self.hold_off.filter(|_| leaderless);
            let overdue = streams.sent.front().map(|sent| *sent + self.config.patience());
            tokio::select! {
                _ = every.tick() => {
                    streams.sent.push_back(steady());
                    let asked = timeout(self.config.patience(), streams.keeper.keep_alive()).await;
                    asked.map_err(|_| slow("a renewal"))?.map_err(failed)?;
                }
                kept = streams.kept.message() => {
                    let kept = kept.map_err(failed)?.ok_or("the renewals ended")?;
                    let sent = streams.sent.pop_front();
                    if kept.ttl() <= 0 {
                        self.renewed = steady().checked_sub(self.ttl).unwrap_or(self.renewed);
                        return Err("the lease was lost".to_owned());
                    }
                    sent.into_iter().for_each(|sent| self.renewed(sent));
                }
                heard = streams.watch.message() => {
                    let heard = heard.map_err(failed)?.ok_or("the watch ended")?;
                    if heard.canceled() {
                        // Compacted, or not allowed any more: what is there is read anew.
                        return Err(format!("the watch was cancelled: {}", heard.cancel_reason()));
                    }
                    for event in heard.events() {
                        match (event.event_type(), event.kv()) {
                            (EventType::Put, Some(kv)) => self.put(kv),
                            (EventType::Delete, Some(kv)) => self.delete(kv),
                            (_, None) => {}
                        }
                    }
                    self.see();
                }
                () = sleep_until(self.lease_end().into()) => {
                    return Err(slow("a renewal"));
                }
                () = pause(hold_off) => {}
                () = pause(overdue) => return Err(slow("a renewal")),
                command = queue.recv() => match command {
                    None => return Ok(End::Closed(None)),
                    Some(Command::Close(answer)) => return Ok(End::Closed(Some(answer))),
                    Some(Command::Retime) => return Ok(End::Retimed),
                    Some(Command::Act(NodeAction::Stop, answer)) => {
                        // As if the process had been killed: the lease is left to run out.
                        let _ = answer.send(Ok(()));
                        return Ok(End::Stopped);
                    }
                    Some(Command::Act(NodeAction::Resign, answer)) => self.resign(answer).await?,
                    Some(Command::Act(action, answer)) => _ = answer.send(Err(self.shared.refused(action))),
                },
            }
            self.resigning.answer(self.shared);
        }
    }

    /// Takes the key, if nobody has it.
    async fn campaign(&mut self) -> Result<(), Failed> {
        let key = self.config.key("leader");
        let put = PutOptions::new().with_lease(self.lease);
        let take = Txn::new()
            .when([Compare::version(&*key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(&*key, &*self.shared.node, Some(put))]);
        let taken = timeout(self.config.patience(), self.client.txn(take)).await;
        let taken = taken.map_err(|_| slow("the key"))?.map_err(failed)?;
        if taken.succeeded() {
            let revision = taken.header().map_or(0, ResponseHeader::revision);
            self.shared.view.lock().leader = Some(Leader {
                node: self.shared.node.to_string(),
                token: unsigned(revision),
                is_ours: true,
            });
            self.see();
        } else {
            // The watch tells who has it, and ends this; should it not, it is tried again.
            self.hold_off = Some(steady() + HOLD_OFF);
        }
        Ok(())
    }

    async fn resign(&mut self, answer: oneshot::Sender<Result<(), ElectionError>>) -> Result<(), Failed> {
        let Some(mandate) = self.shared.mandate() else {
            let _ = answer.send(Err(self.shared.refused(NodeAction::Resign)));
            return Ok(());
        };
        mandate.revoke();
        self.shared.board.grant(None);
        self.shared.board.see(Seen::Leaderless);
        self.hold_off = Some(steady() + HOLD_OFF);
        self.resigning.begin(answer, steady() + HOLD_OFF);
        self.resigned = mandate.token().number;
        self.is_given = false;
        self.give().await
    }

    /// Deletes the key with which we do not lead any more, unless that was done and only is to be heard of.
    async fn give(&mut self) -> Result<(), Failed> {
        if self.is_given {
            return Ok(());
        }
        let key = self.config.key("leader");
        let created = i64::try_from(self.resigned).unwrap_or(i64::MAX);
        let give = Txn::new()
            .when([Compare::create_revision(&*key, CompareOp::Equal, created)])
            .and_then([TxnOp::delete(&*key, None)]);
        let given = timeout(self.config.patience(), self.client.txn(give)).await;
        given.map_err(|_| slow("the key"))?.map_err(failed)?;
        self.is_given = true;
        Ok(())
    }

    /// A renewal that was sent then is confirmed.
    fn renewed(&mut self, sent: Instant) {
        self.renewed = self.renewed.max(sent);
        self.shared.view.lock().contact = Some(steady());
        if let Some(mandate) = self.shared.mandate() {
            mandate.renew(self.renewed);
        }
        self.see();
    }

    fn put(&self, kv: &KeyValue) {
        let Some(name) = self.config.name(kv.key()) else {
            return;
        };
        let mut view = self.shared.view.lock();
        if name == "leader" {
            let token = unsigned(kv.create_revision());
            // What we did may be known before the watch has told of what was before it.
            if view.leader.as_ref().is_none_or(|known| known.token <= token) {
                view.leader = Some(Leader {
                    node: String::from_utf8_lossy(kv.value()).into_owned(),
                    token,
                    is_ours: kv.lease() == self.lease,
                });
            }
        } else if let Some(node) = name.strip_prefix("nodes/") {
            view.nodes.insert(node.to_owned());
        }
    }

    fn delete(&self, kv: &KeyValue) {
        let Some(name) = self.config.name(kv.key()) else {
            return;
        };
        let mut view = self.shared.view.lock();
        if name == "leader" {
            let deleted = unsigned(kv.mod_revision());
            view.leader.take_if(|known| known.token < deleted);
        } else if let Some(node) = name.strip_prefix("nodes/") {
            view.nodes.remove(node);
        }
    }

    /// Puts up who leads now; where it is us, under our lease, the application is told so.
    fn see(&self) {
        let board = &self.shared.board;
        let leader = self.shared.view.lock().leader.clone();
        let current = board.mandate().borrow().clone();
        let is_ours = leader
            .as_ref()
            .is_some_and(|leader| leader.is_ours && leader.token > self.resigned);
        match leader {
            Some(Leader { node, token, .. }) if is_ours => {
                let is_same = |mandate: &Arc<Mandate>| mandate.token().number == token && mandate.holds(steady());
                if !current.as_ref().is_some_and(is_same) {
                    self.shared.end_mandate();
                    let token = Token {
                        scope: board.scope().to_string().into(),
                        number: token,
                    };
                    let margin = self.config.margin();
                    let mandate = Mandate::new(Arc::clone(&self.shared.node), token, self.ttl, margin, self.renewed);
                    board.grant(Some(Arc::new(mandate)));
                }
                board.see(Seen::Led { node, token });
            }
            leader => {
                self.shared.end_mandate();
                board.see(match leader {
                    // The key of an earlier run of this node, whose lease has not run out yet.
                    Some(leader) if *leader.node == *self.shared.node => Seen::Leaderless,
                    Some(Leader { node, token, .. }) => Seen::Led { node, token },
                    None => Seen::Leaderless,
                });
            }
        }
        board.changed();
    }

    async fn revoke(&mut self) {
        self.shared.end_mandate();
        let _ = timeout(CLOSING, self.client.lease_revoke(self.lease)).await;
    }
}

fn slow(what: &str) -> Failed {
    format!("etcd does not answer in time: {what}")
}
