//! `GET /topics`: what there is to read, and who reads.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use freshet_wire::Topics;

use super::Service;
use crate::time::now_us;

/// Readers that one answer lists.
pub(crate) const MOST_READERS: usize = 200;

/// Every topic with its log, window and rates, and the readers seen last.
#[utoipa::path(get, path = "/api/v1/topics", tag = "topics", responses((status = 200, body = Topics)))]
pub(super) async fn list(State(service): State<Arc<Service>>) -> Json<Topics> {
    let now_us = now_us();
    Json(Topics {
        pubsub: service.tail.engine().status().borrow().clone(),
        topics: service.tail.describe(now_us),
        readers: service.readers.describe(MOST_READERS, now_us).0,
    })
}
