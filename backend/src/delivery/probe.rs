//! `/livez` and `/readyz`, for whoever keeps the process running.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::Service;

/// The process runs.
#[utoipa::path(get, path = "/api/v1/livez", tag = "service", responses((status = 200, body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// It takes new readers; 503 once it was asked to stop.
#[utoipa::path(get, path = "/api/v1/readyz", tag = "service", responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, &'static str) {
    if service.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    (StatusCode::OK, "ready\n")
}
