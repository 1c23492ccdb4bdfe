//! Settings as TOML, for people: with comments, which stay when the API changes a value.

use std::fmt::Write;

use freshet_wire::{SettingChange, SettingKey, SettingKind, Settings};
use serde_json::Value as Json;
use toml_edit::{Array, DocumentMut, Item, Value};

use crate::settings::Refusal;
use crate::settings::check::check_whole;
use crate::settings::schema::{schema, value};

const HEAD: &str = "\
# Freshet's live settings. Save this file and they are in force at once; what needs a restart says so.
# What is not valid is refused with a reason, on the page and in GET /api/v1/settings, and what was in force stays.
";

/// The settings that a file says. All of them must stand in it.
pub(crate) fn read(text: &str) -> Result<Settings, Refusal> {
    let document = text.parse::<DocumentMut>().map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        Refusal::new("document", format!("line {line}: {}", error.message()))
    })?;
    check_whole(&from_item(document.as_item()))
}

fn from_item(item: &Item) -> Json {
    match item {
        Item::None => Json::Null,
        Item::Value(value) => from_value(value),
        Item::Table(table) => {
            let members = table.iter().map(|(name, item)| (name.to_owned(), from_item(item)));
            Json::Object(members.collect())
        }
        Item::ArrayOfTables(tables) => {
            let tables = tables.iter().map(|table| from_item(&Item::Table(table.clone())));
            Json::Array(tables.collect())
        }
    }
}

fn from_value(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.value().clone()),
        Value::Integer(number) => Json::from(*number.value()),
        Value::Float(number) => Json::from(*number.value()),
        Value::Boolean(flag) => Json::from(*flag.value()),
        Value::Datetime(time) => Json::from(time.value().to_string()),
        Value::Array(array) => Json::Array(array.iter().map(from_value).collect()),
        Value::InlineTable(table) => {
            let members = table.iter().map(|(name, value)| (name.to_owned(), from_value(value)));
            Json::Object(members.collect())
        }
    }
}

fn to_value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::from(integer),
            None => Value::from(number.as_f64()?),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => Value::Array(list.iter().map(to_value).collect::<Option<Array>>()?),
        Json::Null | Json::Object(_) => return None,
    })
}

/// The file as it is made: section by section, each key with what it takes.
pub(crate) fn render(settings: &Settings) -> String {
    let json = serde_json::to_value(settings).unwrap_or_default();
    let mut text = HEAD.to_owned();
    let mut section = String::new();
    // Keys of a table stand before the tables within it.
    let mut keys: Vec<&SettingKey> = schema().keys.iter().collect();
    keys.sort_by_key(|key| {
        let top = key.key.split('.').next().map(str::to_owned);
        let first = schema()
            .keys
            .iter()
            .position(|other| other.key.split('.').next().map(str::to_owned) == top);
        (first, key.key.matches('.').count())
    });
    for key in keys {
        let Some((table, name)) = key.key.rsplit_once('.') else {
            continue;
        };
        if table != section {
            let _ = write!(text, "\n[{table}]\n");
            table.clone_into(&mut section);
        }
        let Some(value) = value(&json, &key.key).and_then(to_value) else {
            continue;
        };
        let _ = writeln!(text, "# {} {}", key.what, takes(key));
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}

fn takes(key: &SettingKey) -> String {
    let (least, most) = (key.least.unwrap_or_default(), key.most.unwrap_or_default());
    let takes = match (key.kind, &key.zero) {
        (SettingKind::Number | SettingKind::Integer, Some(zero)) => {
            format!("0 ({zero}) or {least} to {most} {}", key.unit)
        }
        (SettingKind::Number | SettingKind::Integer, None) => format!("{least} to {most} {}", key.unit),
        (SettingKind::Choice, _) => format!("One of {}", key.choices.join(", ")),
        (SettingKind::Flag, _) => "true or false".to_owned(),
        (SettingKind::Networks, _) => format!("Up to {most} {}", key.unit),
        (SettingKind::Text, _) => format!("Up to {most} bytes"),
        (SettingKind::Texts, _) => "A list of texts".to_owned(),
        (SettingKind::Table, _) => "A table of texts".to_owned(),
    };
    format!("{takes}; the default is {}.", key.default)
}

/// The same file with these values; `None` where it has no such keys.
pub(super) fn edit(text: &str, changes: &[SettingChange]) -> Option<String> {
    let mut document = text.parse::<DocumentMut>().ok()?;
    for change in changes {
        let mut item = document.as_item_mut();
        for name in change.key.split('.') {
            item = item.get_mut(name)?;
        }
        let there = item.as_value_mut()?;
        let mut value = to_value(&change.after)?;
        // What stands around it, such as a comment at the end of the line.
        *value.decor_mut() = there.decor().clone();
        *there = value;
    }
    Some(document.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::change::{differences, patched};

    fn other() -> Settings {
        let patch = json!({"source": {"cpu_hz": 2.5}, "workload": {"shape": "bursts"}, "log": {"filter": "warn,freshet=debug"},
            "limit": {"exempt": ["::1", "10.0.0.0/8"], "mask": true, "stream-message": {"burst": {"quota": 0}}}});
        patched(&Settings::default(), &patch).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for settings in [Settings::default(), other()] {
            let text = render(&settings);
            assert_eq!(read(&text).as_ref(), Ok(&settings), "{text}");
        }
    }

    #[test]
    fn a_change_leaves_comments_and_the_order_of_keys_alone() {
        let settings = Settings::default();
        let text = render(&settings).replace("cpu_hz = 10.0", "cpu_hz = 10.0 # as Ann wants it");
        let next = patched(
            &settings,
            &json!({"source": {"cpu_hz": 4}, "limit": {"denied": ["192.0.2.0/24"]}}),
        )
        .unwrap();
        let edited = edit(&text, &differences(&settings, &next)).unwrap();
        assert!(edited.contains("cpu_hz = 4.0 # as Ann wants it"), "{edited}");
        assert!(edited.starts_with(HEAD));
        assert_eq!(read(&edited), Ok(next));
        assert_eq!(edited.lines().count(), text.lines().count());
    }

    #[test]
    fn no_part_of_a_file_is_taken_for_all_of_it() {
        let text = render(&other());
        let whole = text.trim_end().len();
        for end in (0..whole).filter(|&end| text.is_char_boundary(end)) {
            assert!(read(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = render(&Settings::default());
        let key = |text: &str| read(text).unwrap_err().key;
        assert_eq!(key(&text.replace("cpu_hz = 10.0", "cpu_hz = 1000")), "source.cpu_hz");
        assert_eq!(key(&text.replace("cpu_hz = 10.0", "cpu_hz = inf")), "source.cpu_hz");
        assert_eq!(key(&text.replace("cpu_hz = 10.0", "")), "source.cpu_hz");
        assert_eq!(key(&text.replace("[workload]", "[workloads]")), "workloads");
        assert_eq!(key(&text.replace("mask = false", "mask = 2020-01-01")), "limit.mask");
        let wrong = read(&text.replace("cpu_hz = 10.0", "cpu_hz = = 10.0")).unwrap_err();
        assert_eq!(wrong.key, "document");
        assert!(wrong.reason.starts_with("line 6: "), "{}", wrong.reason);
    }
}
