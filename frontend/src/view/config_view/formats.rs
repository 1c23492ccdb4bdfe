//! Settings as a file: TOML, YAML or JSON.

use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    pub const ALL: [(Self, &'static str); 3] = [(Self::Toml, "TOML"), (Self::Yaml, "YAML"), (Self::Json, "JSON")];

    pub fn write(self, settings: &Value) -> String {
        let mut out = String::new();
        match (self, settings) {
            (Self::Toml, Value::Object(members)) => toml(members, "", &mut out),
            (Self::Yaml, Value::Object(members)) => yaml(members, 0, &mut out),
            _ => out = serde_json::to_string_pretty(settings).unwrap_or_default() + "\n",
        }
        out
    }
}

/// A table: its values first, for what stands behind the head of another table belongs to that one.
fn toml(members: &Map<String, Value>, path: &str, out: &mut String) {
    let (tables, values): (Vec<_>, Vec<_>) = members.iter().partition(|(_, value)| value.is_object());
    let values: Vec<_> = values.into_iter().filter(|(_, value)| !value.is_null()).collect();
    if !values.is_empty() && !path.is_empty() {
        if !out.is_empty() {
            out.push('\n');
        }
        out.extend(["[", path, "]\n"]);
    }
    for (name, value) in values {
        out.extend([&*bare(name), " = ", &inline(value), "\n"]);
    }
    for (name, value) in tables {
        if let Value::Object(members) = value {
            let dot = if path.is_empty() { "" } else { "." };
            toml(members, &[path, dot, &bare(name)].concat(), out);
        }
    }
}

fn yaml(members: &Map<String, Value>, depth: usize, out: &mut String) {
    for (name, value) in members {
        out.extend(std::iter::repeat_n("  ", depth));
        out.extend([&*bare(name), ":"]);
        match value {
            Value::Object(members) if !members.is_empty() => {
                out.push('\n');
                yaml(members, depth + 1, out);
            }
            value => out.extend([" ", &inline(value), "\n"]),
        }
    }
}

/// A value within a line: JSON, which both take, but for one character that TOML wants escaped.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => ["[", &*items.iter().map(inline).collect::<Vec<_>>().join(", "), "]"].concat(),
        value => value.to_string().replace('\u{7f}', "\\u007f"),
    }
}

/// A name, quoted where it has to be.
fn bare(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    // YAML takes some words for something else.
    let is_word = matches!(
        name,
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
    );
    let starts_right = name.starts_with(|it: char| it.is_ascii_alphabetic());
    match starts_right && !is_word && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => inline(&Value::from(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_format_says_the_same() {
        let settings = json!({
            "limit": {"denied": [], "exempt": ["10.0.0.0/8", "::1"], "read": {"burst": {"quota": 7, "window_s": 2}}, "stream-message": {"a": 1.0}},
            "log": {"filter": "a\"b\\\u{7f}\n"},
            "on": {"x": true, "none": null},
        });
        let toml = "[limit]\ndenied = []\nexempt = [\"10.0.0.0/8\", \"::1\"]\n\n[limit.read.burst]\nquota = 7\nwindow_s = 2\n\n\
            [limit.stream-message]\na = 1.0\n\n[log]\nfilter = \"a\\\"b\\\\\\u007f\\n\"\n\n[\"on\"]\nx = true\n";
        assert_eq!(Format::Toml.write(&settings), toml);
        let yaml = "limit:\n  denied: []\n  exempt: [\"10.0.0.0/8\", \"::1\"]\n  read:\n    burst:\n      quota: 7\n      window_s: 2\n  \
            stream-message:\n    a: 1.0\nlog:\n  filter: \"a\\\"b\\\\\\u007f\\n\"\n\"on\":\n  none: null\n  x: true\n";
        assert_eq!(Format::Yaml.write(&settings), yaml);
        let back: Value = serde_json::from_str(&Format::Json.write(&settings)).unwrap();
        assert_eq!(back, settings);
    }
}
