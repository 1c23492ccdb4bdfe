//! From sources to a configuration: which value is in force, whether the values go together, and the structures that they fill.

use std::collections::BTreeMap;

use freshet_wire::{ConfigSource, SettingKey, Settings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fault::{Fault, Faults};
use super::key::{Key, SEED, table};
use super::server::Server;
use super::source::{Entry, Found, Keys, Sources, gather, rank};
use super::{Config, is_loopback, stated};
use crate::time::now_us;

/// The live settings, as far as a configuration seeds them. They are a capability of their own, so whoever reads one brings them.
#[derive(Debug, Clone, Copy)]
pub struct Seeds<'a> {
    pub settings: &'a [SettingKey],
    /// Takes settings, of which sections may be missing, or says of which key why not.
    pub check: fn(&Value) -> Result<Settings, (String, String)>,
}

/// Reads the configuration, whole or not at all: all that is wrong is told at once.
pub fn load(sources: &Sources, seeds: Seeds<'_>) -> Result<Config, Faults> {
    let seeded = seeds.settings.iter().map(Key::seed);
    let keys = Keys(table().iter().cloned().chain(seeded).collect());
    let Found {
        file,
        entries,
        mut faults,
    } = gather(sources, &keys);
    let values = Values::of(&keys, entries, &mut faults);
    values.check(&mut faults);
    let seed = values.seed(seeds, &mut faults);
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    values.build(seed, file).map_err(|fault| Faults(vec![fault]))
}

/// What is in force.
pub(super) struct Values<'a> {
    keys: &'a Keys,
    /// Of each key that was set.
    set: BTreeMap<&'a str, Entry>,
}

impl<'a> Values<'a> {
    fn of(keys: &'a Keys, entries: Vec<Entry>, faults: &mut Vec<Fault>) -> Self {
        let mut values = Self {
            keys,
            set: BTreeMap::new(),
        };
        // They come in the order of their ranks, and engines say which others count.
        let (engines, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| keys.0[entry.key].of.is_none());
        for entry in engines {
            values.set.insert(&keys.0[entry.key].name, entry);
        }
        for entry in others {
            let key = &keys.0[entry.key];
            match values.belongs(key) {
                true => _ = values.set.insert(&key.name, entry),
                // Whoever chose another engine above it has no use for the engine's keys below, and need not take them away.
                false
                    if key
                        .of
                        .is_some_and(|(engine, _)| rank(&values.source(engine)) > rank(&entry.source)) => {}
                // Which engine was meant is not known.
                false
                    if key
                        .of
                        .is_some_and(|(engine, _)| faults.iter().any(|fault| fault.key == engine)) => {}
                false => faults.push(values.beside(key, entry.source)),
            }
        }
        values
    }

    /// Whether the engine that is chosen takes the key.
    fn belongs(&self, key: &Key) -> bool {
        key.of
            .is_none_or(|(engine, takes)| takes.iter().any(|&takes| self.value(engine) == takes))
    }

    fn beside(&self, key: &Key, source: ConfigSource) -> Fault {
        let Some((engine, takes)) = key.of else {
            return Fault::new(source, &key.name, "it does not belong here", "");
        };
        let why = format!("{engine} is {}, which has no such key", self.value(engine));
        let takes: Vec<_> = takes.iter().map(|takes| format!("\"{takes}\"")).collect();
        let right = format!("leave it out, or set {engine} to {}", takes.join(" or "));
        Fault::new(source, &key.name, why, right)
    }

    pub(super) fn value(&self, name: &str) -> &Value {
        static NOTHING: Value = Value::Null;
        let default = || self.keys.find(name).map(|key| &self.keys.0[key].default);
        let set = self.set.get(name).map(|entry| &entry.value);
        set.or_else(default).unwrap_or(&NOTHING)
    }

    pub(super) fn source(&self, name: &str) -> ConfigSource {
        self.set
            .get(name)
            .map_or(ConfigSource::Default, |entry| entry.source.clone())
    }

    fn is_set(&self, name: &str) -> bool {
        !self.value(name).is_null()
    }

    fn text(&self, name: &str) -> &str {
        self.value(name).as_str().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.value(name).as_u64().unwrap_or_default()
    }

    /// The static keys that count.
    pub(super) fn in_force(&self) -> impl Iterator<Item = &'a Key> + '_ {
        let keys = self.keys.0.iter().filter(|key| !key.is_seed());
        keys.filter(|key| self.belongs(key))
    }

    /// The live settings that are seeded.
    pub(super) fn seeded(&self) -> impl Iterator<Item = &'a Key> + '_ {
        let seeds = self.keys.0.iter().filter(|key| key.is_seed());
        seeds.filter(|key| self.set.contains_key(&*key.name))
    }

    /// What belongs together.
    fn check(&self, faults: &mut Vec<Fault>) {
        let known: Vec<String> = faults.iter().map(|fault| fault.key.clone()).collect();
        let is_known = |key: &str| known.iter().any(|known| known == key);
        // What is wrong already is not told a second time by what follows from it.
        let mut wrong = |at: &str, key: &str, why: String, right: &str| {
            if !is_known(key) && !is_known(at) {
                faults.push(Fault::new(self.source(at), key, why, right));
            }
        };
        for key in self.in_force() {
            if key.needed && !self.is_set(&key.name) {
                let engine = key.of.map_or("", |(engine, _)| engine);
                let why = format!("it is missing, and {engine} = {} needs it", self.value(engine));
                wrong(engine, &key.name, why, &format!("such as {}", key.example));
            }
            let engine = self.text(&key.name);
            if let Some(feature) = left_out(&key.name, engine) {
                let why = format!("this program was built without \"{engine}\"");
                wrong(
                    &key.name,
                    &key.name,
                    why,
                    &format!("build it with --features {feature} (or engines)"),
                );
            }
        }
        if let Ok(listen) = self.text("listen").parse::<std::net::SocketAddr>()
            && !is_loopback(listen.ip())
            && !self.is_set("admin_token")
            && !is_known("admin_token")
        {
            let why = format!(
                "{listen} can be reached from other machines, and without an admin token anybody there could change settings"
            );
            let right = "set FRESHET_ADMIN_TOKEN (or --admin-token, or admin_token), or listen on 127.0.0.1";
            wrong("listen", "listen", why, right);
        }
        for section in ["election", "settings"] {
            let of = |name: &str| format!("{section}.{name}");
            let (user, password) = (of("user"), of("password"));
            match (self.is_set(&user), self.is_set(&password)) {
                (true, false) => wrong(
                    &user,
                    &password,
                    "it is missing, and there is a user".to_owned(),
                    "a user has one",
                ),
                (false, true) => wrong(
                    &password,
                    &user,
                    "it is missing, and there is a password".to_owned(),
                    "a password is somebody's",
                ),
                _ if self.text(&user).contains(':') && self.text(&of("engine")) == "zookeeper" => {
                    wrong(&user, &user, "there is a ':' in it".to_owned(), "ZooKeeper takes none");
                }
                _ => {}
            }
            let (ca, cert, key) = (of("tls.ca"), of("tls.cert"), of("tls.key"));
            match (self.is_set(&cert), self.is_set(&key)) {
                (true, false) => wrong(
                    &cert,
                    &key,
                    "it is missing, and there is a certificate".to_owned(),
                    "name its key",
                ),
                (false, true) => wrong(
                    &key,
                    &cert,
                    "it is missing, and there is a key".to_owned(),
                    "name its certificate",
                ),
                _ => {}
            }
            for name in [&cert, &key, &of("tls.server_name")] {
                if self.is_set(name) && !self.is_set(&ca) {
                    wrong(
                        name,
                        &ca,
                        format!("it is missing, and there is {name}"),
                        "name the authority's certificate",
                    );
                    break;
                }
            }
        }
        if self.number("bounds.silence_ms") <= self.number("bounds.heartbeat_ms") {
            let why = format!(
                "{} is no more than bounds.heartbeat_ms, so that a quiet stream would be closed before it is asked",
                self.number("bounds.silence_ms")
            );
            let at = self.later("bounds.silence_ms", "bounds.heartbeat_ms");
            wrong(at, "bounds.silence_ms", why, "some times as much would be right");
        }
        if self.number("bounds.event_bytes") > self.number("bounds.publish_bytes") {
            let why = format!(
                "{} is more than bounds.publish_bytes, the body that it comes in",
                self.number("bounds.event_bytes")
            );
            let at = self.later("bounds.event_bytes", "bounds.publish_bytes");
            wrong(at, "bounds.event_bytes", why, "no more than that would be right");
        }
    }

    /// The one of the two that somebody set.
    fn later(&self, one: &'static str, other: &'static str) -> &'static str {
        match rank(&self.source(one)) >= rank(&self.source(other)) {
            true => one,
            false => other,
        }
    }

    fn seed(&self, seeds: Seeds<'_>, faults: &mut Vec<Fault>) -> Settings {
        // What is not set has its default, so that half a quota may be.
        let keys = self.keys.0.iter().filter_map(|key| key.name.strip_prefix(SEED));
        let seed = nested(keys.map(|name| (name, self.value(&format!("{SEED}{name}")))));
        (seeds.check)(&seed).unwrap_or_else(|(key, why)| {
            let key = format!("{SEED}{key}");
            let inside = format!("{key}.");
            let at = self
                .set
                .iter()
                .find(|(name, _)| **name == key || name.starts_with(&inside) || key.starts_with(&format!("{name}.")));
            let place = at.map_or(ConfigSource::Default, |(_, entry)| entry.source.clone());
            faults.push(Fault::new(place, &key, why, ""));
            Settings::default()
        })
    }

    fn build(&self, seed: Settings, file: Option<String>) -> Result<Config, Fault> {
        let server: Server = self.section("")?;
        let mut config = Config {
            listen: server.listen,
            data: server.data,
            node_id: server.node_id,
            allow_origins: server.allow_origin,
            allow_hosts: server.allow_host,
            admin_token: server.admin_token,
            pubsub: self.section("pubsub")?,
            limit: self.section("limit")?,
            election: self.section("election")?,
            settings: self.section("settings")?,
            limits: self.section("bounds")?,
            seed,
            stated: freshet_wire::StaticConfig {
                file,
                read_us: now_us(),
                keys: stated::keys(self),
            },
            seeded: stated::seeded(self),
        };
        config.pubsub.keep(config.seed.retention);
        // What an engine begins with where nobody says how long a lease is.
        match self.set.contains_key("seed.election.lease_ttl_s") {
            true => config.election.lease(config.seed.election.lease_ttl_s),
            false => {
                _ = config
                    .election
                    .ttl()
                    .map(|ttl| config.seed.election.lease_ttl_s = ttl.as_secs())
            }
        }
        Ok(config)
    }

    /// A section's structure; the keys before every section are those of the empty one.
    fn section<T: DeserializeOwned>(&self, section: &str) -> Result<T, Fault> {
        let members = self.in_force().filter_map(|key| {
            let name = match (section, key.name.split_once('.')) {
                ("", None) => &*key.name,
                (section, Some((first, rest))) if first == section => rest,
                _ => return None,
            };
            Some((name, self.value(&key.name)))
        });
        let members = nested(members.filter(|(_, value)| !value.is_null()));
        // The table says what a structure takes; were they at odds, it would be told here.
        serde_json::from_value(members)
            .map_err(|error| Fault::new(ConfigSource::Default, section, error.to_string(), ""))
    }
}

impl Default for Config {
    /// What holds where nothing is set; nothing was read for it.
    fn default() -> Self {
        let keys = Keys(table().to_vec());
        let values = Values {
            keys: &keys,
            set: BTreeMap::new(),
        };
        Self {
            listen: ([127, 0, 0, 1], 3000).into(),
            data: "freshet-data".into(),
            node_id: None,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            admin_token: None,
            pubsub: Default::default(),
            limit: Default::default(),
            election: Default::default(),
            settings: Default::default(),
            limits: Default::default(),
            seed: Settings::default(),
            stated: freshet_wire::StaticConfig {
                file: None,
                read_us: 0,
                keys: stated::keys(&values),
            },
            seeded: Vec::new(),
        }
    }
}

/// Paths with dots as tables within tables.
pub(super) fn nested<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> Value {
    let mut root = Map::new();
    for (path, value) in members {
        insert(&mut root, path, value);
    }
    Value::Object(root)
}

fn insert(table: &mut Map<String, Value>, path: &str, value: &Value) {
    let Some((section, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value.clone());
        return;
    };
    let inner = table.entry(section).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

/// The feature that an engine needs and this program was built without.
fn left_out(key: &str, engine: &str) -> Option<&'static str> {
    let (feature, is_built) = match (key.rsplit_once('.')?.1, engine) {
        ("engine", "kafka") => ("kafka", cfg!(feature = "kafka")),
        ("engine", "cloud-pubsub") => ("cloud-pubsub", cfg!(feature = "cloud-pubsub")),
        ("engine", "redis") => ("redis", cfg!(feature = "redis")),
        ("engine", "etcd") => ("etcd", cfg!(feature = "etcd")),
        ("engine", "zookeeper") => ("zookeeper", cfg!(feature = "zookeeper")),
        _ => return None,
    };
    (!is_built).then_some(feature)
}
