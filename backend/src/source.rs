//! Where events come from: this machine's telemetry, and the synthetic workload.
//!
//! Each source has a thread of its own: sampling blocks, and one slow sampler must not delay another.

mod host;
mod workload;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use freshet_wire::{Retention, Settings, SettingsVersion, TopicKind};
use futures_util::FutureExt;
use tokio::sync::watch;

use crate::pubsub::{Ack, PubSub, Publication, Record, TopicSpec};
use crate::tail::Tail;

/// Where a source puts its events: a topic of the engine.
#[derive(Debug)]
pub(crate) struct Outlet {
    topic: &'static str,
    engine: Arc<dyn PubSub>,
    /// Events that the engine refused, in a row.
    refused: u64,
}

impl Outlet {
    /// Appends what was sampled. Nobody waits for it, so what the engine cannot take is lost, and said in the log.
    fn append(&mut self, records: Vec<Record>) {
        let count = records.len() as u64;
        let publication = Publication {
            records,
            idempotency: None,
            ack: Ack::Taken,
        };
        // An answer that is there already tells whether the engine took it; one that comes later is its own business.
        match self.engine.publish(self.topic, publication).now_or_never() {
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

/// The running sources. Dropping it stops them and waits for their threads.
#[derive(Debug, Default)]
pub struct Sources {
    settings: Vec<Sender<Settings>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sources {
    /// Starts to fill the topics.
    pub fn start(tail: &Tail, host: &Arc<str>, settings: &Settings) -> io::Result<Self> {
        let mut sources = Self::default();
        for sampler in host::samplers() {
            let host = Arc::clone(host);
            sources.spawn(tail, sampler.topic, settings, move |outlet, settings| {
                host::run(sampler, outlet, &host, &settings)
            })?;
        }
        let host = Arc::clone(host);
        sources.spawn(tail, workload::TOPIC, settings, move |outlet, settings| {
            workload::run(outlet, &host, &settings)
        })?;
        Ok(sources)
    }

    fn spawn<F>(&mut self, tail: &Tail, topic: &'static str, settings: &Settings, run: F) -> io::Result<()>
    where
        F: FnOnce(&mut Outlet, Receiver<Settings>) + Send + 'static,
    {
        let mut outlet = Outlet {
            topic,
            engine: Arc::clone(tail.engine()),
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

    /// Hands every change of the settings on to the sources, until there is nobody left to change them.
    pub async fn follow(
        self,
        mut settings: watch::Receiver<Arc<SettingsVersion>>,
        mut stopping: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                changed = settings.changed() => if changed.is_err() { break },
                _ = stopping.wait_for(|&stopping| stopping) => break,
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
