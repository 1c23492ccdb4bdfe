//! What the end-to-end tests share: servers, clients that check what they are told, and clients that misbehave.
//!
//! Every wait has an end: a test that hangs is a test that fails and says what it waited for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

pub mod browser;
#[cfg(feature = "cloud-pubsub")]
pub mod cloud_pubsub;
pub mod etcd;
pub mod follower;
pub mod gate;
pub mod http;
pub mod kafka;
pub mod ledger;
pub mod outage;
pub mod process;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod roam;
#[cfg(feature = "etcd")]
pub mod secured;
pub mod server;
pub mod slow;
pub mod stream;
pub mod zookeeper;

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};

pub use follower::{Delivered, Follower};
pub use server::Server;
pub use stream::{Said, Stream};

/// How long anything may take that ought to be there at once; generous, as two cores may have other work.
pub const SOON: Duration = Duration::from_secs(10);

/// The future's output, or a panic that says what did not come within `limit`.
pub async fn within<F: Future>(limit: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {limit:?} for {what}"),
    }
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// Asks again and again until it is so. For what the server only tells when asked.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(SOON, what, asking).await;
}

/// Holds `test` to this many values of the strategy. A failure names its value; it is not made smaller, as each case
/// has real time and a real server in it.
pub fn for_all<S: Strategy>(cases: u32, values: &S, test: impl AsyncFn(S::Value)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(values, |value| {
        runtime.block_on(test(value));
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{failure}");
    }
}
