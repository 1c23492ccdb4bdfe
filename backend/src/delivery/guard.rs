//! What every request passes: whom it addresses, whose page sent it, and what the answer tells the browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::Service;
use crate::config::{Config, is_loopback};
use crate::error::Error;

/// Refuses a Host that is not ours (DNS rebinding) and an Origin that may not call us (CSRF, and the WebSocket,
/// which the same-origin policy does not cover).
pub(super) async fn check(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    match admit(&service.config, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn admit(config: &Config, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: HeaderName| match headers.get(&name) {
        // RFC 9112, section 3.2: of two hosts neither is the right one.
        Some(_) if headers.get_all(&name).iter().count() > 1 => {
            Err(Error::parameter(name.to_string(), "this header may stand once"))
        }
        None => Ok(None),
        Some(value) => value
            .to_str()
            .map(Some)
            .map_err(|_| Error::parameter(name.to_string(), "not text")),
    };
    // RFC 9112, section 3.2.2: the authority of an absolute target takes the place of Host.
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => text(header::HOST)?.ok_or_else(|| Error::parameter("Host", "the Host header is missing"))?,
    };
    if !is_own_host(config, host) {
        return Err(Error::host(host));
    }
    match text(header::ORIGIN)? {
        None => Ok(()),
        Some(origin)
            if origin
                .strip_prefix("http://")
                .is_some_and(|rest| rest.eq_ignore_ascii_case(host)) =>
        {
            Ok(())
        }
        // Behind a proxy that ends TLS the page's scheme is https.
        Some(origin)
            if origin
                .strip_prefix("https://")
                .is_some_and(|rest| rest.eq_ignore_ascii_case(host)) =>
        {
            Ok(())
        }
        Some(origin)
            if config
                .allow_origins
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(origin)) =>
        {
            Ok(())
        }
        Some(origin) => Err(Error::origin(origin)),
    }
}

fn is_own_host(config: &Config, host: &str) -> bool {
    let name = host_name(host);
    let loopback = name.parse::<IpAddr>().is_ok_and(is_loopback)
        || name.eq_ignore_ascii_case("localhost")
        || name.len() > 10 && name[name.len() - 10..].eq_ignore_ascii_case(".localhost");
    loopback
        || config
            .allow_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// The name without its port, without the brackets of IPv6 and without the root's dot.
fn host_name(host: &str) -> &str {
    let port = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
    };
    if let Some((name, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return if port(rest) && name.contains(':') { name } else { host };
    }
    let name = match host.find(':') {
        Some(at) if port(&host[at..]) => &host[..at],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// True when somebody stands between the browser and this process: a proxy that says so, or one (as Trunk's)
/// under whose own address the page was loaded.
pub(super) fn is_proxied(headers: &HeaderMap, local_port: u16) -> bool {
    let says_so = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via"];
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .and_then(|o| o.parse::<Uri>().ok());
    let elsewhere = origin.is_some_and(|origin| {
        let default = if origin.scheme_str() == Some("https") { 443 } else { 80 };
        origin.port_u16().unwrap_or(default) != local_port
    });
    elsewhere || says_so.iter().any(|&name| headers.contains_key(name))
}

/// Headers that every answer carries. They are few, because polling pays for them with every request; those
/// that matter for a document only stand on the page (`page::serve`).
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Error {
    Error::method_not_allowed(&method, uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit_with(host: &str, origin: Option<&str>) -> bool {
        let config = Config {
            allow_origins: vec!["http://127.0.0.1:8080".to_owned()],
            allow_hosts: vec!["freshet.example".to_owned()],
            ..Config::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        admit(&config, &Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn only_own_names_are_answered() {
        for own in [
            "127.0.0.1:3000",
            "localhost:3000",
            "LOCALHOST",
            "a.localhost:1",
            "[::1]:3000",
            "127.9.9.9",
            "freshet.example:80",
        ] {
            assert!(admit_with(own, None), "{own}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "192.0.2.1:3000",
            "[2001:db8::1]",
            "",
            "localhost.evil.example",
            "[::1].evil.example",
            "[127.0.0.1]evil.example:80",
            "localhost:80:80",
        ] {
            assert!(!admit_with(foreign, None), "{foreign}");
        }
    }

    #[test]
    fn only_own_and_named_origins_may_call() {
        for (host, origin) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("localhost:3000", "http://localhost:3000"),
            ("127.0.0.1:3000", "http://127.0.0.1:8080"),
        ] {
            assert!(admit_with(host, Some(origin)), "{origin}");
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:9999",
            "http://127.0.0.1:3000.evil.example",
            "file://",
        ] {
            assert!(!admit_with("127.0.0.1:3000", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_proxy_is_noticed() {
        let proxied = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            is_proxied(&headers, 3000)
        };
        assert!(!proxied("origin", "http://127.0.0.1:3000"));
        assert!(proxied("origin", "http://127.0.0.1:8080"));
        assert!(proxied("origin", "https://freshet.example"));
        assert!(proxied("x-forwarded-for", "192.0.2.1"));
        assert!(!proxied("accept", "*/*"));
    }
}
