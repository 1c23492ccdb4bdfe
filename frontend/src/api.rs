//! Every URL of the back end, and every fetch. The lanes' own go through their worker ([`Connections`]).

use std::cell::Cell;
use std::rc::Rc;

use freshet_wire::{
    ClientLimits, Clock, Cluster, LimitStatus, NodeAction, Position, Problem, Receipt, SettingsHistory, SettingsSchema,
    SettingsStatus, StaticConfig, Topics,
};
use gloo_net::http::{Request, RequestBuilder, Response};
use gloo_timers::callback::Timeout;
use serde::de::DeserializeOwned;
use web_sys::{AbortController, RequestCache};

use crate::lane::{Connections, NO_WORKER, Unanswered};

const BASE: &str = "/api/v1";

/// A request that has not been answered in full by then is given up: a server that hangs must not hang a lane.
const TIMEOUT_MS: u32 = 10_000;

const NO_ANSWER: &str = "no answer for 10 s";
const NOT_REACHED: &str = "the server cannot be reached";

/// A server that asks for more patience than this is asked again nevertheless.
const MAX_RETRY_AFTER_MS: u32 = 10 * 60_000;

/// Events that one poll may bring: few enough to be applied within a frame.
const PAGE_LIMIT: &str = "2000";

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words for people.
    pub why: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The server asked to wait this long.
    pub retry_after_ms: Option<u32>,
    /// What exactly was wrong, where the server said so.
    pub problem: Option<Box<Problem>>,
}

impl Failure {
    pub(crate) fn new(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            status: None,
            retry_after_ms: None,
            problem: None,
        }
    }

    /// The admin token is needed, or another one.
    pub fn needs_token(&self) -> bool {
        self.status == Some(401)
    }

    /// The server understood and said no: the same request will be refused again.
    pub fn is_refusal(&self) -> bool {
        self.status
            .is_some_and(|status| (400..500).contains(&status) && status != 408 && status != 429)
    }
}

/// The answer to a poll.
#[derive(Debug)]
pub struct Polled {
    /// JSON of a [`freshet_wire::Page`]; `None`: nothing is new (304).
    pub page: Option<String>,
    pub etag: Option<String>,
    /// When it was asked and when the answer was there in full, on the page's clock.
    pub sent_us: f64,
    pub received_us: f64,
}

/// `GET /events`: what is new after these positions (`TOPIC[@CURSOR]`).
pub async fn events(
    connections: &Connections,
    from: &[String],
    reader: &str,
    etag: Option<&str>,
) -> Result<Polled, Failure> {
    let mut url = String::from(BASE);
    url.push_str("/events?limit=");
    url.push_str(PAGE_LIMIT);
    url.push_str("&reader=");
    url.push_str(reader);
    for from in from {
        url.push_str("&from=");
        url.push_str(&String::from(js_sys::encode_uri_component(from)));
    }
    let answer = connections.get(&url, etag).await.map_err(|unanswered| {
        Failure::new(match unanswered {
            Unanswered::TimedOut => NO_ANSWER,
            Unanswered::Lost => NOT_REACHED,
            Unanswered::NoWorker => NO_WORKER,
        })
    })?;
    match answer.status {
        200..300 | 304 => Ok(Polled {
            page: (answer.status != 304).then_some(answer.text),
            etag: answer.etag,
            sent_us: answer.sent_us,
            received_us: answer.received_us,
        }),
        status => Err(refused(status, answer.retry_after.as_deref(), &answer.text)),
    }
}

/// One event of a topic, once more: the page's JSON, in which it is if it still is in the log.
pub async fn event(topic: &str, partition: u32, offset: u64, reader: &str) -> Result<String, Failure> {
    let from = [topic, "@", &Position::Offset { partition, offset }.to_string()].concat();
    let from = String::from(js_sys::encode_uri_component(&from));
    let url = [BASE, "/events?limit=1&reader=", reader, "&from=", &from].concat();
    send(Request::get(&url), None).await
}

/// What is to be published, and what is said of it.
#[derive(Debug, Clone)]
pub struct Publication {
    pub topic: String,
    /// JSON; of a batch one value a line.
    pub data: String,
    pub batch: bool,
    /// Sent again with the same key it changes nothing.
    pub idempotency_key: String,
    /// These two may be empty.
    pub kind: String,
    pub partition_key: String,
}

/// `POST /topics/{topic}/events`; the token as for [`patch_settings`].
pub async fn publish(publication: Publication, token: &str) -> Result<Vec<Receipt>, Failure> {
    let topic = String::from(js_sys::encode_uri_component(&publication.topic));
    let url = [BASE, "/topics/", &topic, "/events"].concat();
    let kind = if publication.batch {
        "application/x-ndjson"
    } else {
        "application/json"
    };
    let mut request = authorized(Request::post(&url), token)?.header("Content-Type", kind);
    for (name, value) in [
        ("Idempotency-Key", &publication.idempotency_key),
        ("ce-type", &publication.kind),
        ("ce-partitionkey", &publication.partition_key),
    ] {
        // Else the browser throws.
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Failure::new(&[name, " takes characters of ASCII alone here"].concat()));
        }
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    let answer = send(request, Some(publication.data)).await?;
    answer.lines().map(read).collect()
}

/// Where the stream is, as the WebSocket of this page reaches it.
pub fn stream_url(reader: &str) -> Option<String> {
    // http: -> ws:, https: -> wss:
    let origin = web_sys::window()?.location().origin().ok()?;
    let mut url = String::from("ws");
    url.push_str(origin.strip_prefix("http")?);
    url.push_str(BASE);
    url.push_str("/stream?reader=");
    url.push_str(reader);
    Some(url)
}

/// `GET /clock`.
pub async fn clock() -> Result<Clock, Failure> {
    get("/clock").await
}

/// `PATCH /settings` with a JSON merge patch (RFC 7396); 412 if the settings do not have that version any more, 401 if it takes the
/// admin token and `token` is not it (empty: none is sent).
pub async fn patch_settings(merge_patch: String, version: u64, token: &str) -> Result<SettingsStatus, Failure> {
    let request = authorized(Request::patch(&[BASE, "/settings"].concat()), token)?
        .header("Content-Type", "application/merge-patch+json")
        .header("If-Match", &etag(version));
    read(&send(request, Some(merge_patch)).await?)
}

/// `POST /settings/rollback`: the settings become again what they were at `version`; 412 if they do not have the `newest` one any more.
pub async fn roll_back(version: u64, newest: u64, token: &str) -> Result<SettingsStatus, Failure> {
    let request = authorized(Request::post(&[BASE, "/settings/rollback"].concat()), token)?
        .header("Content-Type", "application/json")
        .header("If-Match", &etag(newest));
    let body = [r#"{"version":"#, &*version.to_string(), "}"].concat();
    read(&send(request, Some(body)).await?)
}

fn etag(version: u64) -> String {
    ["\"", &*version.to_string(), "\""].concat()
}

/// `GET /settings`.
pub async fn settings() -> Result<SettingsStatus, Failure> {
    get("/settings").await
}

/// `GET /settings/schema`.
pub async fn settings_schema() -> Result<SettingsSchema, Failure> {
    get("/settings/schema").await
}

/// `GET /settings/history`.
pub async fn settings_history() -> Result<SettingsHistory, Failure> {
    get("/settings/history").await
}

/// `GET /config`.
pub async fn config() -> Result<StaticConfig, Failure> {
    get("/config").await
}

/// `POST /cluster/nodes/{id}/{action}`: the cluster afterwards; the token as for [`patch_settings`].
pub async fn act(node: &str, action: NodeAction, token: &str) -> Result<Cluster, Failure> {
    let node = String::from(js_sys::encode_uri_component(node));
    let url = [BASE, "/cluster/nodes/", &node, "/", action.name()].concat();
    read(&send(authorized(Request::post(&url), token)?, None).await?)
}

/// With the admin token, where there is one.
fn authorized(request: RequestBuilder, token: &str) -> Result<RequestBuilder, Failure> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new("the admin token has a character that no token has"));
    }
    Ok(match token.is_empty() {
        true => request,
        false => request.header("Authorization", &["Bearer ", token].concat()),
    })
}

async fn get<T: DeserializeOwned>(path: &str) -> Result<T, Failure> {
    let mut url = String::from(BASE);
    url.push_str(path);
    read(&send(Request::get(&url), None).await?)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|_| Failure::new("the answer cannot be read"))
}

/// `GET /topics`: all of them; spends a `read`.
pub async fn topics() -> Result<Topics, Failure> {
    get("/topics").await
}

/// `GET /limits`: spends a `read`.
pub async fn limits() -> Result<LimitStatus, Failure> {
    get("/limits").await
}

/// `GET /limits/me`: where this page's client stands; spends a `read`.
pub async fn own_limits() -> Result<ClientLimits, Failure> {
    get("/limits/me").await
}

/// An answer to a request that only tries the limits, and its headers as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tried {
    pub status: u16,
    pub policy: Option<String>,
    pub left: Option<String>,
    pub retry_after: Option<String>,
}

/// `POST /limits/try`: spends one request of the policies of `try`, or of `read`.
pub async fn try_limits(policy: &str) -> Result<Tried, Failure> {
    let url = [BASE, "/limits/try?policy=", policy].concat();
    let (response, _) = exchange(Request::post(&url), None).await?;
    let header = |name| response.headers().get(name);
    Ok(Tried {
        status: response.status(),
        policy: header("ratelimit-policy"),
        left: header("ratelimit"),
        retry_after: header("retry-after"),
    })
}

/// The text of the answer.
async fn send(request: RequestBuilder, body: Option<String>) -> Result<String, Failure> {
    let (response, text) = exchange(request, body).await?;
    if response.ok() {
        return Ok(text);
    }
    let retry_after = response.headers().get("retry-after");
    Err(refused(response.status(), retry_after.as_deref(), &text))
}

/// Sends a request past the browser's cache and waits for the whole answer, whatever it says.
async fn exchange(request: RequestBuilder, body: Option<String>) -> Result<(Response, String), Failure> {
    let abort = AbortController::new().ok();
    let request = request
        .cache(RequestCache::NoStore)
        .abort_signal(abort.as_ref().map(|it| it.signal()).as_ref());
    let request = match body {
        Some(body) => request.body(body),
        None => request.build(),
    }
    .map_err(|_| Failure::new("the request cannot be made"))?;
    let timed_out = Rc::new(Cell::new(false));
    // Dropped, and so taken back, when the answer is there.
    let _timeout = abort.map(|abort| {
        let timed_out = timed_out.clone();
        Timeout::new(TIMEOUT_MS, move || {
            timed_out.set(true);
            abort.abort();
        })
    });
    let lost = |_| Failure::new(if timed_out.get() { NO_ANSWER } else { NOT_REACHED });
    let response = request.send().await.map_err(lost)?;
    let text = response.text().await.map_err(lost)?;
    Ok((response, text))
}

fn refused(status: u16, retry_after: Option<&str>, text: &str) -> Failure {
    let problem = serde_json::from_str::<Problem>(text).ok().map(Box::new);
    let why = match &problem {
        Some(problem) => in_words(problem),
        None => {
            let mut why = String::from("HTTP ");
            why.push_str(&status.to_string());
            why
        }
    };
    Failure {
        why,
        status: Some(status),
        retry_after_ms: retry_after.and_then(parse_retry_after),
        problem,
    }
}

/// A problem as one sentence.
pub(crate) fn in_words(problem: &Problem) -> String {
    let mut words = problem.title.to_string();
    if let Some(detail) = &problem.detail {
        words.push_str(": ");
        words.push_str(detail);
    }
    words
}

/// Delay in seconds (RFC 9110, section 10.2.3). Its other form, a date, is on a clock that nobody compared: the back-off decides then.
fn parse_retry_after(value: &str) -> Option<u32> {
    let seconds: u32 = value.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000).min(MAX_RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_and_bounded() {
        assert_eq!(parse_retry_after(" 3"), Some(3000));
        assert_eq!(parse_retry_after("4294967295"), Some(MAX_RETRY_AFTER_MS));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(parse_retry_after("-1"), None);
    }

    #[test]
    fn only_a_no_is_a_refusal() {
        let with = |status| {
            Failure {
                status,
                ..Failure::new("")
            }
            .is_refusal()
        };
        assert!(with(Some(404)) && with(Some(400)));
        assert!(!with(Some(429)) && !with(Some(503)) && !with(Some(408)) && !with(None));
    }
}
