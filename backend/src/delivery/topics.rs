//! `GET /topics`: what there is to read, and who reads; `DELETE /topics/{topic}`: a topic of users is taken away.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use freshet_wire::{TopicKind, TopicScope, Topics, check_topic_name};
use http::StatusCode;
use tokio::time::timeout;

use super::Service;
use crate::error::Error;
use crate::pubsub::PubSubError;
use crate::time::now_us;

/// How long an engine may take to remove a topic.
const MOST_WAIT: Duration = Duration::from_secs(30);

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

/// Takes a topic that users publish to away, with all its events, also one that cannot be opened. Its readers are told by a gap whose count is not known, streams by a
/// problem too. Who publishes under the name again makes another log: its offsets begin anew, under another epoch, and keys of
/// idempotency are forgotten.
#[utoipa::path(delete, path = "/api/v1/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "one that users publish to")),
    responses((status = 204, description = "it is gone, on disk too"),
        (status = 400, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 404, body = freshet_wire::Problem, content_type = "application/problem+json"), (status = 409, body = freshet_wire::Problem, content_type = "application/problem+json", description = "the topic is the service's own, or its engine's to remove"),
        (status = 503, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Result<StatusCode, Error> {
    check_topic_name(&name).map_err(|error| Error::parameter("topic", error.to_string()))?;
    let topic = service.tail.topic(&name);
    let topic = topic.ok_or_else(|| PubSubError::UnknownTopic(name.clone()))?;
    if !topic.is_writable() || topic.scope() != TopicScope::Shared || topic.kind() != TopicKind::Log {
        let why = "only a topic that users publish to can be removed".to_owned();
        return Err(PubSubError::NotRemovable { topic: name, why }.into());
    }
    // On a task of its own: what was begun is ended, though whoever asked may have gone.
    let removing = tokio::spawn(async move { service.tail.remove(&name).await });
    match timeout(MOST_WAIT, removing).await {
        Ok(Ok(removed)) => removed?,
        Ok(Err(_)) => return Err(Error::unavailable("the topic was not removed")),
        Err(_) => return Err(Error::unavailable("the engine did not remove the topic in time")),
    }
    Ok(StatusCode::NO_CONTENT)
}
