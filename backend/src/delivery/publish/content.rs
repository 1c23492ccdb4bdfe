//! What is published: JSON within bounds, without white space that means nothing. Pure.

use std::borrow::Cow;

use http::{HeaderMap, header};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::pubsub::nesting::{MOST_DEPTH, depth};

/// How a body carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The body is the data of one event.
    One,
    /// One JSON value a line (NDJSON); empty lines are passed over.
    Lines,
    /// JSON values, each after a record separator (RFC 7464).
    Sequence,
    /// One event of CloudEvents, in structured mode.
    CloudEvent,
    /// An array of them.
    CloudEvents,
}

/// What stands before each value of a sequence.
const SEPARATOR: u8 = 0x1e;

impl Format {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
        let kind = kinds.next().map_or("", |kind| kind.to_str().unwrap_or("?"));
        if kinds.next().is_some() {
            return Err(Error::parameter(
                "Content-Type",
                "Content-Type stands there more than once",
            ));
        }
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*kind {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            "application/json-seq" => Ok(Self::Sequence),
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            // What `curl -d` says of whatever it sends.
            "" | "application/x-www-form-urlencoded" => Ok(Self::One),
            kind if kind.starts_with("application/cloudevents") => Err(Error::media_type(format!(
                "{kind:?} cannot be published: application/cloudevents+json is one event of CloudEvents, application/cloudevents-batch+json an array of them"
            ))),
            kind if kind.starts_with("text/plain") || kind == "application/json" || kind.ends_with("+json") => {
                Ok(Self::One)
            }
            _ => Err(Error::media_type(format!(
                "{kind:?} cannot be published: application/json is one event, application/x-ndjson one a line, application/json-seq a sequence, \
                 application/cloudevents+json and application/cloudevents-batch+json are CloudEvents"
            ))),
        }
    }

    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::Lines | Self::Sequence | Self::CloudEvents)
    }

    /// The text of each event, before it is looked into; `most` is how many there may be.
    pub(super) fn split(self, body: &[u8], most: usize) -> Result<Vec<Part<'_>>, Error> {
        let part = |(place, text)| Part {
            format: self,
            place,
            text,
        };
        let parts: Vec<Part<'_>> = match self {
            Self::One | Self::CloudEvent => vec![part((0, body))],
            // One more than may be is enough to know.
            Self::Lines => filled(body, b'\n').take(most + 1).map(part).collect(),
            Self::Sequence => {
                let before = body.split(|&byte| byte == SEPARATOR).next().unwrap_or_default();
                if !before.trim_ascii().is_empty() {
                    return Err(Error::not_json(
                        "the sequence does not begin with a record separator (0x1E), which stands before each value",
                    ));
                }
                filled(body, SEPARATOR).take(most + 1).map(part).collect()
            }
            Self::CloudEvents => {
                let events: Vec<&RawValue> = serde_json::from_slice(body)
                    .map_err(|error| Error::not_json(format!("the body is not an array of CloudEvents: {error}")))?;
                let texts = events.iter().map(|event| event.get().as_bytes());
                texts.enumerate().map(part).collect()
            }
        };
        if parts.len() > most {
            return Err(Error::event_too_large(format!("a batch may have {most} events")));
        }
        // An array of none is allowed by its format.
        if parts.is_empty() && self != Self::CloudEvents {
            return Err(Error::not_json("the batch has no event: JSON values are expected"));
        }
        Ok(parts)
    }
}

/// The pieces in which there is something, and their places.
fn filled(body: &[u8], separator: u8) -> impl Iterator<Item = (usize, &[u8])> {
    let pieces = body.split(move |&byte| byte == separator).enumerate();
    pieces.filter(|(_, piece)| !piece.trim_ascii().is_empty())
}

/// The text of one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    format: Format,
    place: usize,
    pub(super) text: &'a [u8],
}

impl Part<'_> {
    /// Its name in a refusal.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self.format {
            Format::One | Format::CloudEvent => Cow::Borrowed("the body"),
            Format::Lines => Cow::Owned(format!("line {}", self.place + 1)),
            // The first separator has nothing before it.
            Format::Sequence => Cow::Owned(format!("value {}", self.place)),
            Format::CloudEvents => Cow::Owned(format!("event {}", self.place + 1)),
        }
    }

    /// The JSON that it is.
    pub(super) fn data(&self, most: usize) -> Result<Box<RawValue>, Error> {
        // A number that was cut off is a number too: what follows it says that it is whole (RFC 7464, section 2.4).
        let may_be_cut = || self.text.last().is_some_and(u8::is_ascii_alphanumeric);
        if self.format == Format::Sequence && may_be_cut() {
            return Err(Error::not_json(format!(
                "{} may have been cut off: a value of a sequence ends with a line feed",
                self.name()
            )));
        }
        data(self.text, most, &self.name())
    }
}

/// One JSON value, as an event's data. `what` names it in a refusal.
pub(super) fn data(text: &[u8], most: usize, what: &str) -> Result<Box<RawValue>, Error> {
    within(text.len(), most, what)?;
    let value: &RawValue =
        serde_json::from_slice(text).map_err(|error| Error::not_json(format!("{what} is not JSON: {error}")))?;
    check(value, what)
}

/// The same of JSON that was read already.
pub(super) fn sized(value: &RawValue, most: usize, what: &str) -> Result<Box<RawValue>, Error> {
    within(value.get().len(), most, what)?;
    check(value, what)
}

fn within(bytes: usize, most: usize, what: &str) -> Result<(), Error> {
    match bytes > most {
        true => Err(Error::event_too_large(format!(
            "{what} has {bytes} bytes; an event's data may have {most}"
        ))),
        false => Ok(()),
    }
}

/// Within the bound of depth, and compact.
fn check(value: &RawValue, what: &str) -> Result<Box<RawValue>, Error> {
    if depth(value.get()) > MOST_DEPTH {
        return Err(Error::not_json(format!(
            "{what} nests more than {MOST_DEPTH} arrays and objects"
        )));
    }
    // Still JSON: white space between its tokens meant nothing.
    RawValue::from_string(compact(value.get())).map_err(|error| Error::not_json(format!("{what} is not JSON: {error}")))
}

/// The text without white space between its tokens.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for char in json.chars() {
        if in_string {
            in_string = escaped || char != '"';
            escaped = !escaped && char == '\\';
        } else {
            match char {
                ' ' | '\n' | '\r' | '\t' => continue,
                '"' => in_string = true,
                _ => {}
            }
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::pubsub::nesting::nested;

    proptest! {
        #[test]
        fn compact_json_says_the_same_without_white_space(key in ".{0,20}", value in ".{0,40}", number: i64) {
            let json = serde_json::json!({ key: [value, number, { "a b": [] }] });
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            let compact = data(pretty.as_bytes(), 1 << 20, "the body").unwrap();
            prop_assert_eq!(compact.get(), serde_json::to_string(&json).unwrap());
        }

        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let _ = data(&body, 1000, "the body");
            for format in [Format::Lines, Format::Sequence, Format::CloudEvents] {
                let _ = values(format, &body);
            }
        }
    }

    #[test]
    fn a_string_keeps_its_white_space_and_its_escapes() {
        let text = r#"{"a": "x \" y \\" , "b" : " \\\" " }"#;
        let compact = data(text.as_bytes(), 100, "the body").unwrap();
        assert_eq!(compact.get(), r#"{"a":"x \" y \\","b":" \\\" "}"#);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(data(nested(MOST_DEPTH).as_bytes(), 1000, "the body").is_ok());
        assert!(data(nested(MOST_DEPTH + 1).as_bytes(), 1000, "the body").is_err());
        // Brackets in a string nest nothing.
        assert!(data(format!("\"{}\"", "[".repeat(500)).as_bytes(), 1000, "the body").is_ok());
    }

    /// Of a batch of up to ten.
    fn values(format: Format, body: &[u8]) -> Result<Vec<String>, Error> {
        let parts = format.split(body, 10)?;
        parts.iter().map(|part| Ok(part.data(100)?.get().to_owned())).collect()
    }

    fn why(format: Format, body: &[u8]) -> String {
        values(format, body).unwrap_err().problem().detail.unwrap()
    }

    #[test]
    fn a_batch_is_a_value_a_line() {
        let lines = values(Format::Lines, b"{\"a\":1}\r\n\n  [2, 3]\n\"x\"").unwrap();
        assert_eq!(lines, [r#"{"a":1}"#, "[2,3]", "\"x\""]);
        assert_eq!(serde_json::from_str::<Value>(&lines[1]).unwrap()[1], 3);
        assert!(values(Format::Lines, b"\n \n").is_err());
        assert_eq!(Format::Lines.split(b"1\r\n\n 2\n{]\n", 3).unwrap().len(), 3);
        assert!(Format::Lines.split(b"1\n2\n3", 2).is_err());
        assert!(why(Format::Lines, b"1\n{]\n").starts_with("line 2"));
    }

    #[test]
    fn a_sequence_has_a_separator_before_each_value_and_none_that_is_cut_off() {
        let values = |body: &[u8]| values(Format::Sequence, body);
        assert_eq!(values(b"\x1e{\n\"a\":1}\n\x1e\x1e12\n").unwrap(), [r#"{"a":1}"#, "12"]);
        assert!(why(Format::Sequence, b"1\n").contains("0x1E"));
        assert!(why(Format::Sequence, b"\x1e1\n\x1e12").starts_with("value 2 may have been cut off"));
        assert!(why(Format::Sequence, b"\x1e1\n\x1e{]\n").starts_with("value 2 is not JSON"));
        assert!(values(b"\x1e \n").is_err());
    }

    #[test]
    fn an_array_of_cloud_events_may_be_empty_and_has_its_bound() {
        assert_eq!(Format::CloudEvents.split(b"[ ]", 2).unwrap().len(), 0);
        let two = Format::CloudEvents.split(b"[{}, 7]", 2).unwrap();
        assert_eq!((two.len(), two[1].text, &*two[1].name()), (2, &b"7"[..], "event 2"));
        assert!(Format::CloudEvents.split(b"[1,2,3]", 2).is_err());
        assert!(Format::CloudEvents.split(b"{}", 2).is_err());
    }

    #[test]
    fn what_can_be_published_is_known_by_its_media_type() {
        let format = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            Format::of(&headers).map_err(|error| error.problem().status)
        };
        assert_eq!(format("application/x-ndjson; charset=utf-8"), Ok(Format::Lines));
        assert_eq!(format("Application/JSON"), Ok(Format::One));
        assert_eq!(format("application/vnd.order+json"), Ok(Format::One));
        assert_eq!(format("application/json-seq"), Ok(Format::Sequence));
        assert_eq!(
            format("application/cloudevents+json; charset=utf-8"),
            Ok(Format::CloudEvent)
        );
        assert_eq!(format("application/cloudevents-batch+json"), Ok(Format::CloudEvents));
        for kind in [
            "application/cloudevents+avro",
            "multipart/form-data; boundary=x",
            "image/png",
        ] {
            assert_eq!(format(kind), Err(415), "{kind}");
        }
        assert_eq!(Format::of(&HeaderMap::new()).ok(), Some(Format::One));
    }
}
