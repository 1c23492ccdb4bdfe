//! One TCP connection: its bytes counted at the socket, its CPU time over the polls of its future, both put
//! down to the reader whose request it carries.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::readers::Figures;
use crate::time::{now_us, thread_cpu_ns};

/// RFC 9110, section 15.5.9, as problem+json.
const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
content-length: 86\r\n\r\n{\"type\":\"urn:freshet:request-late\",\"title\":\"The request came too slowly\",\"status\":408}";

/// What is known of a connection; requests get it as an extension.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    reader: Mutex<Option<Arc<Figures>>>,
    /// Bytes of a request arrive before it is known whose they are: first of the next one, then of this one.
    next_in: AtomicU64,
    this_in: AtomicU64,
    streaming: AtomicBool,
    /// When the first byte of a request came whose head is not complete yet; 0 for none.
    head_since_us: AtomicI64,
    head_late: AtomicBool,
    /// A request is being answered: what arrives is its body.
    answering: AtomicBool,
    /// The connection's share of the bound on connections; given back when everybody has let go of it.
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn new(local: SocketAddr, slot: OwnedSemaphorePermit) -> Self {
        Self {
            local,
            reader: Mutex::default(),
            next_in: AtomicU64::new(0),
            this_in: AtomicU64::new(0),
            streaming: AtomicBool::new(false),
            head_since_us: AtomicI64::new(0),
            head_late: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            _slot: slot,
        }
    }

    /// A request's head is there; until it is claimed it belongs to nobody.
    pub(crate) fn begin_request(&self) {
        self.head_since_us.store(0, Relaxed);
        self.answering.store(true, Relaxed);
        self.this_in.store(self.next_in.swap(0, Relaxed), Relaxed);
        *self.reader.lock() = None;
    }

    /// The request has its answer.
    pub(crate) fn end_request(&self) {
        self.answering.store(false, Relaxed);
    }

    /// The request, its bytes and its time are this reader's.
    pub(crate) fn claim(&self, reader: &Arc<Figures>) {
        reader.counters.requests.fetch_add(1, Relaxed);
        reader
            .counters
            .bytes_in
            .fetch_add(self.this_in.swap(0, Relaxed), Relaxed);
        *self.reader.lock() = Some(Arc::clone(reader));
    }

    /// From now on the connection is a stream of the reader that claimed it.
    pub(crate) fn stream(&self) {
        self.streaming.store(true, Relaxed);
    }

    /// Gives up on a request whose head has been coming in for too long (a slow client, or "slow loris").
    pub(crate) fn check_head(&self, now_us: i64, most_us: i64) {
        let since = self.head_since_us.load(Relaxed);
        if since != 0 && now_us - since > most_us {
            self.head_late.store(true, Relaxed);
        }
    }

    fn read(&self, bytes: usize) {
        if self.streaming.load(Relaxed) {
            if let Some(reader) = &*self.reader.lock() {
                reader.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
            }
        } else {
            self.next_in.fetch_add(bytes as u64, Relaxed);
            if !self.answering.load(Relaxed) {
                let _ = self.head_since_us.compare_exchange(0, now_us(), Relaxed, Relaxed);
            }
        }
    }

    fn wrote(&self, bytes: usize) {
        if let Some(reader) = &*self.reader.lock() {
            reader.counters.bytes_out.fetch_add(bytes as u64, Relaxed);
        }
    }

    fn worked(&self, cpu_ns: u64) {
        if let Some(reader) = &*self.reader.lock() {
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
}

impl CountedStream {
    /// Writes what the socket takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tcp.try_write(bytes)?;
        self.connection.wrote(written);
        Ok(written)
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.head_late.load(Relaxed) {
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
        if let Poll::Ready(Ok(bytes)) = wrote {
            self.connection.wrote(bytes);
        }
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(bytes)) = wrote {
            self.connection.wrote(bytes);
        }
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
        // Polls since the last one that was measured.
        unmeasured: u32,
    }
}

impl<F> Metered<F> {
    pub(crate) fn new(future: F, connection: Arc<Connection>) -> Self {
        Self {
            future,
            connection,
            unmeasured: 0,
        }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !SAMPLING.with(Sampling::is_due) {
            *this.unmeasured += 1;
            return this.future.poll(cx);
        }
        let before = thread_cpu_ns();
        let output = this.future.poll(cx);
        let polls = u64::from(std::mem::take(this.unmeasured)) + 1;
        this.connection.worked(thread_cpu_ns().saturating_sub(before) * polls);
        output
    }
}

thread_local! {
    static SAMPLING: Sampling = const { Sampling { every: Cell::new(1), left: Cell::new(0), counted: Cell::new(0), since: Cell::new(None) } };
}

/// Which polls are measured. Reading the CPU clock twice costs a tenth of a delivery; so when polls are many, only
/// some 2,000 a second on each thread are measured, and each of those stands for those that were passed over.
#[derive(Debug)]
struct Sampling {
    every: Cell<u32>,
    left: Cell<u32>,
    counted: Cell<u32>,
    since: Cell<Option<Instant>>,
}

impl Sampling {
    const A_SECOND: f64 = 2000.0;
    /// Polls after which the rate is looked at again.
    const LOOK: u32 = 1024;

    fn is_due(&self) -> bool {
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
        match self.left.get() {
            0 => {
                // By chance, so that no rhythm of the polls is mistaken for their cost.
                self.left.set(fastrand::u32(0..self.every.get() * 2 - 1));
                true
            }
            left => {
                self.left.set(left - 1);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polls_that_are_measured_stand_for_all() {
        for every in [1, 2, 7, 30] {
            let sampling = Sampling {
                every: Cell::new(every),
                left: Cell::new(0),
                counted: Cell::new(0),
                since: Cell::new(None),
            };
            let measured = (0..1000).filter(|_| sampling.is_due()).count();
            let expected = 1000 / every as usize;
            assert!(measured.abs_diff(expected) <= expected / 3, "{every}: {measured}");
        }
    }
}
