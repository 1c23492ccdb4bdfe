//! The page, where the binary carries it (`make release`), pre-compressed; otherwise a word on where it is.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::etag;
use crate::error::Error;

/// A file of the page in the forms in which it can be sent.
#[derive(Debug)]
struct Asset {
    path: &'static str,
    mime: &'static str,
    /// Its name carries a hash of its content, so it never changes.
    immutable: bool,
    etag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// Cross-origin isolation gives the page its 5 µs clock.
const ISOLATION: [(&str, &str); 3] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
];

include!(concat!(env!("OUT_DIR"), "/page.rs"));

pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") {
        return Error::not_found(path).into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return Error::read_only(&method, path).into_response();
    }
    let path = if path == "/" { "/index.html" } else { path };
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => send(asset, &headers),
        None if ASSETS.is_empty() && path == "/index.html" => {
            let word = "This build carries no page. `make run` serves one beside it; `make release` builds a binary that carries it.\n";
            (StatusCode::NOT_FOUND, word).into_response()
        }
        None => Error::not_found(uri.path()).into_response(),
    }
}

fn send(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let accepts = |coding: &str| {
        headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value.split(',').any(|part| {
                    let mut words = part.split(';').map(str::trim);
                    words.next() == Some(coding)
                        && !words.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
                })
            })
    };
    let known = etag::is_known(headers, asset.etag);
    let (coding, bytes) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts("br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts("gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(Bytes::from_static(bytes)).into_response(),
    };
    let answer = response.headers_mut();
    let cache = if asset.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    answer.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.mime));
    answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    answer.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in ISOLATION {
        answer.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(coding) = coding.filter(|_| !known) {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}
