//! Rate limits over HTTP: what every request passes, `GET /limits`, `GET /limits/{client}` and `POST /limits/try`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use freshet_wire::{ClientLimits, LimitStatus, RouteClass};
use http::{HeaderMap, Method, StatusCode};

use super::{Service, admin, query};
use crate::connection::Connection;
use crate::error::Error;
use crate::limit::Client;
use crate::limit::gate::{Refusal, Verdict, write_headers};

/// The client of a request, as an extension of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker(pub(super) Client);

/// What a request spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spends {
    /// It is always answered: whoever keeps the process running asks it.
    Probe,
    /// No quota: assets, the clock, what describes the service.
    Nothing,
    One(RouteClass),
}

fn spends(method: &Method, path: &str, text: Option<&str>) -> Spends {
    let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let api = path.strip_prefix("/api/v1").unwrap_or(path);
    match api {
        "/livez" | "/readyz" => return Spends::Probe,
        "/metrics" => return Spends::Nothing,
        _ if api.len() == path.len() => return Spends::Nothing,
        _ => {}
    }
    Spends::One(match api {
        "/clock" | "/openapi.json" if is_read => return Spends::Nothing,
        "/stream" => RouteClass::Connect,
        "/limits/try" => match query::pairs(text).any(|(name, value)| name == "policy" && value == "read") {
            true => RouteClass::Read,
            false => RouteClass::Try,
        },
        _ if is_read => RouteClass::Read,
        _ if api.starts_with("/topics/") && *method != Method::DELETE => RouteClass::Publish,
        _ => RouteClass::Admin,
    })
}

/// Admits a request, or refuses it; what it was admitted with stands in the headers of its answer.
pub(super) async fn check(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    mut request: Request,
    next: Next,
) -> Response {
    let spends = spends(request.method(), request.uri().path(), request.uri().query());
    if spends == Spends::Probe {
        return next.run(request).await;
    }
    let client = service.gate.client(connection.peer.ip(), request.headers());
    let (verdict, pass) = match spends {
        // A batch costs what it has events, and that is known only when it was read.
        Spends::One(RouteClass::Publish) => service.gate.begin(client, RouteClass::Publish).await,
        Spends::One(class) => (service.gate.admit(client, class).await, None),
        _ => (service.gate.admit_free(client), None),
    };
    match verdict {
        Verdict::Admitted { said, held } => {
            request.extensions_mut().insert(Asker(client));
            if let Some(pass) = &pass {
                request.extensions_mut().insert(Arc::clone(pass));
            }
            let mut response = next.run(request).await;
            // It is counted before it is answered.
            let said = pass.map_or(said, |pass| pass.said());
            write_headers(&said, response.headers_mut());
            drop(held);
            response
        }
        Verdict::Limited(refusal) => {
            let mut response = refused(&refusal).into_response();
            write_headers(&refusal.said, response.headers_mut());
            response
        }
        Verdict::Shed(why) => Error::shed(why).into_response(),
        Verdict::Denied => Error::denied().into_response(),
    }
}

/// What is said to a request that found no room.
pub(super) fn refused(refusal: &Refusal) -> Error {
    match refusal.most_ever() {
        Some(most) => Error::batch_over_quota(refusal.violated(), refusal.cost, most),
        None => Error::quota_exceeded(refusal.violated(), refusal.retry_after_s()),
    }
}

/// The policies, and what they decided since the process started: the value of the topic `limits`.
#[utoipa::path(get, path = "/api/v1/limits", tag = "limits", responses((status = 200, body = LimitStatus)))]
pub(super) async fn read(State(service): State<Arc<Service>>) -> Json<LimitStatus> {
    Json(service.gate.status(false).0)
}

/// Where a client stands with every policy, without spending any of its quotas. `me` is whoever asks; others are told only to who
/// brings the admin token, where one is set.
#[utoipa::path(get, path = "/api/v1/limits/{client}", tag = "limits",
    params(("client" = String, Path, description = "`me`, or an IP address; of IPv6 its network of 64 bits is meant")),
    responses((status = 200, body = ClientLimits), (status = 400, body = freshet_wire::Problem, content_type = "application/problem+json"),
        (status = 401, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn stand(
    State(service): State<Arc<Service>>,
    Extension(Asker(asker)): Extension<Asker>,
    client: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<ClientLimits>, Error> {
    let client = match &*query::path("client", client)? {
        "me" => asker,
        address => {
            let address = address.strip_suffix("/64").unwrap_or(address);
            let address = address
                .parse()
                .map_err(|_| Error::parameter("client", "client takes an IP address, or \"me\""))?;
            Client::of(address)
        }
    };
    if client != asker && !admin::is_allowed(&service.config, &headers) {
        return Err(Error::token_needed());
    }
    let limits = service.gate.stand(client).await;
    limits.map(Json).map_err(|error| Error::unavailable(error.to_string()))
}

/// Does nothing but spend one request of the policies of the class `try`, or of `read`: to see the limits at work.
#[utoipa::path(post, path = "/api/v1/limits/try", tag = "limits",
    params(("policy" = Option<String>, Query, description = "`try` (the default) or `read`")),
    responses((status = 204, description = "admitted; the headers say what is left")))]
pub(super) async fn attempt(RawQuery(text): RawQuery) -> Result<StatusCode, Error> {
    for (name, value) in query::pairs(text.as_deref()) {
        match (&*name, &*value) {
            ("policy", "try" | "read") => {}
            ("policy", _) => return Err(Error::parameter("policy", "policy takes try or read")),
            (name, _) => return Err(query::unknown(name)),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_class_and_probes_assets_and_the_clock_have_none() {
        let of = |method: &str, target: &str| {
            let uri: http::Uri = target.parse().unwrap();
            spends(&method.parse().unwrap(), uri.path(), uri.query())
        };
        for (method, target, class) in [
            ("GET", "/api/v1/events?from=host.cpu", RouteClass::Read),
            ("HEAD", "/api/v1/topics", RouteClass::Read),
            ("GET", "/api/v1/nothing", RouteClass::Read),
            ("POST", "/api/v1/topics/t/events", RouteClass::Publish),
            ("GET", "/api/v1/stream?reader=x", RouteClass::Connect),
            ("DELETE", "/api/v1/topics/t", RouteClass::Admin),
            ("PATCH", "/api/v1/settings", RouteClass::Admin),
            ("POST", "/api/v1/cluster/nodes/1/stop", RouteClass::Admin),
            ("POST", "/api/v1/limits/try", RouteClass::Try),
            ("POST", "/api/v1/limits/try?policy=read", RouteClass::Read),
        ] {
            assert_eq!(of(method, target), Spends::One(class), "{method} {target}");
        }
        for free in [
            "/",
            "/freshet.wasm",
            "/api/v1/clock",
            "/api/v1/openapi.json",
            "/metrics",
            "/api/v1/metrics",
        ] {
            assert_eq!(of("GET", free), Spends::Nothing, "{free}");
        }
        for probe in ["/livez", "/readyz", "/api/v1/livez"] {
            assert_eq!(of("GET", probe), Spends::Probe, "{probe}");
        }
    }
}
