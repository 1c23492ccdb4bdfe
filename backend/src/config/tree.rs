//! A configuration file, in whichever format, as one tree whose members know their lines.

mod json;
mod toml;
mod yaml;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use freshet_wire::ConfigSource;
use serde_json::Value;

use super::fault::Fault;

/// A file that is larger is none that somebody wrote by hand.
const MOST_BYTES: u64 = 1 << 20;
/// Tables within tables; the deepest key that there is has five.
const MOST_DEPTH: usize = 16;

/// A table's member: what its value is, and on which line its name stands, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub name: String,
    pub line: u32,
    pub node: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Table(Vec<Member>),
    /// A list is a value, and so is what stands in it.
    Value(Value),
}

impl Node {
    /// The same without lines.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Table(members) => {
                let members = members
                    .into_iter()
                    .map(|member| (member.name, member.node.into_value()));
                Value::Object(members.collect())
            }
        }
    }
}

/// Why a text cannot be read, and where; line 0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub line: u32,
    pub why: String,
}

impl Unreadable {
    fn new(line: u32, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }

    fn too_deep(line: u32) -> Self {
        Self::new(line, format!("more than {MOST_DEPTH} tables within one another"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    /// By the file's ending.
    pub fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The members of the table that the text is.
    pub(super) fn parse(self, text: &str) -> Result<Vec<Member>, Unreadable> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Toml => toml::parse(text),
            Self::Yaml => yaml::parse(text),
            Self::Json => json::parse(text),
        }
    }
}

/// Reads a file. What it is called in faults and in what is told of its values is `name`.
pub(super) fn read(file: &Path, name: &str) -> Result<Vec<Member>, Fault> {
    let wrong = |line: u32, why: String, right: &str| {
        let line = (line > 0).then_some(line);
        let file = name.to_owned();
        Fault::new(ConfigSource::File { file, line }, "", why, right)
    };
    let unread = |error: std::io::Error| wrong(0, format!("cannot be read: {error}"), "");
    let format = Format::of(file).ok_or_else(|| {
        let right = "a name that ends in .toml, .yaml, .yml or .json would be right";
        wrong(0, "its name does not say in which format it is".to_owned(), right)
    })?;
    let opened = File::open(file).map_err(unread)?;
    if opened.metadata().map_err(unread)?.is_dir() {
        return Err(wrong(0, "it is a folder".to_owned(), "a file is expected"));
    }
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(
            0,
            "it is larger than 1 MiB".to_owned(),
            "a configuration has some hundred lines",
        ));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = line_of(&bytes, error.valid_up_to());
        wrong(line, "it is not UTF-8".to_owned(), "text in UTF-8 is expected")
    })?;
    format
        .parse(text)
        .map_err(|unreadable| wrong(unreadable.line, unreadable.why, ""))
}

/// The line, from 1, on which the byte stands.
fn line_of(text: &[u8], byte: usize) -> u32 {
    let before = &text[..byte.min(text.len())];
    let breaks = before.iter().filter(|&&byte| byte == b'\n').count();
    u32::try_from(breaks).map_or(u32::MAX, |breaks| breaks.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(members: &[Member], path: &str, found: &mut Vec<(String, u32)>) {
        for member in members {
            let path = format!("{path}{}", member.name);
            found.push((path.clone(), member.line));
            if let Node::Table(members) = &member.node {
                lines(members, &format!("{path}."), found);
            }
        }
    }

    #[test]
    fn the_three_formats_give_one_tree_with_their_lines() {
        let toml = "# first\nlisten = '127.0.0.1:1'\nlist = ['a', 'b']\n[pubsub]\nengine = 'log'\nmax_topics = 7\n[limit.redis]\nwait = 0.5\non = true\n";
        let yaml = "# first\nlisten: 127.0.0.1:1\nlist: [a, 'b']\npubsub:\n  engine: log\n  max_topics: 7\nlimit:\n  redis:\n    wait: 0.5\n    on: true\n";
        let json = "\n{\"listen\": \"127.0.0.1:1\",\n\"list\": [\"a\", \"b\"],\n\"pubsub\": {\n\"engine\": \"log\",\n\"max_topics\":\n7},\n\"limit\": {\"redis\": {\n\"wait\": 0.5, \"on\": true}}}";
        let whole = json!({"listen": "127.0.0.1:1", "list": ["a", "b"], "pubsub": {"engine": "log", "max_topics": 7},
            "limit": {"redis": {"wait": 0.5, "on": true}}});
        for (format, text, expected) in [
            (Format::Toml, toml, [2, 3, 4, 5, 6, 7, 7, 8, 9]),
            (Format::Yaml, yaml, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
            (Format::Json, json, [2, 3, 4, 5, 6, 8, 8, 9, 9]),
        ] {
            let members = format.parse(text).unwrap();
            let mut found = Vec::new();
            lines(&members, "", &mut found);
            let names = [
                "listen",
                "list",
                "pubsub",
                "pubsub.engine",
                "pubsub.max_topics",
                "limit",
                "limit.redis",
                "limit.redis.wait",
                "limit.redis.on",
            ];
            let expected: Vec<_> = names.map(str::to_owned).into_iter().zip(expected).collect();
            assert_eq!(found, expected, "{format:?}");
            assert_eq!(Node::Table(members).into_value(), whole, "{format:?}");
        }
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            assert_eq!(format.parse("\u{feff}").unwrap_or_default(), []);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (format, text, line, why) in [
            (Format::Toml, "a = 1\nb = \n", 2, ""),
            (Format::Toml, "a = 1\na = 2", 2, "duplicate"),
            (Format::Toml, "a = 1\nb = inf", 2, "inf"),
            (Format::Toml, "a = 1\nb = 2020-01-01", 2, "date"),
            (Format::Yaml, "a: 1\nb: [", 2, ""),
            (Format::Yaml, "a: 1\na: 2", 2, "twice"),
            (Format::Yaml, "a: &x 1\nb: *x", 2, "alias"),
            (Format::Yaml, "a: 1\nb: !!str 2", 2, "tag"),
            (Format::Yaml, "a: 1\n---\nb: 2", 2, "document"),
            (Format::Yaml, "a: 1\n? [b]\n: 2", 2, "key"),
            (Format::Yaml, "- a", 1, "table"),
            (Format::Yaml, "a: 1\n\tb: 2", 1, "tab"),
            (Format::Json, "{\"a\": 1,\n\"b\": }", 2, ""),
            (Format::Json, "{\"a\": 1,\n\"a\": 2}", 2, "twice"),
            (Format::Json, "{\"a\": {\n\"b\": \"\\ud800\"}}", 2, ""),
            (Format::Json, "{\"a\": 1}\nx", 2, ""),
            (Format::Json, "[1]", 1, "table"),
            (Format::Json, "", 1, ""),
        ] {
            let unreadable = format.parse(text).unwrap_err();
            assert_eq!(unreadable.line, line, "{text:?}: {unreadable:?}");
            assert!(
                unreadable.why.contains(why) && !unreadable.why.contains('\n'),
                "{text:?}: {unreadable:?}"
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = 200_000;
        for (format, text) in [
            (Format::Toml, format!("a = {}", "[".repeat(deep))),
            (Format::Toml, format!("{}a = 1", "a.".repeat(deep))),
            (Format::Toml, format!("[{}a]", "a.".repeat(deep))),
            (Format::Toml, format!("a = {}", "{a = ".repeat(deep))),
            (Format::Yaml, format!("a: {}", "[".repeat(deep))),
            (Format::Yaml, format!("a: {}", "{a: ".repeat(deep))),
            (Format::Yaml, format!("a: {}1", "- ".repeat(deep))),
            (
                Format::Yaml,
                (0..600).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n"),
            ),
            (
                Format::Json,
                format!("{{\"a\": {}{}}}", "[".repeat(deep), "]".repeat(deep)),
            ),
            (Format::Json, format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep))),
        ] {
            assert!(format.parse(&text).is_err(), "{format:?} {:?}", &text[..20]);
        }
    }
}
