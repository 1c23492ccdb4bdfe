//! Names in the project: 3 to 255 of `A-Z a-z 0-9 - . _ ~ + %`, the first a letter. A byte of a topic's name that is not a letter,
//! digit, `-`, `.` or `_` of ASCII is written `~HH`, so every name has one spelling; `+` stands between topic and node alone.

use std::fmt::Write;

/// The longest name, in bytes.
const MOST: usize = 255;

/// The topic's name in the project; `None` if it would be too long there.
pub(super) fn topic(prefix: &str, name: &str) -> Option<String> {
    let mut spelled = prefix.to_owned();
    for byte in name.bytes() {
        match byte {
            b'-' | b'.' | b'_' => spelled.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => spelled.push(char::from(byte)),
            _ => _ = write!(spelled, "~{byte:02x}"),
        }
    }
    (3..=MOST).contains(&spelled.len()).then_some(spelled)
}

/// The name of a node's subscription to a topic that is spelled so.
pub(super) fn subscription(spelled: &str, node: &str) -> Option<String> {
    let name = format!("{spelled}+{node}");
    (name.len() <= MOST).then_some(name)
}

/// Whether names may begin so.
pub(super) fn is_prefix(prefix: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    prefix.starts_with(|first: char| first.is_ascii_alphabetic())
        && !prefix.starts_with("goog")
        && prefix.len() <= 64
        && prefix.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_spelled_with_what_the_service_takes() {
        assert_eq!(topic("freshet.", "host.cpu_1-a").unwrap(), "freshet.host.cpu_1-a");
        assert_eq!(topic("freshet.", "ü~").unwrap(), "freshet.~c3~bc~7e");
        assert_eq!(topic("freshet.", &"水".repeat(60)), None, "too long");
    }

    #[test]
    fn no_two_nodes_share_a_subscription() {
        let name = |name, node| subscription(&topic("f.", name).unwrap(), node).unwrap();
        assert_ne!(name("a", "b.c"), name("a.b", "c"));
        assert_ne!(name("a+b", "c"), name("a", "b+c"));
    }

    #[test]
    fn a_prefix_is_what_a_name_may_begin_with() {
        for good in ["freshet.", "F-1_"] {
            assert!(is_prefix(good), "{good}");
        }
        for wrong in ["", "1a", ".a", "goog.", "a+", "a~", "ü"] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
    }
}
