//! The WebSocket below the stream (RFC 6455), the server's side of it, without extensions.
//!
//! Written here and not taken from a library for two reasons that are the stream's own: readers that stand at the
//! same place get the same frame, so it is built once and its bytes are written to every socket as they are; and a
//! connection that waits holds no buffer.

mod frame;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

pub(super) use frame::{CloseCode, Incoming, encode_text};
use frame::{Decoder, encode_close, encode_ping, encode_pong};

use crate::connection::CountedStream;
use crate::error::Error;

/// RFC 6455, section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long the other side has to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// What is still read and thrown away so that a close frame is not lost to a reset.
const LINGER_BYTES: usize = 16 << 20;
/// Pongs that wait for a client that asks and does not read.
const MOST_PENDING: usize = 16;

/// RFC 6455, section 4.2: the answer to a handshake, or what is wrong with it.
pub(super) fn handshake(headers: &HeaderMap) -> Result<Response<axum::body::Body>, Error> {
    let has = |name: HeaderName, token: &str| {
        let values = headers.get_all(name);
        let mut values = values.iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        let detail = "this route is a WebSocket: `Connection: upgrade`, `Upgrade: websocket`";
        return Err(Error::upgrade_needed(detail, "Upgrade"));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Error::websocket_version());
    }
    let bad_key = || Error::parameter("Sec-WebSocket-Key", "Sec-WebSocket-Key is 16 bytes in base64");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(bad_key)?;
    if STANDARD.decode(key).map_or(true, |bytes| bytes.len() != 16) {
        return Err(bad_key());
    }
    let accept = Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize();
    let accept = HeaderValue::from_str(&STANDARD.encode(accept)).map_err(|_| bad_key())?;
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    io: CountedStream,
    decoder: Decoder,
    /// Frames that the socket has not taken yet; empty as a rule.
    pending: VecDeque<Bytes>,
}

impl Socket {
    /// Takes over the connection; `None` when it broke before that.
    pub(super) async fn open(upgrade: OnUpgrade, message_bytes: usize) -> Option<Self> {
        let upgraded = upgrade.await.ok()?;
        // The socket itself, without hyper's layers around it.
        let parts = upgraded.downcast::<TokioIo<CountedStream>>().ok()?;
        let mut decoder = Decoder::new(message_bytes);
        decoder.extend(&parts.read_buf);
        Some(Self {
            io: parts.io.into_inner(),
            decoder,
            pending: VecDeque::new(),
        })
    }

    /// What the client says next. May be dropped and called again: nothing is lost. Pings are answered here.
    pub(super) async fn next(&mut self) -> Incoming {
        loop {
            match self.decoder.next() {
                Some(Incoming::Ping(payload)) if self.pending.len() < MOST_PENDING => {
                    return match self.send(encode_pong(&payload)) {
                        Ok(()) => Incoming::Pong,
                        Err(_) => Incoming::Gone,
                    };
                }
                // Only the latest ping needs an answer (section 5.5.3), and this client does not read any.
                Some(Incoming::Ping(_)) => return Incoming::Pong,
                Some(incoming) => return incoming,
                None => {}
            }
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Incoming::Gone,
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack: a connection that waits holds no buffer.
        let mut scratch = [std::mem::MaybeUninit::uninit(); 4096];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        self.decoder.extend(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Sends a frame if the socket takes it at once, as it does as a rule; what is left waits for [`Self::flush`].
    pub(super) fn send(&mut self, mut frame: Bytes) -> io::Result<()> {
        if self.pending.is_empty() {
            match self.io.try_write(&frame) {
                Ok(bytes) if bytes == frame.len() => return Ok(()),
                Ok(bytes) => frame.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.pending.push_back(frame);
        Ok(())
    }

    /// Bytes that wait to be sent.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Bytes::len).sum()
    }

    /// Sends all that waits. May be dropped and called again: nothing is lost or sent twice.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while let Some(frame) = self.pending.front_mut() {
            let bytes = poll_fn(|cx| Pin::new(&mut self.io).poll_write(cx, frame)).await?;
            if bytes == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            frame.advance(bytes);
            if frame.is_empty() {
                self.pending.pop_front();
            }
        }
        Ok(())
    }

    pub(super) fn ping(&mut self) -> io::Result<()> {
        self.send(encode_ping())
    }

    /// Says why, waits a moment for the answer, and lets go.
    pub(super) async fn close(mut self, code: CloseCode, reason: &str) {
        // A frame that is half sent must be whole before another can follow; the others are given up.
        self.pending.truncate(1);
        self.pending.push_back(encode_close(code, reason));
        let closing = async {
            if self.flush().await.is_err() || self.io.shutdown().await.is_err() {
                return;
            }
            // Bytes that are left unread when a socket closes make the kernel reset the connection, and the
            // reset would overtake the close frame.
            let mut scrap = vec![0; 16 << 10];
            let mut left = LINGER_BYTES;
            while let Ok(read @ 1..) = self.io.read(&mut scrap).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, closing).await;
    }
}
