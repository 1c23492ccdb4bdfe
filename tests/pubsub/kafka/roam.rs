//! Invariants 1 to 3 on Kafka: readers come and go, and broker and service are ended and begun again in the middle.

use fastrand::Rng;
use freshet::config::{KafkaConfig, PubSub};
use freshet_tests::Server;
use freshet_tests::kafka::Kafka;
use freshet_tests::roam::{Ground, roam};

struct Cluster(Kafka);

impl Ground for Cluster {
    const KEEPS: bool = true;
    const IDEMPOTENT: bool = false;
    const MOST_RESTARTS: usize = 3;

    fn config(&self) -> PubSub {
        PubSub::Kafka(KafkaConfig {
            partitions: 2,
            ..super::config(self.0.brokers())
        })
    }

    async fn restart(&mut self, server: &mut Server, rng: &mut Rng) {
        match rng.u8(..3) {
            0 => {
                self.0.stop().await;
                self.0.start_again().await;
            }
            1 => {
                self.0.kill().await;
                self.0.start_again().await;
            }
            _ => {
                server.stop().await;
                server.start_again();
            }
        }
    }
}

#[test]
fn what_kafka_acknowledged_is_delivered_once() {
    let tallies = roam(2, async || Cluster(Kafka::start().await));
    // Less than that only where an event stands there twice, and is dropped the second time.
    let delivered: usize = tallies.iter().map(|tally| tally.delivered).sum();
    let tried: usize = tallies.iter().map(|tally| tally.tried_again).sum();
    let published: usize = tallies.iter().map(|tally| tally.published).sum();
    assert!((published - tried) * 3 <= delivered && delivered <= published * 3);
}
