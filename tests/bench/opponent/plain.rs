//! The plain way, as most would write it: axum's WebSocket, tokio's broadcast channel, and every connection turns
//! the event into JSON for itself and sends it as a message of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::interval;

use super::{Said, control, listening};
use crate::readers::now_us;

/// Events that a connection may be late.
const CAPACITY: usize = 1024;

/// With the members that Freshet's events have.
#[derive(Debug, Serialize)]
struct Event {
    topic: String,
    epoch: String,
    partition: u32,
    offset: u64,
    id: String,
    produced_us: i64,
    ingested_us: i64,
    host: String,
    r#type: String,
    data: Data,
}

#[derive(Debug, Serialize)]
struct Data {
    seq: u64,
    pad: String,
}

impl Event {
    fn new(offset: u64, now_us: i64) -> Self {
        let empty = format!(r#"{{"seq":{offset},"pad":""}}"#).len();
        Self {
            topic: "workload".to_owned(),
            epoch: "0123456789ab".to_owned(),
            partition: 0,
            offset,
            id: format!("0123456789ab-{offset}"),
            produced_us: now_us,
            ingested_us: now_us,
            host: "localhost".to_owned(),
            r#type: "workload".to_owned(),
            data: Data {
                seq: offset,
                pad: "x".repeat(crate::PAYLOAD.saturating_sub(empty)),
            },
        }
    }
}

#[derive(Debug)]
struct Service {
    events: broadcast::Sender<Arc<Event>>,
    said: Said,
}

/// Serves `/api/v1/stream`.
#[tokio::main]
pub async fn run() -> io::Result<()> {
    let service = Arc::new(Service {
        events: broadcast::channel(CAPACITY).0,
        said: Said::default(),
    });
    let (rates, rate) = watch::channel(0.0);
    tokio::spawn(produce(Arc::clone(&service), rate));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?.port())?;
    let controlled = Arc::clone(&service);
    thread::spawn(move || {
        control(&controlled.said, |rate_hz| _ = rates.send(rate_hz));
        std::process::exit(0);
    });
    let router = Router::new().route("/api/v1/stream", get(upgrade)).with_state(service);
    axum::serve(listener.tap_io(|tcp| _ = tcp.set_nodelay(true)), router).await
}

async fn produce(service: Arc<Service>, mut rate: watch::Receiver<f64>) {
    let mut offset = 0;
    loop {
        let rate_hz = *rate.borrow_and_update();
        if rate_hz <= 0.0 {
            if rate.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut due = interval(Duration::from_secs_f64(1.0 / rate_hz));
        while !rate.has_changed().unwrap_or(true) {
            due.tick().await;
            // Nobody listening is no error.
            let _ = service.events.send(Arc::new(Event::new(offset, now_us())));
            offset += 1;
            service.said.produced.store(offset, Relaxed);
        }
    }
}

async fn upgrade(State(service): State<Arc<Service>>, upgrade: WebSocketUpgrade) -> Response {
    let events = service.events.subscribe();
    upgrade.on_upgrade(move |socket| stream(service, socket, events))
}

async fn stream(service: Arc<Service>, mut socket: WebSocket, mut events: broadcast::Receiver<Arc<Event>>) {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    let Ok(text) = serde_json::to_string(&*event) else { return };
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        return;
                    }
                    service.said.delivered.fetch_add(1, Relaxed);
                }
                Err(RecvError::Lagged(missed)) => _ = service.said.missed.fetch_add(missed, Relaxed),
                Err(RecvError::Closed) => return,
            },
            message = socket.recv() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}
