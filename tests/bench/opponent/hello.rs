//! axum's hello world, served by `axum::serve` as in its own first example.

use std::io;
use std::thread;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Said, control, listening};

/// Serves `/`.
#[tokio::main]
pub async fn run() -> io::Result<()> {
    let router = Router::new().route("/", get(|| async { "Hello, World!" }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?.port())?;
    thread::spawn(|| {
        control(&Said::default(), |_| {});
        std::process::exit(0);
    });
    axum::serve(listener, router).await
}
