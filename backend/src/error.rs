//! The one place where errors become `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use freshet_wire::{PositionError, Problem};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::election::ElectionError;
use crate::pubsub::PubSubError;
use crate::settings::SettingsError;
use crate::tail::ReadError;

/// The problem type that draft-ietf-httpapi-ratelimit-headers-11 registers, with the member `violated-policies`.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// What a request can fail with. The field is the parameter, header or member at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    field: Option<Cow<'static, str>>,
    extra: Option<Box<Extra>>,
}

/// What stands in the answer beside the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Extra {
    Header(&'static str, &'static str),
    /// Of 412: the version that is there.
    Version(u64),
    /// Of 429.
    NoRoom(NoRoom),
}

/// The policies that had no room, and in how many seconds they will have it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NoRoom {
    violated: Vec<String>,
    /// None where waiting does not help.
    retry_after_s: Option<u64>,
}

impl Error {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            field: None,
            extra: None,
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.extra = Some(Box::new(Extra::Header(name, value)));
        self
    }

    fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// A parameter is wrong: which, and what would be right.
    pub(crate) fn parameter(field: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "urn:freshet:invalid-parameter",
            "A parameter is not valid",
            detail,
        )
        .at(field)
    }

    pub(crate) fn message(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "urn:freshet:invalid-message",
            "The message is not valid",
            detail,
        )
    }

    pub(crate) fn not_found(path: &str) -> Self {
        let detail = format!("there is nothing at {path}; /api/v1/openapi.json lists the routes");
        Self::new(StatusCode::NOT_FOUND, "urn:freshet:not-found", "Not found", detail)
    }

    pub(crate) fn method_not_allowed(method: &http::Method, path: &str) -> Self {
        let detail = format!("{path} does not take {method}");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "urn:freshet:method-not-allowed",
            "Method not allowed",
            detail,
        )
    }

    pub(crate) fn host(host: &str) -> Self {
        let detail =
            format!("this service does not answer as {host:?}; --allow-host adds a name beside the loopback ones");
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "urn:freshet:host-refused",
            "Host refused",
            detail,
        )
        .at("Host")
    }

    pub(crate) fn origin(origin: &str) -> Self {
        let detail = format!("pages of {origin:?} may not call this service; --allow-origin adds an origin");
        Self::new(
            StatusCode::FORBIDDEN,
            "urn:freshet:origin-refused",
            "Origin refused",
            detail,
        )
        .at("Origin")
    }

    pub(crate) fn token_needed() -> Self {
        let detail = "this needs the admin token, as `Authorization: Bearer TOKEN`";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "urn:freshet:token-needed",
            "Admin token needed",
            detail,
        )
        .at("Authorization")
    }

    /// Only reading is allowed at this path.
    pub(crate) fn read_only(method: &http::Method, path: &str) -> Self {
        Self::method_not_allowed(method, path).with("allow", "GET, HEAD")
    }

    pub(crate) fn websocket_version() -> Self {
        Self::upgrade_needed("Sec-WebSocket-Version is 13 here", "Sec-WebSocket-Version")
            .with("sec-websocket-version", "13")
    }

    pub(crate) fn upgrade_needed(detail: impl Into<String>, field: &'static str) -> Self {
        Self::new(
            StatusCode::UPGRADE_REQUIRED,
            "urn:freshet:upgrade-needed",
            "A WebSocket handshake is needed",
            detail,
        )
        .at(field)
    }

    pub(crate) fn body(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "urn:freshet:invalid-body", "The body is not valid", detail).at("body")
    }

    pub(crate) fn not_json(detail: impl Into<String>) -> Self {
        Self::body(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn event_too_large(detail: impl Into<String>) -> Self {
        Self::body(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    pub(crate) fn media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "urn:freshet:media-type",
            "The media type is not taken",
            detail,
        )
        .at("Content-Type")
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:freshet:busy",
            "The service is at its bounds",
            detail,
        )
        .with("retry-after", "1")
    }

    /// These policies have no room for the request; in so many seconds they will.
    pub(crate) fn quota_exceeded(violated: Vec<String>, retry_after_s: u64) -> Self {
        let detail = format!(
            "more was asked for than the quota of {} admits; in {retry_after_s} s there is room again",
            violated.join(" and ")
        );
        Self {
            extra: Some(Box::new(Extra::NoRoom(NoRoom {
                violated,
                retry_after_s: Some(retry_after_s),
            }))),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                QUOTA_EXCEEDED,
                "The quota is exceeded",
                detail,
            )
        }
    }

    /// A batch that costs more than these policies ever admit at once. No `Retry-After`: waiting does not help.
    pub(crate) fn batch_over_quota(violated: Vec<String>, events: u32, most: u32) -> Self {
        let detail = format!(
            "a batch of {events} events costs {events}, and the quota of {} never admits more than {most} at once: send batches of up to {most} events; waiting does not help",
            violated.join(" and ")
        );
        Self {
            extra: Some(Box::new(Extra::NoRoom(NoRoom {
                violated,
                retry_after_s: None,
            }))),
            ..Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "urn:freshet:batch-over-quota",
                "The batch is larger than the quota",
                detail,
            )
        }
    }

    /// New load is not taken on now, whoever asks.
    pub(crate) fn shed(detail: impl Into<String>) -> Self {
        // Not all at the same moment again.
        let retry_after = ["1", "2", "3"][fastrand::usize(..3)];
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:freshet:overloaded",
            "New requests are not taken on now",
            detail,
        )
        .with("retry-after", retry_after)
    }

    /// A live change of what only a restart changes.
    pub(crate) fn static_key(key: &str, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "urn:freshet:static-key",
            "The key is static",
            detail,
        )
        .at(key.to_owned())
    }

    pub(crate) fn denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "urn:freshet:network-denied",
            "The network is denied",
            "requests from this network are refused",
        )
    }

    /// An engine does not do what is asked of it now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:freshet:unavailable",
            "The engine is not available",
            detail,
        )
        .with("retry-after", "1")
    }

    pub(crate) fn forbidden_topic(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "urn:freshet:topic-read-only",
            "The topic is only read here",
            detail,
        )
        .at("topic")
    }

    /// The same may be taken in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        )
    }

    pub(crate) fn is_over_quota(&self) -> bool {
        self.no_room().is_some()
    }

    fn no_room(&self) -> Option<&NoRoom> {
        match self.extra.as_deref() {
            Some(Extra::NoRoom(no_room)) => Some(no_room),
            _ => None,
        }
    }

    /// As it stands on the stream.
    pub(crate) fn problem(&self) -> Problem {
        Problem {
            kind: Cow::Borrowed(self.kind),
            title: Cow::Borrowed(self.title),
            status: self.status.as_u16(),
            detail: Some(self.detail.clone()),
            field: self.field.as_deref().map(str::to_owned),
            violated_policies: self.no_room().map_or_else(Vec::new, |no_room| no_room.violated.clone()),
            retry_after_s: self.no_room().and_then(|no_room| no_room.retry_after_s),
            current_version: match self.extra.as_deref() {
                Some(Extra::Version(version)) => Some(*version),
                _ => None,
            },
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::UnknownTopic(_) => Self::new(
                StatusCode::NOT_FOUND,
                "urn:freshet:unknown-topic",
                "Unknown topic",
                detail,
            ),
            ReadError::Unavailable { .. } => return Self::unavailable(detail),
            ReadError::UnknownPartition { .. } | ReadError::BeyondEnd { .. } => Self::new(
                StatusCode::BAD_REQUEST,
                "urn:freshet:invalid-position",
                "The position is not valid",
                detail,
            ),
            ReadError::Twice(_) => return Self::parameter("from", detail),
        }
        .at("from")
    }
}

impl From<PubSubError> for Error {
    fn from(error: PubSubError) -> Self {
        let detail = error.to_string();
        match error {
            PubSubError::UnknownTopic(_) => Self::new(
                StatusCode::NOT_FOUND,
                "urn:freshet:unknown-topic",
                "Unknown topic",
                detail,
            )
            .at("topic"),
            PubSubError::ReadOnly(_) => Self::forbidden_topic(detail),
            PubSubError::KeyReused { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:freshet:key-reused",
                "The key was used for other data",
                detail,
            )
            .at("Idempotency-Key"),
            PubSubError::TooLarge { .. } => Self::body(StatusCode::PAYLOAD_TOO_LARGE, detail),
            PubSubError::TooManyTopics(_) => Self::new(
                StatusCode::CONFLICT,
                "urn:freshet:too-many-topics",
                "Too many topics",
                detail,
            )
            .at("topic"),
            PubSubError::Fenced { .. } => Self::new(
                StatusCode::CONFLICT,
                "urn:freshet:fenced",
                "A newer leader has written",
                detail,
            ),
            PubSubError::Full | PubSubError::Closed => Self::busy(detail),
            PubSubError::Unavailable(_) => Self::unavailable(detail),
        }
    }
}

impl From<ElectionError> for Error {
    fn from(error: ElectionError) -> Self {
        let detail = error.to_string();
        match error {
            ElectionError::UnknownNode(_) => Self::new(
                StatusCode::NOT_FOUND,
                "urn:freshet:unknown-node",
                "Unknown node",
                detail,
            )
            .at("id"),
            ElectionError::Refused(_) => Self::new(
                StatusCode::CONFLICT,
                "urn:freshet:node-cannot",
                "The node cannot do that now",
                detail,
            )
            .at("action"),
            ElectionError::Unavailable(_) => Self::unavailable(detail),
            ElectionError::Closed => Self::busy(detail),
        }
    }
}

impl From<PositionError> for Error {
    fn from(error: PositionError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "urn:freshet:invalid-position",
            "The position is not valid",
            error.to_string(),
        )
        .at("from")
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        let detail = error.to_string();
        match error {
            SettingsError::Invalid { field, .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:freshet:invalid-setting",
                "The setting is not valid",
                detail,
            )
            .at(field),
            SettingsError::Conflict { current, .. } => Self {
                extra: Some(Box::new(Extra::Version(current))),
                ..Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    "urn:freshet:settings-conflict",
                    "The settings changed meanwhile",
                    detail,
                )
                .at("If-Match")
            },
            SettingsError::NotKept { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "urn:freshet:version-not-kept",
                "The version is not kept",
                detail,
            )
            .at("version"),
            SettingsError::Unavailable(_) => Self::unavailable(detail),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();

        match self.extra.as_deref() {
            None => {}
            Some(&Extra::Header(name, value)) => {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Some(Extra::Version(version)) => {
                // Digits in quotes are a header's value.
                if let Ok(etag) = HeaderValue::from_str(&format!("\"{version}\"")) {
                    headers.insert(header::ETAG, etag);
                }
            }
            Some(Extra::NoRoom(no_room)) => {
                if let Some(retry_after_s) = no_room.retry_after_s {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
                }
            }
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response
    }
}
