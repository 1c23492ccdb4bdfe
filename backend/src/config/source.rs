//! Where values come from: a file, the environment and flags, each as entries of the table of keys.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use freshet_wire::ConfigSource;
use serde_json::Value;

use super::fault::{Fault, nearest};
use super::key::{Key, SEED};
use super::tree::{self, Member, Node};

/// What the file is called where none is named; the first ending is the one that is written about.
const NAMES: [&str; 4] = ["freshet.toml", "freshet.yaml", "freshet.yml", "freshet.json"];
/// A variable that is older than the rule for their names.
const ALIASES: [(&str, &str); 1] = [("FRESHET_LOG", "seed.log.filter")];
/// Keys that were static once, and are live settings now.
const MOVED: [(&str, &str); 6] = [
    ("election.ttl_s", "seed.election.lease_ttl_s"),
    ("election.session_timeout_s", "seed.election.lease_ttl_s"),
    ("pubsub.max_age_s", "seed.retention.max_age_s"),
    ("pubsub.max_bytes", "seed.retention.max_bytes"),
    ("pubsub.spool.max_age_s", "seed.retention.max_age_s"),
    ("pubsub.spool.max_bytes", "seed.retention.max_bytes"),
];

/// What the configuration is read from. A later one of these goes before an earlier one.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; where none is named, one of the usual name in this folder.
    pub file: Option<PathBuf>,
    pub folder: Option<PathBuf>,
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// A flag of the command line that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As it is written, such as `--listen`.
    pub flag: String,
    pub key: String,
    pub given: Given,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    Text(String),
    /// One that was repeated.
    Texts(Vec<String>),
}

/// A value for a key of the table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its index in [`Keys`].
    pub key: usize,
    pub value: Value,
    pub source: ConfigSource,
}

/// Which source goes before which.
pub(super) fn rank(source: &ConfigSource) -> u8 {
    match source {
        ConfigSource::Default => 0,
        ConfigSource::File { .. } => 1,
        ConfigSource::Environment { .. } => 2,
        ConfigSource::Flag { .. } => 3,
    }
}

/// Every key that may stand in a source.
#[derive(Debug, Clone)]
pub(super) struct Keys(pub Vec<Key>);

impl Keys {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|key| key.name == name)
    }

    fn is_section(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The names that can stand in a section, which is empty for the whole.
    fn members(&self, section: &str) -> BTreeSet<&str> {
        let inside = self.0.iter().filter_map(|key| match section {
            "" => Some(&*key.name),
            section => key.name.strip_prefix(section)?.strip_prefix('.'),
        });
        inside.filter_map(|rest| rest.split('.').next()).collect()
    }

    /// What would be right instead of a key that there is not.
    fn instead(&self, name: &str) -> String {
        let seed = format!("{SEED}{name}");
        let moved = MOVED
            .iter()
            .find(|(old, _)| *old == name)
            .map(|(_, new)| (*new).to_owned());
        let is_live = self.find(&seed).is_some() || self.is_section(&seed);
        if let Some(seed) = moved.or_else(|| is_live.then_some(seed)) {
            return format!("it is a live setting, and a file only seeds those: {seed} would be right");
        }
        let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
        let members = self.members(section);
        if let Some(meant) = nearest(last, members.iter().copied()) {
            let dot = if section.is_empty() { "" } else { "." };
            return format!("did you mean {section}{dot}{meant}?");
        }
        // The right name in the wrong section.
        let mut same = self.0.iter().filter(|key| !key.is_seed());
        let same = same.find(|key| key.name.rsplit('.').next() == Some(last));
        match same {
            Some(key) => format!("did you mean {}?", key.name),
            None if members.is_empty() => "`freshet config example` has every key".to_owned(),
            None => format!("here stand {}", members.into_iter().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// What was found, and what of it is wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub file: Option<String>,
    pub entries: Vec<Entry>,
    pub faults: Vec<Fault>,
}

impl Found {
    /// Takes a value that may be wrong.
    fn take(&mut self, keys: &Keys, key: usize, value: Result<Value, String>, source: ConfigSource) {
        let described = &keys.0[key];
        match value.and_then(|value| described.checked(value)) {
            Ok(value) => self.entries.push(Entry { key, value, source }),
            Err(why) => {
                let takes = format!("{} takes {}", described.name, described.takes());
                self.faults.push(Fault::new(source, &described.name, why, takes));
            }
        }
    }
}

/// Reads them all.
pub(super) fn gather(sources: &Sources, keys: &Keys) -> Found {
    let mut found = Found::default();
    match file(sources) {
        Ok(None) => {}
        Ok(Some(file)) => {
            let name = file.display().to_string();
            match tree::read(&file, &name) {
                Ok(members) => flatten(members, &name, "", keys, &mut found),
                Err(fault) => found.faults.push(fault),
            }
            found.file = Some(name);
            found.faults.sort_by_key(|fault| match &fault.place {
                ConfigSource::File { line, .. } => *line,
                _ => None,
            });
        }
        Err(fault) => found.faults.push(fault),
    }
    environment(&sources.environment, keys, &mut found);
    flags(&sources.flags, keys, &mut found);
    found
}

/// The file that is meant.
fn file(sources: &Sources) -> Result<Option<PathBuf>, Fault> {
    if let Some(file) = &sources.file {
        return Ok(Some(file.clone()));
    }
    let Some(folder) = &sources.folder else { return Ok(None) };
    // In the current folder the name alone says where it is.
    let place = |name: &str| match folder == Path::new(".") {
        true => PathBuf::from(name),
        false => folder.join(name),
    };
    let mut there = NAMES.iter().map(|name| place(name)).filter(|file| file.exists());
    match (there.next(), there.next()) {
        (Some(one), Some(other)) => {
            let place = ConfigSource::File {
                file: one.display().to_string(),
                line: None,
            };
            let why = format!("{} is there too, and only one of them can hold", other.display());
            Err(Fault::new(place, "", why, "remove one, or name one with --config"))
        }
        (one, _) => Ok(one),
    }
}

/// The file's members, down to keys of the table.
pub(super) fn flatten(members: Vec<Member>, file: &str, section: &str, keys: &Keys, found: &mut Found) {
    for Member { name, line, node } in members {
        let path = match section {
            "" => name,
            section => format!("{section}.{name}"),
        };
        let place = ConfigSource::File {
            file: file.to_owned(),
            line: Some(line),
        };
        match (keys.find(&path), node) {
            // Nothing, written out.
            (Some(_), Node::Value(Value::Null)) => {}
            (Some(key), node) => found.take(keys, key, Ok(node.into_value()), place),
            (None, node) if keys.is_section(&path) => match node {
                Node::Table(members) => flatten(members, file, &path, keys, found),
                Node::Value(Value::Null) => {}
                Node::Value(_) => {
                    let members: Vec<_> = keys.members(&path).into_iter().collect();
                    let right = format!("in it stand {}", members.join(", "));
                    found
                        .faults
                        .push(Fault::new(place, &path, "it is a section, not a value", right));
                }
            },
            (None, _) => {
                let instead = keys.instead(&path);
                found
                    .faults
                    .push(Fault::new(place, &path, "there is no such key", instead));
            }
        }
    }
}

/// `FRESHET_` and the key in capitals, with `__` for each dot.
fn environment(variables: &[(OsString, OsString)], keys: &Keys, found: &mut Found) {
    let mut variables: Vec<_> = variables.iter().collect();
    variables.sort();
    for (name, value) in variables {
        // What is not UTF-8 is no variable of ours; one that is empty is not set.
        let Some(name) = name.to_str().filter(|name| name.starts_with("FRESHET_")) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, key)| *key);
        let key = keys
            .0
            .iter()
            .position(|key| alias == Some(&*key.name) || key.variable() == name);
        let place = ConfigSource::Environment {
            variable: name.to_owned(),
        };
        match key {
            Some(key) => {
                let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
                let value = text.and_then(|text| keys.0[key].parsed(text));
                found.take(keys, key, value, place);
            }
            // Others have variables that begin so, but none with the two underlines between section and key.
            None if name.contains("__") => {
                let variables: Vec<_> = keys.0.iter().map(Key::variable).collect();
                let right = match nearest(name, variables.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => "`freshet config example` has every key".to_owned(),
                };
                found
                    .faults
                    .push(Fault::new(place, "", "no key has this variable", right));
            }
            None => {}
        }
    }
}

fn flags(flags: &[Flag], keys: &Keys, found: &mut Found) {
    for Flag { flag, key: name, given } in flags {
        let place = ConfigSource::Flag { flag: flag.clone() };
        let Some(key) = keys.find(name) else {
            let instead = keys.instead(name);
            found
                .faults
                .push(Fault::new(place, name, "there is no such key", instead));
            continue;
        };
        let value = match given {
            Given::Text(text) => keys.0[key].parsed(text),
            Given::Texts(texts) => Ok(texts.iter().map(String::as_str).collect()),
        };
        found.take(keys, key, value, place);
    }
}
