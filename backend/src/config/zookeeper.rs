//! How a ZooKeeper ensemble is reached.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Seconds of a session: what an ensemble grants has bounds of its own (2 and 20 ticks of its clock, by default 4 s and 40 s).
const SESSION_S: std::ops::RangeInclusive<u64> = 1..=300;

/// How a ZooKeeper ensemble is reached, and where in it the election stands.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooKeeperConfig {
    /// `HOST:PORT` of as many servers as are known; without a port, 2181.
    #[serde(deserialize_with = "servers")]
    pub servers: Vec<String>,
    /// What the paths begin with: one service, one path. It may be deep; what is not there is made.
    #[serde(default = "default_path", deserialize_with = "path")]
    pub path: String,
    /// How long a leader that falls silent keeps the lead, in seconds, as long as the live setting `election.lease_ttl_s` does not say otherwise.
    /// The ensemble may grant more or less, and then that counts. It must be
    /// two ticks of the ensemble's clock or more, which is the least that is granted unless its `minSessionTimeout` was set lower.
    #[serde(default = "default_session_timeout_s", deserialize_with = "session_timeout_s")]
    pub session_timeout_s: u64,
    /// For the scheme `digest`: with a user, only this user may do anything with what is made.
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<String>,
}

impl ZooKeeperConfig {
    /// What one field alone does not show.
    pub(super) fn checked(self) -> Result<Self, &'static str> {
        check_user(self.user.as_deref(), self.password.as_deref())?;
        Ok(self)
    }
}

pub(super) fn check_user(user: Option<&str>, password: Option<&str>) -> Result<(), &'static str> {
    match (user, password) {
        (Some(user), Some(_)) if user.is_empty() || user.contains(':') => {
            Err("user: it has one character at least, and no ':'")
        }
        (Some(_), None) => Err("password: a user has one"),
        (None, Some(_)) => Err("user: a password is somebody's"),
        _ => Ok(()),
    }
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

pub(super) fn default_path() -> String {
    "/freshet".to_owned()
}

fn default_session_timeout_s() -> u64 {
    6
}

pub(super) fn servers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let servers: Vec<String> = Vec::deserialize(from)?;
    if servers.is_empty() {
        return Err(D::Error::custom("one server at least is needed"));
    }
    match servers.iter().find(|server| !is_server(server)) {
        Some(wrong) => Err(D::Error::custom(format!("{wrong:?} is not HOST:PORT"))),
        None => Ok(servers),
    }
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

pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let path = String::deserialize(from)?;
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
    let is_path = path
        .strip_prefix('/')
        .is_some_and(|names| names != "zookeeper" && names.split('/').all(is_name));
    if is_path {
        Ok(path)
    } else {
        Err(D::Error::custom(format!("{path:?} is not /NAME or /NAME/NAME…")))
    }
}

fn session_timeout_s<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let seconds = u64::deserialize(from)?;
    if SESSION_S.contains(&seconds) {
        Ok(seconds)
    } else {
        let (least, most) = SESSION_S.into_inner();
        Err(D::Error::custom(format!(
            "a session lasts for {least} to {most} seconds, not {seconds}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigFile, Election};

    fn read(text: &str) -> Result<Election, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[election]\nengine = 'zookeeper'\n{text}")).unwrap();
        let read = ConfigFile::read(file.path());
        read.map(|file| file.election).map_err(|error| error.to_string())
    }

    #[test]
    fn servers_are_enough_and_the_password_is_not_shown() {
        let servers = "servers = ['zk-1', '10.0.0.2:2182', '[::1]:2181', '[::1]']\n";
        let Election::ZooKeeper(config) = read(servers).unwrap() else {
            panic!()
        };
        assert_eq!((&*config.path, config.session_timeout_s), ("/freshet", 6));
        let Election::ZooKeeper(config) = read(&format!(
            "{servers}path = '/a/b'\nsession_timeout_s = 10\nuser = 'u'\npassword = 'secret'"
        ))
        .unwrap() else {
            panic!()
        };
        assert_eq!((&*config.path, config.session_timeout_s), ("/a/b", 10));
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (text, why) in [
            ("", "servers"),
            ("servers = []", "servers: one server"),
            ("servers = ['a:b']", "servers: \"a:b\" is not HOST:PORT"),
            ("servers = ['a:2181,b:2181']", "is not HOST:PORT"),
            ("servers = ['a/chroot']", "is not HOST:PORT"),
            ("servers = ['a:0']", "is not HOST:PORT"),
            ("servers = ['::1']", "is not HOST:PORT"),
            ("servers = ['a']\npath = 'freshet'", "path: \"freshet\" is not /NAME"),
            ("servers = ['a']\npath = '/'", "path: "),
            ("servers = ['a']\npath = '/a/'", "path: "),
            ("servers = ['a']\npath = '/a/../b'", "path: "),
            (
                "servers = ['a']\nsession_timeout_s = 0",
                "session_timeout_s: a session lasts for 1 to 300 seconds, not 0",
            ),
            ("servers = ['a']\nuser = 'u'", "password: "),
            ("servers = ['a']\npassword = 'p'", "user: "),
            ("servers = ['a']\nuser = 'u:v'\npassword = 'p'", "user: "),
            ("servers = ['a']\nttl_s = 5", "ttl_s"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(why), "{text:?}: {told}");
        }
    }
}
