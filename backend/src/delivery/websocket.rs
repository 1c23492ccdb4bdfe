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
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

pub(super) use frame::{CloseCode, Incoming, encode_text};
use frame::{Decoder, encode_close, encode_ping, encode_pong};

use crate::connection::CountedStream;
use crate::error::Error;

/// RFC 6455, section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long a client that is slow has to take what was sent before the close, and the close.
const CLOSE_FLUSH: Duration = Duration::from_secs(2);
/// How long the other side has to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// What is still read and thrown away so that a close frame is not lost to a reset.
const LINGER_BYTES: usize = 16 << 20;
/// Frames that may wait for a client that asks and does not read.
const MOST_PENDING: usize = 16;

/// RFC 6455, section 4.2: the answer to a handshake, or what is wrong with it.
pub(super) fn handshake(method: &Method, headers: &HeaderMap) -> Result<Response<axum::body::Body>, Error> {
    let has = |name: HeaderName, token: &str| {
        let values = headers.get_all(name);
        let mut values = values.iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if method != Method::GET || !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
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

/// What happens next on a WebSocket.
#[derive(Debug)]
pub(super) enum Turn {
    Said(Incoming),
    Flushed,
}

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    io: CountedStream,
    decoder: Decoder,
    /// Frames that the socket has not taken yet; empty as a rule.
    pending: VecDeque<Bytes>,
    taken: u64,
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
            taken: 0,
        })
    }

    /// What happens next: the client says something, or the socket has taken all that waited. May be dropped and
    /// called again: nothing is lost or sent twice. Pings are answered here.
    pub(super) async fn turn(&mut self) -> Turn {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if !self.pending.is_empty() {
            match self.poll_flush(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Turn::Flushed),
                Poll::Ready(Err(_)) => return Poll::Ready(Turn::Said(Incoming::Gone)),
                Poll::Pending => {}
            }
        }
        // Who is owed that much and takes none of it is not asked what else it wants.
        while self.pending.len() < MOST_PENDING {
            match self.decoder.next() {
                Some(Incoming::Ping(payload)) => {
                    let sent = self.send(encode_pong(&payload));
                    let said = if sent.is_ok() {
                        Incoming::Ping(payload)
                    } else {
                        Incoming::Gone
                    };
                    return Poll::Ready(Turn::Said(said));
                }
                Some(incoming) => return Poll::Ready(Turn::Said(incoming)),
                None => match ready!(self.poll_fill(cx)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(Turn::Said(Incoming::Gone)),
                },
            }
        }
        Poll::Pending
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack: a connection that waits holds no buffer.
        let mut scratch = [std::mem::MaybeUninit::uninit(); 4096];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        self.decoder.extend(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Sends a frame if the socket takes it at once, as it does as a rule; what is left goes out with
    /// [`Self::turn`].
    pub(super) fn send(&mut self, mut frame: Bytes) -> io::Result<()> {
        if self.pending.is_empty() {
            match self.io.try_write(&frame) {
                Ok(bytes) if bytes == frame.len() => {
                    self.taken += bytes as u64;
                    return Ok(());
                }
                Ok(bytes) => {
                    frame.advance(bytes);
                    self.taken += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.pending.push_back(frame);
        Ok(())
    }

    /// True while frames wait for the socket to take them.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Bytes that the socket has taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(frame) = self.pending.front_mut() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, frame))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => {
                    frame.advance(bytes);
                    self.taken += bytes as u64;
                }
            }
            if frame.is_empty() {
                self.pending.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn ping(&mut self) -> io::Result<()> {
        self.send(encode_ping())
    }

    /// Says why, waits a moment for the answer, and lets go.
    pub(super) async fn close(mut self, code: CloseCode, reason: &str) {
        // A frame that is half sent must be whole before another can follow; the others are given up.
        self.pending.truncate(1);
        self.pending.push_back(encode_close(code, reason));
        let said = async { poll_fn(|cx| self.poll_flush(cx)).await.is_ok() && self.io.shutdown().await.is_ok() };
        if !timeout(CLOSE_FLUSH, said).await.unwrap_or(false) {
            return;
        }
        // Bytes that are left unread when a socket closes make the kernel reset the connection, and the reset would
        // overtake the close frame.
        let answered = async {
            let mut scrap = vec![0; 16 << 10];
            let mut left = LINGER_BYTES;
            while let Ok(read @ 1..) = self.io.read(&mut scrap).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(CLOSE_WAIT, answered).await;
    }
}
