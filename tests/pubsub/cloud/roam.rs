//! Invariants 1 to 3 on Google Cloud Pub/Sub: readers come and go, and service and node are ended and begun again in the middle.

use fastrand::Rng;
use freshet::config::PubSub;
use freshet_tests::Server;
use freshet_tests::cloud_pubsub::CloudPubSub;
use freshet_tests::roam::{Ground, roam};

struct Project(CloudPubSub);

impl Ground for Project {
    /// The emulator comes back empty; what was acknowledged is in the node's spool.
    const KEEPS: bool = true;
    /// The spool knows each event's id.
    const IDEMPOTENT: bool = true;
    const MOST_RESTARTS: usize = 3;

    fn config(&self) -> PubSub {
        PubSub::CloudPubSub(super::config(self.0.endpoint()))
    }

    async fn restart(&mut self, server: &mut Server, rng: &mut Rng) {
        let (node, service) = match rng.u8(..4) {
            0 => (true, false),
            1 => (true, true),
            _ => (false, true),
        };
        if service {
            self.0.kill();
        }
        if node {
            server.stop().await;
            server.start_again();
        }
        if service {
            self.0.start_again().await;
        }
    }
}

#[test]
fn what_the_service_acknowledged_is_delivered_once() {
    let tallies = roam(2, async || Project(CloudPubSub::start().await));
    let delivered: usize = tallies.iter().map(|tally| tally.delivered).sum();
    let published: usize = tallies.iter().map(|tally| tally.published).sum();
    assert_eq!(delivered, published * 3, "every event to each of the three readers");
}
