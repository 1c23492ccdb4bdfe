//! A distance on one machine: a TCP proxy on loopback that hands every byte on a while after it came, or loses it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Delays, but bounds no rate: as on a long line, more bytes can be on their way than one. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
    is_losing: Arc<AtomicBool>,
}

impl Proxy {
    /// Delays what goes `there` to the server and what comes `back` from it.
    pub async fn start(server: SocketAddr, there: Duration, back: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_losing = Arc::new(AtomicBool::new(false));
        let (loses, never) = (Arc::clone(&is_losing), Arc::new(AtomicBool::new(false)));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else {
                    continue;
                };
                _ = client.set_nodelay(true);
                _ = server.set_nodelay(true);
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, there, Arc::clone(&loses)));
                tokio::spawn(carry(from_server, to_client, back, Arc::clone(&never)));
            }
        });
        Self {
            address,
            accepting,
            is_losing,
        }
    }

    /// From now on nothing that clients send arrives; what the server sends still does.
    pub fn lose(&self) {
        self.is_losing.store(true, Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, is_losing: Arc<AtomicBool>) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let loses = Arc::clone(&is_losing);
    let reading = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 << 10);
            match from.read_buf(&mut bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            if is_losing.load(Relaxed) {
                continue;
            }
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = on_the_way.recv().await {
            sleep_until(due).await;
            // What is on its way is lost, too.
            if loses.load(Relaxed) {
                continue;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
