//! The configuration as text: the annotated example, and what is in force.

use std::fmt::Write;

use freshet_wire::{ConfigKey, ConfigSource, SettingKey, SettingKind};
use serde_json::Value;

use super::fault::Place;
use super::key::{Key, table};
use super::load::nested;
use super::{Config, Format};

const HEAD: &str = "\
# Freshet's static configuration: what is fixed when the process starts. Every key is here with its default; a key is set by taking the
# \"#\" in front of it away. `freshet config check FILE` says what is wrong in a file, `freshet config print` what is in force and from where.
#
# The same can be written as freshet.yaml or freshet.json. A variable of the environment goes before the file: FRESHET_ and the key in
# capitals, with __ for each dot, such as FRESHET_LISTEN or FRESHET_PUBSUB__ENGINE; a flag goes before the variable: --listen, or
# --set pubsub.engine=memory for any key. Whatever is changed here needs a restart. This file is read, and never written.
";

const SEED_HEAD: &str = "\
# Live settings are changed while the process runs, and are kept elsewhere: see [settings]. What stands here fills a store that is empty,
# at the first start, and has no say afterwards.
";

/// An annotated file that sets nothing.
pub fn example(settings: &[SettingKey]) -> String {
    let mut text = HEAD.to_owned();
    let keys: Vec<Key> = table().iter().cloned().chain(settings.iter().map(Key::seed)).collect();
    let mut section = "";
    let mut of = None;
    for key in &keys {
        let (at, name) = key.name.split_once('.').unwrap_or(("", &key.name));
        if at != section {
            let _ = write!(text, "\n[{at}]\n");
            if key.is_seed() {
                text.push_str(SEED_HEAD);
            }
            (section, of) = (at, None);
        }
        if key.of != of
            && let Some((engine, values)) = key.of
        {
            let values: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
            let engine = engine.rsplit('.').next().unwrap_or(engine);
            let _ = write!(text, "\n# With {engine} = {}:\n", values.join(" or "));
            of = key.of;
        }
        let _ = write!(text, "\n# {}", key.what);
        if !matches!(key.kind, SettingKind::Text | SettingKind::Texts | SettingKind::Table) {
            let _ = write!(text, " Takes {}.", key.takes());
        }
        let none = match (key.needed, key.default.is_null()) {
            (true, _) => " It must be set.",
            (false, true) => " None by default.",
            (false, false) => "",
        };
        let value = if key.default.is_null() {
            &key.example
        } else {
            &key.default
        };
        let _ = write!(text, "{none}\n#{name} = {}\n", toml(value));
    }
    text
}

/// What is in force, with the source of each value where the format has comments.
pub fn print(config: &Config, format: Format) -> String {
    let keys: Vec<&ConfigKey> = config.stated.keys.iter().chain(&config.seeded).collect();
    match format {
        Format::Toml => print_toml(&keys),
        Format::Yaml => print_yaml(&keys),
        Format::Json => print_json(&keys),
    }
}

fn print_toml(keys: &[&ConfigKey]) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in keys {
        let (at, name) = key.key.split_once('.').unwrap_or(("", &key.key));
        if at != section {
            let _ = write!(text, "\n[{at}]\n");
            section = at;
        }
        let _ = match key.value.is_null() {
            true => writeln!(text, "# {name} is not set"),
            false => writeln!(text, "{name} = {}  # {}", toml(&key.value), comment(&key.source)),
        };
    }
    text
}

fn print_yaml(keys: &[&ConfigKey]) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for key in keys {
        let mut sections: Vec<&str> = key.key.split('.').collect();
        let name = sections.pop().unwrap_or_default();
        let same = open
            .iter()
            .zip(&sections)
            .take_while(|(open, section)| open == section)
            .count();
        if !key.value.is_null() {
            for (depth, section) in sections.iter().enumerate().skip(same) {
                let _ = writeln!(text, "{}{section}:", "  ".repeat(depth));
            }
            open = sections;
        }
        // A comment's place does not matter.
        let indent = "  ".repeat(open.len());
        let _ = match key.value.is_null() {
            true => writeln!(text, "{indent}# {} is not set", key.key),
            false => writeln!(text, "{indent}{name}: {}  # {}", json(&key.value), comment(&key.source)),
        };
    }
    text
}

fn print_json(keys: &[&ConfigKey]) -> String {
    let set = keys.iter().filter(|key| !key.value.is_null());
    let table = nested(set.map(|key| (&*key.key, &key.value)));
    serde_json::to_string_pretty(&table).unwrap_or_default() + "\n"
}

/// One line, whatever the file is called.
fn comment(source: &ConfigSource) -> String {
    let place = Place(source).to_string();
    place.chars().filter(|c| !c.is_control()).collect()
}

/// A string of JSON is one of TOML and of YAML as well, but that TOML wants this character escaped too.
fn json(value: &Value) -> String {
    value.to_string().replace('\u{7f}', "\\u007f")
}

fn toml(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let members: Vec<_> = list.iter().map(toml).collect();
            format!("[{}]", members.join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{} = {}", json(&Value::from(name.as_str())), toml(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        other => json(other),
    }
}
