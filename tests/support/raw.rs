//! Bytes on a TCP connection, for what a well-behaved client cannot send.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::{SOON, within};

/// Opcodes of frames (RFC 6455, section 5.2), each the whole of its message.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

#[derive(Debug)]
pub struct Raw {
    pub tcp: TcpStream,
    /// Every byte that went out and came in.
    pub sent: usize,
    pub received: usize,
    /// What came beyond what was asked for.
    rest: Vec<u8>,
}

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub head: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub fn code(&self) -> u16 {
        assert_eq!(self.head, CLOSE, "{self:?}");
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

impl Raw {
    pub async fn open(address: SocketAddr) -> Self {
        let tcp = within(SOON, "a connection", TcpStream::connect(address)).await.unwrap();
        Self::over(tcp)
    }

    /// With a receive buffer of this many bytes, so that what is not read is soon felt at the other end.
    pub async fn open_narrow(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self::over(within(SOON, "a connection", socket.connect(address)).await.unwrap())
    }

    /// From this address of this machine (on Linux all of 127.0.0.0/8 are).
    pub async fn open_from(address: SocketAddr, own: IpAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own, 0)).unwrap();
        Self::over(within(SOON, "a connection", socket.connect(address)).await.unwrap())
    }

    fn over(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).unwrap();
        Self {
            tcp,
            sent: 0,
            received: 0,
            rest: Vec::new(),
        }
    }

    /// Makes it a WebSocket, with this reader's name, and reads `hello`.
    pub async fn upgrade(mut self, address: SocketAddr, reader: &str) -> Self {
        self.send(handshake(address, reader).as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The example of RFC 6455, section 1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        let hello = self.frame().await;
        assert!(hello.payload.starts_with(br#"{"type":"hello","#), "{hello:?}");
        self
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        within(SOON, "the socket to take bytes", self.tcp.write_all(bytes))
            .await
            .unwrap();
        self.sent += bytes.len();
    }

    /// Sends a frame as a client must: masked.
    pub async fn send_frame(&mut self, head: u8, payload: &[u8]) {
        self.send(&frame(head, payload)).await;
    }

    /// Reads on until `done` with what there is; `None` when the connection ends before.
    async fn read_until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Vec<u8>) -> Option<T>) -> Option<T> {
        let reading = async {
            let mut buffer = vec![0; 16 << 10];
            loop {
                if let Some(found) = done(&mut self.rest) {
                    return Some(found);
                }
                match self.tcp.read(&mut buffer).await {
                    Ok(read @ 1..) => {
                        self.received += read;
                        self.rest.extend_from_slice(&buffer[..read]);
                    }
                    Ok(0) | Err(_) => return None,
                }
            }
        };
        within(SOON, what, reading).await
    }

    /// The head of an answer.
    pub async fn head(&mut self) -> String {
        let found = |rest: &mut Vec<u8>| {
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
            Some(String::from_utf8(rest.drain(..end).collect()).unwrap())
        };
        self.read_until("the head of an answer", found)
            .await
            .expect("an answer")
    }

    /// A whole answer, whose head must state the length of its body: head and body.
    pub async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length: usize = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no length: {head}"));
        let body = self.take(length).await.expect("the body of an answer");
        (head, String::from_utf8(body).unwrap())
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let found = |rest: &mut Vec<u8>| (rest.len() >= count).then(|| rest.drain(..count).collect());
        self.read_until("bytes", found).await
    }

    /// The next frame of the server, or the end.
    pub async fn try_frame(&mut self) -> Option<Frame> {
        let head = self.take(2).await?;
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing (RFC 6455, section 5.1)");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.take(2).await?.try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).await?.try_into().unwrap()),
            short => u64::from(short),
        };
        let payload = self.take(usize::try_from(length).unwrap()).await?;
        Some(Frame { head: head[0], payload })
    }

    pub async fn frame(&mut self) -> Frame {
        self.try_frame().await.expect("a frame")
    }

    /// The next message; pings are passed over, and not answered.
    pub async fn text(&mut self) -> Vec<u8> {
        let reading = async {
            loop {
                let frame = self.frame().await;
                if frame.head != PING {
                    assert_eq!(frame.head, TEXT, "{frame:?}");
                    return frame.payload;
                }
            }
        };
        within(SOON, "a message", reading).await
    }

    /// Passes over everything up to the close frame: its code, or `None` where the connection ends without one.
    pub async fn closed(&mut self) -> Option<u16> {
        let closing = async {
            loop {
                let frame = self.try_frame().await?;
                if frame.head == CLOSE {
                    return Some(frame.code());
                }
            }
        };
        within(SOON, "the close frame", closing).await
    }

    /// Waits for the other end to close, and returns what came until then.
    pub async fn rest(&mut self) -> Vec<u8> {
        let ended = self.read_until("the end of the connection", |_| None::<()>).await;
        assert!(ended.is_none());
        std::mem::take(&mut self.rest)
    }

    /// Sends bytes one by one with pauses until the other end has something to say or closes; how long that took.
    pub async fn trickle(&mut self, bytes: impl IntoIterator<Item = u8>, pause: Duration) -> Duration {
        let begun = Instant::now();
        for byte in bytes {
            if self.tcp.write_all(&[byte]).await.is_err() {
                break;
            }
            if tokio::time::timeout(pause, self.tcp.readable()).await.is_ok() {
                break;
            }
            assert!(begun.elapsed() < SOON, "it was let go on for {SOON:?}");
        }
        begun.elapsed()
    }
}

/// The handshake of a WebSocket, with the key of RFC 6455's example.
pub fn handshake(address: SocketAddr, reader: &str) -> String {
    format!(
        "GET /api/v1/stream?reader={reader} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's frame: masked, with its length in the shortest form.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![head];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
