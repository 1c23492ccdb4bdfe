//! A way to a server on this machine that can be closed, which breaks every connection on it, and opened again.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// It is open from the start, and closed when it is dropped.
#[derive(Debug)]
pub struct Gate {
    /// Where clients connect.
    pub address: SocketAddr,
    server: SocketAddr,
    passing: Option<JoinHandle<()>>,
}

impl Gate {
    pub async fn to(server: SocketAddr) -> Self {
        // Not one that a connection is given as its own end while the gate is closed.
        let listener = loop {
            let address = (Ipv4Addr::LOCALHOST, fastrand::u16(15_000..32_000));
            if let Ok(listener) = TcpListener::bind(address).await {
                break listener;
            }
        };
        let address = listener.local_addr().unwrap();
        Self {
            address,
            server,
            passing: Some(tokio::spawn(pass(listener, server))),
        }
    }

    pub async fn close(&mut self) {
        if let Some(passing) = self.passing.take() {
            passing.abort();
            // Its connections end with it.
            _ = passing.await;
        }
    }

    /// To another server, from its next opening on.
    pub fn lead_to(&mut self, server: SocketAddr) {
        self.server = server;
    }

    pub async fn open(&mut self) {
        self.close().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.passing = Some(tokio::spawn(pass(listener, self.server)));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(passing) = self.passing.take() {
            passing.abort();
        }
    }
}

async fn pass(listener: TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(server).await {
                _ = client.set_nodelay(true);
                _ = server.set_nodelay(true);
                _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
