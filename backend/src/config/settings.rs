//! Where the live settings are kept.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{EtcdTls, Nothing, engine, etcd_prefix, settings, zookeeper};

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
            Some("zookeeper") => {
                let config: SettingsZooKeeper = settings(members)?;
                zookeeper::check_user(config.user.as_deref(), config.password.as_deref()).map_err(D::Error::custom)?;
                Ok(Self::ZooKeeper(config))
            }
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
    #[serde(deserialize_with = "endpoints")]
    pub endpoints: Vec<String>,
    /// What the keys begin with: one service, one prefix.
    #[serde(default = "etcd_prefix")]
    pub prefix: String,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
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

fn endpoints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let endpoints: Vec<String> = Vec::deserialize(from)?;
    let is_endpoint = |endpoint: &str| {
        let rest = endpoint
            .strip_prefix("http://")
            .or_else(|| endpoint.strip_prefix("https://"));
        rest.is_some_and(|rest| !rest.is_empty())
    };
    if endpoints.is_empty() {
        return Err(D::Error::custom("one endpoint at least is needed"));
    }
    match endpoints.iter().find(|endpoint| !is_endpoint(endpoint)) {
        Some(wrong) => Err(D::Error::custom(format!(
            "{wrong:?} is not http://HOST:PORT or https://HOST:PORT"
        ))),
        None => Ok(endpoints),
    }
}

/// How a ZooKeeper ensemble is reached, and where in it the settings are: at `PATH/settings/document`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsZooKeeper {
    /// `HOST:PORT` of as many servers as are known; without a port, 2181. They are of version 3.6 or newer.
    #[serde(deserialize_with = "zookeeper::servers")]
    pub servers: Vec<String>,
    /// What the paths begin with: one service, one path. It may be deep; what is not there is made.
    #[serde(default = "zookeeper::default_path", deserialize_with = "zookeeper::path")]
    pub path: String,
    /// For the scheme `digest`: with a user, only this user may do anything with what is made.
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;

    fn read(text: &str) -> Result<SettingsEngine, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[settings]\n{text}")).unwrap();
        let read = ConfigFile::read(file.path());
        read.map(|file| file.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn an_engine_has_its_own_settings_and_the_password_is_not_shown() {
        assert_eq!(read("engine = 'file'").unwrap(), SettingsEngine::File);
        let etcd = read("engine = 'etcd'\nendpoints = ['http://a:2379']\nuser = 'u'\npassword = 'secret'").unwrap();
        let SettingsEngine::Etcd(config) = &etcd else { panic!() };
        assert_eq!((&*config.prefix, config.tls.as_ref()), ("freshet", None));
        let zookeeper = read("engine = 'zookeeper'\nservers = ['a']\nuser = 'u'\npassword = 'secret'").unwrap();
        let SettingsEngine::ZooKeeper(config) = &zookeeper else {
            panic!()
        };
        assert_eq!(config.path, "/freshet");
        assert!(!format!("{etcd:?}{zookeeper:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (text, why) in [
            ("engine = 'consul'", "engine: one of"),
            ("engine = 'file'\nendpoints = []", "endpoints"),
            ("engine = 'etcd'", "endpoints"),
            ("engine = 'etcd'\nendpoints = []", "endpoints: one endpoint"),
            (
                "engine = 'etcd'\nendpoints = ['a:2379']",
                "endpoints: \"a:2379\" is not http://",
            ),
            ("engine = 'etcd'\nendpoints = ['http://a']\nttl_s = 5", "ttl_s"),
            (
                "engine = 'zookeeper'\nservers = ['a:b']",
                "servers: \"a:b\" is not HOST:PORT",
            ),
            ("engine = 'zookeeper'\nservers = ['a']\nuser = 'u'", "password: "),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(why), "{text:?}: {told}");
        }
    }
}
