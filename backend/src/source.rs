//! Where events come from: this machine's telemetry, and the synthetic workload. Only the leader has sources that run.
//!
//! Each source has a thread of its own: sampling blocks, and one slow sampler must not delay another.

mod host;
mod workload;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use freshet_wire::{Retention, Settings, SettingsVersion, TopicKind};
use futures_util::FutureExt;
use tokio::sync::watch;

use crate::election::{Board, Mandate};
use crate::pubsub::{Ack, PubSub, PubSubError, Publication, Record, TopicSpec};
use crate::tail::Tail;
use crate::time::{now_us, steady};

/// Where a source puts its events: a topic of the engine.
#[derive(Debug)]
pub(crate) struct Outlet {
    topic: &'static str,
    engine: Arc<dyn PubSub>,
    lead: Lead,
    /// Events that the engine refused, in a row.
    refused: u64,
}

impl Outlet {
    /// Appends what was sampled, with the leader's token. Nobody waits for it, so what the engine cannot take is lost, and said in the log.
    fn append(&mut self, mut records: Vec<Record>) {
        let count = records.len() as u64;
        // The process may have been frozen since it was told that it leads.
        if !self.lead.mandate.holds(steady()) {
            self.lead.board.count_held_back(count, now_us());
            return;
        }
        for record in &mut records {
            record.token = Some(self.lead.mandate.token().clone());
        }
        let publication = Publication {
            records,
            idempotency: None,
            ack: Ack::Taken,
        };
        // An answer that is there already tells whether the engine took it; one that comes later is its own business.
        match self.engine.publish(self.topic, publication).now_or_never() {
            Some(Err(PubSubError::Fenced { token, newest })) => {
                tracing::warn!(topic = self.topic, token, newest, "a newer leader has written");
                self.lead.board.count_refused(count, now_us());
            }
            Some(Err(error)) => {
                if self.refused == 0 {
                    tracing::warn!(topic = self.topic, %error, "the engine does not take what was sampled");
                }
                self.refused += count;
            }
            _ if self.refused > 0 => {
                tracing::info!(
                    topic = self.topic,
                    lost = self.refused,
                    "the engine takes what is sampled again"
                );
                self.refused = 0;
            }
            _ => {}
        }
    }
}

/// The topics that the sources fill.
pub fn topics(retention: Retention) -> Vec<TopicSpec> {
    let spec = |name: &str, synthetic| TopicSpec {
        name: name.to_owned(),
        kind: TopicKind::Log,
        synthetic,
        writable: false,
        retention,
    };
    let hosts = host::samplers().map(|sampler| spec(sampler.topic, false));
    hosts.into_iter().chain([spec(workload::TOPIC, true)]).collect()
}

/// Under which mandate the sources append, and where it is counted that they did not.
#[derive(Debug, Clone)]
pub struct Lead {
    pub mandate: Arc<Mandate>,
    pub board: Arc<Board>,
}

/// Runs the sources whenever this process leads, until it is asked to stop.
pub async fn lead(
    tail: &Tail,
    host: &Arc<str>,
    board: &Arc<Board>,
    settings: watch::Receiver<Arc<SettingsVersion>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut mandates = board.mandate();
    loop {
        let mandate = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stopping| stopping) => return,
            mandate = mandates.wait_for(Option::is_some) => match mandate {
                Ok(mandate) => mandate.clone(),
                Err(_) => return,
            },
        };
        let Some(mandate) = mandate else { continue };
        tracing::info!(
            node = &**mandate.node(),
            token = mandate.token().number,
            "leads: the sources run"
        );
        let over = async {
            let is_another = |now: &Option<Arc<Mandate>>| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, &mandate));
            tokio::select! {
                _ = mandates.wait_for(is_another) => {}
                _ = stopping.wait_for(|&stopping| stopping) => {}
            }
        };
        let lead = Lead {
            mandate: Arc::clone(&mandate),
            board: Arc::clone(board),
        };
        let started = Sources::start(tail, &lead, host, &settings.borrow().settings);
        match started {
            Ok(sources) => sources.follow(settings.clone(), over).await,
            Err(error) => {
                tracing::error!(%error, "the sources cannot start");
                over.await;
            }
        }
        tracing::info!(token = mandate.token().number, "leads no more: the sources have ended");
    }
}

/// The running sources. Dropping it stops them and waits for their threads.
#[derive(Debug, Default)]
pub struct Sources {
    settings: Vec<Sender<Settings>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sources {
    /// Starts to fill the topics.
    pub fn start(tail: &Tail, lead: &Lead, host: &Arc<str>, settings: &Settings) -> io::Result<Self> {
        let mut sources = Self::default();
        for sampler in host::samplers() {
            let host = Arc::clone(host);
            sources.spawn(tail, lead, sampler.topic, settings, move |outlet, settings| {
                host::run(sampler, outlet, &host, &settings)
            })?;
        }
        let host = Arc::clone(host);
        sources.spawn(tail, lead, workload::TOPIC, settings, move |outlet, settings| {
            workload::run(outlet, &host, &settings)
        })?;
        Ok(sources)
    }

    fn spawn<F>(&mut self, tail: &Tail, lead: &Lead, topic: &'static str, settings: &Settings, run: F) -> io::Result<()>
    where
        F: FnOnce(&mut Outlet, Receiver<Settings>) + Send + 'static,
    {
        let mut outlet = Outlet {
            topic,
            engine: Arc::clone(tail.engine()),
            lead: lead.clone(),
            refused: 0,
        };
        let (sender, receiver) = channel();
        // The receiver is alive: it is in this function.
        let _ = sender.send(settings.clone());
        let thread = Builder::new().name(topic.to_owned());
        self.threads.push(thread.spawn(move || run(&mut outlet, receiver))?);
        self.settings.push(sender);
        Ok(())
    }

    /// Hands every change of the settings on to the sources, until it is over.
    pub async fn follow(self, mut settings: watch::Receiver<Arc<SettingsVersion>>, over: impl Future<Output = ()>) {
        let mut over = pin!(over);
        loop {
            tokio::select! {
                changed = settings.changed() => if changed.is_err() { break },
                () = &mut over => break,
            }
            let current = settings.borrow_and_update().settings.clone();
            for source in &self.settings {
                let _ = source.send(current.clone());
            }
        }
        // Joining blocks, if only for as long as a sample takes.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.settings.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use freshet_wire::Token;
    use serde_json::value::RawValue;

    use super::*;
    use crate::pubsub::memory::Memory;

    fn record() -> Record {
        Record {
            produced_us: 0,
            host: None,
            token: None,
            kind: "t".into(),
            id: None,
            key: None,
            data: RawValue::from_string("1".to_owned()).unwrap(),
        }
    }

    fn outlet(tail: &Tail, board: &Arc<Board>, token: u64, ttl: Duration) -> Outlet {
        let token = Token {
            scope: "raft:test".into(),
            number: token,
        };
        let mandate = Mandate::new("a".into(), token, ttl, Duration::ZERO, Instant::now());
        Outlet {
            topic: workload::TOPIC,
            engine: Arc::clone(tail.engine()),
            lead: Lead {
                mandate: Arc::new(mandate),
                board: Arc::clone(board),
            },
            refused: 0,
        }
    }

    /// A leader that was frozen for longer than its lease, and wakes up still believing.
    #[tokio::test]
    async fn an_older_leader_writes_nothing_after_a_newer_one_and_is_counted() {
        let tail = Tail::new(Arc::new(Memory::default()), 1 << 20, 1 << 20);
        for spec in topics(Retention::default()) {
            tail.open(spec).await.unwrap();
        }
        let end = || tail.topic(workload::TOPIC).unwrap().end();
        let board = Arc::new(Board::new("raft:test", "raft"));
        let long = Duration::from_secs(3600);
        let mut old = outlet(&tail, &board, 1, long);
        old.append(vec![record()]);
        let mut new = outlet(&tail, &board, 2, long);
        new.append(vec![record()]);
        assert_eq!((end(), board.stale().last_us), (2, None));
        // Its clock says that the lease is not over: the log refuses it.
        old.append(vec![record(), record()]);
        let mut over = outlet(&tail, &board, 3, Duration::ZERO);
        over.append(vec![record()]);
        let stale = board.stale();
        assert_eq!((end(), stale.refused, stale.held_back), (2, 2, 1));
        assert!(stale.last_us.is_some());
        new.append(vec![record()]);
        assert_eq!(end(), 3);
    }
}
