//! Invariants 1 to 3 on the engines of this process: readers come and go, publishers too, and the service is restarted in the middle.

use fastrand::Rng;
use freshet::config::{LogConfig, PubSub};
use freshet_tests::Server;
use freshet_tests::roam::{Ground, Tally, roam};

async fn restart(server: &mut Server) {
    server.stop().await;
    server.start_again();
}

struct Memory;

impl Ground for Memory {
    const KEEPS: bool = false;
    const IDEMPOTENT: bool = false;
    const MOST_RESTARTS: usize = 2;

    fn config(&self) -> PubSub {
        PubSub::Memory
    }

    async fn restart(&mut self, server: &mut Server, _: &mut Rng) {
        restart(server).await;
    }
}

struct Log;

impl Ground for Log {
    const KEEPS: bool = true;
    const IDEMPOTENT: bool = true;
    const MOST_RESTARTS: usize = 3;

    fn config(&self) -> PubSub {
        PubSub::Log(LogConfig::default())
    }

    async fn restart(&mut self, server: &mut Server, _: &mut Rng) {
        restart(server).await;
    }
}

fn sum(tallies: &[Tally], count: impl Fn(&Tally) -> usize) -> usize {
    tallies.iter().map(count).sum()
}

#[test]
fn what_the_forgetful_engine_acknowledged_is_delivered_once_or_told_as_missing() {
    // What happens is chance: a few more cases where nothing was missed, or nobody read what another had read.
    let mut tallies = Vec::new();
    let missed = |tally: &Tally| tally.counted + tally.other_log + tally.before;
    while tallies.len() < 12 && (sum(&tallies, missed) == 0 || sum(&tallies, |tally| tally.same_bytes) == 0) {
        tallies.extend(roam(3, async || Memory));
    }
    assert!(sum(&tallies, |tally| tally.delivered) > 0 && sum(&tallies, |tally| tally.same_bytes) > 0);
    assert!(
        sum(&tallies, missed) > 0,
        "nobody missed anything: this test cannot tell"
    );
}

#[test]
fn what_the_embedded_log_acknowledged_is_delivered_once() {
    let tallies = roam(3, async || Log);
    assert_eq!(
        sum(&tallies, |tally| tally.delivered),
        sum(&tallies, |tally| tally.published) * 3,
        "every event to each of the three readers"
    );
}
