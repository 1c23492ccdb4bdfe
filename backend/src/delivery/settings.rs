//! The live settings: read, changed, rolled back, and what there is to set.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use freshet_wire::{Rollback, SettingsHistory, SettingsSchema, SettingsStatus};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::limits::Asker;
use super::{Service, body};
use crate::error::Error;
use crate::settings;

/// The settings in force in this process, where they come from, what is refused of the store, and when each process applied them; the ETag is
/// their version.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = SettingsStatus)))]
pub(super) async fn read(State(service): State<Arc<Service>>) -> Response {
    answer(&service.settings.status())
}

/// Every setting with its kind, bounds, unit and default, and what it is.
#[utoipa::path(get, path = "/api/v1/settings/schema", tag = "settings", responses((status = 200, body = SettingsSchema)))]
pub(super) async fn schema() -> Json<&'static SettingsSchema> {
    Json(settings::schema())
}

/// The newest changes, up to 50.
#[utoipa::path(get, path = "/api/v1/settings/history", tag = "settings", responses((status = 200, body = SettingsHistory)))]
pub(super) async fn history(State(service): State<Arc<Service>>) -> Json<SettingsHistory> {
    Json(service.settings.history())
}

/// Changes some of them: a JSON merge patch (RFC 7396) of `settings`, whole or not at all.
#[utoipa::path(patch, path = "/api/v1/settings", tag = "settings", request_body = freshet_wire::Settings,
    params(("If-Match" = Option<String>, Header, description = "the version the change was made for")),
    responses((status = 200, body = SettingsStatus), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 412, description = "with the current version as `current_version` and ETag", body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 422, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn patch(
    State(service): State<Arc<Service>>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let (expected, patch) = asked(&service, &headers, body).await?;
    super::config::refuse_static(&service.config.stated, &patch)?;
    let by = author(&service, asker, "API");
    Ok(answer(&*service.settings.patch(&patch, expected, &by).await?))
}

/// Has the settings be again what they were at an earlier version; that is a new version.
#[utoipa::path(post, path = "/api/v1/settings/rollback", tag = "settings", request_body = Rollback,
    params(("If-Match" = Option<String>, Header, description = "the version that is to be left")),
    responses((status = 200, body = SettingsStatus), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "the changes since then are not kept", body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 412, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 422, description = "what was valid then is not valid now", body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn roll_back(
    State(service): State<Arc<Service>>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let (expected, body) = asked(&service, &headers, body).await?;
    let rollback: Rollback = serde_json::from_value(body).map_err(|error| {
        Error::body(
            StatusCode::BAD_REQUEST,
            format!("{{\"version\": N}} is expected: {error}"),
        )
    })?;
    let by = author(&service, asker, &format!("rollback to {}, API", rollback.version));
    let changed = service.settings.roll_back(rollback.version, expected, &by).await?;
    Ok(answer(&changed))
}

async fn asked(service: &Service, headers: &HeaderMap, body: Body) -> Result<(Option<u64>, Value), Error> {
    let limits = &service.config.limits;
    let body = body::read(body, limits.body_bytes, limits).await?;
    let expected = headers
        .get(header::IF_MATCH)
        .map(|value| version(value.as_bytes()))
        .transpose()?
        .flatten();
    let body = serde_json::from_slice(&body)
        .map_err(|error| Error::body(StatusCode::BAD_REQUEST, format!("not JSON: {error}")))?;
    Ok((expected, body))
}

/// Nobody has a name here; an address is what is known.
fn author(service: &Service, Asker(client): Asker, how: &str) -> String {
    match service.settings.current().settings.limit.mask {
        true => format!("{how}, {}", client.masked()),
        false => format!("{how}, {client}"),
    }
}

fn answer(status: &SettingsStatus) -> Response {
    let version = status.in_force.version;
    ([(header::ETAG, format!("\"{version}\""))], Json(status)).into_response()
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
