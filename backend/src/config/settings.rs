//! Where the live settings are kept.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::key::Key;
use super::{EtcdTls, Nothing, election, engine, settings, zookeeper};

/// The engine that keeps the live settings (`[settings]` in the file).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum SettingsEngine {
    /// `settings.toml` in the data folder.
    #[default]
    File,
    /// A key in etcd, for all processes.
    Etcd(SettingsEtcd),
    /// A znode in ZooKeeper, likewise.
    ZooKeeper(SettingsZooKeeper),
}

/// Not derived, as [`super::PubSub`] is not.
impl<'de> Deserialize<'de> for SettingsEngine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (engine, members) = engine(from)?;
        match engine.as_str() {
            Some("file") => settings(members).map(|Nothing {}| Self::File),
            Some("etcd") => settings(members).map(Self::Etcd),
            Some("zookeeper") => settings(members).map(Self::ZooKeeper),
            _ => Err(D::Error::custom(
                "engine: one of \"file\", \"etcd\" and \"zookeeper\" is expected",
            )),
        }
    }
}

/// How an etcd cluster is reached, and where in it the settings are: at `PREFIX/settings/document`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsEtcd {
    /// `http://HOST:PORT` or `https://HOST:PORT`, of as many members as are known.
    pub endpoints: Vec<String>,
    /// What the keys begin with: one service, one prefix.
    pub prefix: String,
    pub user: Option<String>,
    pub password: Option<String>,
    pub tls: Option<EtcdTls>,
}

/// The password is nobody's business.
impl fmt::Debug for SettingsEtcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsEtcd")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// How a ZooKeeper ensemble is reached, and where in it the settings are: at `PATH/settings/document`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsZooKeeper {
    /// `HOST:PORT` of as many servers as are known; without a port, 2181. They are of version 3.6 or newer.
    pub servers: Vec<String>,
    /// What the paths begin with: one service, one path. It may be deep; what is not there is made.
    pub path: String,
    /// For the scheme `digest`: with a user, only this user may do anything with what is made.
    pub user: Option<String>,
    pub password: Option<String>,
}

/// The password is nobody's business.
impl fmt::Debug for SettingsZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsZooKeeper")
            .field("servers", &self.servers)
            .field("path", &self.path)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

const ENGINE: &str = "settings.engine";

pub(super) fn keys() -> Vec<Key> {
    let mut keys = vec![
        Key::choice(
            ENGINE,
            &["file", "etcd", "zookeeper"],
            "Where the live settings are kept: settings.toml in the data folder, or one key of an etcd or a ZooKeeper that several processes share.",
        )
        .default("file"),
    ];
    keys.extend(election::etcd_keys("settings", ENGINE));
    keys.extend(zookeeper::keys("settings", ENGINE));
    keys.extend(election::user_keys("settings", ENGINE));
    keys
}
