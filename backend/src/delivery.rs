//! How events leave: every route in one place.

mod admin;
mod body;
mod clock;
pub(crate) mod cluster;
mod config;
mod etag;
mod frames;
mod guard;
mod limits;
mod metrics;
mod openapi;
mod page;
mod poll;
mod probe;
mod publish;
mod query;
mod settings;
mod stream;
mod topics;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

pub use frames::Frames;
pub use publish::BODIES_BYTES;

use crate::config::Config;
use crate::election::Election;
use crate::limit::gate::Gate;
use crate::readers::Readers;
use crate::settings::Live;
use crate::tail::Tail;

/// What the deliveries read.
#[derive(Debug)]
pub struct Service {
    pub config: Config,
    /// This node's name, and its machine's.
    pub node: String,
    pub host: String,
    pub tail: Tail,
    pub election: Arc<dyn Election>,
    pub settings: Live,
    pub gate: Arc<Gate>,
    pub readers: Readers,
    pub frames: Frames,
    /// A permit a byte of the bodies that are being published.
    pub bodies: Semaphore,
    /// True when the process has been asked to stop.
    pub stopping: watch::Receiver<bool>,
}

impl Service {
    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// Every route.
pub fn router(service: Arc<Service>) -> Router {
    let changes = Router::new()
        .route("/settings", get(settings::read).patch(settings::patch))
        .route("/settings/rollback", post(settings::roll_back))
        .route("/config", get(config::read))
        .route("/topics/{topic}/events", post(publish::events))
        .route("/cluster/nodes/{id}/{action}", post(cluster::act))
        .layer(from_fn_with_state(Arc::clone(&service), admin::check));
    let api = Router::new()
        .route("/events", get(poll::events))
        .route("/stream", get(stream::upgrade))
        .route("/topics", get(topics::list))
        .route("/limits", get(limits::read))
        .route("/limits/{*client}", get(limits::stand))
        .route("/limits/try", post(limits::attempt))
        .route("/settings/history", get(settings::history))
        .route("/settings/schema", get(settings::schema))
        .route("/clock", get(clock::probe))
        .route("/cluster", get(cluster::read))
        .route("/openapi.json", get(openapi::document))
        .merge(probes())
        .merge(changes);
    Router::new()
        .nest("/api/v1", api)
        .merge(probes())
        .fallback(page::serve)
        .method_not_allowed_fallback(guard::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&service), limits::check))
        .layer(from_fn_with_state(Arc::clone(&service), guard::check))
        .layer(from_fn(guard::headers))
        .with_state(service)
}

fn probes() -> Router<Arc<Service>> {
    Router::new()
        .route("/metrics", get(metrics::scrape))
        .route("/livez", get(probe::live))
        .route("/readyz", get(probe::ready))
}
