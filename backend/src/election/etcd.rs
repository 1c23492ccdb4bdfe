//! etcd: the leader is whoever put the key, under a lease.
//!
//! ```text
//! etcd.rs: connects; a session that fails is followed by another (candidate.rs)
//!   session.rs: a lease, kept alive; the key is put where its version is 0; a watch tells when it is gone
//! ```
//!
//! - *Token*: the revision at which the key was created. The scope names etcd's cluster and the prefix.
//! - *Lease*: it counts from the moment when a renewal was *sent*, so it ends here before it ends in etcd; and a margin earlier still.
//! - *Broken connections, compaction, a slow etcd*: streams are opened again, and what is there is read anew, for as long as the lease lasts.
//!   When it is over by our clock the session ends, whatever etcd says, and it is unknown who leads until etcd answers.
//! - *The end*: the lease is revoked, so that the others need not wait for it.

mod session;

use std::io;

use etcd_client::{Client, ConnectOptions};
use tokio::sync::mpsc;

use self::session::Session;
use super::ElectionError;
use super::candidate::{Candidate, Command, End, Engine, Shared};
use crate::client;
use crate::config::EtcdConfig;

#[derive(Debug)]
struct Etcd(EtcdConfig);

impl Engine for Etcd {
    type Session<'a> = Session<'a>;

    const NAME: &'static str = "etcd";
    const TITLE: &'static str = "etcd";

    async fn begin<'a>(&'a self, shared: &'a Shared) -> Result<Session<'a>, String> {
        let mut config = self.0.clone();
        config.ttl_s = shared.ttl().as_secs();
        let options = options(&config).map_err(|error| error.to_string())?;
        let client = Client::connect(&config.endpoints, Some(options)).await;
        let client = client.map_err(|error| error.to_string())?;
        Session::begin(config, shared, client).await
    }

    async fn run(session: Self::Session<'_>, queue: &mut mpsc::UnboundedReceiver<Command>) -> End {
        session.run(queue).await
    }
}

/// Campaigns as `node`. etcd may be away: the board says so, and it is tried again.
pub fn open(config: &EtcdConfig, node: &str) -> Result<Candidate, ElectionError> {
    options(config).map_err(|error| ElectionError::Unavailable(error.to_string()))?;
    Candidate::start(Etcd(config.clone()), node, config.ttl())
}

fn options(config: &EtcdConfig) -> io::Result<ConnectOptions> {
    let (user, password) = (config.user.as_deref(), config.password.as_deref());
    client::etcd::options(user, password, config.tls.as_ref(), config.patience())
}
