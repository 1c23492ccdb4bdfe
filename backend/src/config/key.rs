//! The table of keys: what can stand in the static configuration. Reading, checking, printing, the example and the API go by it.

use std::sync::LazyLock;

use freshet_wire::{SettingKey, SettingKind};
use serde_json::Value;

use super::{bounds, election, limit, pubsub, server, settings};

/// What stands before a live setting's key, where a configuration seeds it.
pub const SEED: &str = "seed.";
/// Texts are no longer than this, in bytes; lists and tables have no more members.
const MOST_TEXT: usize = 4096;
const MOST_MEMBERS: usize = 256;

/// A key of the static configuration.
#[derive(Debug, Clone)]
pub struct Key {
    /// The path, such as `election.ttl_s`.
    pub name: String,
    pub kind: SettingKind,
    pub unit: String,
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// Whether 0 is allowed as well, below `least`.
    pub zero: bool,
    pub choices: Vec<String>,
    /// `Null` where there is none.
    pub default: Value,
    /// Whether one must be given, where the key belongs to the engine that is chosen.
    pub needed: bool,
    pub secret: bool,
    pub what: String,
    /// The engines that take it: the key that names the engine, and its values.
    pub of: Option<(&'static str, &'static [&'static str])>,
    /// A value to show where there is no default.
    pub example: Value,
    /// What is wrong with a value of the right kind, and what would be right.
    pub check: fn(&Value) -> Result<(), String>,
}

impl Key {
    fn new(name: impl Into<String>, kind: SettingKind, what: &str) -> Self {
        Self {
            name: name.into(),
            kind,
            unit: String::new(),
            least: None,
            most: None,
            zero: false,
            choices: Vec::new(),
            default: Value::Null,
            needed: false,
            secret: false,
            what: what.to_owned(),
            of: None,
            example: Value::Null,
            check: |_| Ok(()),
        }
    }

    pub(super) fn text(name: impl Into<String>, what: &str) -> Self {
        Self::new(name, SettingKind::Text, what)
    }

    pub(super) fn texts(name: impl Into<String>, what: &str) -> Self {
        Self::new(name, SettingKind::Texts, what).default(Value::Array(Vec::new()))
    }

    pub(super) fn networks(name: impl Into<String>, what: &str) -> Self {
        Self::new(name, SettingKind::Networks, what).default(Value::Array(Vec::new()))
    }

    pub(super) fn table(name: impl Into<String>, what: &str) -> Self {
        Self::new(name, SettingKind::Table, what).default(Value::Object(serde_json::Map::new()))
    }

    pub(super) fn integer(name: impl Into<String>, bounds: (u64, u64), unit: &str, what: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            // Bounds are far below what a double is exact for.
            least: Some(bounds.0 as f64),
            most: Some(bounds.1 as f64),
            ..Self::new(name, SettingKind::Integer, what)
        }
    }

    pub(super) fn choice(name: impl Into<String>, choices: &[&str], what: &str) -> Self {
        Self {
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            ..Self::new(name, SettingKind::Choice, what)
        }
    }

    /// A live setting that an empty store is filled with.
    pub(super) fn seed(setting: &SettingKey) -> Self {
        Self {
            unit: setting.unit.clone(),
            least: setting.least,
            most: setting.most,
            zero: setting.zero.is_some(),
            choices: setting.choices.clone(),
            default: setting.default.clone(),
            ..Self::new(format!("{SEED}{}", setting.key), setting.kind, &setting.what)
        }
    }

    pub(super) fn default(self, default: impl Into<Value>) -> Self {
        let default = default.into();
        Self { default, ..self }
    }

    pub(super) fn example(self, example: impl Into<Value>) -> Self {
        let example = example.into();
        Self { example, ..self }
    }

    pub(super) fn needed(self) -> Self {
        Self {
            needed: true,
            default: Value::Null,
            ..self
        }
    }

    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) fn of(self, engine: &'static str, values: &'static [&'static str]) -> Self {
        let of = Some((engine, values));
        Self { of, ..self }
    }

    pub(super) fn check(self, check: fn(&Value) -> Result<(), String>) -> Self {
        Self { check, ..self }
    }

    pub fn is_seed(&self) -> bool {
        self.name.starts_with(SEED)
    }

    /// The variable of the environment that sets it.
    pub fn variable(&self) -> String {
        let name = self.name.replace('.', "__").replace('-', "_").to_ascii_uppercase();
        format!("FRESHET_{name}")
    }

    /// What it takes, in words.
    pub fn takes(&self) -> String {
        let bound = |bound: Option<f64>| bound.unwrap_or_default();
        match self.kind {
            SettingKind::Number | SettingKind::Integer => {
                let zero = if self.zero { "0 or " } else { "" };
                let whole = if self.kind == SettingKind::Integer {
                    "a whole number, "
                } else {
                    ""
                };
                let (least, most) = (bound(self.least), bound(self.most));
                format!("{whole}{zero}{least} to {most} {}", self.unit)
                    .trim_end()
                    .to_owned()
            }
            SettingKind::Choice => format!("one of {}", self.choices.join(", ")),
            SettingKind::Flag => "true or false".to_owned(),
            SettingKind::Networks => "a list of networks, such as [\"10.0.0.0/8\"]".to_owned(),
            SettingKind::Texts => "a list of texts".to_owned(),
            SettingKind::Table => "a table of texts".to_owned(),
            SettingKind::Text => "a text".to_owned(),
        }
    }

    /// The value as it is used, or what is wrong with it.
    pub(super) fn checked(&self, value: Value) -> Result<Value, String> {
        let value = match self.kind {
            SettingKind::Number | SettingKind::Integer => self.number(value)?,
            SettingKind::Choice => match &value {
                Value::String(text) if self.choices.contains(text) => value,
                Value::String(text) => return Err(format!("{} is none of its choices", shown(text))),
                other => return Err(is_not(other)),
            },
            SettingKind::Flag => match value {
                Value::Bool(_) => value,
                other => return Err(is_not(&other)),
            },
            SettingKind::Text => match value {
                Value::String(text) => Value::String(self.member(text)?),
                other => return Err(is_not(&other)),
            },
            SettingKind::Texts | SettingKind::Networks => match value {
                Value::Array(list) if list.len() > MOST_MEMBERS => {
                    return Err(format!("it has {} members, and takes {MOST_MEMBERS}", list.len()));
                }
                Value::Array(list) => {
                    let members = list.into_iter().map(|member| match member {
                        Value::String(text) => self.member(text).map(Value::String),
                        other => Err(format!("a member of it {}", is_not(&other))),
                    });
                    Value::Array(members.collect::<Result<_, _>>()?)
                }
                other => return Err(is_not(&other)),
            },
            SettingKind::Table => match value {
                Value::Object(members) if members.len() > MOST_MEMBERS => {
                    return Err(format!("it has {} members, and takes {MOST_MEMBERS}", members.len()));
                }
                Value::Object(members) => {
                    let members = members.into_iter().map(|(name, member)| match member {
                        Value::String(text) if text.len() <= MOST_TEXT => Ok((name, Value::String(text))),
                        // Numbers and flags are written without quotes by many, and mean the same.
                        Value::Number(number) => Ok((name, Value::String(number.to_string()))),
                        Value::Bool(flag) => Ok((name, Value::String(flag.to_string()))),
                        other => Err(format!("{} {}", shown(&name), is_not(&other))),
                    });
                    Value::Object(members.collect::<Result<_, _>>()?)
                }
                other => return Err(is_not(&other)),
            },
        };
        (self.check)(&value)?;
        Ok(value)
    }

    fn number(&self, value: Value) -> Result<Value, String> {
        let size = match &value {
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            other => return Err(is_not(other)),
        };
        let least = self.least.unwrap_or(f64::NEG_INFINITY);
        let most = self.most.unwrap_or(f64::INFINITY);
        let is_zero = self.zero && size == 0.0;
        if !is_zero && !(least..=most).contains(&size) {
            return Err(format!("{value} is out of its bounds"));
        }
        match self.kind {
            SettingKind::Integer if size.fract() != 0.0 => Err(format!("{value} is no whole number")),
            // 1e3 is 1000; within the bounds it is exact.
            SettingKind::Integer if !value.is_u64() => Ok(Value::from(size as u64)),
            _ => Ok(value),
        }
    }

    fn member(&self, text: String) -> Result<String, String> {
        match text.len() {
            0 => Err("it is empty".to_owned()),
            1..=MOST_TEXT => Ok(text),
            longer => Err(format!("it is {longer} bytes long, and takes {MOST_TEXT}")),
        }
    }

    /// What a text means that stands in the environment or behind a flag.
    pub(super) fn parsed(&self, text: &str) -> Result<Value, String> {
        let json = || serde_json::from_str::<Value>(text).map_err(|_| "it is no JSON".to_owned());
        match self.kind {
            SettingKind::Number | SettingKind::Integer => match text.trim().parse::<serde_json::Number>() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => Err(format!("{} is no number", shown(text))),
            },
            SettingKind::Flag => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(format!("{} is neither true nor false", shown(text))),
            },
            SettingKind::Texts | SettingKind::Networks if !text.trim_start().starts_with('[') => {
                Ok(text.split(',').map(|member| Value::from(member.trim())).collect())
            }
            SettingKind::Texts | SettingKind::Networks | SettingKind::Table => json(),
            SettingKind::Text | SettingKind::Choice => Ok(Value::from(text)),
        }
    }
}

/// What the value is instead.
fn is_not(value: &Value) -> String {
    let what = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    format!("is {what}")
}

/// A text that was typed, short enough to be read.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Every static key, section by section; those that seed live settings are not among them.
pub fn table() -> &'static [Key] {
    static TABLE: LazyLock<Vec<Key>> = LazyLock::new(|| {
        [
            server::keys(),
            pubsub::keys(),
            election::keys(),
            limit::keys(),
            settings::keys(),
            bounds::keys(),
        ]
        .concat()
    });
    &TABLE
}

/// The static key of that name.
pub fn key(name: &str) -> Option<&'static Key> {
    table().iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_stands_there_once_with_a_default_or_an_example_that_it_takes() {
        let mut names = BTreeSet::new();
        for key in table() {
            assert!(names.insert(&*key.name), "{}", key.name);
            assert!(key.what.ends_with('.'), "{}", key.name);
            for value in [&key.default, &key.example] {
                if !value.is_null() {
                    assert_eq!(key.checked(value.clone()).as_ref(), Ok(value), "{}", key.name);
                }
            }
            assert!(!key.default.is_null() || !key.example.is_null(), "{}", key.name);
            assert!(!key.needed || key.default.is_null(), "{}", key.name);
            if let Some((engine, values)) = key.of {
                let engine = super::key(engine).unwrap();
                assert!(
                    values.iter().all(|value| engine.choices.contains(&(*value).to_owned())),
                    "{}",
                    key.name
                );
            }
        }
        // A key within another one would be both a value and a section.
        for name in &names {
            assert!(
                !names.iter().any(|other| other.starts_with(&format!("{name}."))),
                "{name}"
            );
        }
        let variables: BTreeSet<_> = table().iter().map(Key::variable).collect();
        assert_eq!(variables.len(), names.len(), "each has a variable of its own");
    }

    #[test]
    fn a_value_is_of_its_kind_and_within_its_bounds() {
        let integer = Key::integer("a.b", (1, 10), "seconds", "What.");
        assert_eq!(integer.checked(json!(10)), Ok(json!(10)));
        assert_eq!(integer.checked(json!(1e1)), Ok(json!(10)));
        for wrong in [
            json!(0),
            json!(11),
            json!(1.5),
            json!("1"),
            json!(-1),
            json!(null),
            json!(1e300),
        ] {
            assert!(integer.checked(wrong.clone()).is_err(), "{wrong}");
        }
        let texts = Key::texts("a", "What.");
        assert_eq!(texts.parsed("a, b"), Ok(json!(["a", "b"])));
        assert_eq!(texts.parsed("[\"a,b\"]"), Ok(json!(["a,b"])));
        assert!(texts.checked(json!(["a", 1])).is_err());
        assert!(texts.checked(json!([""])).is_err());
        assert!(texts.checked(json!("a")).is_err());
        let table = Key::table("a", "What.");
        assert_eq!(table.parsed("{\"a.b\": \"c\"}"), Ok(json!({"a.b": "c"})));
        assert_eq!(
            table.checked(json!({"a": 1, "b": true})),
            Ok(json!({"a": "1", "b": "true"}))
        );
        assert!(table.checked(json!({"a": {}})).is_err());
        assert_eq!(integer.variable(), "FRESHET_A__B");
    }
}
