//! An event as a Pub/Sub message and back: the CloudEvents binding for Pub/Sub, in binary mode. Attributes carry `ce-id`, `ce-type`,
//! `ce-time`, `ce-source` and the fencing token; the data are the event's. What others wrote is taken as it comes.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use freshet_wire::Token;
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::pubsub::Record;
use crate::pubsub::nesting::{MOST_DEPTH, depth};

/// Told apart by this, each try to publish hears of its own message.
pub(super) const TRY: &str = "freshet-try";

/// A source's URI is `//HOST/freshet`.
const SOURCE: &str = "/freshet";

/// The type of what brings none.
const UNTYPED: &str = "message";

/// Text that is longer than this as a JSON string, in bytes, is shown as bytes: the spool would not take it. A message has 10 MB.
const MOST_TEXT: usize = 15 << 20;

pub(super) fn attributes(record: &Record, id: &str, ticket: &str) -> HashMap<String, String> {
    let source = match &record.host {
        Some(host) => format!("//{host}{SOURCE}"),
        None => SOURCE.to_owned(),
    };
    let mut said: HashMap<String, String> = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-type", &record.kind),
        ("ce-source", &source),
        ("content-type", "application/json"),
        (TRY, ticket),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Ok(time) = Timestamp::from_microsecond(record.produced_us) {
        said.insert("ce-time".to_owned(), format!("{time:.6}"));
    }
    if let Some(token) = &record.token {
        said.insert("ce-tokenscope".to_owned(), token.scope.clone().into_owned());
        said.insert("ce-tokennumber".to_owned(), token.number.to_string());
    }
    said
}

/// The event that a message is; `message_id` and `published_us` are the service's.
pub(super) fn record(attributes: &HashMap<String, String>, data: &[u8], message_id: &str, published_us: i64) -> Record {
    let said = |key: &str| attributes.get(key).map(String::as_str).filter(|text| !text.is_empty());
    let time = said("ce-time").and_then(|time| time.parse::<Timestamp>().ok());
    let host = said("ce-source").map(|source| {
        let ours = source.strip_prefix("//").and_then(|host| host.strip_suffix(SOURCE));
        ours.unwrap_or(source)
    });
    let number = said("ce-tokennumber").and_then(|number| number.parse().ok());
    Record {
        produced_us: time.map_or(published_us, Timestamp::as_microsecond),
        host: host.filter(|&host| host != SOURCE).map(Arc::from),
        token: said("ce-tokenscope").zip(number).map(|(scope, number)| Token {
            scope: scope.to_owned().into(),
            number,
        }),
        kind: Arc::from(said("ce-type").unwrap_or(UNTYPED)),
        id: Some(said("ce-id").unwrap_or(message_id).to_owned()),
        key: None,
        data: content(data),
    }
}

/// JSON stays as it is, unless it nests deeper than readers can take; text becomes a JSON string, other bytes `{"base64": …}`.
fn content(data: &[u8]) -> Box<RawValue> {
    if let Ok(text) = std::str::from_utf8(data) {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(json) if depth(json.get()) <= MOST_DEPTH => return json.to_owned(),
            _ => {}
        }
        match serde_json::value::to_raw_value(text) {
            Ok(string) if string.get().len() <= MOST_TEXT => return string,
            _ => {}
        }
    }
    let base64 = base64::engine::general_purpose::STANDARD.encode(data);
    let made = serde_json::value::to_raw_value(&serde_json::json!({ "base64": base64 }));
    made.unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::nesting::nested;

    #[test]
    fn an_event_comes_back_as_it_was_published() {
        let sent = Record {
            produced_us: 1_700_000_000_123_456,
            host: Some(Arc::from("a.example")),
            token: Some(Token {
                scope: "raft".into(),
                number: 7,
            }),
            kind: Arc::from("order"),
            id: None,
            key: Some("k".to_owned()),
            data: RawValue::from_string("{\"n\": [1, \"ü\"]}".to_owned()).unwrap(),
        };
        let got = record(&attributes(&sent, "id-1", "t"), sent.data.get().as_bytes(), "m-1", 5);
        assert_eq!(
            (got.produced_us, &got.host, &got.kind),
            (sent.produced_us, &sent.host, &sent.kind)
        );
        assert_eq!((got.id.as_deref(), got.token), (Some("id-1"), sent.token));
        assert_eq!(got.data.get(), sent.data.get());
    }

    #[test]
    fn what_others_wrote_is_taken_as_it_comes() {
        let read = |data: &[u8]| record(&HashMap::new(), data, "m-1", 5);
        let got = read(b"no JSON");
        assert_eq!(
            (got.id.as_deref(), got.produced_us, &*got.kind),
            (Some("m-1"), 5, "message")
        );
        assert_eq!((got.host, got.data.get()), (None, "\"no JSON\""));
        assert_eq!(read(b"").data.get(), "\"\"");
        assert_eq!(read(&[0xff]).data.get(), "{\"base64\":\"/w==\"}");
        let zeros = read(&vec![0; 10_000_000]);
        assert!(zeros.data.get().starts_with("{\"base64\"") && zeros.data.get().len() <= MOST_TEXT);
        assert_eq!(read(nested(MOST_DEPTH).as_bytes()).data.get(), nested(MOST_DEPTH));
        assert!(read(nested(MOST_DEPTH + 1).as_bytes()).data.get().starts_with('"'));
        assert_eq!(read(b"{\"a\":\"[[[\"}").data.get(), "{\"a\":\"[[[\"}");
    }
}
