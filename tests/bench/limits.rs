//! Rate limits: what a check takes of a request, how many there are a second, and Redis beside its own benchmark of the same script.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use freshet::config::{LimitConfig, Limits, RedisConfig};
use freshet::limit::embedded::Embedded;
use freshet::limit::gate::{Gate, Verdict};
use freshet::limit::redis::Redis as Engine;
use freshet::limit::{Client, Clock, Limiter, Policy};
use freshet_tests::redis::Redis;
use freshet_wire::{EngineState, LimitSettings, OnFailure, Quota, RouteClass, Settings, SettingsVersion};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::Bench;
use crate::machine::{CpuClock, Disturbance, Stretch, pin};
use crate::report::{Section, Table, median, ratio, thousands};
use crate::requests::Requests;
use crate::rounds::{Measured, in_turn, undisturbed, whole};
use crate::server::Server;

/// Clients that ask in turn: so many that none of them comes to the end of its quota.
const CLIENTS: u32 = 50_000;
/// Threads that check at once, in the order of the table; the cores are two.
const THREADS: [usize; 3] = [1, 2, 8];
const CONNECTIONS: usize = 32;
/// Checks that wait for Redis at once, and connections of its benchmark.
const AT_ONCE: [usize; 2] = [16, 64];
/// Between two looks whether the time is over.
const BETWEEN: u32 = 256;

/// What is measured in this process and in a server's, in the order of the table.
const POLL: usize = THREADS.len() + 1;
const KINDS: usize = POLL + 1;

#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    per_s: f64,
    /// CPU time of one, in microseconds; of the server's process where it is a request.
    cpu_us: f64,
    #[serde(flatten)]
    disturbance: Disturbance,
}

impl Measured for Figures {
    fn disturbance(&self) -> Disturbance {
        self.disturbance
    }
}

pub fn run(bench: &Bench) -> Result<Section, String> {
    let mut section = Section::new("limits", "Rate limits", &bench.folder)?;
    embedded(bench, &mut section)?;
    redis(bench, &mut section)?;
    Ok(section)
}

fn name(index: usize) -> String {
    match THREADS.get(index) {
        Some(1) => "check, 1 thread".to_owned(),
        Some(threads) => format!("check, {threads} threads"),
        None if index == POLL => "poll of one event, exempt".to_owned(),
        None => "admission with all that is counted, 1 thread".to_owned(),
    }
}

fn embedded(bench: &Bench, section: &mut Section) -> Result<(), String> {
    let rounds = whole(bench, "checks", |round| {
        let server = Server::freshet(bench, &[])?;
        let mut results = [None; KINDS];
        for index in in_turn(round, KINDS) {
            let what = json!({"what": name(index), "round": round});
            results[index] = undisturbed(bench, section, &what, || match THREADS.get(index) {
                Some(&threads) => checks(bench, threads),
                None if index == POLL => polls(bench, &server),
                None => admissions(bench),
            })?;
        }
        Ok(results.into_iter().collect::<Option<Vec<Figures>>>())
    })?;
    let mut table = Table::new(&["what", "a second", "÷ 1 thread", "CPU time of one", "÷ the poll's"]);
    for index in 0..KINDS {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        let of_poll = |round: &Vec<Figures>| round[index].cpu_us / round[POLL].cpu_us;
        table.row([
            name(index),
            thousands(of(|f| f.per_s)),
            match index {
                1.. if index < THREADS.len() => ratio(rounds.iter().map(|round| round[index].per_s / round[0].per_s)),
                _ => "-".to_owned(),
            },
            format!("{:.2} µs", of(|f| f.cpu_us)),
            match index {
                POLL => "1".to_owned(),
                _ => ratio(rounds.iter().map(of_poll)),
            },
        ]);
    }
    section.table(table);
    let share = |index: usize| {
        median(rounds.iter().map(|round| {
            let check_us = round[index].cpu_us;
            check_us / (check_us + round[POLL].cpu_us)
        }))
    };
    section.aim("a check's share of a request's CPU time", share(0), "<=", 0.05);
    section.aim("an admission's share of it", share(THREADS.len()), "<=", 0.1);
    section.remark(format!(
        "The embedded limiter: each check is of the two policies of the class `read`, by {CLIENTS} clients in turn. An *admission* \
         is what each request passes: the networks, what is open, the check, and the counters. The poll is one of one event over \
         {CONNECTIONS} connections that are kept open, from an exempt network, so that no check is in its time; its CPU time is the \
         server's. Threads are spread over two cores, so with 8 of them the locks of the table are fought for and no core is gained."
    ));
    Ok(())
}

fn policies() -> [Policy; 2] {
    let quotas = LimitSettings::default().read;
    [
        Policy::new(RouteClass::Read, false, quotas.sustained),
        Policy::new(RouteClass::Read, true, quotas.burst),
    ]
}

/// Two that admit whatever Redis can check, as one that refuses writes nothing and is cheaper.
fn generous() -> [Policy; 2] {
    let quota = Quota {
        quota: 1_000_000_000,
        window_s: 1,
    };
    [false, true].map(|is_burst| Policy::new(RouteClass::Read, is_burst, quota))
}

fn client(number: u32) -> Client {
    Client::of(Ipv4Addr::from_bits(0x0a00_0000 + number % CLIENTS).into())
}

/// Calls `one` with growing numbers on so many threads, for the window.
fn repeat(bench: &Bench, threads: usize, one: impl Fn(u32) -> Result<(), String> + Sync) -> Result<Figures, String> {
    let failed = |error: io::Error| error.to_string();
    let (counts, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let count = AtomicU64::new(0);
    let cores = [bench.cores.server, bench.cores.readers];
    let stretch = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (one, counts, ended, count) = (&one, &counts, &ended, &count);
                scope.spawn(move || {
                    pin(&[cores[worker % cores.len()]]).map_err(failed)?;
                    let mut number = worker as u32 * (CLIENTS / 8);
                    while !ended.load(Relaxed) {
                        for _ in 0..BETWEEN {
                            one(number)?;
                            number = number.wrapping_add(1);
                        }
                        if counts.load(Relaxed) {
                            count.fetch_add(u64::from(BETWEEN), Relaxed);
                        }
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        thread::sleep(bench.warm);
        let clock = CpuClock::of(id()).map_err(failed)?;
        let stretch = Stretch::begin(bench.cores, clock).map_err(failed);
        counts.store(true, Relaxed);
        thread::sleep(bench.window);
        counts.store(false, Relaxed);
        let spent = stretch.and_then(|stretch| stretch.end().map_err(failed));
        ended.store(true, Relaxed);
        for worker in workers {
            worker
                .join()
                .map_err(|_| "a thread that checks panicked".to_owned())??;
        }
        spent
    })?;
    let done = count.load(Relaxed) as f64;
    Ok(Figures {
        per_s: done / stretch.wall_s,
        cpu_us: stretch.cpu_s * 1e6 / done,
        disturbance: stretch.disturbance,
    })
}

/// The embedded engine never waits.
fn at_once<T>(future: impl Future<Output = T>) -> Result<T, String> {
    future.now_or_never().ok_or_else(|| "a check waited".to_owned())
}

fn checks(bench: &Bench, threads: usize) -> Result<Figures, String> {
    let (limiter, clock, policies) = (Embedded::new(LimitConfig::default().clients), Clock::new(), policies());
    repeat(bench, threads, |number| {
        let decisions = at_once(limiter.check(client(number), &policies, 1, clock.now_us()))?;
        match decisions.is_ok_and(|said| said.iter().all(|decision| decision.allowed)) {
            true => Ok(()),
            false => Err("a client came to the end of its quota".to_owned()),
        }
    })
}

fn admissions(bench: &Bench) -> Result<Figures, String> {
    let config = LimitConfig::default();
    let settings = SettingsVersion {
        version: 1,
        changed_us: 0,
        changed_by: "bench".to_owned(),
        changed_on: String::new(),
        changes: Vec::new(),
        settings: Settings::default(),
    };
    let (_settings, watched) = tokio::sync::watch::channel(Arc::new(settings));
    let limiter = Arc::new(Embedded::new(config.clients));
    let gate = Gate::new(limiter, &config, &Limits::default(), watched);
    repeat(bench, 1, |number| {
        match at_once(gate.admit(client(number), RouteClass::Read))? {
            Verdict::Admitted { .. } => Ok(()),
            refused => Err(format!("{refused:?}")),
        }
    })
}

fn polls(bench: &Bench, server: &Server) -> Result<Figures, String> {
    let failed = |error: io::Error| error.to_string();
    let path = "/api/v1/events?from=settings&reader=bench";
    let mut requests = Requests::new(server.port, CONNECTIONS, path, "", "200")?;
    requests.begin()?;
    requests.run(bench.warm)?;
    let before = requests.counts();
    let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
    requests.run(bench.window)?;
    let spent = stretch.end().map_err(failed)?;
    let answers = (requests.counts().answers - before.answers) as f64;
    requests.end()?;
    Ok(Figures {
        per_s: answers / spent.wall_s,
        cpu_us: spent.cpu_s * 1e6 / answers,
        disturbance: spent.disturbance,
    })
}

fn redis(bench: &Bench, section: &mut Section) -> Result<(), String> {
    // What checks stays on the readers' core, as this thread does; Redis has the server's.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let core = bench.cores.server;
    let redis = thread::scope(|scope| {
        let starting = scope.spawn(|| pin(&[core]).map(|()| runtime.block_on(Redis::start())));
        starting.join().map_err(|_| "Redis did not start".to_owned())
    })?;
    let redis = redis.map_err(|error| error.to_string())?;
    let rounds = whole(bench, "Redis", |round| {
        let mut results = [[None; 2]; AT_ONCE.len()];
        for index in in_turn(round, AT_ONCE.len() * 2) {
            let (at_once, theirs) = (AT_ONCE[index / 2], index % 2);
            let who = ["checks", "redis-benchmark"][theirs];
            let what = json!({"redis": who, "at once": at_once, "round": round});
            results[index / 2][theirs] = undisturbed(bench, section, &what, || match theirs {
                0 => checks_by_redis(bench, &runtime, &redis, at_once),
                _ => evalsha(bench, &redis, at_once),
            })?;
        }
        let whole = results.iter().map(|of| Some([of[0]?, of[1]?]));
        Ok(whole.collect::<Option<Vec<[Figures; 2]>>>())
    })?;
    let mut table = Table::new(&[
        "at once",
        "checks/s by Redis",
        "redis-benchmark's EVALSHA/s",
        "checks ÷ redis-benchmark",
        "Redis's CPU time of a check ÷ of an EVALSHA",
    ]);
    for (index, at_once) in AT_ONCE.iter().enumerate() {
        let of = |theirs: usize| median(rounds.iter().map(|round| round[index][theirs].per_s));
        let against = |figure: fn(&Figures) -> f64| {
            ratio(
                rounds
                    .iter()
                    .map(|round| figure(&round[index][0]) / figure(&round[index][1])),
            )
        };
        table.row([
            at_once.to_string(),
            thousands(of(0)),
            thousands(of(1)),
            against(|f| f.per_s),
            against(|f| f.cpu_us),
        ]);
    }
    section.table(table);
    section.remark(
        "The same script with the same two policies, which admit all, on the same Redis, which has a core for itself. Ours are tasks that each wait for \
         their answer, over the two connections that the engine has, on one thread that also computes what a request is told; \
         `redis-benchmark` has a connection each, and one thread that does nothing else."
            .to_owned(),
    );
    Ok(())
}

fn checks_by_redis(bench: &Bench, runtime: &Runtime, redis: &Redis, at_once: usize) -> Result<Figures, String> {
    let failed = |error: io::Error| error.to_string();
    let config = RedisConfig {
        url: redis.url(),
        prefix: "checks:".to_owned(),
        timeout_ms: 5000,
        on_failure: OnFailure::Closed,
        ..RedisConfig::default()
    };
    let clock = CpuClock::of(redis.process()).map_err(failed)?;
    runtime.block_on(async {
        let engine = Engine::open(&config, 10_000).map_err(|error| error.to_string())?;
        let mut status = engine.status();
        let reaching = status.wait_for(|engine| engine.state == EngineState::Up);
        match tokio::time::timeout(Duration::from_secs(10), reaching).await {
            Ok(Ok(_)) => {}
            _ => return Err("Redis was not reached".to_owned()),
        }
        let (count, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let tasks = (0..at_once).map(|task| {
            let (engine, count, ended) = (Arc::clone(&engine), Arc::clone(&count), Arc::clone(&ended));
            tokio::spawn(async move {
                let (clock, policies) = (Clock::new(), generous());
                let mut number = task as u32 * 700;
                while !ended.load(Relaxed) {
                    let checked = engine.check(client(number), &policies, 1, clock.now_us()).await;
                    checked.map_err(|error| error.to_string())?;
                    count.fetch_add(1, Relaxed);
                    number = number.wrapping_add(1);
                }
                Ok::<(), String>(())
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tokio::time::sleep(bench.warm).await;
        let stretch = Stretch::begin(bench.cores, clock).map_err(failed)?;
        let before = count.load(Relaxed);
        tokio::time::sleep(bench.window).await;
        let done = (count.load(Relaxed) - before) as f64;
        let spent = stretch.end().map_err(failed)?;
        ended.store(true, Relaxed);
        for task in tasks {
            task.await.map_err(|error| error.to_string())??;
        }
        Ok(Figures {
            per_s: done / spent.wall_s,
            cpu_us: spent.cpu_s * 1e6 / done,
            disturbance: spent.disturbance,
        })
    })
}

/// `redis-benchmark`, with as many calls as take about as long as the window.
fn evalsha(bench: &Bench, redis: &Redis, at_once: usize) -> Result<Figures, String> {
    let failed = |error: io::Error| error.to_string();
    let begun = Instant::now();
    let few = 5000;
    redis.benchmark(&generous(), at_once, few)?;
    let per_s = f64::from(few) / begun.elapsed().as_secs_f64();
    let calls = ((per_s * bench.window.as_secs_f64()) as u32).max(few);
    let clock = CpuClock::of(redis.process()).map_err(failed)?;
    let stretch = Stretch::begin(bench.cores, clock).map_err(failed)?;
    let per_s = redis.benchmark(&generous(), at_once, calls)?;
    let spent = stretch.end().map_err(failed)?;
    Ok(Figures {
        per_s,
        cpu_us: spent.cpu_s * 1e6 / f64::from(calls),
        disturbance: spent.disturbance,
    })
}
