//! What is said of an event beside its data, by the headers of a request or the members of a message, and the publication that it makes.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::key;
use crate::error::Error;
use crate::pubsub::{Ack, Idempotency, Publication, Record};
use crate::time::now_us;

/// The longest key, id or type, in bytes.
const MOST_NAME: usize = 255;

/// The type of what brings none.
const UNTYPED: &str = "message";

/// What is said of an event.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) time_us: Option<i64>,
    /// Whose clock `time_us` is of.
    pub(super) source: Option<String>,
    pub(super) partition_key: Option<String>,
}

/// An event to be published.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) attributes: Attributes,
    pub(super) data: Box<RawValue>,
}

impl Attributes {
    /// As the HTTP binding of CloudEvents has them in binary mode.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let read = |field| header(headers, field);
        Ok(Self {
            id: read("ce-id")?,
            kind: read("ce-type")?,
            time_us: read("ce-time")?.map(|time| time_us("ce-time", &time)).transpose()?,
            source: read("ce-source")?,
            partition_key: read("ce-partitionkey")?,
        })
    }

    /// Everything that makes it another event, each part with its length.
    fn digest(&self, hasher: &mut Sha256) {
        let source = self.source.as_deref().filter(|_| self.time_us.is_some());
        let kind = self.kind.as_deref().unwrap_or(UNTYPED);
        for text in [self.id.as_deref(), Some(kind), self.partition_key.as_deref(), source] {
            part(hasher, text.unwrap_or_default());
        }
        hasher.update(self.time_us.unwrap_or(i64::MIN).to_le_bytes());
    }
}

fn part(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

/// A header that may stand there once.
fn header(headers: &HeaderMap, field: &'static str) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(field).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::parameter(field, format!("{field} stands there more than once")));
    }
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
    name(field, text).map(|()| Some(text.to_owned()))
}

/// `Idempotency-Key`. The IETF draft has it as a structured string, in quotes; most clients send it bare.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Error> {
    const FIELD: &str = "idempotency-key";
    let Some(key) = header(headers, FIELD)? else {
        return Ok(None);
    };
    match key.strip_prefix('"').and_then(|key| key.strip_suffix('"')) {
        Some(bare) => name(FIELD, bare).map(|()| Some(bare.to_owned())),
        None => Ok(Some(key)),
    }
}

/// The events as they go to the engine, under a key of idempotency or under their ids. `peer` is whose clock a time is of where no source
/// is said.
pub(super) fn publication(key: Option<String>, peer: IpAddr, events: Vec<Event>) -> Publication {
    let ids: Vec<&str> = events
        .iter()
        .filter_map(|event| event.attributes.id.as_deref())
        .collect();
    let key = match key {
        Some(key) => Some(key::of_key(&key)),
        None if !ids.is_empty() && ids.len() == events.len() => key::of_ids(ids.into_iter()),
        None => None,
    };
    let idempotency = key.map(|key| {
        let mut hasher = Sha256::new();
        for event in &events {
            event.attributes.digest(&mut hasher);
            part(&mut hasher, event.data.get());
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize()[..16]);
        Idempotency { key, digest }
    });
    let now_us = now_us();
    let untyped: Arc<str> = Arc::from(UNTYPED);
    let records = events.into_iter().map(|event| {
        let said = event.attributes;
        // Only with a time of its own is an event of another clock.
        let host = said.time_us.map(|_| said.source.unwrap_or_else(|| peer.to_string()));
        Record {
            produced_us: said.time_us.unwrap_or(now_us),
            host: host.map(Arc::from),
            token: None,
            kind: said.kind.map_or_else(|| Arc::clone(&untyped), Arc::from),
            id: said.id,
            key: said.partition_key,
            data: event.data,
        }
    });
    Publication {
        records: records.collect(),
        idempotency,
        ack: Ack::Durable,
    }
}

/// A key, an id or a type: something, not too long, of one line.
pub(super) fn name(field: &'static str, text: &str) -> Result<(), Error> {
    if (1..=MOST_NAME).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::parameter(
        field,
        format!("{field} takes 1 to {MOST_NAME} bytes of UTF-8 without control characters"),
    ))
}

/// RFC 3339, as CloudEvents has its `time`.
pub(super) fn time_us(field: &'static str, text: &str) -> Result<i64, Error> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error| Error::parameter(field, format!("{field} is not a time of RFC 3339: {error}")))?;
    Ok(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn made(pairs: &[(&'static str, &'static str)], data: &str) -> Result<Publication, Error> {
        let mut headers = HeaderMap::new();
        for &(name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        let event = Event {
            attributes: Attributes::read(&headers)?,
            data: RawValue::from_string(data.to_owned()).unwrap(),
        };
        Ok(publication(key_of(&headers)?, [192, 0, 2, 7].into(), vec![event]))
    }

    #[test]
    fn the_same_request_has_the_same_digest_and_another_has_another() {
        let digest = |pairs: &[(&'static str, &'static str)], data| made(pairs, data).unwrap().idempotency.unwrap();
        let key = ("idempotency-key", "k");
        assert_eq!(digest(&[key], "1"), digest(&[("idempotency-key", "\"k\"")], "1"));
        assert_ne!(digest(&[key], "1"), digest(&[key], "2"));
        assert_ne!(digest(&[key], "1"), digest(&[key, ("ce-type", "t")], "1"));
        assert_ne!(
            digest(&[key, ("ce-partitionkey", "t")], "1"),
            digest(&[key, ("ce-type", "t")], "1")
        );
        assert_ne!(
            digest(&[("ce-id", "7")], "1").key,
            digest(&[("idempotency-key", "id:7")], "1").key
        );
        assert!(made(&[], "1").unwrap().idempotency.is_none());
        assert!(made(&[("idempotency-key", "\"\"")], "1").is_err(), "nothing, in quotes");
    }

    #[test]
    fn a_header_that_stands_there_twice_is_refused_by_its_name() {
        for field in [
            "idempotency-key",
            "ce-id",
            "ce-type",
            "ce-time",
            "ce-source",
            "ce-partitionkey",
        ] {
            let twice = made(&[(field, "1"), (field, "1")], "1").unwrap_err().problem();
            assert_eq!((twice.status, twice.field.as_deref()), (400, Some(field)));
        }
    }

    #[test]
    fn a_time_is_of_another_clock_and_says_whose() {
        let host = |pairs: &[(&'static str, &'static str)]| {
            let publication = made(pairs, "1").unwrap();
            let record = &publication.records[0];
            (record.produced_us, record.host.as_deref().map(str::to_owned))
        };
        let time = ("ce-time", "2026-01-02T03:04:05.000006Z");
        assert_eq!(host(&[time]), (1_767_323_045_000_006, Some("192.0.2.7".to_owned())));
        assert_eq!(host(&[time, ("ce-source", "//sensor")]).1.as_deref(), Some("//sensor"));
        assert_eq!(host(&[("ce-source", "//sensor")]).1, None);
        assert!(made(&[("ce-time", "yesterday")], "1").is_err());
        assert!(made(&[("ce-type", "")], "1").is_err());
    }
}
