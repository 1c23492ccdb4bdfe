//! Many readers of a stream in one thread: they count, they time, and they do as little as possible besides.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use memchr::memmem;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::count::{Events, Gap};
use crate::frame::{self, Frame};

/// What one read may bring, for all connections together.
const READ_BYTES: usize = 256 << 10;
/// How long a server may take to answer a handshake.
const ANSWER: Duration = Duration::from_secs(10);
/// A message of many events counts with so many of them, equally spaced, in the latencies.
const SAMPLES: u64 = 8;
/// Later ones count as this late, in microseconds.
const LATEST_US: u64 = 60_000_000;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// A WebSocket whose first message must be a subscription.
    Subscribe(&'static str),
    /// A WebSocket that sends on its own.
    WebSocket,
    /// Frames from the first byte on.
    Bare,
}

/// Sums over all readers; they only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub events: u64,
    pub messages: u64,
    pub bytes: u64,
    /// Events that the server told as a gap.
    pub told: u64,
    /// Events that were passed over without a word.
    pub skipped: u64,
    /// Time in which there was nothing to read.
    pub idle: Duration,
}

#[derive(Debug)]
struct Reader {
    socket: TcpStream,
    /// A frame that is not whole yet.
    partial: Vec<u8>,
    /// The offset that comes next, once one is known.
    next: Option<u64>,
    subscribed: bool,
}

/// What was read, over all readers.
#[derive(Debug)]
struct Tally {
    counts: Counts,
    /// From `produced_us` to the end of the read that brought the event, in microseconds.
    latency: Histogram<u64>,
    /// The last message with events, where it is kept.
    last: Option<Vec<u8>>,
}

/// All readers of one server.
#[derive(Debug)]
pub struct Readers {
    epoll: Epoll,
    readers: Vec<Reader>,
    buffer: Vec<u8>,
    found: Vec<EpollEvent>,
    spin: bool,
    tally: Tally,
}

impl Readers {
    /// With `spin` the thread never sleeps: then the server never pays for waking it, as it would not for a
    /// reader on another machine, and no wake-up is in the latencies.
    pub fn new(spin: bool) -> Result<Self, String> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| format!("epoll: {error}"))?,
            readers: Vec::new(),
            buffer: vec![0; READ_BYTES],
            found: vec![EpollEvent::empty(); 512],
            spin,
            tally: Tally {
                counts: Counts::default(),
                latency: Histogram::new_with_bounds(1, LATEST_US, 3).map_err(|error| error.to_string())?,
                last: None,
            },
        })
    }

    /// Connects `count` readers more, and waits until the server has begun to serve each.
    pub fn connect(&mut self, port: u16, count: usize, speech: Speech) -> Result<(), String> {
        for _ in 0..count {
            let index = self.readers.len();
            let (socket, partial) = open(port, index, speech).map_err(|error| format!("reader {index}: {error}"))?;
            let interest = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            self.epoll
                .add(&socket, interest)
                .map_err(|error| format!("epoll: {error}"))?;
            let subscribed = !matches!(speech, Speech::Subscribe(_));
            self.readers.push(Reader {
                socket,
                partial,
                next: None,
                subscribed,
            });
        }
        let all = self.run_until(Instant::now() + ANSWER, |readers| {
            readers.readers.iter().all(|r| r.subscribed)
        })?;
        if all {
            Ok(())
        } else {
            Err("not all readers were subscribed in time".to_owned())
        }
    }

    pub fn len(&self) -> usize {
        self.readers.len()
    }

    pub fn counts(&self) -> Counts {
        self.tally.counts
    }

    /// Reads for so long.
    pub fn run(&mut self, time: Duration) -> Result<(), String> {
        self.run_until(Instant::now() + time, |_| false).map(|_| ())
    }

    /// Reads until `done` says so, which is asked whenever nothing is ready; false when the time was up before.
    pub fn run_until(&mut self, until: Instant, done: impl Fn(&Self) -> bool) -> Result<bool, String> {
        let timeout = if self.spin {
            EpollTimeout::ZERO
        } else {
            EpollTimeout::from(5_u8)
        };
        let mut found = std::mem::take(&mut self.found);
        let mut before = Instant::now();
        let ended = loop {
            let ready = match self.epoll.wait(&mut found, timeout) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(format!("epoll: {error}")),
            };
            let after = Instant::now();
            self.tally.counts.idle += after - before;
            for event in &found[..ready] {
                let index = usize::try_from(event.data()).unwrap_or(usize::MAX);
                self.read(index).map_err(|error| format!("reader {index}: {error}"))?;
            }
            if ready == 0 && done(self) {
                break true;
            }
            if after >= until {
                break false;
            }
            before = if ready == 0 { after } else { Instant::now() };
        };
        self.found = found;
        Ok(ended)
    }

    /// Keeps the last message that holds events, which costs time.
    pub fn keep_last(&mut self) {
        self.tally.last = Some(Vec::new());
    }

    pub fn last(&self) -> &[u8] {
        self.tally.last.as_deref().unwrap_or_default()
    }

    /// Forgets the latencies so far.
    pub fn reset_latency(&mut self) {
        self.tally.latency.reset();
    }

    /// In microseconds.
    pub fn latency(&self, quantile: f64) -> u64 {
        self.tally.latency.value_at_quantile(quantile)
    }

    fn read(&mut self, index: usize) -> Result<(), String> {
        let Some(reader) = self.readers.get_mut(index) else {
            return Ok(());
        };
        let length = match reader.socket.read(&mut self.buffer) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let now_us = now_us();
        self.tally.counts.bytes += length as u64;
        let fresh = &self.buffer[..length];
        // Copied only where a frame came in parts.
        if reader.partial.is_empty() {
            let used = self.tally.take(reader, fresh, now_us)?;
            reader.partial.extend_from_slice(&fresh[used..]);
        } else {
            let mut bytes = std::mem::take(&mut reader.partial);
            bytes.extend_from_slice(fresh);
            let used = self.tally.take(reader, &bytes, now_us)?;
            bytes.drain(..used);
            reader.partial = bytes;
        }
        Ok(())
    }
}

impl Tally {
    /// Takes every whole frame; returns how many bytes they were.
    fn take(&mut self, reader: &mut Reader, bytes: &[u8], now_us: i64) -> Result<usize, String> {
        let mut used = 0;
        while let Some((found, length)) = frame::split(&bytes[used..])? {
            used += length;
            self.counts.messages += 1;
            match found {
                Frame::Text(message) => self.take_message(reader, message, now_us)?,
                Frame::Ping(payload) => {
                    let pong = frame::pong(payload);
                    reader.socket.write_all(&pong).map_err(|error| error.to_string())?;
                }
                Frame::Close(code) => return Err(format!("the server closed with {code:?}")),
                Frame::Other => {}
            }
        }
        Ok(used)
    }

    fn take_message(&mut self, reader: &mut Reader, message: &[u8], now_us: i64) -> Result<(), String> {
        if let Some(events) = Events::find(message) {
            self.take_events(reader, events)?;
            self.record(events, now_us)?;
            if let Some(last) = &mut self.last {
                last.clear();
                last.extend_from_slice(message);
            }
        } else if let Some(gap) = Gap::find(message)? {
            if reader.next.is_some_and(|next| next != gap.from_offset) {
                return Err(format!("{gap:?} where {:?} was next", reader.next));
            }
            self.counts.told += gap.count;
            reader.next = Some(gap.from_offset + gap.count);
        } else if message.starts_with(br#"{"type":"events""#) {
            reader.subscribed = true;
        } else if message.starts_with(br#"{"type":"problem""#) {
            return Err(String::from_utf8_lossy(message).into_owned());
        }
        Ok(())
    }

    fn take_events(&mut self, reader: &mut Reader, events: Events) -> Result<(), String> {
        let next = reader.next.unwrap_or(events.first);
        let skipped = events.first.checked_sub(next);
        self.counts.skipped += skipped.ok_or_else(|| format!("offset {} came where {next} was next", events.first))?;
        self.counts.events += events.count();
        reader.next = Some(events.last + 1);
        Ok(())
    }

    /// Of many events the latencies between the first and the last are taken from a straight line.
    fn record(&mut self, events: Events, now_us: i64) -> Result<(), String> {
        let count = events.count();
        let samples = count.min(SAMPLES);
        for sample in 0..samples {
            let share = if samples == 1 {
                0.0
            } else {
                sample as f64 / (samples - 1) as f64
            };
            let produced_us = events.first_us + ((events.last_us - events.first_us) as f64 * share) as i64;
            let late = u64::try_from(now_us - produced_us)
                .map_err(|_| format!("an event of {produced_us} µs came at {now_us} µs: the clock was set back"))?;
            let weight = (sample + 1) * count / samples - sample * count / samples;
            self.latency.saturating_record_n(late, weight);
        }
        Ok(())
    }
}

/// A connection past its handshake, and what came after it already.
pub fn open(port: u16, index: usize, speech: Speech) -> Result<(TcpStream, Vec<u8>), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let mut rest = Vec::new();
    if speech != Speech::Bare {
        socket.set_read_timeout(Some(ANSWER)).map_err(failed)?;
        let request = format!(
            "GET /api/v1/stream?reader=reader-{index} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}\r\n\r\n",
            frame::KEY
        );
        socket.write_all(request.as_bytes()).map_err(failed)?;
        let mut head = Vec::new();
        let mut bytes = [0; 1024];
        let end = loop {
            match socket.read(&mut bytes).map_err(failed)? {
                0 => return Err(format!("closed: {}", String::from_utf8_lossy(&head))),
                length => head.extend_from_slice(&bytes[..length]),
            }
            if let Some(end) = memmem::find(&head, b"\r\n\r\n") {
                break end + 4;
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&head).into_owned());
        }
        rest = head.split_off(end);
        if let Speech::Subscribe(message) = speech {
            socket.write_all(&frame::text(message.as_bytes())).map_err(failed)?;
        }
    }
    socket.set_nonblocking(true).map_err(failed)?;
    Ok((socket, rest))
}

/// The same clock that the servers put into `produced_us`.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
