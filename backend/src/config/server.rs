//! Where and for whom the process serves. These keys stand before every section.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::is_name;
use super::key::{Key, shown};

/// Characters that an admin token has at least.
pub(super) const LEAST_TOKEN: usize = 16;

/// What stands in a configuration before every section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub node_id: Option<String>,
    pub allow_origin: Vec<String>,
    pub allow_host: Vec<String>,
    pub admin_token: Option<String>,
}

pub(super) fn keys() -> Vec<Key> {
    vec![
        Key::text(
            "listen",
            "Where to listen, ADDRESS:PORT. Anything but a loopback address needs an admin_token.",
        )
        .default("127.0.0.1:3000")
        .check(|value| match text(value).parse::<SocketAddr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{} is no address with a port, such as 127.0.0.1:3000", shown(text(value)))),
        }),
        Key::text("data", "The folder for what must survive the process.").default("freshet-data"),
        Key::text("node_id", "The name of this node; by default one that is kept in the data folder.")
            .example("node-a")
            .check(|value| match is_name(text(value)) {
                true => Ok(()),
                false => Err(format!("{} is not 1 to 64 letters, digits, '.', '_' and '-'", shown(text(value)))),
            }),
        Key::texts(
            "allow_origin",
            "Origins beside the service's own whose pages reach it, by a proxy or by WebSocket. No CORS headers are sent.",
        )
        .check(|value| each(value, is_origin, "is not an origin, such as http://127.0.0.1:8080")),
        Key::texts(
            "allow_host",
            "Names under which the service may be addressed, beside the loopback ones.",
        )
        .check(|value| each(value, is_host, "is not a name, such as freshet.example")),
        Key::text(
            "admin_token",
            "Asked for by everything that changes something, where it is set. The environment is a better place for it.",
        )
        .secret()
        .example("sixteen-characters-or-more")
        .check(|value| match text(value).len() < LEAST_TOKEN {
            true => Err(format!("it is shorter than {LEAST_TOKEN} characters")),
            false => Ok(()),
        }),
    ]
}

/// Kinds are right by then.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn each(value: &Value, is_right: fn(&str) -> bool, is_not: &str) -> Result<(), String> {
    let mut members = value.as_array().into_iter().flatten().map(text);
    match members.find(|member| !is_right(member)) {
        Some(wrong) => Err(format!("{} {is_not}", shown(wrong))),
        None => Ok(()),
    }
}

/// Scheme, host and port, and nothing else.
pub(super) fn is_origin(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    matches!(uri.scheme_str(), Some("http" | "https")) && path == "/" && !origin.ends_with('/')
}

fn is_host(host: &str) -> bool {
    !host.contains(|c: char| "/,@".contains(c) || c.is_whitespace() || c.is_control())
}
