//! An event as a Kafka record and back: the CloudEvents binding for Kafka, in binary mode.
//!
//! Headers carry `ce_id`, `ce_type`, `ce_time`, `ce_source` and, as extension attributes, the fencing token; the value is the
//! event's data. What others wrote is taken as it comes: whatever a header does not say is said by the record itself. A record
//! has one text, wherever and whenever it is read.

use std::sync::Arc;

use base64::Engine as _;
use freshet_wire::{Epoch, GapReason, Token};
use jiff::Timestamp as Time;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, Timestamp};
use serde_json::value::RawValue;

use crate::encode;
use crate::pubsub::nesting::{MOST_DEPTH, depth};
use crate::pubsub::{Record, Stored, id_hash};

/// A source's URI is `//HOST/freshet`: authority and path, as RFC 3986 writes a reference to a service on a host.
const SOURCE: &str = "/freshet";

/// The type of what brings none.
const UNTYPED: &str = "message";

/// The headers that go with an event.
pub(super) fn headers(record: &Record, id: &str) -> OwnedHeaders {
    let source = match &record.host {
        Some(host) => format!("//{host}{SOURCE}"),
        None => SOURCE.to_owned(),
    };
    let set = |headers: OwnedHeaders, key: &str, value: &str| {
        headers.insert(Header {
            key,
            value: Some(value),
        })
    };
    let mut headers = OwnedHeaders::new_with_capacity(8);
    headers = set(headers, "ce_specversion", "1.0");
    headers = set(headers, "ce_id", id);
    headers = set(headers, "ce_type", &record.kind);
    headers = set(headers, "ce_source", &source);
    if let Ok(time) = Time::from_microsecond(record.produced_us) {
        headers = set(headers, "ce_time", &format!("{time:.6}"));
    }
    if let Some(token) = &record.token {
        headers = set(headers, "ce_tokenscope", &token.scope);
        headers = set(headers, "ce_tokennumber", &token.number.to_string());
    }
    set(headers, "content-type", "application/json")
}

/// Whose records a topic has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) topic: &'a str,
    pub(super) epoch: Epoch,
    /// Others write to it.
    pub(super) watched: bool,
}

/// An event, and the token that its leader wrote it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) event: Stored,
    pub(super) token: Option<Token<'static>>,
}

/// The event that a record is.
pub(super) fn read(origin: Origin<'_>, message: &impl Message) -> Heard {
    let mut said = Said::default();
    if let Some(headers) = message.headers() {
        headers.iter().for_each(|header| said.hear(header));
    }
    let stamp_us = match message.timestamp() {
        Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => ms.saturating_mul(1000),
        Timestamp::NotAvailable => 0,
    };
    let time = said.time.and_then(|time| time.parse::<Time>().ok());
    let host = said.source.map(|source| {
        let ours = source.strip_prefix("//").and_then(|host| host.strip_suffix(SOURCE));
        ours.unwrap_or(source)
    });
    let token = match (said.token_scope, said.token_number) {
        // Another service's tokens say nothing about this one's leader.
        (Some(scope), Some(number)) if !origin.watched => number.parse().ok().map(|number| Token {
            scope: scope.to_owned().into(),
            number,
        }),
        _ => None,
    };
    // An id alone tells a duplicate among Freshet's own; CloudEvents make one unique by source and id together.
    let id_hash = match (said.id, said.source) {
        (None, _) => 0,
        (Some(id), Some(source)) if origin.watched => id_hash(&format!("{source} {id}")),
        (Some(id), _) => id_hash(id),
    };
    let place = encode::Place {
        topic: origin.topic,
        epoch: origin.epoch,
        partition: u32::try_from(message.partition()).unwrap_or(0),
        offset: u64::try_from(message.offset()).unwrap_or(0),
        ingested_us: stamp_us,
    };
    let record = Record {
        produced_us: time.map_or(stamp_us, Time::as_microsecond),
        // A source of no host is that of a service whose own clock does not matter.
        host: host.filter(|&host| host != SOURCE).map(Arc::from),
        token,
        kind: Arc::from(said.kind.unwrap_or(UNTYPED)),
        id: said.id.map(str::to_owned),
        key: None,
        data: data(message.payload()),
    };
    Heard {
        event: Stored {
            partition: place.partition,
            offset: place.offset,
            ingested_us: stamp_us,
            id_hash,
            vacant: None::<GapReason>,
            json: encode::event(&place, &record),
        },
        token: record.token,
    }
}

/// What a record's headers say.
#[derive(Debug, Default)]
struct Said<'a> {
    id: Option<&'a str>,
    kind: Option<&'a str>,
    time: Option<&'a str>,
    source: Option<&'a str>,
    token_scope: Option<&'a str>,
    token_number: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn hear(&mut self, header: Header<'a, &'a [u8]>) {
        let place = match header.key {
            "ce_id" => &mut self.id,
            "ce_type" => &mut self.kind,
            "ce_time" => &mut self.time,
            "ce_source" => &mut self.source,
            "ce_tokenscope" => &mut self.token_scope,
            "ce_tokennumber" => &mut self.token_number,
            _ => return,
        };
        let text = header.value.and_then(|value| std::str::from_utf8(value).ok());
        *place = text.filter(|text| !text.is_empty());
    }
}

/// JSON stays as it is, text becomes a JSON string, other bytes `{"base64": …}`, and no value (a tombstone) `null`.
fn data(payload: Option<&[u8]>) -> Box<RawValue> {
    let Some(payload) = payload else {
        return RawValue::NULL.to_owned();
    };
    let raw = |value: serde_json::Result<Box<RawValue>>| value.unwrap_or_else(|_| RawValue::NULL.to_owned());
    match std::str::from_utf8(payload) {
        Ok(text) => match json(text) {
            Some(json) => json,
            None => raw(serde_json::value::to_raw_value(text)),
        },
        Err(_) => {
            let text = base64::engine::general_purpose::STANDARD.encode(payload);
            raw(serde_json::value::to_raw_value(&serde_json::json!({ "base64": text })))
        }
    }
}

/// The text, if it is JSON that readers can take.
fn json(text: &str) -> Option<Box<RawValue>> {
    if depth(text) > MOST_DEPTH {
        return None;
    }
    // A line break stands only between tokens, and would end the event where events are lines.
    let text = match text.contains(['\n', '\r']) {
        true => text.replace(['\n', '\r'], " "),
        false => text.to_owned(),
    };
    RawValue::from_string(text.trim().to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use freshet_wire::Event;
    use proptest::prelude::*;
    use rdkafka::message::OwnedMessage;

    use super::*;
    use crate::pubsub::nesting::nested;

    fn ours() -> Origin<'static> {
        Origin {
            topic: "t",
            epoch: Epoch::new(0),
            watched: false,
        }
    }

    fn message(payload: Option<&[u8]>, headers: Option<OwnedHeaders>) -> OwnedMessage {
        OwnedMessage::new(
            payload.map(<[u8]>::to_vec),
            None,
            "freshet.t".to_owned(),
            Timestamp::LogAppendTime(1_700_000_000_123),
            2,
            7,
            headers,
        )
    }

    fn record(data: &str) -> Record {
        Record {
            produced_us: 1_700_000_000_000_001,
            host: Some(Arc::from("örtchen.example")),
            token: Some(Token {
                scope: "raft/a".into(),
                number: 12,
            }),
            kind: Arc::from("order.placed"),
            id: None,
            key: None,
            data: RawValue::from_string(data.to_owned()).unwrap(),
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was_published() {
        let record = record(r#"{"a": [1, "ü"]}"#);
        let message = message(Some(record.data.get().as_bytes()), Some(headers(&record, "id-1")));
        let heard = read(ours(), &message);
        let stored = &heard.event;
        assert_eq!(
            (stored.partition, stored.offset, stored.ingested_us),
            (2, 7, 1_700_000_000_123_000)
        );
        assert_eq!(stored.id_hash, id_hash("id-1"));
        let event: Event<'_> = serde_json::from_slice(&stored.json).unwrap();
        assert_eq!(event.id, "id-1");
        assert_eq!(event.kind, "order.placed");
        assert_eq!(event.produced_us, record.produced_us);
        assert_eq!(event.host.as_deref(), Some("örtchen.example"));
        assert_eq!(event.token, record.token);
        assert_eq!(heard.token, record.token);
        assert_eq!(event.data.get(), record.data.get());
        assert_eq!(read(ours(), &message), heard, "the same bytes each time");
    }

    #[test]
    fn what_others_wrote_is_taken_as_it_comes() {
        let watched = Origin {
            watched: true,
            ..ours()
        };
        let stored = read(watched, &message(Some(b"hello"), None)).event;
        let event: Event<'_> = serde_json::from_slice(&stored.json).unwrap();
        assert_eq!((&*event.id, &*event.kind), ("000000000000-2-7", UNTYPED));
        assert_eq!(event.produced_us, stored.ingested_us);
        assert_eq!(stored.id_hash, 0, "nothing to tell a duplicate by");
        assert_eq!(event.data.get(), r#""hello""#);

        let strange = OwnedHeaders::new()
            .insert(Header {
                key: "ce_id",
                value: Some(&b"\xff"[..]),
            })
            .insert(Header {
                key: "ce_time",
                value: Some("yesterday"),
            })
            .insert(Header {
                key: "ce_type",
                value: None::<&str>,
            })
            .insert(Header {
                key: "ce_source",
                value: Some("https://shop.example/orders"),
            });
        let stored = read(watched, &message(None, Some(strange))).event;
        let event: Event<'_> = serde_json::from_slice(&stored.json).unwrap();
        assert_eq!((&*event.id, &*event.kind), ("000000000000-2-7", UNTYPED));
        assert_eq!(event.produced_us, stored.ingested_us);
        assert_eq!(event.host.as_deref(), Some("https://shop.example/orders"));
        assert_eq!(event.data.get(), "null");
    }

    #[test]
    fn the_same_id_of_two_sources_is_two_events_to_who_watches() {
        let hash = |source: &str, watched| {
            let headers = OwnedHeaders::new()
                .insert(Header {
                    key: "ce_id",
                    value: Some("1"),
                })
                .insert(Header {
                    key: "ce_source",
                    value: Some(source),
                });
            read(Origin { watched, ..ours() }, &message(None, Some(headers)))
                .event
                .id_hash
        };
        assert_ne!(hash("//a/x", true), hash("//b/x", true));
        assert_eq!(hash("//a/freshet", false), hash("//b/freshet", false));
    }

    #[test]
    fn any_payload_is_json_afterwards() {
        let text = |payload: &[u8]| data(Some(payload)).get().to_owned();
        assert_eq!(text(b" {\"a\":\n 1} "), r#"{"a":  1}"#);
        assert_eq!(text(b"{\"a\": 1"), r#""{\"a\": 1""#);
        assert_eq!(text(b""), r#""""#);
        assert_eq!(text(b"\xff\x00"), r#"{"base64":"/wA="}"#);
        assert_eq!(text(nested(MOST_DEPTH).as_bytes()), nested(MOST_DEPTH));
        assert_eq!(
            text(nested(MOST_DEPTH + 1).as_bytes()),
            format!("\"{}\"", nested(MOST_DEPTH + 1))
        );
        let brackets = format!("\"{}\"", r#"[\"["#.repeat(100));
        assert_eq!(text(brackets.as_bytes()), brackets, "brackets in a string are none");
    }

    proptest! {
        #[test]
        fn no_record_is_without_a_text(payload: Option<Vec<u8>>, id: Vec<u8>, time in ".{0,30}", ms: i64) {
            let headers = OwnedHeaders::new()
                .insert(Header { key: "ce_id", value: Some(&id) })
                .insert(Header { key: "ce_time", value: Some(&time) });
            let message = OwnedMessage::new(payload, None, "t".to_owned(), Timestamp::CreateTime(ms), 0, 0, Some(headers));
            let stored = read(ours(), &message).event;
            prop_assert!(serde_json::from_slice::<Event<'_>>(&stored.json).is_ok());
            prop_assert!(!stored.json.contains(&b'\n'));
        }
    }
}
