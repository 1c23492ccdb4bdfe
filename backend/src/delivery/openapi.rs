//! `GET /openapi.json`: the REST routes, described from the types that serve them.

use axum::Json;
use utoipa::OpenApi;

use super::{clock, cluster, limits, poll, probe, publish, settings, stream, topics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Freshet",
        description = "The same events by REST polling and by WebSocket streaming."
    ),
    paths(
        clock::probe,
        cluster::act,
        cluster::read,
        document,
        limits::attempt,
        limits::read,
        limits::stand,
        poll::events,
        probe::live,
        probe::ready,
        publish::events,
        settings::history,
        settings::patch,
        settings::read,
        settings::roll_back,
        settings::schema,
        stream::upgrade,
        super::metrics::scrape,
        topics::list,
    )
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "service", responses((status = 200, description = "an OpenAPI 3.1 document", body = serde_json::Value)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
