//! `/livez` and `/readyz`, for whoever keeps the process running.

use std::sync::Arc;

use axum::extract::State;
use freshet_wire::{Engine, EngineState, OnFailure};
use http::StatusCode;

use super::Service;

/// The process runs.
#[utoipa::path(get, path = "/api/v1/livez", tag = "service", responses((status = 200, body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// It takes new readers; 503 once it was asked to stop, or where it refuses all because the engine of the rate limits is away. What is away
/// while the process goes on without it is named: the engine of pub/sub, without which windows are read and no more, the rate limits' engine where each process limits by itself, and
/// the settings' engine, whose last settings stay in force.
#[utoipa::path(get, path = "/api/v1/readyz", tag = "service", responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> (StatusCode, String) {
    if service.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let limits = service.gate.engine().borrow().clone();
    let settings = service.settings.status();
    let pubsub = service.tail.engine().status().borrow().clone();
    let is_away = |engine: &Engine| engine.state != EngineState::Up;
    if is_away(&limits) && service.gate.on_failure() == Some(OnFailure::Closed) {
        let why = format!("rate limits: {}\n", limits.detail);
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let mut answer = "ready\n".to_owned();
    let engines = [
        ("pub/sub", &pubsub),
        ("rate limits", &limits),
        ("settings", &settings.engine),
    ];
    for (what, engine) in engines {
        if is_away(engine) {
            answer.push_str(&format!("{what}: {}\n", engine.detail));
        }
    }
    (StatusCode::OK, answer)
}
