//! A setting's value as text, what is typed as a value, and many of them as one change.

use freshet_wire::{SettingKey, SettingKind};
use serde_json::{Map, Number, Value};

use super::super::format;

/// A setting's value, where the settings are this JSON.
pub fn at<'a>(settings: &'a Value, key: &str) -> &'a Value {
    let found = key.split('.').try_fold(settings, |value, name| value.get(name));
    found.unwrap_or(&Value::Null)
}

/// As it is shown, and as it would be typed.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::from("not set"),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            // As many digits as it has, and no more.
            Some(number) if number.abs() < 1e15 => number.to_string(),
            _ => number.to_string(),
        },
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Object(_) => value.to_string(),
    }
}

/// The same for people: an empty list is one too, and large numbers are grouped.
pub fn said(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), grouped),
        Value::Bool(true) => String::from("on"),
        Value::Bool(false) => String::from("off"),
        Value::Array(items) if items.is_empty() => String::from("none"),
        Value::Object(members) if members.is_empty() => String::from("none"),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| [name, " = ", &*said(value)].concat();
            members.iter().map(member).collect::<Vec<_>>().join(", ")
        }
        Value::String(text) if text.is_empty() => String::from("empty"),
        _ => shown(value),
    }
}

fn grouped(number: f64) -> String {
    match number >= 10_000.0 && number.fract() == 0.0 && number < 1e15 {
        true => format::count(number as u64),
        false => number.to_string(),
    }
}

/// What is typed, as a value; or what would be right.
pub fn read(key: &SettingKey, typed: &str) -> Result<Value, String> {
    let typed = typed.trim();
    match key.kind {
        SettingKind::Number | SettingKind::Integer => number(key, typed),
        SettingKind::Flag => match typed {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(String::from("on or off")),
        },
        SettingKind::Choice if key.choices.iter().any(|choice| choice == typed) => Ok(typed.into()),
        SettingKind::Choice => Err(["one of ", &*key.choices.join(", ")].concat()),
        SettingKind::Networks => networks(key, typed),
        // No live setting is one of these.
        SettingKind::Texts | SettingKind::Table => Err(String::from("a value in the configuration file")),
        SettingKind::Text => {
            let most = key.most.unwrap_or(f64::INFINITY);
            match typed.len() as f64 > most {
                true => Err(["at most ", &*grouped(most), " bytes"].concat()),
                false => Ok(typed.into()),
            }
        }
    }
}

fn number(key: &SettingKey, typed: &str) -> Result<Value, String> {
    let wrong = || {
        [
            if whole(key) { "a whole number" } else { "a number" },
            &*bounds(key, ", "),
        ]
        .concat()
    };
    let value: f64 = typed.parse().map_err(|_| wrong())?;
    let in_bounds = key.least.is_none_or(|least| value >= least) && key.most.is_none_or(|most| value <= most);
    let is_zero = value == 0.0 && key.zero.is_some();
    if !value.is_finite() || !(in_bounds || is_zero) || whole(key) && value.fract() != 0.0 {
        return Err(wrong());
    }
    let number = match whole(key) {
        // Bounds are far below where a float has no digits for units any more.
        true => Some(Number::from(value as i64)),
        false => Number::from_f64(value),
    };
    number.map(Value::Number).ok_or_else(wrong)
}

fn whole(key: &SettingKey) -> bool {
    key.kind == SettingKind::Integer
}

/// What only the server knows of an address it says itself.
fn networks(key: &SettingKey, typed: &str) -> Result<Value, String> {
    let split = |it: char| it == ',' || it.is_whitespace();
    let networks: Vec<_> = typed.split(split).filter(|network| !network.is_empty()).collect();
    if networks.len() as f64 > key.most.unwrap_or(f64::INFINITY) {
        return Err(["at most ", &*grouped(key.most.unwrap_or_default()), " networks"].concat());
    }
    let is_address = |it: char| it.is_ascii_hexdigit() || matches!(it, '.' | ':' | '/');
    match networks.iter().find(|network| !network.chars().all(is_address)) {
        Some(wrong) => Err([wrong, " is no network, such as 192.0.2.0/24 or 2001:db8::/32"].concat()),
        None => Ok(Value::Array(networks.into_iter().map(Value::from).collect())),
    }
}

/// "0.01 to 20, or 0: off", after some words where there are bounds at all.
pub fn bounds(key: &SettingKey, before: &str) -> String {
    match within(key.kind, key.least, key.most) {
        within if within.is_empty() => within,
        within => {
            let zero = key.zero.as_ref().map(|zero| [", or 0: ", zero].concat());
            [before, &within, zero.as_deref().unwrap_or_default()].concat()
        }
    }
}

/// "0.01 to 20"; nothing where there are no bounds.
pub fn within(kind: SettingKind, least: Option<f64>, most: Option<f64>) -> String {
    let plain = grouped;
    match (least, most) {
        (Some(least), Some(most)) => [plain(least), String::from(" to "), plain(most)].concat(),
        (Some(least), None) => [String::from("at least "), plain(least)].concat(),
        (None, Some(most)) => {
            let unit = match kind {
                SettingKind::Text => " bytes",
                SettingKind::Networks => " networks",
                _ => "",
            };
            ["at most ", &plain(most), unit].concat()
        }
        (None, None) => String::new(),
    }
}

/// A JSON merge patch (RFC 7396) that sets these.
pub fn patch<'a>(values: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut patch = Value::Object(Map::new());
    for (key, value) in values {
        let mut place = &mut patch;
        for name in key.split('.') {
            let Value::Object(members) = place else { break };
            place = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value;
    }
    patch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(kind: SettingKind, least: Option<f64>, most: Option<f64>, zero: Option<&str>) -> SettingKey {
        SettingKey {
            key: "a.b".into(),
            kind,
            unit: String::new(),
            least,
            most,
            zero: zero.map(str::to_owned),
            choices: vec!["steady".into(), "bursts".into()],
            default: Value::Null,
            restart: false,
            what: String::new(),
        }
    }

    #[test]
    fn what_is_typed_is_a_value_within_the_bounds_or_told_what_would_be_right() {
        let rate = key(SettingKind::Number, Some(0.01), Some(20.0), Some("off"));
        assert_eq!(read(&rate, " 2.5 "), Ok(json!(2.5)));
        assert_eq!(read(&rate, "0"), Ok(json!(0.0)));
        for wrong in ["", "x", "-1", "20.1", "0.001", "NaN", "inf", "1e400"] {
            assert_eq!(
                read(&rate, wrong),
                Err("a number, 0.01 to 20, or 0: off".to_owned()),
                "{wrong}"
            );
        }
        let whole = key(SettingKind::Integer, Some(1.0), Some(100.0), None);
        assert_eq!(read(&whole, "7"), Ok(json!(7)));
        assert_eq!(read(&whole, "7.5"), Err("a whole number, 1 to 100".to_owned()));
        assert_eq!(read(&whole, "0"), Err("a whole number, 1 to 100".to_owned()));
        let choice = key(SettingKind::Choice, None, None, None);
        assert_eq!(read(&choice, "bursts"), Ok(json!("bursts")));
        assert_eq!(read(&choice, "often"), Err("one of steady, bursts".to_owned()));
        let flag = key(SettingKind::Flag, None, None, None);
        assert_eq!(read(&flag, "true"), Ok(json!(true)));
        assert!(read(&flag, "maybe").is_err());
        let networks = key(SettingKind::Networks, None, Some(2.0), None);
        assert_eq!(read(&networks, "10.0.0.0/8, ::1"), Ok(json!(["10.0.0.0/8", "::1"])));
        assert_eq!(read(&networks, "  "), Ok(json!([])));
        assert!(read(&networks, "example.org").unwrap_err().contains("example.org"));
        assert_eq!(read(&networks, "1 2 3"), Err("at most 2 networks".to_owned()));
        let text = key(SettingKind::Text, None, Some(3.0), None);
        assert_eq!(read(&text, "abc"), Ok(json!("abc")));
        assert_eq!(read(&text, "abcd"), Err("at most 3 bytes".to_owned()));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_value() {
        let cases = [
            (key(SettingKind::Number, None, None, None), json!(0.25)),
            (
                key(SettingKind::Integer, None, None, None),
                json!(1_099_511_627_776_u64),
            ),
            (key(SettingKind::Flag, None, None, None), json!(false)),
            (key(SettingKind::Choice, None, None, None), json!("steady")),
            (
                key(SettingKind::Networks, None, None, None),
                json!(["10.0.0.0/8", "::1"]),
            ),
            (key(SettingKind::Networks, None, None, None), json!([])),
            (key(SettingKind::Text, None, None, None), json!("info,openraft=error")),
        ];
        for (key, value) in cases {
            assert_eq!(read(&key, &shown(&value)), Ok(value));
        }
    }

    #[test]
    fn many_changes_are_one_patch() {
        let values = [("a.b", json!(1)), ("a.c.d", json!([])), ("e", json!("x"))];
        assert_eq!(patch(values), json!({"a": {"b": 1, "c": {"d": []}}, "e": "x"}));
        assert_eq!(at(&json!({"a": {"b": 1}}), "a.b"), &json!(1));
        assert_eq!(at(&json!({"a": 1}), "a.b"), &Value::Null);
    }

    #[test]
    fn a_number_is_said_with_all_its_digits() {
        assert_eq!(
            (shown(&json!(0.0125)), said(&json!(12.5))),
            ("0.0125".into(), "12.5".into())
        );
        assert_eq!(said(&json!({"a": "b", "c": 12_000})), "a = b, c = 12,000");
        assert_eq!(
            (shown(&json!(268_435_456)), said(&json!(268_435_456))),
            ("268435456".into(), "268,435,456".into())
        );
    }
}
