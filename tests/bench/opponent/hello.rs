//! axum's hello world, served by `axum::serve` as in its own first example; and an answer of any length, as cheap as axum has it.

use std::io;
use std::sync::LazyLock;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Said, control, listening};

/// The longest answer.
const BYTES: usize = 1 << 20;

/// Made when it is first asked for: whoever measures the memory of the plain example has none of it.
static READY: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'x'; BYTES]));

/// Serves `/`, and `/N`: N bytes that lie there ready, and are not copied for an answer; more than there are is no answer.
#[tokio::main]
pub async fn run() -> io::Result<()> {
    let router = Router::new().route("/", get(|| async { "Hello, World!" })).route(
        "/{length}",
        get(async |Path(length): Path<usize>| READY.slice(..length)),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?.port())?;
    thread::spawn(|| {
        control(&Said::default(), |_| {});
        std::process::exit(0);
    });
    axum::serve(listener, router).await
}
