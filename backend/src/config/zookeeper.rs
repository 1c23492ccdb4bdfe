//! How a ZooKeeper ensemble is reached.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, shown};
use super::server::{each, text};

const ZOOKEEPER: &[&str] = &["zookeeper"];

/// How a ZooKeeper ensemble is reached, and where in it the election stands.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooKeeperConfig {
    /// `HOST:PORT` of as many servers as are known; without a port, 2181.
    pub servers: Vec<String>,
    /// What the paths begin with: one service, one path. It may be deep; what is not there is made.
    pub path: String,
    /// How long a leader that falls silent keeps the lead, in seconds, until the live setting `election.lease_ttl_s` is read.
    /// The ensemble may grant more or less, and then that counts. It must be
    /// two ticks of the ensemble's clock or more, which is the least that is granted unless its `minSessionTimeout` was set lower.
    #[serde(skip, default = "session_timeout_s")]
    pub session_timeout_s: u64,
    /// For the scheme `digest`: with a user, only this user may do anything with what is made.
    pub user: Option<String>,
    pub password: Option<String>,
}

/// The password is nobody's business.
impl fmt::Debug for ZooKeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperConfig")
            .field("servers", &self.servers)
            .field("path", &self.path)
            .field("session_timeout_s", &self.session_timeout_s)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How an ensemble is reached, below this section.
pub(super) fn keys(section: &str, engine: &'static str) -> [Key; 2] {
    let name = |name: &str| format!("{section}.{name}");
    [
        Key::texts(
            name("servers"),
            "HOST:PORT of as many servers as are known; without a port, 2181.",
        )
        .needed()
        .example(vec!["zk-1:2181", "zk-2:2181"])
        .of(engine, ZOOKEEPER)
        .check(|value| match value.as_array().is_none_or(Vec::is_empty) {
            true => Err("one server at least is needed".to_owned()),
            false => each(value, is_server, "is not HOST:PORT"),
        }),
        Key::text(
            name("path"),
            "What the paths begin with: one service, one path. What is not there is made.",
        )
        .default("/freshet")
        .of(engine, ZOOKEEPER)
        .check(is_path),
    ]
}

fn session_timeout_s() -> u64 {
    6
}

fn is_server(server: &str) -> bool {
    // An address of IPv6 stands in brackets.
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return false,
        },
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| "/,[]".contains(c) || c.is_whitespace());
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    is_host && is_port
}

fn is_path(value: &Value) -> Result<(), String> {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
    let is_path = text(value)
        .strip_prefix('/')
        .is_some_and(|names| names != "zookeeper" && names.split('/').all(is_name));
    match is_path {
        true => Ok(()),
        false => Err(format!("{} is not /NAME or /NAME/NAME…", shown(text(value)))),
    }
}
