//! Where events come from: this machine's telemetry, and the synthetic workload.
//!
//! Each source has a thread of its own: sampling blocks, and one slow sampler must not delay another.

mod host;
mod workload;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use freshet_wire::{Settings, SettingsVersion, TopicKind, TopicScope};
use tokio::sync::watch;

use crate::tail::{Tail, Topic};

/// The running sources. Dropping it stops them and waits for their threads.
#[derive(Debug, Default)]
pub struct Sources {
    settings: Vec<Sender<Settings>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sources {
    /// Makes the sources' topics and starts to fill them.
    pub fn start(tail: &Tail, host: &Arc<str>, settings: &Settings) -> io::Result<Self> {
        let mut sources = Self::default();
        for sampler in host::samplers() {
            let topic = tail.create(sampler.topic, TopicKind::Log, TopicScope::Shared, false);
            let host = Arc::clone(host);
            sources.spawn(topic, settings, move |topic, settings| {
                host::run(sampler, topic, &host, &settings)
            })?;
        }
        let topic = tail.create("workload", TopicKind::Log, TopicScope::Shared, true);
        let host = Arc::clone(host);
        sources.spawn(topic, settings, move |topic, settings| {
            workload::run(topic, &host, &settings)
        })?;
        Ok(sources)
    }

    fn spawn<F>(&mut self, topic: Arc<Topic>, settings: &Settings, run: F) -> io::Result<()>
    where
        F: FnOnce(&Topic, Receiver<Settings>) + Send + 'static,
    {
        let (sender, receiver) = channel();
        // The receiver is alive: it is in this function.
        let _ = sender.send(settings.clone());
        let name = topic.name().to_string();
        self.threads
            .push(Builder::new().name(name).spawn(move || run(&topic, receiver))?);
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
