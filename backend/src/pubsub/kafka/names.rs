//! Topic names in the cluster: a prefix and the name, spelled with what Kafka allows (`a-z A-Z 0-9 . _ -`, 249 at most).
//!
//! A character that Kafka does not allow is written `_uHEX_`, its code point in hexadecimal; so `_` before a `u` is written
//! that way as well, and every name has one spelling that reads back as itself.

use std::fmt::Write;

/// The longest topic name, in characters; all of them are ASCII.
const MOST: usize = 249;

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether Kafka takes this text within a topic's name as it is.
pub(super) fn is_legal(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST && text.chars().all(is_plain)
}

/// The topic's name in the cluster; `None` if it would be too long there.
pub(super) fn spell(prefix: &str, name: &str) -> Option<String> {
    let mut spelled = String::with_capacity(prefix.len() + name.len());
    spelled.push_str(prefix);
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        let looks_escaped = c == '_' && rest.as_str().starts_with('u');
        if is_plain(c) && !looks_escaped {
            spelled.push(c);
        } else {
            let _ = write!(spelled, "_u{:x}_", u32::from(c));
        }
    }
    (spelled.len() <= MOST).then_some(spelled)
}

/// The name that is spelled so; `None` if it has another prefix, or is no spelling of ours.
pub(super) fn read(prefix: &str, spelled: &str) -> Option<String> {
    let mut rest = spelled.strip_prefix(prefix)?;
    let mut name = String::with_capacity(rest.len());
    while let Some((before, escaped)) = rest.split_once("_u") {
        let (hex, after) = escaped.split_once('_')?;
        name.push_str(before);
        name.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
        rest = after;
    }
    name.push_str(rest);
    let is_its_spelling = spell(prefix, &name).as_deref() == Some(spelled);
    (is_its_spelling && freshet_wire::check_topic_name(&name).is_ok()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_has_one_spelling_that_kafka_takes_and_that_reads_back(name in "[a-z_uü水._0-9-]{1,40}") {
            prop_assume!(freshet_wire::check_topic_name(&name).is_ok());
            let spelled = spell("freshet.", &name).unwrap();
            prop_assert!(is_legal(&spelled), "{spelled}");
            prop_assert_eq!(read("freshet.", &spelled), Some(name));
        }

        #[test]
        fn no_name_in_a_cluster_makes_the_reading_panic(spelled in "freshet\\.[_u0-9a-fx.-]{0,30}") {
            if let Some(name) = read("freshet.", &spelled) {
                prop_assert_eq!(spell("freshet.", &name), Some(spelled));
            }
        }
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        assert_eq!(spell("freshet.", "host.cpu_1-a").unwrap(), "freshet.host.cpu_1-a");
        assert_eq!(spell("freshet.", "水位").unwrap(), "freshet._u6c34__u4f4d_");
        assert_eq!(read("freshet.", "orders"), None);
        assert_eq!(read("freshet.", "freshet."), None);
        assert_eq!(read("freshet.", "freshet._u0061_"), None, "not the spelling of a");
        assert_eq!(spell("freshet.", &"水".repeat(60)), None, "too long");
    }
}
