//! `POST /topics/{topic}/events`, and what a stream publishes: events on their way into a topic.

mod content;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, BytesMut};
use freshet_wire::{Receipt, TopicKind, check_topic_name};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Service, body, limits};
use crate::connection::Connection;
use crate::encode;
use crate::error::Error;
use crate::limit::pass::{Pass, Refused};
use crate::pubsub::{Ack, Idempotency, Publication, Record, TopicSpec};
use crate::settings::retention_of;
use crate::time::now_us;

/// How long an engine may take to acknowledge; whether the events are in the log is not known then.
const MOST_WAIT: Duration = Duration::from_secs(30);
/// The longest key, id or type, in bytes.
const MOST_NAME: usize = 255;
/// Bodies that are held at once, in bytes.
pub const BODIES_BYTES: usize = 64 << 20;
/// Topics that users do not make, and beginnings of their names: they are the service's own.
const OWN: [&str; 6] = ["workload", "cluster", "limits", "settings", "deliveries", "host"];

/// Publishes one event, whose data is the body (JSON), or a batch, one JSON value a line (`application/x-ndjson`). The answer comes
/// when the engine has it as durably as it can. A batch spends as much of the quota `publish` as it has events; one that is larger
/// than the whole quota is refused with 413 and the most that is admitted at once. Attributes follow the HTTP binding of CloudEvents 1.0 (binary content mode).
#[utoipa::path(post, path = "/api/v1/topics/{topic}/events", tag = "topics", request_body = serde_json::Value,
    params(
        ("topic" = String, Path, description = "made now, if there is none and the engine lets users make topics"),
        ("Idempotency-Key" = Option<String>, Header, description = "a second request with the same key and content changes nothing and is answered as the first; with other content it is refused (422)"),
        ("ce-type" = Option<String>, Header, description = "the events' type (`message`)"),
        ("ce-id" = Option<String>, Header, description = "the event's id; not with a batch"),
        ("ce-time" = Option<String>, Header, description = "when it happened (RFC 3339), by the clock of ce-source"),
        ("ce-source" = Option<String>, Header, description = "whose clock that is"),
        ("ce-partitionkey" = Option<String>, Header, description = "events with the same key keep their order where a topic has partitions"),
    ),
    responses((status = 201, body = Receipt, description = "one event: its receipt; a batch: a receipt a line"),
        (status = 400, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 403, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 413, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 422, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 429, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 503, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(pass): Extension<Arc<Pass>>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let attributes = Attributes::read(&headers, connection.peer)?;
    let bounds = &service.config.limits;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(bounds.publish_bytes);
    let permits = u32::try_from(length.min(bounds.publish_bytes).max(1)).unwrap_or(u32::MAX);
    let _held = service
        .bodies
        .try_acquire_many(permits)
        .map_err(|_| Error::busy("more is being published than the service holds at once"))?;
    let body = body::read(body, bounds.publish_bytes, bounds).await?;
    let batch = is_ndjson(&headers)?;
    if batch {
        let events = content::count(&body, bounds.publish_events)?;
        spend(&pass, events).await?;
    }
    let data = match batch {
        true => content::lines(&body, bounds.publish_events, bounds.event_bytes)?,
        false => vec![content::data(&body, bounds.event_bytes, "the body")?],
    };
    if batch && attributes.id.is_some() {
        return Err(Error::parameter(
            "ce-id",
            "a batch has many events, and each has its own id",
        ));
    }
    if let Some(spec) = to_open(&service, &topic)? {
        open(Arc::clone(&service), spec).await?;
    }
    let receipts = hand_over(&service, &topic, attributes.publication(data)).await?;
    let mut text = BytesMut::new();
    for receipt in &receipts {
        encode::json(&mut text, receipt);
        if batch {
            text.put_u8(b'\n');
        }
    }
    let kind = if batch {
        "application/x-ndjson"
    } else {
        "application/json"
    };
    Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, kind)], text.freeze()).into_response())
}

/// A batch costs what it has events; one is paid for already.
async fn spend(pass: &Pass, events: usize) -> Result<(), Error> {
    match pass.spend(u32::try_from(events).unwrap_or(u32::MAX)).await {
        Ok(()) => Ok(()),
        Err(Refused::NoRoom(refusal)) => Err(limits::refused(&refusal)),
        Err(Refused::Shed(why)) => Err(Error::shed(why)),
    }
}

/// One event that came by a stream: checked, not handed over yet.
pub(super) fn one(data: &RawValue, key: Option<String>) -> Result<Publication, Error> {
    if let Some(key) = &key {
        name("key", key)?;
    }
    let attributes = Attributes {
        key,
        ..Attributes::new()
    };
    let data = content::check(data, "data")?;
    Ok(attributes.publication(vec![data]))
}

/// Hands the events over to a topic that is open, in the order of the calls; the future tells when the engine has them.
pub(super) fn hand_over(
    service: &Service,
    topic: &str,
    publication: Publication,
) -> BoxFuture<'static, Result<Vec<Receipt>, Error>> {
    let answer = service.tail.engine().publish(topic, publication);
    async move {
        match timeout(MOST_WAIT, answer).await {
            Ok(receipts) => Ok(receipts?),
            Err(_) => Err(Error::unavailable(
                "the engine has not acknowledged the events; whether they are in the log is not known: repeat with the same Idempotency-Key",
            )),
        }
    }
    .boxed()
}

/// The topic that has to be opened before it can be published to; `None`: it is open.
pub(super) fn to_open(service: &Service, topic: &str) -> Result<Option<TopicSpec>, Error> {
    check_topic_name(topic).map_err(|error| Error::parameter("topic", error.to_string()))?;
    let tail = &service.tail;
    match tail.topic(topic) {
        Some(known) if !known.is_writable() => {
            return Err(Error::forbidden_topic(format!(
                "topic {topic:?} is only read here, not written"
            )));
        }
        Some(known) if known.is_open() => return Ok(None),
        _ => {}
    }
    let head = topic.split('.').next().unwrap_or(topic);
    if OWN.contains(&head) {
        return Err(Error::forbidden_topic(format!(
            "names that begin with {head:?} are the service's own: publish under another one"
        )));
    }
    if !tail.engine().capabilities().creates_topics {
        return Err(Error::forbidden_topic(
            "this engine makes no topics: make it there, and have it watched",
        ));
    }
    Ok(Some(TopicSpec {
        name: topic.to_owned(),
        kind: TopicKind::Log,
        synthetic: false,
        writable: true,
        retention: retention_of(service.settings.current().settings.retention),
    }))
}

/// Opens the topic, or makes it.
pub(super) async fn open(service: Arc<Service>, spec: TopicSpec) -> Result<(), Error> {
    // On a task of its own: what was begun is ended, though whoever asked may have gone. Else the engine might have a topic open of which
    // the tail does not know.
    let opening = tokio::spawn(async move { service.tail.open(spec).await.map(drop) });
    match timeout(MOST_WAIT, opening).await {
        Ok(Ok(opened)) => opened.map_err(Error::from),
        Ok(Err(_)) => Err(Error::unavailable("the topic was not opened")),
        Err(_) => Err(Error::unavailable("the engine did not open the topic in time")),
    }
}

fn is_ndjson(headers: &HeaderMap) -> Result<bool, Error> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or("", |kind| kind.to_str().unwrap_or("?"));
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*kind {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-seq" => Ok(true),
        // What `curl -d` says of whatever it sends.
        "" | "application/x-www-form-urlencoded" => Ok(false),
        kind if kind.starts_with("text/plain") || kind == "application/json" || kind.ends_with("+json") => Ok(false),
        _ => Err(Error::media_type(format!(
            "{kind:?} cannot be published: application/json is one event, application/x-ndjson is one a line"
        ))),
    }
}

/// What is said of all events of a request.
#[derive(Debug)]
struct Attributes {
    key: Option<String>,
    id: Option<String>,
    kind: Arc<str>,
    time_us: Option<i64>,
    source: Option<Arc<str>>,
    partition_key: Option<String>,
}

impl Attributes {
    fn new() -> Self {
        Self {
            key: None,
            id: None,
            kind: Arc::from("message"),
            time_us: None,
            source: None,
            partition_key: None,
        }
    }

    fn read(headers: &HeaderMap, peer: SocketAddr) -> Result<Self, Error> {
        let read = |field: &'static str| match headers.get(field) {
            None => Ok(None),
            Some(value) => {
                let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
                name(field, text).map(|()| Some(text.to_owned()))
            }
        };
        // The IETF draft has it as a structured string, in quotes; most clients send it bare.
        let key = read("idempotency-key")?.map(|key| {
            let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
            bare.map(str::to_owned).unwrap_or(key)
        });
        let time_us = read("ce-time")?.map(|time| time_us(&time)).transpose()?;
        let source = read("ce-source")?.or_else(|| time_us.map(|_| peer.ip().to_string()));
        Ok(Self {
            key,
            id: read("ce-id")?,
            kind: read("ce-type")?.map_or_else(|| Arc::from("message"), Arc::from),
            time_us,
            // Only with a time of its own is an event of another clock.
            source: source.filter(|_| time_us.is_some()).map(Arc::from),
            partition_key: read("ce-partitionkey")?,
        })
    }

    fn publication(self, data: Vec<Box<RawValue>>) -> Publication {
        // An id is unique within its topic, so the second event with it is the first one again.
        let key = self.key.or_else(|| self.id.as_ref().map(|id| format!("id:{id}")));
        let idempotency = key.map(|key| {
            let mut hasher = Sha256::new();
            let part = |hasher: &mut Sha256, text: &str| {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            };
            for text in [self.id.as_deref(), Some(&*self.kind), self.partition_key.as_deref()] {
                part(&mut hasher, text.unwrap_or_default());
            }
            hasher.update(self.time_us.unwrap_or(i64::MIN).to_le_bytes());
            data.iter().for_each(|data| part(&mut hasher, data.get()));
            let mut digest = [0; 16];
            digest.copy_from_slice(&hasher.finalize()[..16]);
            Idempotency { key, digest }
        });
        let now_us = now_us();
        let records = data
            .into_iter()
            .map(|data| Record {
                produced_us: self.time_us.unwrap_or(now_us),
                host: self.source.clone(),
                token: None,
                kind: Arc::clone(&self.kind),
                id: self.id.clone(),
                key: self.partition_key.clone(),
                data,
            })
            .collect();
        Publication {
            records,
            idempotency,
            ack: Ack::Durable,
        }
    }
}

/// A key, an id or a type: something, not too long, of one line.
fn name(field: &'static str, text: &str) -> Result<(), Error> {
    if (1..=MOST_NAME).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::parameter(
        field,
        format!("{field} takes 1 to {MOST_NAME} bytes of UTF-8 without control characters"),
    ))
}

/// RFC 3339, as CloudEvents has its `time`.
fn time_us(text: &str) -> Result<i64, Error> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error| Error::parameter("ce-time", format!("ce-time is not a time of RFC 3339: {error}")))?;
    Ok(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn attributes(pairs: &[(&'static str, &'static str)]) -> Result<Attributes, Error> {
        Attributes::read(&headers(pairs), "192.0.2.7:1".parse().unwrap())
    }

    fn data(text: &str) -> Vec<Box<RawValue>> {
        vec![RawValue::from_string(text.to_owned()).unwrap()]
    }

    #[test]
    fn the_same_request_has_the_same_digest_and_another_has_another() {
        let digest = |pairs: &[(&'static str, &'static str)], text: &str| {
            let publication = attributes(pairs).unwrap().publication(data(text));
            publication.idempotency.unwrap()
        };
        let key = ("idempotency-key", "k");
        assert_eq!(digest(&[key], "1"), digest(&[("idempotency-key", "\"k\"")], "1"));
        assert_ne!(digest(&[key], "1"), digest(&[key], "2"));
        assert_ne!(digest(&[key], "1"), digest(&[key, ("ce-type", "t")], "1"));
        assert_ne!(
            digest(&[key, ("ce-partitionkey", "t")], "1"),
            digest(&[key, ("ce-type", "t")], "1")
        );
        assert_eq!(digest(&[("ce-id", "7")], "1").key, "id:7");
    }

    #[test]
    fn a_time_is_of_another_clock_and_says_whose() {
        let host = |pairs: &[(&'static str, &'static str)]| {
            let publication = attributes(pairs).unwrap().publication(data("1"));
            let record = &publication.records[0];
            (record.produced_us, record.host.as_deref().map(str::to_owned))
        };
        let time = ("ce-time", "2026-01-02T03:04:05.000006Z");
        assert_eq!(host(&[time]), (1_767_323_045_000_006, Some("192.0.2.7".to_owned())));
        assert_eq!(host(&[time, ("ce-source", "//sensor")]).1.as_deref(), Some("//sensor"));
        assert_eq!(host(&[("ce-source", "//sensor")]).1, None);
        assert!(attributes(&[("ce-time", "yesterday")]).is_err());
        assert!(attributes(&[("ce-type", "")]).is_err());
    }

    #[test]
    fn what_can_be_published_is_known_by_its_media_type() {
        let kind = |kind: &'static str| is_ndjson(&headers(&[("content-type", kind)])).ok();
        assert_eq!(kind("application/x-ndjson; charset=utf-8"), Some(true));
        assert_eq!(kind("Application/JSON"), Some(false));
        assert_eq!(kind("application/cloudevents+json"), Some(false));
        assert_eq!(kind("multipart/form-data; boundary=x"), None);
        assert_eq!(is_ndjson(&HeaderMap::new()).ok(), Some(false));
    }
}
