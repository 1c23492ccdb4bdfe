//! Accepts connections and serves HTTP/1.1 on each, until the process is asked to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tower::ServiceExt;

use crate::config::Limits;
use crate::connection::{Connection, CountedStream, Metered};
use crate::time::now_us;

/// How often a connection whose request comes slowly is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What a connection gets that is one too many: RFC 9457, by hand, because there is no HTTP on it yet.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 100\r\n\r\n\
{\"type\":\"urn:freshet:busy\",\"title\":\"The service is at its bounds\",\"status\":503,\"field\":\"connection\"}";

/// Serves until `stopping`, then lets what is open end, for as long as the limits allow.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: &Limits, mut stopping: watch::Receiver<bool>) {
    let most = limits.connections;
    let slots = Arc::new(Semaphore::new(most));
    let mut refused = stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        };
        let (tcp, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would only burn time.
                tracing::warn!(%error, "cannot accept a connection");
                let _ = timeout(LOOK, refused.wait_for(|&stopping| stopping)).await;
                continue;
            }
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => start(tcp, slot, router.clone(), limits, stopping.clone()),
            Err(_) => refuse(tcp),
        }
    }
    drop(listener);
    // Every connection gives its slot back when it ends.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    if timeout(limits.shutdown, slots.acquire_many(all)).await.is_err() {
        tracing::warn!(
            open = most - slots.available_permits(),
            "connections were still open at the end"
        );
    }
}

fn refuse(mut tcp: TcpStream) {
    tokio::spawn(async move {
        let _ = timeout(LOOK, tcp.write_all(FULL)).await;
    });
}

fn start(
    tcp: TcpStream,
    slot: OwnedSemaphorePermit,
    router: Router,
    limits: &Limits,
    mut stopping: watch::Receiver<bool>,
) {
    // An event is small and must not wait for the acknowledgement of the one before.
    let _ = tcp.set_nodelay(true);
    let Ok(local) = tcp.local_addr() else { return };
    let connection = Arc::new(Connection::new(local, slot));
    let head_timeout_us = i64::try_from(limits.header_timeout.as_micros()).unwrap_or(i64::MAX);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header_bytes)
        .max_headers(64);
    let io = TokioIo::new(CountedStream::new(tcp, Arc::clone(&connection)));
    let of_request = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        of_request.begin_request();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&of_request));
        answer(router.clone(), request, Arc::clone(&of_request))
    });
    let watched = Arc::clone(&connection);
    let serving = async move {
        let mut http = std::pin::pin!(http.serve_connection(io, service).with_upgrades());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(async move {
            let _ = stopping.wait_for(|&stopping| stopping).await;
        });
        let mut asked = false;
        loop {
            tokio::select! {
                // A connection that breaks is the client's affair.
                _ = http.as_mut() => return,
                () = stop.as_mut(), if !asked => {
                    asked = true;
                    http.as_mut().graceful_shutdown();
                }
                // Polled again after this, the connection finds its time is up.
                _ = look.tick() => watched.check_head(now_us(), head_timeout_us),
            }
        }
    };
    tokio::spawn(Metered::new(serving, connection));
}

async fn answer(router: Router, request: Request<Body>, connection: Arc<Connection>) -> Result<Response, Infallible> {
    let response = router.oneshot(request).await;
    connection.end_request();
    response
}
