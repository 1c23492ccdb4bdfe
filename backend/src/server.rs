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
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tower::ServiceExt;

use crate::config::Limits;
use crate::connection::{Connection, CountedStream, Metered, Slot};
use crate::limit::gate::Gate;
use crate::time::now_us;

/// Files that are open beside connections and the log's: the listener, the election's, what readers of the log and the sources read.
const OTHER_FILES: usize = 64;

/// How often a connection whose request comes slowly is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the kernel may hold for a reader, in bytes (Linux doubles it for its own book-keeping).
const SEND_BUFFER: usize = 128 << 10;

/// What a connection gets that is one too many: RFC 9457, by hand, because there is no HTTP on it yet.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 100\r\n\r\n\
{\"type\":\"urn:freshet:busy\",\"title\":\"The service is at its bounds\",\"status\":503,\"field\":\"connection\"}";

/// Serves beside a log that has so many files open, until `stopping`, then lets what is open end, for as long as the limits allow.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    log_files: usize,
    gate: Arc<Gate>,
    mut stopping: watch::Receiver<bool>,
) {
    let most = limits.connections.min(room(open_files(), log_files));
    if most < limits.connections {
        tracing::warn!(
            connections = most,
            "the limit on open files (ulimit -n) is below the bound on connections"
        );
    }
    let slots = Arc::new(Semaphore::new(most));
    let mut refused = stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would only burn time.
                tracing::warn!(%error, "cannot accept a connection");
                let _ = timeout(LOOK, refused.wait_for(|&stopping| stopping)).await;
                continue;
            }
        };
        // One client does not take the connections of all.
        match (Arc::clone(&slots).try_acquire_owned(), gate.hold_connection(peer.ip())) {
            (Ok(of_all), Some(of_peer)) => {
                let slot = Slot {
                    _of_all: of_all,
                    _of_peer: of_peer,
                };
                start(tcp, slot, router.clone(), limits, stopping.clone());
            }
            _ => {
                gate.refused_connection();
                refuse(tcp);
            }
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

/// Connections for which there are files. If they took the log's, nothing could be published; yet they have a quarter, however many topics
/// there may be.
fn room(files: usize, log_files: usize) -> usize {
    let files = files.saturating_sub(OTHER_FILES);
    files.saturating_sub(log_files).max(files / 4)
}

/// Asks for as many open files as the system lets this process have, and says how many they are.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

fn refuse(mut tcp: TcpStream) {
    tokio::spawn(async move {
        let _ = timeout(LOOK, tcp.write_all(FULL)).await;
    });
}

fn start(tcp: TcpStream, slot: Slot, router: Router, limits: &Limits, mut stopping: watch::Receiver<bool>) {
    // An event is small and must not wait for the acknowledgement of the one before.
    let _ = tcp.set_nodelay(true);
    // The kernel would hold megabytes for a reader that is slow: the newest event, a pong and the goodbye would all
    // wait behind them.
    let _ = socket2::SockRef::from(&tcp).set_send_buffer_size(SEND_BUFFER);
    let (Ok(local), Ok(peer)) = (tcp.local_addr(), tcp.peer_addr()) else {
        return;
    };
    let connection = Arc::new(Connection::new(local, peer, slot));
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
    let (watched, limits) = (Arc::clone(&connection), limits.clone());
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
                // Polled again after this, a connection whose request is late finds that out.
                _ = look.tick() => if watched.look(now_us(), &limits) { return },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_log_its_files() {
        assert_eq!(room(1024, 512), 1024 - OTHER_FILES - 512);
        assert_eq!(room(1024, 0), 1024 - OTHER_FILES);
        assert_eq!(room(1024, 200_000), (1024 - OTHER_FILES) / 4);
        assert_eq!(room(10, 512), 0);
    }
}
