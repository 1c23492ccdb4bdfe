//! axum's hello world, served by `axum::serve` as in its own first example; and an answer of any length, as cheap as axum has it.

use std::io;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Said, control, listening};

/// The longest answer.
const BYTES: usize = 1 << 20;

/// Serves `/`, and `/N`: N bytes that lie there ready, and are not copied for an answer.
#[tokio::main]
pub async fn run() -> io::Result<()> {
    let bytes = Bytes::from(vec![b'x'; BYTES]);
    let router = Router::new().route("/", get(|| async { "Hello, World!" })).route(
        "/{length}",
        get(async move |Path(length): Path<usize>| bytes.slice(..length.min(BYTES))),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?.port())?;
    thread::spawn(|| {
        control(&Said::default(), |_| {});
        std::process::exit(0);
    });
    axum::serve(listener, router).await
}
