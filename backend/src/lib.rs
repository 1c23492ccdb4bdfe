//! Freshet's back end: the same events by REST polling and by WebSocket streaming.
//!
//! Data flows one way, and a module imports only what stands to its left:
//!
//! ```text
//! source ──▶ tail ──▶ delivery/{poll,stream} ──▶ server ──▶ network
//!   ▲          ▲           │
//! election     │           │
//! observe ─────┘           └─ readers, connection: what each reader was given, and what it cost
//! limit guards delivery; settings reach every stage by a watch channel; config is fixed at the start
//! ```
//!
//! - [`election`] says whether this process leads; only then it samples and publishes;
//! - [`source`] samples this machine and generates the synthetic workload;
//! - [`tail`] holds the recent events of every topic, each encoded once, bounded by bytes;
//! - [`delivery`] has every route: both deliveries read the tail through the same [`tail::Reading`];
//! - [`limit`] decides what is done for whom, before it is done;
//! - [`readers`] counts, by reader, what was delivered, at the socket and in CPU time.

pub mod cli;
mod client;
pub mod config;
mod connection;
pub mod delivery;
pub mod election;
mod encode;
pub mod error;
pub mod limit;
pub mod logging;
pub mod network;
pub mod node;
mod observe;
pub mod pubsub;
pub mod readers;
mod server;
pub mod settings;
pub mod source;
pub mod tail;
pub mod time;

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{RetentionSettings, Settings};
use sysinfo::System;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use crate::config::{Config, ConfigError};
use crate::delivery::{BODIES_BYTES, Frames, Service};
use crate::election::ElectionError;
use crate::limit::gate::Gate;
use crate::node::{Node, NodeError};
use crate::pubsub::{PubSub, PubSubError};
use crate::readers::Readers;
use crate::settings::{Live, StoreError};
use crate::tail::Tail;

/// How long the start waits for the engine's topics.
const OPENING: Duration = Duration::from_secs(2);

/// Why the back end cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("the pub/sub engine cannot start: {0}")]
    PubSub(#[from] PubSubError),
    #[error(transparent)]
    Limit(#[from] limit::OpenError),
    #[error("the election's engine cannot start: {0}")]
    Election(#[from] ElectionError),
    #[error("the live settings cannot be opened: {0}")]
    Settings(#[from] StoreError),
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Runs the back end on this listener until `shutdown` resolves, and then ends it in order: readers get a close
/// frame, sources stop, open requests are answered.
pub async fn run(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    run_on(listener, config, pubsub::open, shutdown).await
}

/// The same, on a pub/sub engine that `open` opens, from its configuration, the data folder and the node's name.
pub async fn run_on(
    listener: TcpListener,
    config: Config,
    open: impl FnOnce(&config::PubSub, &Path, &str) -> Result<Arc<dyn PubSub>, PubSubError>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    config.check(listener.local_addr()?)?;
    let node = Node::open(&config.data, config.node_id.as_deref())?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let host: Arc<str> = Arc::from(System::host_name().unwrap_or_else(|_| "localhost".to_owned()));
    let (stop, stopping) = watch::channel(false);

    let seed = first_settings(&config);
    let store = settings::open(&config.settings, &config.data, &node.id, &seed)?;
    let settings = Live::open(store, &node.id, seed).await;
    logging::set(&settings.current().settings.log);
    // It elects in the background, while the rest starts.
    let election = settings.current().settings.election;
    let election = election::open(&config.election, &config.data, &node.id, election)?;
    let engine = open(&config.pubsub, &config.data, &node.id)?;
    let tail = Tail::new(engine, config.limits.window_bytes, config.limits.replay_bytes_per_s);
    let limiter = limit::open(&config.limit)?;
    let gate = Arc::new(Gate::new(limiter, &config.limit, &config.limits, settings.watch()));
    let service = Arc::new(Service {
        node: node.id.clone(),
        host: host.to_string(),
        tail,
        election,
        settings,
        gate: Arc::clone(&gate),
        readers: Readers::new(config.limits.readers),
        frames: Frames::default(),
        bodies: Semaphore::new(BODIES_BYTES),
        stopping: stopping.clone(),
        config,
    });
    let (opened, is_open) = oneshot::channel();
    let topics = tokio::spawn(open_topics(Arc::clone(&service), opened));
    // An engine in this process is there at once; one that is away must not keep the page waiting.
    let _ = timeout(OPENING, is_open).await;
    let work = [
        tokio::spawn(lead(Arc::clone(&service), host)),
        tokio::spawn(observe::cluster(Arc::clone(&service))),
        tokio::spawn(observe::settings(Arc::clone(&service))),
        tokio::spawn({
            let (service, stopping) = (Arc::clone(&service), stopping.clone());
            async move { service.settings.run(stopping).await }
        }),
        tokio::spawn(follow_settings(Arc::clone(&service))),
        tokio::spawn(observe::deliveries(Arc::clone(&service))),
        tokio::spawn(observe::limits(Arc::clone(&service))),
        tokio::spawn({
            let (gate, stopping) = (Arc::clone(&gate), stopping.clone());
            async move { gate.watch_load(stopping).await }
        }),
    ];

    let router = delivery::router(Arc::clone(&service));
    let limits = service.config.limits.clone();
    let serving = server::serve(
        listener,
        router,
        &limits,
        pubsub::open_files(&service.config.pubsub),
        gate,
        stopping,
    );
    let asked = async {
        shutdown.await;
        // Every receiver may be gone already; then there is nobody to tell.
        let _ = stop.send(true);
        service.tail.wake_all();
    };
    tokio::join!(serving, asked);
    topics.abort();
    for task in work {
        let _ = task.await;
    }
    // The sources have stopped and nobody publishes any more: another may lead. Each may wait for a server that is away, and they do so
    // at the same time.
    tokio::join!(
        service.election.close(),
        service.tail.engine().close(),
        service.settings.close()
    );
    Ok(())
}

/// What an empty store of live settings is filled with: the static configuration seeds it, and has no say afterwards.
fn first_settings(config: &Config) -> Settings {
    let mut settings = config.seed.clone();
    let (retention, seed) = (config.pubsub.retention(), settings.retention);
    settings.retention = RetentionSettings {
        max_age_s: retention.max_age_s.unwrap_or(seed.max_age_s),
        max_bytes: retention.max_bytes.unwrap_or(seed.max_bytes),
    };
    if let Some(ttl) = config.election.ttl() {
        settings.election.lease_ttl_s = ttl.as_secs();
    }
    settings
}

/// Hands the settings on to what has no watch of its own: the log on standard error, what is kept of each topic, and how long a lease is.
async fn follow_settings(service: Arc<Service>) {
    let (mut settings, mut stopping) = (service.settings.watch(), service.stopping.clone());
    loop {
        {
            let current = settings.borrow_and_update();
            logging::set(&current.settings.log);
            settings::retain(&service.tail, current.settings.retention);
            // Until the store was read, each process has the lease that its own configuration says.
            if current.version > 0 {
                let ttl = Duration::from_secs(current.settings.election.lease_ttl_s);
                service.election.retime(ttl);
            }
        }
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return },
            _ = stopping.wait_for(|&stopping| stopping) => return,
        }
    }
}

/// Runs the sources whenever this process leads.
async fn lead(service: Arc<Service>, host: Arc<str>) {
    let (settings, stopping) = (service.settings.watch(), service.stopping.clone());
    source::lead(&service.tail, &host, service.election.board(), settings, stopping).await;
}

/// Opens the topics that the sources fill, and those that the engine knows already. An engine that is away is tried again; its
/// state says so meanwhile.
async fn open_topics(service: Arc<Service>, opened: oneshot::Sender<()>) {
    let tail = &service.tail;
    let mut specs = source::topics(settings::retention_of(service.settings.current().settings.retention));
    for spec in &specs {
        tail.declare(spec);
    }
    let mut opened = Some(opened);
    let mut wait = Duration::from_millis(100);
    let mut asked = false;
    loop {
        let mut left = Vec::new();
        for spec in specs {
            if let Err(error) = tail.open_known(&spec).await {
                tracing::warn!(topic = spec.name, %error, "a topic cannot be opened yet");
                left.push(spec);
            }
        }
        if !asked {
            match tail.engine().known().await {
                Ok(known) => {
                    // From now on they are listed, also one that cannot be opened.
                    known.iter().for_each(|spec| _ = tail.declare(spec));
                    left.extend(known);
                    asked = true;
                    specs = left;
                    continue;
                }
                Err(error) => tracing::warn!(%error, "the engine does not tell of its topics yet"),
            }
        }
        settings::retain(tail, service.settings.current().settings.retention);
        if let Some(opened) = opened.take() {
            let _ = opened.send(());
        }
        if left.is_empty() && asked {
            return;
        }
        specs = left;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}
