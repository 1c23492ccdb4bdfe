//! Requests over many connections in one thread: on each the next one as soon as the answer is whole.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const READ_BYTES: usize = 256 << 10;
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Sums over all connections; they only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub answers: u64,
    pub bytes: u64,
    /// Time in which there was nothing to read.
    pub idle: Duration,
}

#[derive(Debug)]
struct Client {
    socket: TcpStream,
    asked: Instant,
    /// Of the answer, what has come while its head is not whole.
    head: Vec<u8>,
    /// Bytes that are still to come of an answer whose head is known.
    rest: Option<usize>,
}

/// Connections that all send the same request, whose answer is the same each time.
#[derive(Debug)]
pub struct Requests {
    epoll: Epoll,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    request: Vec<u8>,
    /// What every answer must begin with.
    status: &'static str,
    counts: Counts,
    /// From the request to the end of its answer, in microseconds.
    latency: Histogram<u64>,
}

impl Requests {
    /// GET, with these header lines besides Host, each ended by CR LF.
    pub fn new(port: u16, connections: usize, path: &str, headers: &str, status: &'static str) -> Result<Self, String> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}\r\n");
        Self::with(port, connections, request, status)
    }

    /// POST of one JSON document, which fits into the kernel's buffer.
    pub fn post(port: u16, connections: usize, path: &str, body: &str, status: &'static str) -> Result<Self, String> {
        let head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json");
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        Self::with(port, connections, request, status)
    }

    fn with(port: u16, connections: usize, request: String, status: &'static str) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let clients = (0..connections)
            .map(|index| {
                let socket = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
                socket.set_nodelay(true).map_err(failed)?;
                socket.set_nonblocking(true).map_err(failed)?;
                let interest = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
                epoll.add(&socket, interest).map_err(|error| error.to_string())?;
                Ok(Client {
                    socket,
                    asked: Instant::now(),
                    head: Vec::new(),
                    rest: None,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            epoll,
            clients,
            buffer: vec![0; READ_BYTES],
            request: request.into_bytes(),
            status,
            counts: Counts::default(),
            latency: Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|error| error.to_string())?,
        })
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn reset_latency(&mut self) {
        self.latency.reset();
    }

    /// In microseconds.
    pub fn latency(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }

    /// A request on every connection.
    pub fn begin(&mut self) -> Result<(), String> {
        self.clients.iter_mut().try_for_each(|client| client.ask(&self.request))
    }

    /// Goes on for so long.
    pub fn run(&mut self, time: Duration) -> Result<(), String> {
        self.go_on(Some(Instant::now() + time)).map(|_| ())
    }

    /// Takes the answers that are on their way, and asks no more.
    pub fn end(&mut self) -> Result<(), String> {
        self.go_on(None)
    }

    /// Without an end no request follows an answer, and it ends with the last answer.
    fn go_on(&mut self, until: Option<Instant>) -> Result<(), String> {
        let mut found = [EpollEvent::empty(); 64];
        let mut waiting = self.clients.len();
        let late = until.unwrap_or_else(Instant::now) + ANSWER;
        loop {
            let before = Instant::now();
            let ready = match self.epoll.wait(&mut found, EpollTimeout::ZERO) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(format!("epoll: {error}")),
            };
            let after = Instant::now();
            if ready == 0 {
                self.counts.idle += after - before;
            }
            for event in &found[..ready] {
                let index = usize::try_from(event.data()).unwrap_or(usize::MAX);
                if self.read(index)? {
                    waiting -= usize::from(until.is_none());
                    if until.is_some() {
                        self.clients[index].ask(&self.request)?;
                    }
                }
            }
            if waiting == 0 || until.is_some_and(|until| after >= until) {
                return Ok(());
            }
            if after >= late {
                return Err(format!("{waiting} answers did not come"));
            }
        }
    }

    /// True when an answer is whole.
    fn read(&mut self, index: usize) -> Result<bool, String> {
        let Some(client) = self.clients.get_mut(index) else {
            return Ok(false);
        };
        let length = match client.socket.read(&mut self.buffer) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        self.counts.bytes += length as u64;
        let rest = match client.rest {
            Some(rest) => rest.checked_sub(length),
            None => {
                client.head.extend_from_slice(&self.buffer[..length]);
                let Some(end) = memmem::find(&client.head, b"\r\n\r\n").map(|at| at + 4) else {
                    return Ok(false);
                };
                let body = body_length(&client.head[..end], self.status)?;
                let rest = (end + body).checked_sub(client.head.len());
                client.head.clear();
                rest
            }
        };
        client.rest = Some(rest.ok_or("more came than was asked for")?);
        if client.rest != Some(0) {
            return Ok(false);
        }
        client.rest = None;
        self.counts.answers += 1;
        let took = client.asked.elapsed().as_micros();
        self.latency.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        Ok(true)
    }
}

impl Client {
    fn ask(&mut self, request: &[u8]) -> Result<(), String> {
        self.asked = Instant::now();
        // Short, and nothing else is on its way, so it goes into the kernel's buffer whole.
        self.socket.write_all(request).map_err(|error| error.to_string())
    }
}

/// What follows a head; an answer with another status is an error. 304 has no body, whatever its head says of length
/// (RFC 9112, section 6.3).
fn body_length(head: &[u8], status: &str) -> Result<usize, String> {
    let text = || String::from_utf8_lossy(head).into_owned();
    if !head
        .strip_prefix(b"HTTP/1.1 ")
        .is_some_and(|rest| rest.starts_with(status.as_bytes()))
    {
        return Err(text());
    }
    if status == "304" {
        return Ok(0);
    }
    let name = b"content-length: ";
    let at = memmem::find(head, name).ok_or_else(text)? + name.len();
    let digits = head[at..].iter().take_while(|digit| digit.is_ascii_digit());
    Ok(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_long_its_body_is() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n";
        assert_eq!(body_length(head, "200"), Ok(1234));
        assert!(body_length(head, "304").is_err());
        assert!(body_length(b"HTTP/1.1 200 OK\r\n\r\n", "200").is_err());
    }
}
