//! Rate limits, as far as they are fixed when the process starts (`[limit]`).

use std::path::PathBuf;

use freshet_wire::OnFailure;
use serde::Deserialize;
use serde_json::Value;

use super::key::Key;
use super::server::{each, text};
use crate::network::Network;

/// Rate limits, as far as they are fixed when the process starts. The quotas are live settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    pub engine: LimitEngine,
    /// Clients whose spending is remembered at once; beyond them, strangers share a quota with their neighbours.
    pub clients: usize,
    /// Proxies whose word on who the client is counts.
    pub trusted_proxies: Vec<Network>,
    /// The header in which they say it. The other one is not read: they pass it on as the client wrote it.
    pub forwarded_header: ForwardedHeader,
    pub redis: RedisConfig,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            engine: LimitEngine::default(),
            clients: 65_536,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            redis: RedisConfig::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitEngine {
    /// In this process, for this process.
    #[default]
    Embedded,
    /// Redis: several processes share their quotas.
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// How a Redis is reached, and what holds while it is away.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// `redis://[USER:PASSWORD@]HOST:PORT/DB`, or `rediss://` for TLS.
    pub url: String,
    /// Certificates (PEM) of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What stands before the names of its keys there.
    pub prefix: String,
    /// Connections; on each, checks are pipelined.
    pub connections: usize,
    /// A check that takes longer is decided without it, in milliseconds.
    pub timeout_ms: u64,
    pub on_failure: OnFailure,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            ca_file: None,
            prefix: "freshet:limit:".to_owned(),
            connections: 2,
            timeout_ms: 100,
            on_failure: OnFailure::Local,
        }
    }
}

const ENGINE: &str = "limit.engine";
const REDIS: &[&str] = &["redis"];

pub(super) fn keys() -> Vec<Key> {
    let (limit, redis) = (LimitConfig::default(), RedisConfig::default());
    vec![
        Key::choice(
            ENGINE,
            &["embedded", "redis"],
            "Where it is counted what clients spend: in this process, for this process, or in Redis, for several.",
        )
        .default("embedded"),
        Key::integer(
            "limit.clients",
            (16, 16_777_216),
            "clients",
            "Clients whose spending is remembered at once. Beyond them, strangers share a quota with their neighbours.",
        )
        .default(limit.clients),
        Key::networks(
            "limit.trusted_proxies",
            "Proxies whose word on who the client is counts.",
        )
        .check(are_networks),
        Key::choice(
            "limit.forwarded_header",
            &["x-forwarded-for", "forwarded"],
            "The header in which they say it. The other one is not read: they pass it on as the client wrote it.",
        )
        .default("x-forwarded-for"),
        Key::text(
            "limit.redis.url",
            "redis://[USER:PASSWORD@]HOST:PORT/DB, or rediss:// for TLS.",
        )
        .default(redis.url)
        .of(ENGINE, REDIS)
        .check(|value| {
            match ["redis://", "rediss://"]
                .iter()
                .any(|scheme| text(value).starts_with(scheme))
            {
                true => Ok(()),
                // It may have a password in it.
                false => Err("it begins with neither redis:// nor rediss://".to_owned()),
            }
        }),
        Key::text(
            "limit.redis.ca_file",
            "Certificates (PEM) of authorities to trust beside the system's.",
        )
        .example("ca.pem")
        .of(ENGINE, REDIS),
        Key::text("limit.redis.prefix", "What stands before the names of its keys there.")
            .default(redis.prefix)
            .of(ENGINE, REDIS),
        Key::integer(
            "limit.redis.connections",
            (1, 64),
            "connections",
            "On each, checks are pipelined.",
        )
        .default(redis.connections)
        .of(ENGINE, REDIS),
        Key::integer(
            "limit.redis.timeout_ms",
            (1, 10_000),
            "milliseconds",
            "A check that takes longer is decided without it.",
        )
        .default(redis.timeout_ms)
        .of(ENGINE, REDIS),
        Key::choice(
            "limit.redis.on_failure",
            &["local", "closed"],
            "While it is away: each process limits by itself, or nothing is admitted.",
        )
        .default("local")
        .of(ENGINE, REDIS),
    ]
}

pub(super) fn are_networks(value: &Value) -> Result<(), String> {
    each(
        value,
        |text| text.parse::<Network>().is_ok(),
        "is not a network, such as 10.0.0.0/8 or an address alone",
    )
}
