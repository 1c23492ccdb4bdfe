//! `GET /events`: polling, and long polling with `wait`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use freshet_wire::{From, LaneKind};
use http::{HeaderMap, StatusCode, header};

use tokio::time::timeout;

use super::{Service, etag, query};
use crate::connection::Connection;
use crate::encode;
use crate::error::Error;
use crate::readers::Delivered;
use crate::tail::{Batch, Budget, Reading, Watch};
use crate::time::now_us;

/// The most events that one page may carry.
pub(super) const MOST_EVENTS: u64 = 5000;
const DEFAULT_EVENTS: u64 = 500;
/// The most bytes of events that one page carries, but for a single larger event.
const PAGE_BYTES: usize = 512 << 10;
const MOST_WAIT_S: u64 = 60;
/// How long the log behind a topic may take to bring old events.
pub(super) const MOST_READ: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Query {
    from: Vec<From>,
    limit: u64,
    wait_s: u64,
    reader: Option<String>,
}

impl Query {
    fn parse(text: Option<&str>, subscriptions: usize) -> Result<Self, Error> {
        let mut parsed = Self {
            limit: DEFAULT_EVENTS,
            ..Self::default()
        };
        for (name, value) in query::pairs(text) {
            match &*name {
                "from" => parsed.from.push(query::from(&value, parsed.from.len(), subscriptions)?),
                "limit" => parsed.limit = query::number("limit", &value, 1, MOST_EVENTS)?,
                "wait" => parsed.wait_s = query::number("wait", &value, 0, MOST_WAIT_S)?,
                "reader" => parsed.reader = Some(query::reader(value)?),
                name => return Err(query::unknown(name)),
            }
        }
        if parsed.from.is_empty() {
            return Err(Error::parameter(
                "from",
                "from=TOPIC[@POSITION] says what to read, and may be repeated",
            ));
        }
        Ok(parsed)
    }
}

/// Events after each position. An event that the engine holds twice, as Kafka and Cloud Pub/Sub may, is brought once, the same by polls and
/// by the stream: it is the second one if its id stands among the 16,384 offsets before it (of a topic with partitions, its share of them in its
/// partition, 256 at least), and a gap of reason `duplicate` stands in its place. For what came after the service began to follow the topic,
/// only what came since counts.
///
/// The validator of a page is its `next`: a reader that sends it back with the poll
/// that begins there is told 304 when nothing came.
#[utoipa::path(get, path = "/api/v1/events", tag = "deliveries",
    params(
        ("from" = Vec<String>, Query, description = "TOPIC[@POSITION], repeated. A position is a cursor from `next`, `earliest`, `latest`, `offset:PARTITION:N` or `time:US`; without one, the newest event only"),
        ("limit" = Option<u32>, Query, description = "the most events over all topics, 1 to 5000 (500)"),
        ("wait" = Option<u32>, Query, description = "seconds to wait for an event, 0 to 60 (0): a long poll"),
        ("reader" = Option<String>, Query, description = "the name under which this reader's figures are counted"),
    ),
    responses((status = 200, body = freshet_wire::Page<'static>), (status = 304, description = "nothing new since the page with this ETag"),
        (status = 400, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 404, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let query = Query::parse(text.as_deref(), service.config.limits.subscriptions)?;
    let figures = service
        .readers
        .seen(query.reader.as_deref(), connection.number, LaneKind::Poll, now_us());
    connection.claim(&figures);
    let mut reading = Reading::find(&service.tail, &query.from).await?;
    let budget = Budget {
        events: query.limit as usize,
        bytes: PAGE_BYTES,
    };
    let mut batch = reading.read(budget);
    replay(&service, &mut reading, budget, &mut batch).await?;
    if batch.is_empty() && query.wait_s > 0 {
        batch = wait(&service, &mut reading, budget, Duration::from_secs(query.wait_s)).await;
    }

    figures.counters.gaps(&batch.gaps);
    let (events, state_events) = (batch.events.len() as u64, batch.state_events);
    figures.counters.delivered(Delivered {
        events,
        state_events,
        state_bytes: batch.state_bytes,
    });
    if events == state_events {
        figures.counters.empty.fetch_add(1, Relaxed);
    }
    let etag = validator(&reading);
    // A gap must be told, so it is never "not modified".
    if batch.is_empty() && etag::is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::ETAG, &*etag)];
    Ok((headers, Body::from(encode_page(&batch, &reading))).into_response())
}

/// Adds to a page what is not in the window any more but in the engine's log, in the room that the live events leave: half of it at
/// least, so that neither waits for the other.
async fn replay(service: &Service, reading: &mut Reading, budget: Budget, batch: &mut Batch) -> Result<(), Error> {
    let Some(history) = reading.history() else {
        return Ok(());
    };
    let bytes: usize = batch.events.iter().map(Bytes::len).sum();
    let room = Budget {
        events: budget.events - batch.events.len(),
        bytes: budget.bytes.saturating_sub(bytes),
    };
    if room.events < budget.events.div_ceil(2) || room.bytes < budget.bytes / 2 {
        return Ok(()); // the next page, which follows at once
    }
    let chunk = timeout(MOST_READ, history.read(&service.tail, room))
        .await
        .map_err(|_| Error::unavailable("the log behind the topic does not answer; try again"))??;
    let Some(mut replay) = reading.accept(history, chunk) else {
        return Ok(());
    };
    if let Some(old) = reading.replay(&mut replay) {
        // Gaps stand before the events of their topic: the page has nothing else of it.
        batch.gaps.extend(old.gaps);
        batch.events.splice(..0, old.events);
    }
    batch.more |= reading.is_behind() || reading.is_historic();
    Ok(())
}

async fn wait(service: &Service, reading: &mut Reading, budget: Budget, wait: Duration) -> Batch {
    let mut watch = Watch::new(&service.tail);
    for place in reading.places() {
        watch.add(place.topic());
    }
    let arrives = async {
        loop {
            watch.changed().await;
            let batch = reading.read(budget);
            // An open long poll must not hold up the end of the process.
            if !batch.is_empty() || service.is_stopping() {
                break batch;
            }
        }
    };
    timeout(wait, arrives).await.unwrap_or_default()
}

fn validator(reading: &Reading) -> String {
    let mut hasher = DefaultHasher::new();
    reading.next().hash(&mut hasher);
    // Weak: the time in a page differs from answer to answer.
    format!("W/\"{:016x}\"", hasher.finish())
}

fn encode_page(batch: &Batch, reading: &Reading) -> Bytes {
    let size: usize = batch.events.iter().map(|event| event.len() + 1).sum();
    let mut page = BytesMut::with_capacity(size + 256);
    page.extend_from_slice(b"{\"events\":[");
    encode::join(&mut page, &batch.events);
    page.extend_from_slice(b"],\"next\":");
    encode::json(&mut page, &reading.next());
    page.extend_from_slice(b",\"gaps\":");
    encode::json(&mut page, &batch.gaps);
    page.extend_from_slice(b",\"more\":");
    encode::json(&mut page, &batch.more);
    page.extend_from_slice(b",\"sent_us\":");
    encode::json(&mut page, &now_us());
    page.extend_from_slice(b"}");
    page.freeze()
}
