//! What is wrong in a configuration: where, which key, why, and what would be right.

use std::fmt;

use freshet_wire::ConfigSource;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: ConfigSource,
    /// Empty where it is the file as a whole that cannot be read.
    pub key: String,
    pub why: String,
    /// Empty where `why` says it already.
    pub right: String,
}

impl Fault {
    pub(super) fn new(place: ConfigSource, key: &str, why: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            place,
            key: key.to_owned(),
            why: why.into(),
            right: right.into(),
        }
    }
}

/// `FILE:LINE: key: why; what would be right`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}: ", Place(&self.place));
        if !self.key.is_empty() {
            text.push_str(&self.key);
            text.push_str(": ");
        }
        text.push_str(&self.why);
        if !self.right.is_empty() {
            text.push_str("; ");
            text.push_str(&self.right);
        }
        // One fault, one line, whatever was typed.
        for c in text.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A source as it is written in front of a fault and behind a value.
#[derive(Debug)]
pub struct Place<'a>(pub &'a ConfigSource);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConfigSource::Default => f.write_str("default"),
            ConfigSource::File { file, line: None } => f.write_str(file),
            ConfigSource::File { file, line: Some(line) } => write!(f, "{file}:{line}"),
            ConfigSource::Environment { variable } => f.write_str(variable),
            ConfigSource::Flag { flag } => f.write_str(flag),
        }
    }
}

/// All that is wrong, in the order of the file, then of the environment and of the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// What was meant, where it was written nearly so.
pub(super) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells at such a length, and the distance costs its square.
    if written.len() > 64 {
        return None;
    }
    let far = (written.len() / 3).clamp(1, 3);
    let names = names.into_iter().map(|name| (distance(written, name), name));
    let (least, name) = names.min_by_key(|(distance, _)| *distance)?;
    (least <= far).then_some(name)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_nearly_written_is_found_and_nothing_else_is() {
        let names = ["engine", "endpoints", "ttl_s", "prefix"];
        for (written, meant) in [
            ("engnie", Some("engine")),
            ("endpoint", Some("endpoints")),
            ("ttl-s", Some("ttl_s")),
            ("prefixes", Some("prefix")),
            ("brokers", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }

    #[test]
    fn a_fault_is_one_line() {
        let place = ConfigSource::File {
            file: "freshet.toml".to_owned(),
            line: Some(3),
        };
        let fault = Fault::new(place, "listen", "\"a\nb\" is no address", "ADDRESS:PORT is expected");
        assert_eq!(
            fault.to_string(),
            "freshet.toml:3: listen: \"a\\nb\" is no address; ADDRESS:PORT is expected"
        );
    }
}
