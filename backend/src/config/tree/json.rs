//! JSON (RFC 8259), without comments. serde_json says of no value where it stood, but hands out parts of the text, whose place in
//! it is known.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{MOST_DEPTH, Member, Node, Unreadable, line_of};

pub(super) fn parse(text: &str) -> Result<Vec<Member>, Unreadable> {
    match object(text, text, 0)? {
        Some(members) => Ok(members),
        None => Err(Unreadable::new(1, "a table in braces is expected")),
    }
}

/// The members, where the part of the text is an object.
fn object(part: &str, text: &str, depth: usize) -> Result<Option<Vec<Member>>, Unreadable> {
    let begin = line_at(part, text);
    if depth > MOST_DEPTH {
        return Err(Unreadable::too_deep(begin));
    }
    if !part.trim_start().starts_with('{') && depth > 0 {
        return Ok(None);
    }
    if part.trim_start().starts_with('[') {
        return Ok(None);
    }
    let Parts(parts) = serde_json::from_str(part).map_err(|error| unreadable(&error, begin))?;
    let mut members: Vec<Member> = Vec::with_capacity(parts.len());
    for (Name(name), raw) in parts {
        let value = raw.get();
        let line = match &name {
            Cow::Borrowed(name) => line_at(name, text),
            // One with an escape in it is a copy.
            Cow::Owned(_) => line_at(value, text),
        };
        if members.iter().any(|member| member.name == name) {
            return Err(Unreadable::new(line, format!("{name:?} stands there twice")));
        }
        let node = match object(value, text, depth + 1)? {
            Some(members) => Node::Table(members),
            None => Node::Value(serde_json::from_str(value).map_err(|error| unreadable(&error, line_at(value, text)))?),
        };
        members.push(Member {
            name: name.into_owned(),
            line,
            node,
        });
    }
    Ok(Some(members))
}

fn line_at(part: &str, text: &str) -> u32 {
    let at = part.as_ptr().addr().checked_sub(text.as_ptr().addr());
    line_of(text.as_bytes(), at.unwrap_or_default())
}

/// The error of a part that begins on that line.
fn unreadable(error: &serde_json::Error, begin: u32) -> Unreadable {
    let line = u32::try_from(error.line().max(1) - 1).unwrap_or(u32::MAX);
    let text = error.to_string();
    // What follows is the place within the part.
    let why = text.split(" at line ").next().unwrap_or(&text);
    Unreadable::new(begin.saturating_add(line), why)
}

/// Members in their order, values as they are written.
struct Parts<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table in braces")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Parts(members))
            }
        }
        from.deserialize_map(Members)
    }
}

/// A member's name: a part of the text where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name in quotes")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}
