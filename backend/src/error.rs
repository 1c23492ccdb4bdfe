//! The one place where errors become `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use freshet_wire::{PositionError, Problem};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::election::ElectionError;
use crate::pubsub::PubSubError;
use crate::settings::SettingsError;
use crate::tail::ReadError;

/// What a request can fail with. The field is the parameter, header or member at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    field: Option<Cow<'static, str>>,
    header: Option<(&'static str, &'static str)>,
}

impl Error {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            field: None,
            header: None,
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
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
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// As it stands on the stream.
    pub(crate) fn problem(&self) -> Problem {
        Problem {
            kind: Cow::Borrowed(self.kind),
            title: Cow::Borrowed(self.title),
            status: self.status.as_u16(),
            detail: Some(self.detail.clone()),
            field: self.field.as_deref().map(str::to_owned),
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
            SettingsError::Conflict { .. } => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "urn:freshet:settings-conflict",
                "The settings changed meanwhile",
                detail,
            )
            .at("If-Match"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();

        if let Some((name, value)) = self.header {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
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
