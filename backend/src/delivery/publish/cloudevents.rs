//! An event in the JSON format of CloudEvents 1.0, in which structured mode and batches carry it. Pure.
//!
//! Kept are `id`, `type`, `time` with `source`, the extension `partitionkey` and the data; other attributes have no place in an event here.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::attributes::{Attributes, Event, name, time_us};
use super::content;
use crate::error::Error;

/// Reads one; its data may have `most` bytes. `what` names it in a refusal.
pub(super) fn read(text: &[u8], most: usize, what: &str) -> Result<Event, Error> {
    let members: HashMap<String, &RawValue> = serde_json::from_slice(text)
        .map_err(|error| Error::not_json(format!("{what} is not an event of CloudEvents in JSON: {error}")))?;
    // A member that is null is one that is not there.
    let said = |field: &'static str| match members.get(field).filter(|value| value.get() != "null") {
        None => Ok(None),
        Some(value) => serde_json::from_str::<String>(value.get())
            .map(Some)
            .map_err(|_| Error::parameter(field, format!("{field} of {what} is a string"))),
    };
    let named = |field: &'static str| match said(field)? {
        Some(text) => name(field, &text).map(|()| Some(text)),
        None => Ok(None),
    };
    let needed = |field: &'static str| {
        named(field)?
            .ok_or_else(|| Error::parameter(field, format!("{what} has no {field}, which CloudEvents ask for")))
    };
    let version = needed("specversion")?;
    if version != "1.0" {
        let detail = format!("specversion of {what} is {version:?}; 1.0 is taken");
        return Err(Error::parameter("specversion", detail));
    }
    let attributes = Attributes {
        id: Some(needed("id")?),
        source: Some(needed("source")?),
        kind: Some(needed("type")?),
        time_us: said("time")?.map(|time| time_us("time", &time)).transpose()?,
        partition_key: named("partitionkey")?,
    };
    let data = match (members.get("data"), said("data_base64")?) {
        (Some(_), Some(_)) => {
            let detail = format!("{what} has data and data_base64; one of them is taken");
            return Err(Error::parameter("data_base64", detail));
        }
        (Some(data), None) => content::sized(data, most, what)?,
        // Bytes, as they are shown wherever they come from.
        (None, Some(text)) => {
            STANDARD
                .decode(&text)
                .map_err(|error| Error::parameter("data_base64", format!("data_base64 of {what}: {error}")))?;
            let bytes = format!("{{\"base64\":\"{text}\"}}");
            content::data(bytes.as_bytes(), most, what)?
        }
        (None, None) => RawValue::NULL.to_owned(),
    };
    Ok(Event { attributes, data })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        json!({"specversion": "1.0", "id": "7", "source": "/s", "type": "t"})
    }

    fn with(member: &str, value: Value) -> Result<Event, Error> {
        let mut event = event();
        event[member] = value;
        read(event.to_string().as_bytes(), 100, "the body")
    }

    #[test]
    fn every_attribute_that_is_kept_is_read_and_the_data_keep_their_digits() {
        let text = br#"{ "specversion" : "1.0", "type": "order", "source": "/shop", "id": "A-1", "time": "2026-01-02T03:04:05Z",
            "datacontenttype": "application/json", "partitionkey": "p", "other": 7, "data": { "n": 1.0 } }"#;
        let event = read(text, 100, "the body").unwrap();
        let said = event.attributes;
        assert_eq!((said.id.as_deref(), said.kind.as_deref()), (Some("A-1"), Some("order")));
        assert_eq!(
            (said.source.as_deref(), said.partition_key.as_deref()),
            (Some("/shop"), Some("p"))
        );
        assert_eq!(said.time_us, Some(1_767_323_045_000_000));
        assert_eq!(event.data.get(), r#"{"n":1.0}"#);
    }

    #[test]
    fn data_are_json_or_bytes_or_nothing() {
        let data = |member, value| with(member, value).unwrap().data.get().to_owned();
        assert_eq!(data("data", json!("text")), "\"text\"");
        assert_eq!(data("data", Value::Null), "null");
        assert_eq!(data("data_base64", json!("/wA=")), r#"{"base64":"/wA="}"#);
        assert_eq!(data("subject", json!("s")), "null");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (member, value) in [
            ("specversion", json!("0.3")),
            ("specversion", Value::Null),
            ("id", json!("")),
            ("id", json!(7)),
            ("source", Value::Null),
            ("type", Value::Null),
            ("time", json!("yesterday")),
            ("partitionkey", json!("")),
            ("data_base64", json!("?")),
        ] {
            let problem = with(member, value).unwrap_err().problem();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some(member)));
        }
        let mut both = event();
        both["data"] = json!(1);
        both["data_base64"] = json!("");
        assert!(read(both.to_string().as_bytes(), 100, "the body").is_err());
        assert_eq!(with("data", json!("x".repeat(100))).unwrap_err().problem().status, 413);
        assert!(read(b"[]", 100, "the body").is_err());
    }
}
