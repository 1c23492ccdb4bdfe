//! `POST /topics/{topic}/events`, and what a stream publishes: events on their way into a topic.

mod attributes;
mod cloudevents;
mod content;
mod key;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, BytesMut};
use freshet_wire::{Receipt, TopicKind, check_topic_name};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;
use tokio::time::timeout;

use self::attributes::{Attributes, Event, key_of, name, publication};
use self::content::Format;
use self::key::Origin;
use super::{Service, body, limits, query};
use crate::connection::Connection;
use crate::encode;
use crate::error::Error;
use crate::limit::pass::{Pass, Refused};
use crate::pubsub::{PubSubError, Publication, TopicSpec};
use crate::settings::retention_of;

/// How long an engine may take to acknowledge; whether the events are in the log is not known then.
const MOST_WAIT: Duration = Duration::from_secs(30);
/// Bodies that are held at once, in bytes.
pub const BODIES_BYTES: usize = 64 << 20;
/// Topics that users do not make, and beginnings of their names: they are the service's own.
const OWN: [&str; 6] = ["workload", "cluster", "limits", "settings", "deliveries", "host"];

/// What a refusal calls the places of what it refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    data: &'static str,
    key: &'static str,
    id: &'static str,
}

/// Of a request whose headers say what its body is.
const REQUEST: Names = Names {
    data: "body",
    key: "Idempotency-Key",
    id: "ce-id",
};
/// Of a request whose body says it.
const STRUCTURED: Names = Names { id: "id", ..REQUEST };
/// Of a message of the stream.
pub(super) const MESSAGE: Names = Names {
    data: "data",
    key: "key",
    id: "id",
};

/// Publishes one event, whose data is the body (JSON), or a batch: one JSON value a line (`application/x-ndjson`) or a sequence of them
/// (`application/json-seq`, RFC 7464). The answer comes when the engine has it as durably as it can. A batch spends as much of the quota
/// `publish` as it has events; one that is larger than the whole quota is refused with 413 and the most that is admitted at once.
///
/// Attributes follow the HTTP binding of CloudEvents 1.0: by headers in binary mode, or with the data in structured mode
/// (`application/cloudevents+json`, and an array of such events as `application/cloudevents-batch+json`). Of those, `id`, `type`, `time`
/// with `source` and `partitionkey` are kept; `data_base64` becomes `{"base64": …}`. An id is unique within its topic, whatever its source.
///
/// A key of idempotency, or an id where there is no key, makes a second try harmless. Each topic remembers its last 100,000 of them for 24
/// hours at most: within that, the same again is answered 201 with `duplicate: true` and the first try's offset, and the same key with other
/// content 422. Beyond it, the event is published again. A batch without a key is known by all of its ids together. Where the engine is Kafka,
/// a second try is taken (201, `duplicate: false`), and readers are told a gap of reason `duplicate` in its place, within the window of ids
/// that `GET /events` tells of. On Cloud Pub/Sub each event is known by its id, which the key gives, and answered as the first, whatever its content.
#[utoipa::path(post, path = "/api/v1/topics/{topic}/events", tag = "topics", request_body = serde_json::Value,
    params(
        ("topic" = String, Path, description = "made now, if there is none and the engine lets users make topics"),
        ("Idempotency-Key" = Option<String>, Header, description = "a second request with the same key and content changes nothing and is answered as the first; with other content it is refused (422). Remembered for 24 hours, and no longer than until the topic has had 100,000 other keys"),
        ("ce-type" = Option<String>, Header, description = "the events' type (`message`)"),
        ("ce-id" = Option<String>, Header, description = "the event's id; not with a batch. Without an Idempotency-Key it serves as one, in a name space of its own"),
        ("ce-time" = Option<String>, Header, description = "when it happened (RFC 3339), by the clock of ce-source"),
        ("ce-source" = Option<String>, Header, description = "whose clock that is"),
        ("ce-partitionkey" = Option<String>, Header, description = "events with the same key keep their order where a topic has partitions"),
    ),
    responses((status = 201, body = Receipt, description = "one event: its receipt; a batch: a receipt a line. `duplicate: true` where the same was published under this key or id before: then nothing was written now"),
        (status = 400, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 403, description = "the topic is only read here: it is the service's own, or others write it", body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "the topic was removed meanwhile", body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "there are as many topics as there may be", body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 413, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 415, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 422, description = "the key or the id was used for other content within the last 24 hours and the topic's last 100,000 keys", body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 429, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 503, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(pass): Extension<Arc<Pass>>,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let topic = query::path("topic", topic)?;
    if let Some((name, _)) = query::pairs(text.as_deref()).next() {
        return Err(query::unknown(&name));
    }
    let format = Format::of(&headers)?;
    let attributes = Attributes::read(&headers)?;
    let key = key_of(&headers)?;
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
    let parts = format.split(&body, bounds.publish_events)?;
    if format.is_batch() {
        spend(&pass, parts.len()).await?;
    }
    let (names, most) = match format {
        Format::CloudEvent | Format::CloudEvents => (STRUCTURED, bounds.event_bytes),
        Format::One | Format::Lines | Format::Sequence => (REQUEST, bounds.event_bytes),
    };
    let events = parts.iter().map(|part| match format {
        // What the headers say of it besides is a copy, and the body has the word.
        Format::CloudEvent | Format::CloudEvents => cloudevents::read(part.text, most, &part.name()),
        Format::One | Format::Lines | Format::Sequence => Ok(Event {
            attributes: attributes.clone(),
            data: part.data(most)?,
        }),
    });
    let events: Vec<Event> = events.collect::<Result<_, Error>>()?;
    if matches!(format, Format::Lines | Format::Sequence) && attributes.id.is_some() {
        return Err(Error::parameter(
            "ce-id",
            "a batch has many events, and each has its own id",
        ));
    }
    let to_open = to_open(&service, &topic)?;
    let mut text = BytesMut::new();
    if !events.is_empty() {
        if let Some(spec) = to_open {
            open(Arc::clone(&service), spec).await?;
        }
        let publication = publication(key, connection.peer.ip(), events);
        for receipt in &hand_over(&service, &topic, publication, names).await? {
            encode::json(&mut text, receipt);
            if format.is_batch() {
                text.put_u8(b'\n');
            }
        }
    }
    let kind = match format.is_batch() {
        true => "application/x-ndjson",
        false => "application/json",
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

/// What a message of a stream says of its event.
pub(super) struct Said {
    pub(super) data: Box<RawValue>,
    pub(super) key: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) id: Option<String>,
    pub(super) partition_key: Option<String>,
}

/// One event that came by a stream: checked, not handed over yet. It may have `most` bytes.
pub(super) fn one(said: Said, most: usize, peer: IpAddr) -> Result<Publication, Error> {
    let fields = [
        ("key", &said.key),
        ("event_type", &said.kind),
        ("id", &said.id),
        ("partition_key", &said.partition_key),
    ];
    for (field, text) in fields {
        if let Some(text) = text {
            name(field, text)?;
        }
    }
    let event = Event {
        data: content::sized(&said.data, most, "data").map_err(|error| error.at(MESSAGE.data))?,
        attributes: Attributes {
            id: said.id,
            kind: said.kind,
            partition_key: said.partition_key,
            ..Attributes::default()
        },
    };
    Ok(publication(said.key, peer, vec![event]))
}

/// Hands the events over to a topic that is open, in the order of the calls; the future tells when the engine has them.
pub(super) fn hand_over(
    service: &Service,
    topic: &str,
    publication: Publication,
    names: Names,
) -> BoxFuture<'static, Result<Vec<Receipt>, Error>> {
    let answer = service.tail.engine().publish(topic, publication);
    async move {
        match timeout(MOST_WAIT, answer).await {
            Ok(receipts) => receipts.map_err(|error| refused(error, names)),
            Err(_) => Err(Error::unavailable(format!(
                "the engine has not acknowledged the events; whether they are in the log is not known: repeat with the same {}",
                names.key
            ))),
        }
    }
    .boxed()
}

/// The engine's refusal, at the place at which it was said.
fn refused(error: PubSubError, names: Names) -> Error {
    match &error {
        PubSubError::KeyReused { key, offset } => {
            let (field, what) = match key::origin(key) {
                Origin::Key(key) => (names.key, format!("the key {key:?} was")),
                Origin::Id(id) => (names.id, format!("the id {id:?} was")),
                Origin::Ids => (names.id, "these ids were".to_owned()),
            };
            Error::key_reused(field, format!("{what} used at offset {offset} for other data"))
        }
        PubSubError::TooLarge { .. } => Error::from(error).at(names.data),
        _ => error.into(),
    }
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
