//! ZooKeeper: candidates stand in a queue, and the first of them leads.
//!
//! ```text
//! zookeeper.rs: connects; a session that fails is followed by another (candidate.rs)
//!   session.rs: a session with its heartbeats; a place in the queue; watches on who leads and on who stands before
//!   heart.rs: sends the heartbeats
//!   pulse.rs: until when the session surely lasts
//!   place.rs: the names in the queue
//! ```
//!
//! - *Queue*: ephemeral sequential znodes. Each candidate watches the one before it, and whoever leads, of whom it has to tell. Who comes to
//!   the front accepts by writing to its znode, so the others know that it leads and not just that it would be next.
//! - *Token*: the zxid that created the leader's znode. The scope names the folder of the queue by path, zxid and time of creation: a queue
//!   that is made anew, maybe in another ensemble, is another scope.
//! - *Lease*: the session. Heartbeats are writes, and count from the moment when they were *sent* ([`pulse::Pulse`]); a mandate ends a margin
//!   before ZooKeeper can let the session expire.
//! - *Broken connections, a slow ensemble*: the client goes to another server with the same session, and what is there is read anew. When
//!   nothing is heard for so long that the session may be over, it is unknown who leads until ZooKeeper answers.
//! - *The end*: the place in the queue is given up, so that the others need not wait for the session to expire.

mod heart;
mod place;
mod pulse;
mod session;

use std::time::Duration;

use tokio::sync::mpsc;

use self::session::Session;
use super::ElectionError;
use super::candidate::{Candidate, Command, End, Engine, Shared};
use crate::client;
use crate::config::ZooKeeperConfig;
use crate::time::steady;

#[derive(Debug)]
struct ZooKeeper(ZooKeeperConfig);

impl Engine for ZooKeeper {
    type Session<'a> = Session<'a>;

    const NAME: &'static str = "zookeeper";
    const TITLE: &'static str = "ZooKeeper";

    async fn begin<'a>(&'a self, shared: &'a Shared) -> Result<Session<'a>, String> {
        let ttl = shared.ttl();
        // A session is not closed when a candidate is stopped, which is to look like a death.
        let connector =
            client::zookeeper::connector(self.0.user.as_deref(), self.0.password.as_deref(), ttl).with_detached();
        let asked = steady();
        let client = client::zookeeper::connect(connector, &self.0.servers).await?;
        Session::begin(&self.0, shared, client, asked).await
    }

    async fn run(session: Self::Session<'_>, queue: &mut mpsc::UnboundedReceiver<Command>) -> End {
        session.run(queue).await
    }
}

/// Campaigns as `node`. ZooKeeper may be away: the board says so, and it is tried again.
pub fn open(config: &ZooKeeperConfig, node: &str) -> Result<Candidate, ElectionError> {
    let ttl = Duration::from_secs(config.session_timeout_s);
    Candidate::start(ZooKeeper(config.clone()), node, ttl)
}
