//! An HTTP client that sends what it is told, right or wrong: one connection, no cookies, no redirects, no retries.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use freshet_wire::Problem;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::follower::Page;
use crate::{SOON, within};

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The header's value; "" where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A page of events, which must be one that was answered with 200.
    pub fn page(&self) -> Page {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        Page::parse(self.text())
    }

    /// The problem (RFC 9457), whose media type and status must be the answer's.
    pub fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status, "{self:?}");
        // Of quotas the type is a registered one.
        let is_ours = problem.kind.starts_with("urn:freshet:");
        assert!(is_ours || problem.kind.ends_with("#quota-exceeded"), "{self:?}");
        assert!(!problem.title.is_empty(), "{self:?}");
        problem
    }
}

/// An open connection, for as many requests as the server takes on it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        within(SOON, "a connection", Self::try_open(address)).await.unwrap()
    }

    /// To a server that may be away.
    pub async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
        // How it ends is seen by the request that is on it.
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    /// Sends the request, with a Host where it has none, and reads the whole answer.
    pub async fn try_send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let host = self.address.to_string().parse().unwrap();
        request.headers_mut().entry(header::HOST).or_insert(host);
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let what = format!("the answer to {} {}", request.method(), request.uri());
        // The longest long poll that a test makes is shorter than this.
        within(SOON * 2, &what, self.try_send(request)).await.expect(&what)
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(request(Method::GET, path, &[], "")).await
    }
}

/// A request with these headers and this body.
pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap()
}

/// Sends one request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    Connection::open(address).await.send(request).await
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, request(Method::GET, path, &[], "")).await
}
