//! `GET /metrics`: OpenMetrics text. No label carries an address or a reader's name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use freshet_wire::{EngineState, LaneKind, LeaderState, PolicyStatus, Topic};
use http::header;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Service;
use crate::readers::Counters;
use crate::time::{now_us, process_cpu_ns, steady};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters and gauges of this process, as OpenMetrics text.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "service", responses((status = 200, body = String)))]
pub(super) async fn scrape(State(service): State<Arc<Service>>) -> Response {
    let mut registry = Registry::with_prefix("freshet");
    registry.register_collector(Box::new(Reading(service)));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        // Writing to a string does not fail.
        Err(fmt::Error) => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Reads the figures where they are kept, when asked: there is no second set of counters.
#[derive(Debug)]
struct Reading(Arc<Service>);

type OfLane = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

const OF_LANE: [OfLane; 9] = [
    ("requests", "HTTP requests, WebSocket handshakes among them", |c| {
        &c.requests
    }),
    ("empty_polls", "polls that brought no event", |c| &c.empty),
    ("frames", "WebSocket messages to readers", |c| &c.frames),
    ("events_delivered", "events delivered", |c| &c.events),
    (
        "received_bytes",
        "bytes received at the sockets, headers and frames included",
        |c| &c.bytes_in,
    ),
    (
        "sent_bytes",
        "bytes sent at the sockets, headers and frames included",
        |c| &c.bytes_out,
    ),
    ("events_missed", "events that were told to readers as a gap", |c| {
        &c.missed
    }),
    ("unknown_gaps", "gaps told whose number of events is unknown", |c| {
        &c.unknown_gaps
    }),
    (
        "values_superseded",
        "values of state topics that a newer one replaced",
        |c| &c.superseded,
    ),
];

const LANES: [(LaneKind, &str); 2] = [(LaneKind::Poll, "poll"), (LaneKind::Stream, "stream")];

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now_us = now_us();
        let lanes = LANES.map(|(lane, name)| (name, self.0.readers.totals(lane, now_us)));
        for (name, help, counter) in OF_LANE {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (lane, (counters, _)) in &lanes {
                let value = ConstCounter::new(counter(counters).load(Relaxed));
                value.encode(family.encode_family(&[("lane", *lane)])?)?;
            }
        }
        let help = "thread CPU time over the polls of the readers' connections";
        let mut family = encoder.encode_descriptor("delivery_cpu_seconds", help, None, MetricType::Counter)?;
        for (lane, (counters, _)) in &lanes {
            let value = ConstCounter::new(counters.cpu_ns.load(Relaxed) as f64 / 1e9);
            value.encode(family.encode_family(&[("lane", *lane)])?)?;
        }
        let mut family = encoder.encode_descriptor("readers", "active readers", None, MetricType::Gauge)?;
        for (lane, (_, active)) in &lanes {
            let value = ConstGauge::new(i64::try_from(*active).unwrap_or(i64::MAX));
            value.encode(family.encode_family(&[("lane", *lane)])?)?;
        }
        let help = "CPU time of the process: sources, tail and deliveries";
        let family = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(process_cpu_ns() as f64 / 1e9).encode(family)?;

        let board = self.0.election.board();
        let cluster = board.read(steady(), now_us);
        let help = "whether somebody leads, as this process sees it; absent where that is unknown";
        let state = cluster.seen.state();
        if state != LeaderState::Unknown {
            let family = encoder.encode_descriptor("has_leader", help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::from(state == LeaderState::Led)).encode(family)?;
        }
        let leads = board
            .mandate()
            .borrow()
            .as_ref()
            .is_some_and(|mandate| mandate.holds(steady()));
        let family = encoder.encode_descriptor("is_leader", "whether this process leads", None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(leads)).encode(family)?;
        let stale = board.stale();
        let refused = "events of a leader that leads no more that the log refused";
        let held_back = "events that a leader held back because its lease was over";
        for (name, help, value) in [
            (
                "leader_changes_seen",
                "changes of leader, the first leader among them",
                cluster.leader_changes,
            ),
            ("stale_writes_refused", refused, stale.refused),
            ("stale_writes_held_back", held_back, stale.held_back),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(family)?;
        }

        let up = self.0.tail.engine().status().borrow().state == EngineState::Up;
        let help = "whether the engine of pub/sub works";
        let family = encoder.encode_descriptor("pubsub_engine_up", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(up)).encode(family)?;
        let topics = self.0.tail.describe(now_us);
        let appended = |topic: &Topic| {
            topic
                .partitions
                .iter()
                .map(|partition| partition.next_offset)
                .sum::<u64>()
        };
        let mut family =
            encoder.encode_descriptor("topic_events", "events appended to a topic", None, MetricType::Counter)?;
        for topic in &topics {
            ConstCounter::new(appended(topic)).encode(family.encode_family(&[("topic", &*topic.name)])?)?;
        }
        let help = "events in a topic's log of a leader that led no more, which readers do not get";
        let mut family = encoder.encode_descriptor("topic_events_fenced", help, None, MetricType::Counter)?;
        for topic in &topics {
            ConstCounter::new(topic.fenced).encode(family.encode_family(&[("topic", &*topic.name)])?)?;
        }
        let help = "bytes of encoded events that are held of a topic";
        let mut family = encoder.encode_descriptor("topic_window_bytes", help, None, MetricType::Gauge)?;
        for topic in &topics {
            let value = ConstGauge::new(i64::try_from(topic.window.bytes).unwrap_or(i64::MAX));
            value.encode(family.encode_family(&[("topic", &*topic.name)])?)?;
        }
        self.settings(&mut encoder)?;
        self.limits(&mut encoder)
    }
}

impl Reading {
    fn settings(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let settings = &self.0.settings;
        let status = settings.status();
        let help = "changes of the live settings that came while the process ran, and were applied";
        let family = encoder.encode_descriptor("settings_changes", help, None, MetricType::Counter)?;
        ConstCounter::new(settings.changes()).encode(family)?;
        let version = i64::try_from(status.in_force.version).unwrap_or(i64::MAX);
        let family = encoder.encode_descriptor("settings_version", "the version in force", None, MetricType::Gauge)?;
        ConstGauge::new(version).encode(family)?;
        let help = "whether the store holds settings that are refused; the last good ones are in force";
        let family = encoder.encode_descriptor("settings_refused", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(status.refused.is_some())).encode(family)?;
        if let Some(took_us) = status.applied.first().and_then(|own| own.took_us) {
            let help = "from when the newest version was written, by its writer's clock, to when it was in force here";
            let family = encoder.encode_descriptor("settings_apply_seconds", help, None, MetricType::Gauge)?;
            ConstGauge::new(took_us as f64 / 1e6).encode(family)?;
        }
        Ok(())
    }

    /// By class and by policy, never by client.
    fn limits(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (status, _) = self.0.gate.status(false);
        let help = "requests that the rate limits decided about";
        let mut family = encoder.encode_descriptor("limit_requests", help, None, MetricType::Counter)?;
        for class in &status.classes {
            let counts = &class.counts;
            let outcomes = [
                ("allowed", counts.allowed),
                ("limited", counts.limited),
                ("shed", counts.shed),
                ("denied", counts.denied),
            ];
            for (outcome, count) in outcomes {
                let labels = [("class", class.class.name()), ("outcome", outcome)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        type OfPolicy = (&'static str, &'static str, fn(&PolicyStatus) -> u64);
        let of_policy: [OfPolicy; 2] = [
            ("limit_refused", "requests that a policy had no room for", |policy| {
                policy.limited
            }),
            (
                "limit_near",
                "requests admitted with at most a fifth of a policy's quota left",
                |policy| policy.near,
            ),
        ];
        for (name, help, count) in of_policy {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for policy in &status.policies {
                ConstCounter::new(count(policy)).encode(family.encode_family(&[("policy", &*policy.name)])?)?;
            }
        }
        let help = "checks that were answered, or refused, without the distributed engine";
        let family = encoder.encode_descriptor("limit_without_engine", help, None, MetricType::Counter)?;
        ConstCounter::new(status.without_engine).encode(family)?;
        let help = "connections refused because too many are open";
        let family = encoder.encode_descriptor("refused_connections", help, None, MetricType::Counter)?;
        ConstCounter::new(status.load.refused_connections).encode(family)?;
        let gauges = [
            (
                "limit_engine_up",
                "whether the engine of the limits works",
                u64::from(status.engine.state == EngineState::Up),
            ),
            (
                "open_requests",
                "requests that are being answered",
                status.load.requests.into(),
            ),
            ("open_streams", "streams that are open", status.load.streams.into()),
            ("shedding", "whether new load is refused", status.load.shedding.into()),
        ];
        for (name, help, value) in gauges {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family)?;
        }
        let help = "how late the process comes to what is due";
        let family = encoder.encode_descriptor("lag_seconds", help, None, MetricType::Gauge)?;
        ConstGauge::new(status.load.lag_us as f64 / 1e6).encode(family)
    }
}
