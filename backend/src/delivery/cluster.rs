//! `GET /cluster`: who leads; `POST /cluster/nodes/{id}/{action}`: faults, for the nodes of this process.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use freshet_wire::{Cluster, NodeAction};

use super::{Service, query};
use crate::election;
use crate::error::Error;
use crate::time::{now_us, steady};

/// Who leads since when, the nodes, and what this process saw of the leadership; the same as the state topic `cluster` carries.
#[utoipa::path(get, path = "/api/v1/cluster", tag = "cluster", responses((status = 200, body = Cluster)))]
pub(super) async fn read(State(service): State<Arc<Service>>) -> Json<Cluster> {
    Json(describe(&service))
}

/// Does something to a node of this process: `stop`, `start`, `isolate`, `heal` or `resign`. The answer shows the cluster afterwards; faults are
/// not kept over a restart.
#[utoipa::path(post, path = "/api/v1/cluster/nodes/{id}/{action}", tag = "cluster",
    params(("id" = String, Path, description = "a node's name"), ("action" = NodeAction, Path)),
    responses((status = 200, body = Cluster), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 404, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 409, description = "the node cannot do that now, or the engine never", body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn act(
    State(service): State<Arc<Service>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Cluster>, Error> {
    let (node, action) = query::path("id", path)?;
    let action = NodeAction::from_name(&action).ok_or_else(|| {
        let known = NodeAction::ALL.map(NodeAction::name).join(", ");
        Error::parameter("action", format!("{action:?} is none of {known}"))
    })?;
    service.election.act(&node, action).await?;
    Ok(Json(describe(&service)))
}

/// What is told of the cluster now.
pub(crate) fn describe(service: &Service) -> Cluster {
    election::describe(&*service.election, &service.node, steady(), now_us())
}
