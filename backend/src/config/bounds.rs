//! The bounds of what others can make this process do or hold (`[bounds]`).

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::key::Key;

/// The bounds of what others can make this process do or hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of encoded events that each topic holds in memory.
    pub window_bytes: usize,
    /// Connections at once, of all kinds.
    pub connections: usize,
    /// Connections at once of one peer that is no trusted proxy.
    pub peer_connections: usize,
    /// Requests that are answered at once, long polls among them, and those of one client.
    pub requests: u32,
    pub client_requests: u32,
    /// Streams of one client.
    pub client_streams: u32,
    /// While the process comes to what is due later than this, new load is shed; what is open goes on.
    #[serde(rename = "lag_ms", deserialize_with = "milliseconds")]
    pub lag: Duration,
    /// The head of a request, in bytes.
    pub header_bytes: usize,
    /// A request's head must be there this long after its first byte.
    #[serde(rename = "header_timeout_ms", deserialize_with = "milliseconds")]
    pub header_timeout: Duration,
    /// A connection without a request is closed after this.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "milliseconds")]
    pub idle_timeout: Duration,
    /// The body of a request, in bytes.
    pub body_bytes: usize,
    /// A body that publishes, in bytes: of a batch, all of it.
    pub publish_bytes: usize,
    /// The data of one event, in bytes of JSON.
    pub event_bytes: usize,
    /// Events that one publish may bring.
    pub publish_events: usize,
    /// Bytes a second that all who replay old events are given together, so that live readers do not wait for them.
    pub replay_bytes_per_s: u64,
    /// A message from a stream's client, in bytes.
    pub message_bytes: usize,
    /// Topics that one poll or one stream may read.
    pub subscriptions: usize,
    /// The server pings a stream on which it had nothing to send for this long.
    #[serde(rename = "heartbeat_ms", deserialize_with = "milliseconds")]
    pub heartbeat: Duration,
    /// A stream whose client gave no sign of life for this long is closed.
    #[serde(rename = "silence_ms", deserialize_with = "milliseconds")]
    pub silence: Duration,
    /// A stream whose client takes no byte for this long is closed with 1013.
    #[serde(rename = "stuck_ms", deserialize_with = "milliseconds")]
    pub stuck: Duration,
    /// Readers whose figures are kept.
    pub readers: usize,
    /// How long open connections have to end when the process is asked to stop.
    #[serde(rename = "shutdown_ms", deserialize_with = "milliseconds")]
    pub shutdown: Duration,
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_bytes: 4 << 20,
            connections: 10_000,
            peer_connections: 2000,
            requests: 4096,
            client_requests: 1024,
            client_streams: 1024,
            lag: Duration::from_secs(1),
            header_bytes: 16 << 10,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_bytes: 64 << 10,
            publish_bytes: 8 << 20,
            event_bytes: 1 << 20,
            publish_events: 10_000,
            replay_bytes_per_s: 32 << 20,
            message_bytes: 64 << 10,
            subscriptions: 64,
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            stuck: Duration::from_secs(10),
            readers: 4096,
            shutdown: Duration::from_secs(5),
        }
    }
}

pub(super) fn keys() -> Vec<Key> {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let d = Limits::default();
    let number = |name: &str, default: usize, bounds: (u64, u64), unit: &str, what: &str| {
        Key::integer(format!("bounds.{name}"), bounds, unit, what).default(default)
    };
    let bytes =
        |name: &str, default: usize, bounds: (u64, u64), what: &str| number(name, default, bounds, "bytes", what);
    let time = |name: &str, default: Duration, most: u64, what: &str| {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Key::integer(format!("bounds.{name}"), (10, most), "milliseconds", what).default(default)
    };
    vec![
        bytes(
            "window_bytes",
            d.window_bytes,
            (64 * KIB, 1024 * MIB),
            "The newest events of each topic that are held in memory.",
        ),
        number(
            "connections",
            d.connections,
            (4, 1_000_000),
            "connections",
            "Connections at once, of all kinds.",
        ),
        number(
            "peer_connections",
            d.peer_connections,
            (1, 1_000_000),
            "connections",
            "Connections at once of one peer that is no trusted proxy.",
        ),
        number(
            "requests",
            d.requests as usize,
            (4, 1_000_000),
            "requests",
            "Requests that are answered at once, long polls among them.",
        ),
        number(
            "client_requests",
            d.client_requests as usize,
            (1, 1_000_000),
            "requests",
            "Those of one client.",
        ),
        number(
            "client_streams",
            d.client_streams as usize,
            (1, 1_000_000),
            "streams",
            "Streams of one client.",
        ),
        time(
            "lag_ms",
            d.lag,
            60_000,
            "While the process comes later than this to what is due, new load is shed; what is open goes on.",
        ),
        bytes("header_bytes", d.header_bytes, (8 * KIB, MIB), "The head of a request."),
        time(
            "header_timeout_ms",
            d.header_timeout,
            600_000,
            "A request's head must be there so long after its first byte.",
        ),
        time(
            "idle_timeout_ms",
            d.idle_timeout,
            3_600_000,
            "A connection without a request is closed after this.",
        ),
        bytes(
            "body_bytes",
            d.body_bytes,
            (KIB, 16 * MIB),
            "The body of a request that publishes nothing.",
        ),
        bytes(
            "publish_bytes",
            d.publish_bytes,
            (KIB, 64 * MIB),
            "A body that publishes: of a batch, all of it.",
        ),
        bytes(
            "event_bytes",
            d.event_bytes,
            (KIB, 16 * MIB),
            "The data of one event, as JSON.",
        ),
        number(
            "publish_events",
            d.publish_events,
            (1, 100_000),
            "events",
            "Events that one request may publish.",
        ),
        Key::integer(
            "bounds.replay_bytes_per_s",
            (64 * KIB, 64 * 1024 * MIB),
            "bytes a second",
            "What all who replay old events are given together, so that live readers do not wait for them.",
        )
        .default(d.replay_bytes_per_s),
        bytes(
            "message_bytes",
            d.message_bytes,
            (KIB, 16 * MIB),
            "A message from a stream's client.",
        ),
        number(
            "subscriptions",
            d.subscriptions,
            (1, 1024),
            "topics",
            "Topics that one poll or one stream may read.",
        ),
        time(
            "heartbeat_ms",
            d.heartbeat,
            600_000,
            "The server pings a stream on which it had nothing to send for so long.",
        ),
        time(
            "silence_ms",
            d.silence,
            3_600_000,
            "A stream whose client gave no sign of life for so long is closed.",
        ),
        time(
            "stuck_ms",
            d.stuck,
            600_000,
            "A stream whose client takes no byte for so long is closed with 1013.",
        ),
        number(
            "readers",
            d.readers,
            (16, 1_000_000),
            "readers",
            "Readers whose figures are kept.",
        ),
        time(
            "shutdown_ms",
            d.shutdown,
            600_000,
            "How long open connections have to end when the process is asked to stop.",
        ),
    ]
}
