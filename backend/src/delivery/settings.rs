//! `GET` and `PATCH /settings`: the live settings.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use freshet_wire::SettingsVersion;
use http::{HeaderMap, StatusCode, header};

use super::{Service, body};
use crate::error::Error;
use crate::time::now_us;

/// The settings in force; the ETag is their version.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = SettingsVersion)))]
pub(super) async fn read(State(service): State<Arc<Service>>) -> Response {
    answer(&service.settings.current())
}

/// Changes some of them: a JSON merge patch (RFC 7396) of `settings`, whole or not at all.
#[utoipa::path(patch, path = "/api/v1/settings", tag = "settings", request_body = freshet_wire::Settings,
    params(("If-Match" = Option<String>, Header, description = "the version the change was made for")),
    responses((status = 200, body = SettingsVersion), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 412, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 422, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn patch(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let limits = &service.config.limits;
    let body = body::read(body, limits.body_bytes, limits).await?;
    let expected = headers
        .get(header::IF_MATCH)
        .map(|value| version(value.as_bytes()))
        .transpose()?
        .flatten();
    let patch = serde_json::from_slice(&body)
        .map_err(|error| Error::body(StatusCode::BAD_REQUEST, format!("not JSON: {error}")))?;
    Ok(answer(&*service.settings.patch(&patch, expected, now_us())?))
}

fn answer(version: &SettingsVersion) -> Response {
    ([(header::ETAG, format!("\"{}\"", version.version))], Json(version)).into_response()
}

/// `"7"`, or `*` for whichever.
fn version(text: &[u8]) -> Result<Option<u64>, Error> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    if text == "*" {
        return Ok(None);
    }
    let number = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Error::parameter("If-Match", "If-Match takes a version in quotes, such as \"7\""))
}
