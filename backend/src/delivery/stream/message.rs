//! What a message that is not taken tells nevertheless: which publish it is, and which member is at fault.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::Error;

/// What a member must be.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Any,
    Text,
    Texts,
    Whole,
}

/// A member, whether it must be there, and what it must be.
type Member = (&'static str, bool, Shape);

const PUBLISH: [Member; 7] = [
    ("topic", true, Shape::Text),
    ("data", true, Shape::Any),
    ("key", false, Shape::Text),
    ("event_type", false, Shape::Text),
    ("id", false, Shape::Text),
    ("partition_key", false, Shape::Text),
    ("ref", false, Shape::Text),
];

type Members<'a> = BTreeMap<String, &'a RawValue>;

impl Shape {
    fn is_of(self, value: &RawValue) -> bool {
        fn is<T: DeserializeOwned>(value: &RawValue) -> bool {
            serde_json::from_str::<T>(value.get()).is_ok()
        }
        match self {
            Self::Any => true,
            Self::Text => is::<String>(value),
            Self::Texts => is::<Vec<String>>(value),
            Self::Whole => is::<i64>(value),
        }
    }
}

fn text(members: &Members<'_>, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// The `ref` of a publish, as far as it can be told.
pub(super) fn reference(message: &str) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(message).ok()?;
    (text(&members, "type")? == "publish").then(|| text(&members, "ref"))?
}

/// The refusal of a message that could not be read, for this reason.
pub(super) fn refusal(message: &str, why: &serde_json::Error) -> Error {
    let refusal = Error::message(why.to_string());
    match at_fault(message) {
        Some(field) => refusal.at(field),
        None => refusal,
    }
}

fn at_fault(message: &str) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(message).ok()?;
    let known: &[Member] = match text(&members, "type").as_deref() {
        Some("publish") => &PUBLISH,
        Some("subscribe") => &[("from", true, Shape::Texts)],
        Some("unsubscribe") => &[("topics", true, Shape::Texts)],
        Some("ping") => &[("t0_us", true, Shape::Whole)],
        _ => return Some("type".to_owned()),
    };
    let wrong = known.iter().find(|(name, needed, shape)| match members.get(*name) {
        None => *needed,
        // One that need not be there may be null.
        Some(value) if !needed && value.get() == "null" => false,
        Some(value) => !shape.is_of(value),
    });
    let unknown = || {
        let is_known = |name: &str| name == "type" || known.iter().any(|member| member.0 == name);
        members.keys().find(|name| !is_known(name)).cloned()
    };
    wrong.map(|member| member.0.to_owned()).or_else(unknown)
}

#[cfg(test)]
mod tests {
    use freshet_wire::ClientMessage;

    use super::*;

    #[test]
    fn the_member_at_fault_is_named_and_a_publish_keeps_its_reference() {
        for (message, field, of) in [
            (
                r#"{"type":"publish","topic":"t","data":1,"x":1,"ref":"r"}"#,
                Some("x"),
                Some("r"),
            ),
            (r#"{"type":"publish","topic":"t","ref":"r"}"#, Some("data"), Some("r")),
            (r#"{"data":1,"type":"publish","ref":"r"}"#, Some("topic"), Some("r")),
            (
                r#"{"type":"publish","topic":7,"data":1,"ref":"r"}"#,
                Some("topic"),
                Some("r"),
            ),
            (
                r#"{"type":"publish","topic":"t","data":1,"key":7,"ref":"r"}"#,
                Some("key"),
                Some("r"),
            ),
            (r#"{"type":"publish","topic":"t","data":1,"ref":7}"#, Some("ref"), None),
            (r#"{"type":"subscribe","from":"t","ref":"r"}"#, Some("from"), None),
            (r#"{"type":"subscribe","from":[],"ref":"r"}"#, Some("ref"), None),
            (r#"{"type":"unsubscribe"}"#, Some("topics"), None),
            (r#"{"type":"ping","t0_us":1.5}"#, Some("t0_us"), None),
            (r#"{"type":"shout"}"#, Some("type"), None),
            (r#"{"topic":"t"}"#, Some("type"), None),
            ("rubbish", None, None),
        ] {
            let why = ClientMessage::parse(message).expect_err(message);
            assert_eq!(refusal(message, &why).problem().field.as_deref(), field, "{message}");
            assert_eq!(reference(message).as_deref(), of, "{message}");
        }
    }

    #[test]
    fn every_member_of_a_publish_is_known_here_too() {
        let message = r#"{"type":"publish","topic":"t","data":1,"key":"k","event_type":"e","id":"i","partition_key":"p","ref":"r"}"#;
        assert!(ClientMessage::parse(message).is_ok());
        assert_eq!(at_fault(message), None);
    }
}
