//! A well-behaved client of the WebSocket stream.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use freshet_wire::{Gap, Hello, Pong, Published, ServerMessage, StreamProblem};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::follower::{Follower, Page};
use crate::{SOON, within};

/// What the server said.
#[derive(Debug)]
pub enum Said {
    Events(Page),
    Gap(Gap),
    Pong(Pong),
    Published(Published),
    Problem(StreamProblem),
    /// A ping frame; the answer is on its way.
    Beat,
    /// A close frame, with its code and reason.
    Close(u16, String),
    /// The connection ended, after a close frame or without one.
    End,
}

/// An open stream, after `hello`.
#[derive(Debug)]
pub struct Stream {
    pub hello: Hello,
    socket: WebSocketStream<TcpStream>,
}

impl Stream {
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_as(address, None, &[]).await
    }

    /// With the reader's name, and headers beside the usual ones.
    pub async fn open_as(address: SocketAddr, reader: Option<&str>, headers: &[(&'static str, &str)]) -> Self {
        let opening = Self::try_open_as(address, reader, headers);
        within(SOON, "hello", opening).await.unwrap()
    }

    /// To a server that may be away, or about to stop.
    pub async fn try_open_as(
        address: SocketAddr,
        reader: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> io::Result<Self> {
        let query = reader.map_or_else(String::new, |reader| format!("?reader={reader}"));
        let mut request = format!("ws://{address}/api/v1/stream{query}")
            .into_client_request()
            .unwrap();
        for &(name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let tcp = TcpStream::connect(address).await?;
        let (mut socket, _) = client_async(request, tcp).await.map_err(io::Error::other)?;
        match socket.next().await {
            Some(Ok(Message::Text(first))) => match ServerMessage::parse(&first) {
                Ok(Some(ServerMessage::Hello(hello))) => Ok(Self { hello, socket }),
                other => panic!("the first message is not hello: {other:?}"),
            },
            other => Err(io::Error::other(format!("instead of hello: {other:?}"))),
        }
    }

    pub async fn send(&mut self, message: Message) {
        within(SOON, "the socket to take a message", self.socket.send(message))
            .await
            .unwrap();
    }

    /// Whether the socket took it.
    pub async fn try_say(&mut self, message: &Value) -> bool {
        let saying = self.socket.send(Message::text(message.to_string()));
        within(SOON, "the socket to take a message", saying).await.is_ok()
    }

    pub async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub async fn subscribe(&mut self, from: &[&str]) {
        self.say(&json!({"type": "subscribe", "from": from})).await;
    }

    /// The next thing that the server says, whatever it is.
    pub async fn next(&mut self) -> Said {
        self.next_within(SOON).await.expect("the server to say something")
    }

    /// The same, or `None` where it says nothing for so long.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Said> {
        let message = tokio::time::timeout(limit, self.socket.next()).await.ok()?;
        Some(match message {
            Some(Ok(Message::Text(text))) => match ServerMessage::parse(&text).unwrap().expect("a known type") {
                ServerMessage::Events(_) => Said::Events(Page::parse(&text)),
                ServerMessage::Gap(gap) => Said::Gap(gap),
                ServerMessage::Pong(pong) => Said::Pong(pong),
                ServerMessage::Problem(problem) => Said::Problem(problem),
                ServerMessage::Published(published) => Said::Published(published),
                ServerMessage::Hello(_) => panic!("hello twice"),
            },
            Some(Ok(Message::Ping(_))) => Said::Beat,
            Some(Ok(Message::Close(frame))) => {
                let frame = frame.expect("a close frame with a code");
                Said::Close(frame.code.into(), frame.reason.to_string())
            }
            Some(Ok(other)) => panic!("not a message of the stream: {other:?}"),
            Some(Err(Error::ConnectionClosed | Error::Protocol(_) | Error::Io(_))) | None => Said::End,
            Some(Err(error)) => panic!("{error}"),
        })
    }

    /// The next thing that is no ping.
    pub async fn heard(&mut self) -> Said {
        let hearing = async {
            loop {
                match self.next().await {
                    Said::Beat => {}
                    said => return said,
                }
            }
        };
        within(SOON, "the server to say something but pings", hearing).await
    }

    /// The next events, with the gaps that were told before them.
    pub async fn page(&mut self) -> Page {
        let mut gaps = Vec::new();
        loop {
            match self.heard().await {
                Said::Gap(gap) => gaps.push(gap),
                Said::Events(page) => return Page { gaps, ..page },
                other => panic!("expected events: {other:?}"),
            }
        }
    }

    /// Reads until this topic's reader stands at `offset`.
    pub async fn read_to(&mut self, follower: &mut Follower, offset: u64) {
        let reading = async {
            while follower.next.is_none_or(|next| next < offset) {
                follower.page(&self.page().await);
            }
        };
        within(SOON * 2, &format!("the event before offset {offset}"), reading).await;
    }

    pub async fn problem(&mut self) -> StreamProblem {
        match self.heard().await {
            Said::Problem(problem) => problem,
            other => panic!("expected a problem: {other:?}"),
        }
    }

    /// Passes over everything up to the close frame; its code, and the end of the connection after it.
    pub async fn closed(mut self) -> u16 {
        let closing = async {
            loop {
                match self.next().await {
                    Said::Close(code, reason) => {
                        assert!(!reason.is_empty(), "close {code} says no reason");
                        while !matches!(self.next().await, Said::End) {}
                        return code;
                    }
                    Said::End => panic!("the connection ended without a close frame"),
                    _ => {}
                }
            }
        };
        within(SOON, "the close frame", closing).await
    }

    /// Says goodbye to a server that may have gone already.
    pub async fn leave(mut self) {
        _ = tokio::time::timeout(SOON, self.socket.close(None)).await;
    }

    /// Says goodbye; the code with which the server answers.
    pub async fn close(mut self) -> Option<u16> {
        within(SOON, "the close", self.socket.close(None)).await.unwrap();
        loop {
            match self.next().await {
                Said::Close(code, _) => return Some(code),
                Said::End => return None,
                _ => {}
            }
        }
    }
}
