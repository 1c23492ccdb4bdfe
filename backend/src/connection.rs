//! One TCP connection: its bytes counted at the socket, its CPU time over the polls of its future, both put
//! down to the reader whose request it carries.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::config::Limits;
use crate::limit::load::Held;
use crate::readers::Figures;
use crate::time::{now_us, thread_cpu_ns};

/// RFC 9110, section 15.5.9, as problem+json.
const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
content-length: 86\r\n\r\n{\"type\":\"urn:freshet:request-late\",\"title\":\"The request came too slowly\",\"status\":408}";

/// What is known of a connection; requests get it as an extension.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// Unique in this process.
    pub(crate) number: u64,
    state: Mutex<State>,
    /// Given back when everybody has let go of the connection.
    _slot: Slot,
}

/// The connection's share of the bounds on connections: of all, and of its peer.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) _of_all: OwnedSemaphorePermit,
    pub(crate) _of_peer: Held,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Whose request it carries.
    reader: Option<Arc<Figures>>,
    /// Bytes of a request arrive before it is known whose they are: first of the next one, then of this one.
    next_in: u64,
    this_in: u64,
    /// Since when the client has taken nothing of what it is sent.
    blocked_since_us: Option<i64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// A request's head is coming in.
    Head {
        since_us: i64,
    },
    /// Its head came in too slowly.
    Late,
    /// A request is being answered; what arrives is its body.
    Answering,
    Streaming,
}

impl Connection {
    pub(crate) fn new(local: SocketAddr, peer: SocketAddr, slot: Slot) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        Self {
            local,
            peer,
            number,
            state: Mutex::default(),
            _slot: slot,
        }
    }

    /// A request's head is there; until it is claimed it belongs to nobody.
    pub(crate) fn begin_request(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Answering;
        state.this_in = std::mem::take(&mut state.next_in);
        state.reader = None;
    }

    /// The request has its answer.
    pub(crate) fn end_request(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Answering {
            state.phase = Phase::Idle;
        }
    }

    /// The request, its bytes and its time are this reader's.
    pub(crate) fn claim(&self, reader: &Arc<Figures>) {
        let mut state = self.state.lock();
        reader.counters.requests.fetch_add(1, Relaxed);
        reader
            .counters
            .bytes_in
            .fetch_add(std::mem::take(&mut state.this_in), Relaxed);
        state.reader = Some(Arc::clone(reader));
    }

    /// From now on the connection is a stream of the reader that claimed it.
    pub(crate) fn stream(&self) {
        self.state.lock().phase = Phase::Streaming;
    }

    /// Gives up on a request whose head has been coming in for too long (a slow client, or "slow loris"). True when
    /// the client has taken nothing of its answer for too long: then there is no use in waiting.
    pub(crate) fn look(&self, now_us: i64, limits: &Limits) -> bool {
        let over =
            |since_us: i64, most: Duration| u128::try_from(now_us - since_us).is_ok_and(|us| us > most.as_micros());
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Head { since_us } if over(since_us, limits.header_timeout)) {
            state.phase = Phase::Late;
        }
        state
            .blocked_since_us
            .is_some_and(|since_us| over(since_us, limits.stuck))
    }

    fn is_late(&self) -> bool {
        self.state.lock().phase == Phase::Late
    }

    fn read(&self, bytes: usize) {
        let mut state = self.state.lock();
        match (state.phase, &state.reader) {
            (Phase::Streaming, Some(reader)) => _ = reader.counters.bytes_in.fetch_add(bytes as u64, Relaxed),
            (phase, _) => {
                state.next_in += bytes as u64;
                if phase == Phase::Idle {
                    state.phase = Phase::Head { since_us: now_us() };
                }
            }
        }
    }

    fn wrote(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.blocked_since_us = None;
        if let Some(reader) = &state.reader {
            reader.counters.bytes_out.fetch_add(bytes as u64, Relaxed);
        }
    }

    fn blocked(&self) {
        self.state.lock().blocked_since_us.get_or_insert_with(now_us);
    }

    fn worked(&self, cpu_ns: u64) {
        if let Some(reader) = &self.state.lock().reader {
            reader.counters.cpu_ns.fetch_add(cpu_ns, Relaxed);
        }
    }
}

/// A socket that counts.
#[derive(Debug)]
pub(crate) struct CountedStream {
    tcp: TcpStream,
    connection: Arc<Connection>,
}

impl CountedStream {
    pub(crate) fn new(tcp: TcpStream, connection: Arc<Connection>) -> Self {
        Self { tcp, connection }
    }

    /// Writes what the socket takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tcp.try_write(bytes)?;
        self.connection.wrote(written);
        Ok(written)
    }

    fn count(&self, wrote: &Poll<io::Result<usize>>) {
        match wrote {
            Poll::Ready(Ok(bytes)) => self.connection.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.blocked(),
        }
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_late() {
            // Nothing was answered yet, so the socket is free; to hyper the client has hung up.
            let _ = self.tcp.try_write(LATE);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.connection.read(bytes);
        }
        read
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

pin_project_lite::pin_project! {
    /// A future whose CPU time is put down to the connection's reader.
    pub(crate) struct Metered<F> {
        #[pin]
        future: F,
        connection: Arc<Connection>,
    }
}

impl<F> Metered<F> {
    pub(crate) fn new(future: F, connection: Arc<Connection>) -> Self {
        Self { future, connection }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(weight) = SAMPLING.with(Sampling::weight) else {
            return this.future.poll(cx);
        };
        let before = thread_cpu_ns();
        let output = this.future.poll(cx);
        this.connection
            .worked(thread_cpu_ns().saturating_sub(before) * u64::from(weight));
        output
    }
}

thread_local! {
    static SAMPLING: Sampling = const { Sampling::every(1) };
}

/// Which polls are measured. Reading the CPU clock twice costs a tenth of a delivery; so when polls are many, only
/// some 2,000 a second on each thread are measured, drawn by chance, and each counts as often as it stands for others.
#[derive(Debug)]
struct Sampling {
    every: Cell<u32>,
    counted: Cell<u32>,
    since: Cell<Option<Instant>>,
}

impl Sampling {
    const A_SECOND: f64 = 2000.0;
    /// Polls after which the rate is looked at again.
    const LOOK: u32 = 1024;

    const fn every(every: u32) -> Self {
        Self {
            every: Cell::new(every),
            counted: Cell::new(0),
            since: Cell::new(None),
        }
    }

    /// For how many polls this one stands, if it is one to be measured.
    fn weight(&self) -> Option<u32> {
        let counted = self.counted.get() + 1;
        self.counted.set(counted);
        if counted >= Self::LOOK {
            let now = Instant::now();
            if let Some(since) = self.since.replace(Some(now)) {
                let rate = f64::from(counted) / (now - since).as_secs_f64().max(1e-6);
                self.every.set((rate / Self::A_SECOND).max(1.0) as u32);
            }
            self.counted.set(0);
        }
        let every = self.every.get();
        // Each poll for itself: no rhythm of theirs is mistaken for their cost, and a short one counts as a long one.
        (every == 1 || fastrand::u32(0..every) == 0).then_some(every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polls_that_are_measured_stand_for_all() {
        fastrand::seed(7);
        for every in [1, 2, 7, 30] {
            let sampling = Sampling::every(every);
            // The look at the rate comes after these.
            let stood_for: u32 = (0..1000).filter_map(|_| sampling.weight()).sum();
            assert!(stood_for.abs_diff(1000) <= 400, "{every}: {stood_for}");
        }
    }

    #[test]
    fn short_connections_count_as_much_as_long_ones() {
        fastrand::seed(7);
        let sampling = Sampling::every(10);
        let (mut short, mut long) = (0, 0);
        for poll in 0..Sampling::LOOK - 1 {
            // One in two is the only poll of its connection.
            *(if poll % 2 == 0 { &mut short } else { &mut long }) += sampling.weight().unwrap_or(0);
        }
        assert!(short.abs_diff(512) < 200 && long.abs_diff(512) < 200, "{short} {long}");
    }
}
