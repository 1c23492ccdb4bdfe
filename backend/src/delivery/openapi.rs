//! `GET /openapi.json`: the REST routes, described from the types that serve them.

use std::collections::btree_map::Entry;

use axum::Json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{clock, cluster, config, limits, poll, probe, publish, settings, stream, topics};

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
        config::read,
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
    ),
    modifiers(&Limited)
)]
struct Document;

/// Every route but these is limited, and may answer so.
const UNLIMITED: [&str; 5] = [
    "/api/v1/clock",
    "/api/v1/livez",
    "/api/v1/metrics",
    "/api/v1/openapi.json",
    "/api/v1/readyz",
];

struct Limited;

impl Modify for Limited {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let methods = [&mut item.get, &mut item.post, &mut item.patch];
            for operation in methods.into_iter().flatten().filter(|_| !UNLIMITED.contains(&&**path)) {
                limit(operation);
            }
        }
    }
}

fn limit(operation: &mut Operation) {
    let header = |of: Type, text: &str| -> Header {
        let schema = ObjectBuilder::new().schema_type(of).build();
        HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(text))
            .build()
    };
    let policies = header(
        Type::String,
        "the quotas that hold, as draft-ietf-httpapi-ratelimit-headers-11 has them",
    );
    let left = header(
        Type::String,
        "what is left of each, and in how many seconds there is more",
    );
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response
                .headers
                .insert("RateLimit-Policy".to_owned(), policies.clone().into());
            response.headers.insert("RateLimit".to_owned(), left.clone().into());
        }
    }
    let refusals = [
        ("403", "the client's network is denied"),
        ("429", "a quota of the client is spent: `violated-policies` names which"),
        (
            "503",
            "too much is open at once, or how much of the quota is left cannot be known",
        ),
    ];
    for (status, text) in refusals {
        let mut refusal = ResponseBuilder::new().description(text).content(
            "application/problem+json",
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build(),
        );
        if status != "403" {
            let seconds = header(
                Type::Integer,
                "in how many seconds the same request is admitted, or worth another attempt",
            );
            refusal = refusal.header("Retry-After", seconds);
        }
        if status == "429" {
            refusal = refusal
                .header("RateLimit-Policy", policies.clone())
                .header("RateLimit", left.clone());
        }
        let refusal = refusal.build();
        // What a route says of its own refusals stands, with these headers.
        match operation.responses.responses.entry(status.to_owned()) {
            Entry::Vacant(vacant) => _ = vacant.insert(refusal.into()),
            Entry::Occupied(mut said) => {
                if let RefOr::T(said) = said.get_mut() {
                    said.headers.extend(refusal.headers);
                }
            }
        }
    }
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "service", responses((status = 200, description = "an OpenAPI 3.1 document", body = serde_json::Value)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
