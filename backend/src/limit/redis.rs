//! Redis (or Valkey): several processes share their quotas.
//!
//! A check is one call of a script (`check.lua`) on the server's own clock, whatever the number of policies; calls of many requests
//! are pipelined on a few connections. What was decided is noted in the local limiter too. So when Redis is slow or gone, each process
//! goes on by itself from where the shared quota stood, and at most admits one quota a process; and when it is back, what a client spent
//! meanwhile is told to it with the client's next check, so that there is no burst on the way back.
//!
//! Redis must not evict keys that have not expired (`maxmemory-policy noeviction`): a key that goes early is a quota that is whole early.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use freshet_wire::{Engine, EngineState, OnFailure};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client as Connector, RedisError, Script, TlsCertificates};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::embedded::Embedded;
use super::gcra::{admits, decision};
use super::{Client, Decisions, Limiter, LimiterError, OpenError, Policy};
use crate::config::RedisConfig;
use crate::time::now_us;

/// How often the server is asked whether it is there, with or without load.
const LOOK: Duration = Duration::from_secs(1);
/// Between attempts to reach one that is away.
const RETRY: Duration = Duration::from_millis(250);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// See the module.
pub struct Redis {
    connector: Connector,
    script: Script,
    prefix: String,
    timeout: Duration,
    on_failure: OnFailure,
    pool: RwLock<Pool>,
    wanted: usize,
    next: AtomicUsize,
    local: Embedded,
    status: watch::Sender<Engine>,
    without: AtomicU64,
    /// A check has failed.
    failed: Notify,
}

#[derive(Default)]
struct Pool {
    /// Empty while the server is away.
    connections: Vec<MultiplexedConnection>,
    /// Counts up with every set of connections: a check that fails late says nothing about newer ones.
    generation: u64,
}

/// Why the server did not decide.
struct Failure {
    why: String,
    generation: u64,
}

/// What the server is being told that was spent without it. Where it is not known to have heard, it is owed again: also where the
/// request is given up while it waits, as when its client hangs up.
struct Owed<'a> {
    local: &'a Embedded,
    client: Client,
    policies: &'a [Policy],
    least_us: Vec<i64>,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if self.least_us.iter().any(|&least_us| least_us > 0) {
            self.local.owe_again(self.client, self.policies, &self.least_us);
        }
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may have a password in it.
        f.debug_struct("Redis")
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Begins to reach the server; until it answers, what `on_failure` says holds. `clients` is how many the local limiter remembers.
    pub fn open(config: &RedisConfig, clients: usize) -> Result<Arc<Self>, OpenError> {
        let wrong = |field: &'static str| move |why: String| OpenError::Config { field, why };
        let connector = match &config.ca_file {
            None => Connector::open(&*config.url).map_err(|error| wrong("redis.url")(error.to_string()))?,
            Some(file) => {
                let root_cert = std::fs::read(file)
                    .map_err(|error| wrong("redis.ca_file")(format!("{}: {error}", file.display())))?;
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(root_cert),
                };
                Connector::build_with_tls(&*config.url, certificates)
                    .map_err(|error| wrong("redis.url")(error.to_string()))?
            }
        };
        if config.connections == 0 || config.timeout_ms == 0 {
            let why = "connections and timeout_ms are at least 1".to_owned();
            return Err(wrong("redis")(why));
        }
        let engine = Arc::new(Self {
            connector,
            script: Script::new(include_str!("check.lua")),
            prefix: config.prefix.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            on_failure: config.on_failure,
            pool: RwLock::default(),
            wanted: config.connections,
            next: AtomicUsize::new(0),
            local: Embedded::new(clients),
            status: watch::Sender::new(Engine {
                name: "redis".to_owned(),
                state: EngineState::Connecting,
                since_us: now_us(),
                detail: String::new(),
            }),
            without: AtomicU64::new(0),
            failed: Notify::new(),
        });
        tokio::spawn(keep(Arc::downgrade(&engine)));
        Ok(engine)
    }

    fn connection(&self) -> (Option<MultiplexedConnection>, u64) {
        let pool = self.pool.read();
        let at = self.next.fetch_add(1, Relaxed) % pool.connections.len().max(1);
        (pool.connections.get(at).cloned(), pool.generation)
    }

    fn is_connected(&self) -> bool {
        !self.pool.read().connections.is_empty()
    }

    /// The backlogs before the request, or why the server did not say.
    async fn ask(
        &self,
        client: Client,
        policies: &[Policy],
        cost: u32,
        spend: bool,
        least_us: &[i64],
    ) -> Result<Vec<i64>, Failure> {
        let (connection, generation) = self.connection();
        let failed = |why: String| Failure { why, generation };
        let mut connection = connection.ok_or_else(|| failed("it cannot be reached".to_owned()))?;
        let mut call = self.script.prepare_invoke();
        for policy in policies {
            // The braces keep a client's keys together in a cluster.
            call.key(format!("{}{{{client}}}:{}", self.prefix, policy.name()));
        }
        call.arg(cost).arg(u8::from(spend));
        for (policy, least_us) in policies.iter().zip(least_us) {
            call.arg(policy.interval_us).arg(policy.tolerance_us()).arg(*least_us);
        }
        let answer: Result<Vec<i64>, RedisError> = match timeout(self.timeout, call.invoke_async(&mut connection)).await
        {
            Ok(answer) => answer,
            Err(_) => return Err(failed(self.too_slow())),
        };
        match answer {
            Ok(mut answer) if answer.len() == policies.len() + 1 => Ok(answer.split_off(1)),
            Ok(_) => Err(failed("it answered something else than the script does".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn too_slow(&self) -> String {
        format!("it took longer than {} ms to answer", self.timeout.as_millis())
    }

    async fn decide(&self, client: Client, policies: &[Policy], cost: u32, spend: bool, now_us: i64) -> Decisions {
        if policies.is_empty() {
            return Ok(Vec::new());
        }
        let mut owed = Owed {
            local: &self.local,
            client,
            policies,
            least_us: match spend && self.is_connected() {
                true => self.local.take_owed(client, policies, now_us),
                false => vec![0; policies.len()],
            },
        };
        match self.ask(client, policies, cost, spend, &owed.least_us).await {
            Ok(before) => {
                owed.least_us.clear();
                let admitted = policies
                    .iter()
                    .zip(&before)
                    .all(|(policy, &before_us)| admits(policy, before_us, cost));
                let after = |policy: &Policy, before_us: i64| match admitted && spend {
                    true => before_us + policy.cost_us(cost),
                    false => before_us,
                };
                let backlogs: Vec<i64> = policies
                    .iter()
                    .zip(&before)
                    .map(|(policy, &before_us)| after(policy, before_us))
                    .collect();
                if spend {
                    self.local.note(client, policies, &backlogs, now_us);
                }
                let all = policies.iter().zip(before.iter().zip(&backlogs));
                Ok(all
                    .map(|(policy, (&before_us, &after_us))| decision(policy, before_us, after_us, cost))
                    .collect())
            }
            Err(Failure { why, generation }) => {
                self.down(&why, generation);
                if !spend {
                    return Ok(self.local.peek_now(client, policies, now_us));
                }
                self.without.fetch_add(1, Relaxed);
                match self.on_failure {
                    OnFailure::Local => Ok(self.local.check_owing(client, policies, cost, now_us)),
                    OnFailure::Closed => Err(LimiterError::Unavailable(why)),
                }
            }
        }
    }

    /// Goes on without the server until the keeper has reached it again.
    fn down(&self, why: &str, generation: u64) {
        {
            let mut pool = self.pool.write();
            if pool.generation != generation || pool.connections.is_empty() {
                return;
            }
            pool.connections.clear();
        }
        self.tell(EngineState::Down, why);
        self.failed.notify_one();
    }

    fn tell(&self, state: EngineState, why: &str) {
        let meaning = match self.on_failure {
            OnFailure::Local => "each process limits by itself, from where the shared quotas stood",
            OnFailure::Closed => "what needs a quota is refused with 503",
        };
        self.status.send_if_modified(|engine| {
            if engine.state == state {
                return false;
            }
            match state {
                EngineState::Up => tracing::info!("Redis answers: quotas are shared"),
                _ => tracing::warn!(why, "Redis does not answer: {meaning}"),
            }
            engine.state = state;
            engine.since_us = now_us();
            engine.detail = match state {
                EngineState::Up => String::new(),
                _ => format!("Redis: {why}; {meaning}"),
            };
            true
        });
    }

    /// New connections, each of which has answered.
    async fn connect(&self) -> Result<(), String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            // Checks have a bound of their own; this one is for the probes.
            .set_response_timeout(Some(self.timeout.max(LOOK)));
        let mut pool = Vec::new();
        for _ in 0..self.wanted {
            let connecting = self.connector.get_multiplexed_async_connection_with_config(&config);
            let mut connection = match timeout(CONNECT, connecting).await {
                Ok(connection) => connection.map_err(|error| error.to_string())?,
                Err(_) => return Err(format!("it cannot be reached within {} s", CONNECT.as_secs())),
            };
            self.probe(&mut connection).await?;
            pool.push(connection);
        }
        let mut current = self.pool.write();
        current.connections = pool;
        current.generation += 1;
        Ok(())
    }

    /// Whether it is there, as quick as a check must be, and has the script.
    async fn probe(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        match timeout(self.timeout, self.script.load_async(connection)).await {
            Ok(loaded) => loaded.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(self.too_slow()),
        }
    }
}

/// Reaches the server, and looks whether it is still there, for as long as the engine is used.
async fn keep(engine: Weak<Redis>) {
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let done = match engine.connection().0 {
            Some(mut connection) => engine.probe(&mut connection).await,
            None => engine.connect().await,
        };
        match done {
            Ok(()) => {
                engine.tell(EngineState::Up, "");
                // A check that fails while this is told has emptied the pool; the next look finds that.
                let _ = timeout(LOOK, engine.failed.notified()).await;
                if !engine.is_connected() {
                    engine.tell(EngineState::Down, "a check failed");
                }
            }
            Err(why) => {
                engine.pool.write().connections.clear();
                engine.tell(EngineState::Down, &why);
                sleep(RETRY).await;
            }
        }
    }
}

impl Limiter for Redis {
    fn check<'a>(&'a self, client: Client, policies: &'a [Policy], cost: u32, now_us: i64) -> BoxFuture<'a, Decisions> {
        self.decide(client, policies, cost, true, now_us).boxed()
    }

    fn peek<'a>(&'a self, client: Client, policies: &'a [Policy], now_us: i64) -> BoxFuture<'a, Decisions> {
        self.decide(client, policies, 1, false, now_us).boxed()
    }

    fn status(&self) -> watch::Receiver<Engine> {
        self.status.subscribe()
    }

    fn on_failure(&self) -> Option<OnFailure> {
        Some(self.on_failure)
    }

    fn without_engine(&self) -> u64 {
        self.without.load(Relaxed)
    }
}
