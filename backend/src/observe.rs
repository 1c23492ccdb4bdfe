//! What this process observes of itself, put onto local state topics: straight into its own tail.

use std::sync::Arc;
use std::time::Duration;

use freshet_wire::{Deliveries, SamplingSettings, SettingsVersion, TopicKind};
use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use crate::delivery::{Service, cluster};
use crate::pubsub::Record;
use crate::tail::{Room, Topic};
use crate::time::{now_us, process_cpu_ns};

/// How often the lease is looked at, and how soon after one another changes are told at most.
const RENEWALS: Duration = Duration::from_millis(500);
const CHANGES: Duration = Duration::from_millis(50);
/// Readers that one value lists.
const MOST_READERS: usize = 50;
/// Topics, likewise: some 30 kB of them.
const TOPICS: Room = Room {
    topics: 64,
    partitions: 2048,
};

/// Keeps the topic `settings` at the settings in force.
pub(crate) async fn settings(service: Arc<Service>) {
    let topic = service.tail.local("settings", TopicKind::State);
    let mut settings = service.settings.watch_status();
    let mut stopping = service.stopping.clone();
    let mut last = 0;
    loop {
        let current = Arc::clone(&settings.borrow_and_update());
        // A new version begins when it was written; whatever else is told of it begins now.
        let is_version = current.in_force.version != last;
        last = current.in_force.version;
        let produced_us = if is_version {
            current.in_force.changed_us
        } else {
            now_us()
        };
        append(&topic, "settings", produced_us, &*current);
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return },
            _ = stopping.wait_for(|&stopping| stopping) => return,
        }
    }
}

/// Keeps the topic `cluster` at what is known of the leadership: changes at once, renewals of the lease twice a second.
pub(crate) async fn cluster(service: Arc<Service>) {
    let topic = service.tail.local("cluster", TopicKind::State);
    let mut changes = service.election.board().changes();
    let mut stopping = service.stopping.clone();
    loop {
        changes.borrow_and_update();
        let cluster = cluster::describe(&service);
        append(&topic, "cluster", cluster.now_us, &cluster);
        let next = async {
            sleep(CHANGES).await;
            let _ = timeout(RENEWALS - CHANGES, changes.changed()).await;
        };
        tokio::select! {
            () = next => {}
            _ = stopping.wait_for(|&stopping| stopping) => return,
        }
    }
}

/// Samples what the deliveries cost onto the topic `deliveries`.
pub(crate) async fn deliveries(service: Arc<Service>) {
    let topic = service.tail.local("deliveries", TopicKind::State);
    let mut samples = Samples::new(&service, |sampling| sampling.deliveries_hz);
    while samples.next().await {
        let now_us = now_us();
        let (mut readers, readers_total) = service.readers.describe(MOST_READERS, now_us);
        // The value goes to every page once a second: it must not grow with those who left.
        readers.retain(|reader| reader.active);
        let (topics, topics_total) = service.tail.list(TOPICS, now_us);
        let process_cpu_us = process_cpu_ns() / 1000;
        append(
            &topic,
            "deliveries",
            now_us,
            &Deliveries {
                readers,
                readers_total,
                pubsub: service.tail.engine().status().borrow().clone(),
                topics,
                topics_total,
                process_cpu_us,
            },
        );
    }
}

/// Puts the counters of the limits onto the topic `limits`, as often as the settings say, as long as there is something to tell.
pub(crate) async fn limits(service: Arc<Service>) {
    let topic = service.tail.local("limits", TopicKind::State);
    let mut engine = service.gate.engine();
    let mut told = None;
    let mut samples = Samples::new(&service, |sampling| sampling.limits_hz);
    while samples.next().await {
        let (status, happened) = service.gate.status(true);
        let others = (
            service.gate.rules().version,
            status.load.shedding,
            status.load.refused_connections,
        );
        // Where nothing happened, and nothing changed, no event is needed.
        if happened || engine.has_changed().unwrap_or(false) || told != Some(others) {
            engine.mark_unchanged();
            told = Some(others);
            append(&topic, "limits", now_us(), &status);
        }
    }
}

/// When to sample, by the settings.
struct Samples {
    settings: watch::Receiver<Arc<SettingsVersion>>,
    stopping: watch::Receiver<bool>,
    rate: fn(&SamplingSettings) -> f64,
    hz: f64,
    every: Interval,
}

impl Samples {
    fn new(service: &Service, rate: fn(&SamplingSettings) -> f64) -> Self {
        let mut settings = service.settings.watch();
        let hz = rate(&settings.borrow_and_update().settings.sampling);
        Self {
            settings,
            stopping: service.stopping.clone(),
            rate,
            hz,
            every: every(hz, Duration::ZERO),
        }
    }

    /// Waits until it is time; false when the process is to stop.
    async fn next(&mut self) -> bool {
        loop {
            tokio::select! {
                _ = self.every.tick() => return true,
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    let hz = (self.rate)(&self.settings.borrow_and_update().settings.sampling);
                    if hz != self.hz {
                        self.hz = hz;
                        self.every = every(hz, Duration::from_secs_f64(1.0 / hz));
                    }
                }
                _ = self.stopping.wait_for(|&stopping| stopping) => return false,
            }
        }
    }
}

/// So many times a second, from so long from now on. The rate is within the bounds of its setting.
fn every(hz: f64, from: Duration) -> Interval {
    let mut every = interval_at(Instant::now() + from, Duration::from_secs_f64(1.0 / hz));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

fn append<T: Serialize>(topic: &Topic, kind: &str, produced_us: i64, value: &T) {
    // A struct of numbers and strings has a text.
    if let Ok(data) = to_raw_value(value) {
        topic.append(
            &Record {
                produced_us,
                host: None,
                token: None,
                kind: kind.into(),
                id: None,
                key: None,
                data,
            },
            now_us(),
        );
    }
}
