//! The body of a request: in time, within its bound, or a clear refusal.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::config::Limits;
use crate::error::Error;

/// The whole body, if it has at most so many bytes and comes within the time that a request has.
pub(super) async fn read(body: Body, most: usize, limits: &Limits) -> Result<Bytes, Error> {
    match timeout(limits.header_timeout, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_large(&error) => {
            let detail = format!("the body is larger than {most} bytes");
            Err(Error::body(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Ok(Err(_)) => Err(Error::body(StatusCode::BAD_REQUEST, "the body did not arrive whole")),
        Err(_) => Err(Error::body(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}
