//! Rate limits: how much a client may ask for, decided before anything is done for it.
//!
//! [`Limiter`] is the engine: [`embedded`] in this process, `redis` for several processes that share their quotas; both compute the
//! same [`gcra`] and keep the same [`contract`]. [`policy`] has what is in force, [`client`] says who asks, [`gate`] puts them together
//! with the bounds on what is open at once, and [`figures`] counts.

pub mod client;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod embedded;
pub mod figures;
pub mod gate;
pub mod gcra;
pub mod load;
pub mod pass;
pub mod policy;
#[cfg(feature = "redis")]
pub mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use freshet_wire::{Engine, OnFailure};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use client::Client;
pub use gcra::Decision;
pub use policy::{Policy, Rules};

use crate::config::{LimitConfig, LimitEngine};
use crate::time::now_us;

/// What the policies said, in their order.
pub type Decisions = Result<Vec<Decision>, LimiterError>;

/// An engine that keeps what clients have spent.
pub trait Limiter: Send + Sync + fmt::Debug {
    /// Spends `cost` of the client's quota with every one of the policies, or, where one of them has no room, with none.
    /// `now_us` is a clock that never goes back; a distributed engine goes by its own instead, the same for all processes.
    fn check<'a>(&'a self, client: Client, policies: &'a [Policy], cost: u32, now_us: i64) -> BoxFuture<'a, Decisions>;

    /// What a check of cost 1 would say; spends nothing, and makes no room for the client.
    fn peek<'a>(&'a self, client: Client, policies: &'a [Policy], now_us: i64) -> BoxFuture<'a, Decisions>;

    /// How it fares.
    fn status(&self) -> watch::Receiver<Engine>;

    /// What holds while a distributed engine is away; `None` for one that cannot be.
    fn on_failure(&self) -> Option<OnFailure> {
        None
    }

    /// Checks that were answered, or refused, without the distributed engine.
    fn without_engine(&self) -> u64 {
        0
    }
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimiterError {
    #[error("the engine of the rate limits is away, and without it nothing is admitted ({0})")]
    Unavailable(String),
}

/// Why an engine cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("[limit] engine = \"{0}\": this binary was built without it; build with --features {0}")]
    NotBuilt(&'static str),
    #[error("[limit] {field}: {why}")]
    Config { field: &'static str, why: String },
}

/// The engine that the configuration names. One that is away is no error: it is tried for as long as the process runs.
pub fn open(config: &LimitConfig) -> Result<Arc<dyn Limiter>, OpenError> {
    match config.engine {
        LimitEngine::Embedded => Ok(Arc::new(embedded::Embedded::new(config.clients))),
        #[cfg(feature = "redis")]
        LimitEngine::Redis => Ok(redis::Redis::open(&config.redis, config.clients)?),
        #[cfg(not(feature = "redis"))]
        LimitEngine::Redis => Err(OpenError::NotBuilt("redis")),
    }
}

/// Microseconds since the Unix epoch that never go back: a wall clock that is set would give quotas away, or take them.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    begun_us: i64,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            begun_us: now_us(),
        }
    }

    pub fn now_us(&self) -> i64 {
        self.begun_us + i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX - self.begun_us)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
