//! The back end in this process, on a port of its own and with a data folder of its own.

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet::RunError;
use freshet::config::{Config, PubSub};
use freshet::pubsub::PubSub as PubSubEngine;
use freshet_wire::{Reader, SettingsVersion, Topic, Topics};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::follower::Page;
use crate::http::{Answer, get, request, send};
use crate::stream::Stream;
use crate::{SOON, until, within};

/// A running back end, on threads of its own as in the program; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    config: Config,
    /// An engine that no configuration names.
    engine: Option<Arc<dyn PubSubEngine>>,
    running: Option<Running>,
    _data: TempDir,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<Result<(), RunError>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With another configuration than the usual one.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(None, change).await
    }

    /// On this engine, where there is one.
    pub async fn start_on(engine: Option<Arc<dyn PubSubEngine>>, change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config {
            data: data.path().to_owned(),
            ..Config::default()
        };
        // A test asks as often as it is answered; those of the limits themselves take this away.
        config.seed.limit.exempt = vec!["127.0.0.0/8".to_owned()];
        change(&mut config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            config,
            engine,
            running: None,
            _data: data,
        };
        server.run(listener);
        server
    }

    /// One whose only events are those that a test asks for: no telemetry.
    pub async fn quiet(change: impl FnOnce(&mut Config)) -> Self {
        let server = Self::start_with(change).await;
        let off = json!({"source": {"cpu_hz": 0, "network_hz": 0, "memory_hz": 0, "disk_hz": 0, "processes_hz": 0}});
        server.change(off).await;
        server
    }

    /// A quiet one that keeps nothing beyond windows of so many bytes.
    pub async fn forgetful(window_bytes: usize) -> Self {
        Self::quiet(|config| {
            config.pubsub = PubSub::Memory;
            config.limits.window_bytes = window_bytes;
        })
        .await
    }

    fn run(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let (config, engine) = (self.config.clone(), self.engine.clone());
        let thread = std::thread::spawn(move || run_on(listener, config, engine, async { _ = stopped.await }));
        self.running = Some(Running { stop, thread });
    }

    /// Asks it to stop and waits for its end, which must be orderly; how long that took.
    pub async fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        let running = self.running.take().expect("it runs");
        running.stop.send(()).expect("it still runs");
        // Open requests may be answered still.
        let limit = self.config.limits.shutdown + SOON;
        let ended = within(limit, "the end of the server", spawn_blocking(|| running.thread.join())).await;
        ended.unwrap().expect("no thread panicked").expect("an orderly end");
        begun.elapsed()
    }

    /// Starts again, on the same port and with the same data folder and configuration.
    pub fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.run(listener);
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.config.data
    }

    /// The newest file of a topic's log.
    pub fn segment_of(&self, topic: &str) -> PathBuf {
        let name = format!("\"name\":{}", json!(topic));
        let folders = fs::read_dir(self.data().join("log")).unwrap();
        let mut folders = folders.map(|folder| folder.unwrap().path());
        let is_it =
            |folder: &PathBuf| fs::read_to_string(folder.join("topic.json")).is_ok_and(|text| text.contains(&name));
        let files = fs::read_dir(folders.find(is_it).expect("the topic's folder")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let segments = files.filter(|file| file.extension().is_some_and(|it| it == "seg"));
        segments.max().expect("a segment")
    }

    pub async fn get(&self, path: &str) -> Answer {
        get(self.address, path).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.address, request(method, path, headers, body)).await
    }

    /// Polls, with the query of `GET /events`.
    pub async fn poll(&self, query: &str) -> Page {
        self.get(&format!("/api/v1/events?{query}")).await.page()
    }

    /// Patches the settings, which must be accepted.
    pub async fn change(&self, patch: Value) -> SettingsVersion {
        let answer = self
            .send(Method::PATCH, "/api/v1/settings", &[], &patch.to_string())
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub async fn topics(&self) -> Topics {
        self.get("/api/v1/topics").await.json()
    }

    pub async fn topic(&self, name: &str) -> Topic {
        let topics = self.topics().await.topics;
        topics.into_iter().find(|topic| topic.name == name).expect(name)
    }

    /// The offset that the topic's next event will have.
    pub async fn end_of(&self, topic: &str) -> u64 {
        self.topic(topic).await.partitions[0].next_offset
    }

    /// What the server counted for this reader.
    pub async fn reader(&self, id: &str) -> Reader {
        let readers = self.topics().await.readers;
        readers.into_iter().find(|reader| reader.id == id).expect(id)
    }

    /// Appends exactly `count` events to `workload`, in one burst, and waits until all are there.
    pub async fn append(&self, count: u32, payload_bytes: u32) {
        // The generator looks at its settings again after that many, and the rest of a longer burst would be lost.
        assert!((1..=1000).contains(&count));
        let begin = self.end_of("workload").await;
        let end = begin + u64::from(count);
        // A burst is due every 0.8 s: time enough to end the workload before the second one.
        let rate_hz = f64::from(count) / 0.8;
        let burst = json!({"workload": {"rate_hz": rate_hz, "shape": "bursts", "burst_events": count, "payload_bytes": payload_bytes}});
        self.change(burst).await;
        let first = self.poll(&format!("from=workload@offset:0:{begin}&wait=5")).await;
        assert!(!first.events.is_empty(), "no burst came");
        self.change(json!({"workload": {"rate_hz": 0}})).await;
        until("the whole burst", async || self.end_of("workload").await >= end).await;
        assert_eq!(self.end_of("workload").await, end);
    }

    /// Both deliveries work for a reader that has done nothing wrong.
    pub async fn still_serves(&self) {
        let answer = self.get("/readyz").await;
        assert_eq!((answer.status, answer.text()), (200, "ready\n"));
        assert_eq!(self.poll("from=settings").await.events.len(), 1);
        let mut stream = Stream::open(self.address).await;
        stream.subscribe(&["settings"]).await;
        assert_eq!(stream.page().await.events.len(), 1);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its thread ends by itself; nobody waits for it, as the test may be failing.
        if let Some(running) = self.running.take() {
            _ = running.stop.send(());
        }
    }
}

/// Runs the back end on the calling thread, in a runtime as the program has one.
pub fn run(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    run_on(listener, config, None, shutdown)
}

fn run_on(
    listener: TcpListener,
    config: Config,
    engine: Option<Arc<dyn PubSubEngine>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        match engine {
            Some(engine) => freshet::run_on(listener, config, |_, _, _| Ok(engine), shutdown).await,
            None => freshet::run(listener, config, shutdown).await,
        }
    })
}
