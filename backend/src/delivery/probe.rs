//! `/livez` and `/readyz`, for whoever keeps the process running.

use std::sync::Arc;

use axum::extract::State;
use freshet_wire::{EngineState, OnFailure};
use http::StatusCode;

use super::Service;

/// The process runs.
#[utoipa::path(get, path = "/api/v1/livez", tag = "service", responses((status = 200, body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// It takes new readers; 503 once it was asked to stop, or where it refuses all because the engine of the rate limits is away. One
/// that is away while each process limits by itself is named.
#[utoipa::path(get, path = "/api/v1/readyz", tag = "service", responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, String) {
    if service.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let limits = service.gate.engine().borrow().clone();
    match (limits.state, service.gate.on_failure()) {
        (EngineState::Up, _) => (StatusCode::OK, "ready\n".to_owned()),
        (_, Some(OnFailure::Closed)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("rate limits: {}\n", limits.detail),
        ),
        _ => (StatusCode::OK, format!("ready\nrate limits: {}\n", limits.detail)),
    }
}
