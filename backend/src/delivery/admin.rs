//! What changes something needs the admin token, where one is set.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, header};
use subtle::ConstantTimeEq;

use super::Service;
use crate::config::Config;
use crate::error::Error;

const SCHEME: &[u8] = b"Bearer ";

pub(super) async fn check(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && !is_allowed(&service.config, request.headers()) {
        return Error::token_needed().into_response();
    }
    next.run(request).await
}

/// Whether a request may change something: it brings the admin token, or none is set.
pub(super) fn is_allowed(config: &Config, headers: &HeaderMap) -> bool {
    let Some(token) = &config.admin_token else { return true };
    let given = headers
        .get(header::AUTHORIZATION)
        .map_or(&b""[..], |value| value.as_bytes());
    // RFC 9110, section 11.1: the scheme's case does not matter.
    let given = match given.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token,
        _ => b"",
    };
    // The time of the comparison tells nothing of the token but its length.
    given.ct_eq(token.as_bytes()).into()
}
