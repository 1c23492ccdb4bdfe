//! The WebSocket below the stream: handshake, messages, close. RFC 6455, by way of tungstenite.

use std::borrow::Cow;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Utf8Bytes};

pub(super) use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::connection::CountedStream;
use crate::error::Error;

/// A client says little; 128 KiB, the library's default, would be most of what a connection costs.
const READ_BUFFER: usize = 1 << 10;
/// How long the other side has to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// What is still read and thrown away so that a close frame is not lost to a reset.
const LINGER_BYTES: usize = 16 << 20;

/// RFC 6455, section 4.2: the answer to a handshake, or what is wrong with it.
pub(super) fn handshake(headers: &HeaderMap) -> Result<Response<axum::body::Body>, Error> {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(Error::upgrade_needed(
            "this route is a WebSocket: `Connection: upgrade`, `Upgrade: websocket`",
            "Upgrade",
        ));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Error::upgrade_needed(
            "Sec-WebSocket-Version is 13 here",
            "Sec-WebSocket-Version",
        ));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24)
        .ok_or_else(|| Error::parameter("Sec-WebSocket-Key", "Sec-WebSocket-Key is 16 bytes in base64"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Error::parameter("Sec-WebSocket-Key", "not text"))?;
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// What the client said.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    /// A ping or a pong: it lives.
    Sign,
    /// It closed, or the connection broke.
    Gone,
    /// It broke the rules; what to close with.
    Wrong(CloseCode, &'static str),
}

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<CountedStream>,
}

impl Socket {
    /// Takes over the connection; `None` when it broke before that.
    pub(super) async fn open(upgrade: OnUpgrade, message_bytes: usize) -> Option<Self> {
        let upgraded = upgrade.await.ok()?;
        // The socket itself, without hyper's layers around it.
        let parts = upgraded.downcast::<TokioIo<CountedStream>>().ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Every message is flushed by us.
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let stream = WebSocketStream::from_partially_read(
            parts.io.into_inner(),
            parts.read_buf.to_vec(),
            Role::Server,
            Some(config),
        );
        Some(Self { stream: stream.await })
    }

    pub(super) async fn next(&mut self) -> Incoming {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Sign,
            Some(Ok(Message::Binary(_))) => Incoming::Wrong(CloseCode::Unsupported, "messages are text"),
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => Incoming::Gone,
            Some(Err(WsError::Capacity(CapacityError::MessageTooLong { .. }))) => {
                Incoming::Wrong(CloseCode::Size, "the message is too large")
            }
            Some(Err(WsError::Utf8(_))) => Incoming::Wrong(CloseCode::Invalid, "not UTF-8"),
            Some(Err(WsError::Protocol(_))) => Incoming::Wrong(CloseCode::Protocol, "not a WebSocket frame"),
            Some(Err(_)) => Incoming::Gone,
        }
    }

    /// Puts a message into the socket's buffer; [`Self::flush`] sends it. False when the connection is broken.
    pub(super) async fn feed(&mut self, text: BytesMut) -> bool {
        match Utf8Bytes::try_from(text.freeze()) {
            Ok(text) => self.stream.feed(Message::Text(text)).await.is_ok(),
            // Events are JSON, which is UTF-8.
            Err(_) => false,
        }
    }

    pub(super) async fn flush(&mut self) -> bool {
        self.stream.flush().await.is_ok()
    }

    pub(super) async fn ping(&mut self) -> bool {
        self.stream.send(Message::Ping(Bytes::new())).await.is_ok()
    }

    /// Says why, waits a moment for the answer, and lets go.
    pub(super) async fn close(mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: Cow::Borrowed(reason).into_owned().into(),
        };
        let closing = async {
            if self.stream.close(Some(frame)).await.is_err() {
                return;
            }
            // Bytes that are left unread when a socket closes make the kernel reset the connection, and the
            // reset would overtake the close frame.
            let socket = self.stream.get_mut();
            let mut scrap = vec![0; 16 << 10];
            let mut left = LINGER_BYTES;
            while let Ok(read @ 1..) = socket.read(&mut scrap).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, closing).await;
    }
}
