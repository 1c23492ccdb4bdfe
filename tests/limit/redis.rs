//! Redis, against a real server.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use freshet::config::{LimitEngine, RedisConfig};
use freshet::limit::contract::{Harness, a_client, policy};
use freshet::limit::redis::Redis as Engine;
use freshet::limit::{Client, Limiter, Policy};
use freshet_tests::http::{Connection, request};
use freshet_tests::redis::Redis;
use freshet_tests::{SOON, Server, now_us, until, within};
use freshet_wire::{EngineState, LimitStatus, OnFailure, RouteClass};
use http::Method;
use serde_json::json;

mod outage;

mod contract {
    freshet::limit_contract!(super::harness);
}

/// Real time, and a prefix of the test's own.
struct Real {
    url: String,
    prefix: String,
}

async fn harness(promise: &str) -> Real {
    Real {
        url: Redis::shared().await.url(),
        prefix: format!("{promise}:"),
    }
}

impl Harness for Real {
    async fn open(&self) -> Arc<dyn Limiter> {
        open(&self.url, &self.prefix, OnFailure::Local).await
    }

    fn now_us(&self) -> i64 {
        now_us()
    }

    async fn pass(&self, us: u64) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }
}

/// With patience, as two cores may have other work: a contract is about what Redis decides.
fn config(url: &str, prefix: &str, on_failure: OnFailure) -> RedisConfig {
    RedisConfig {
        url: url.to_owned(),
        prefix: prefix.to_owned(),
        timeout_ms: 2000,
        on_failure,
        ..RedisConfig::default()
    }
}

async fn open(url: &str, prefix: &str, on_failure: OnFailure) -> Arc<Engine> {
    let engine = Engine::open(&config(url, prefix, on_failure), 10_000).unwrap();
    reached(&*engine, EngineState::Up).await;
    engine
}

async fn reached(engine: &dyn Limiter, state: EngineState) {
    let mut status = engine.status();
    let reaching = async { status.wait_for(|engine| engine.state == state).await.unwrap().clone() };
    within(SOON, &format!("Redis to be {state:?}"), reaching).await;
}

async fn admitted(engine: &Arc<Engine>, client: Client, policy: Policy, tries: u32) -> u32 {
    let mut admitted = 0;
    for _ in 0..tries {
        admitted += u32::from(engine.check(client, &[policy], 1, now_us()).await.unwrap()[0].allowed);
    }
    admitted
}

/// Whole again only long after the test.
fn slow(quota: u32) -> Policy {
    policy(RouteClass::Read, false, quota, 80_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_on_one_redis_admit_together_no_more_than_one_quota() {
    let redis = Redis::shared().await;
    let begun = Instant::now();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "redis::one_of_three_processes", "--ignored", "--nocapture"])
                .env(WORKER, redis.url())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut shares = Vec::new();
    for worker in workers {
        let output = tokio::task::spawn_blocking(|| worker.wait_with_output().unwrap())
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.split("admitted=").nth(1).unwrap_or_else(|| panic!("{text}"));
        shares.push(count.split_whitespace().next().unwrap().parse::<u32>().unwrap());
    }
    let took = begun.elapsed().as_secs_f64();
    let sum: u32 = shares.iter().sum();
    let most = f64::from(BURST) + f64::from(BURST) * took;
    println!(
        "three processes: {shares:?} admitted, together {sum} of b + r·t = {most:.0} ({:.3})",
        f64::from(sum) / most
    );
    assert!(f64::from(sum) <= most, "{shares:?} in {took} s");
    assert!(sum >= BURST + BURST, "and what there is, is given: {shares:?}");
    assert!(shares.iter().all(|&share| share > 0), "{shares:?}");
}

const WORKER: &str = "FRESHET_TEST_REDIS";
/// b, and b a second.
const BURST: u32 = 200;

/// Asks as fast as it can for three seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of the test of three"]
async fn one_of_three_processes() {
    let Ok(url) = std::env::var(WORKER) else { return };
    let engine = open(&url, "three:", OnFailure::Closed).await;
    let client = Client::of([192, 0, 2, 7].into());
    let policies = [policy(RouteClass::Read, false, BURST, 1)];
    let (count, end) = (Arc::new(AtomicU32::new(0)), Instant::now() + Duration::from_secs(3));
    let tasks = (0..8).map(|_| {
        let (engine, count) = (Arc::clone(&engine), Arc::clone(&count));
        tokio::spawn(async move {
            while Instant::now() < end {
                let decisions = engine.check(client, &policies, 1, now_us()).await.unwrap();
                count.fetch_add(u32::from(decisions[0].allowed), Relaxed);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(engine.without_engine(), 0);
    println!("admitted={} ", count.load(Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_and_returns_gives_nobody_a_fresh_quota() {
    let mut redis = Redis::start().await;
    let engine = open(&redis.url(), "dies:", OnFailure::Local).await;
    let (client, policy) = (a_client(), slow(100));
    assert_eq!(admitted(&engine, client, policy, 60).await, 60);
    redis.kill().await;
    // Each process goes on from where the shared quota stood.
    assert_eq!(admitted(&engine, client, policy, 30).await, 30);
    reached(&*engine, EngineState::Down).await;
    assert!(!engine.status().borrow().detail.is_empty());
    assert!(engine.without_engine() >= 29);
    // It comes back empty: what was spent is told to it with the next check.
    redis.start_again().await;
    reached(&*engine, EngineState::Up).await;
    assert_eq!(admitted(&engine, client, policy, 50).await, 10, "60 and 30 were spent");
    // And other processes know it too.
    let other = open(&redis.url(), "dies:", OnFailure::Local).await;
    assert_eq!(admitted(&other, client, policy, 5).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_is_noticed_and_the_quota_holds() {
    let redis = Redis::start().await;
    let mut config = config(&redis.url(), "still:", OnFailure::Local);
    config.timeout_ms = 100;
    let engine = Engine::open(&config, 10_000).unwrap();
    reached(&*engine, EngineState::Up).await;
    let (client, policy) = (a_client(), slow(100));
    let before = admitted(&engine, client, policy, 40).await;
    redis.freeze(true);
    let begun = Instant::now();
    let meanwhile = admitted(&engine, client, policy, 30).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "only the first one waits: {:?}",
        begun.elapsed()
    );
    reached(&*engine, EngineState::Down).await;
    redis.freeze(false);
    reached(&*engine, EngineState::Up).await;
    let after = admitted(&engine, client, policy, 100).await;
    println!("stood still: {before} + {meanwhile} + {after} admitted of 100");
    assert!(before + meanwhile + after <= 100, "{before} + {meanwhile} + {after}");
    // What it had taken and not answered may have been spent twice.
    assert!(before + meanwhile + after >= 95, "{before} + {meanwhile} + {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_means_that_nothing_is_admitted_without_redis() {
    let mut redis = Redis::start().await;
    let engine = open(&redis.url(), "closed:", OnFailure::Closed).await;
    let (client, policy) = (a_client(), slow(100));
    assert_eq!(admitted(&engine, client, policy, 10).await, 10);
    redis.kill().await;
    for _ in 0..5 {
        assert!(engine.check(client, &[policy], 1, now_us()).await.is_err());
    }
    redis.start_again().await;
    reached(&*engine, EngineState::Up).await;
    assert_eq!(admitted(&engine, client, policy, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_a_matter_of_configuration_and_a_stranger_s_certificate_is_refused() {
    let redis = Redis::start_with_tls().await;
    let mut config = config(&redis.tls_url(), "tls:", OnFailure::Closed);
    config.ca_file = Some(redis.certificate());
    let engine = Engine::open(&config, 1000).unwrap();
    reached(&*engine, EngineState::Up).await;
    assert_eq!(admitted(&engine, a_client(), slow(10), 20).await, 10);
    config.ca_file = None;
    let engine = Engine::open(&config, 1000).unwrap();
    reached(&*engine, EngineState::Down).await;
    let detail = engine.status().borrow().detail.clone();
    assert!(detail.to_ascii_lowercase().contains("certificate"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_was_forgotten_is_loaded_again() {
    let redis = Redis::start().await;
    let engine = open(&redis.url(), "flush:", OnFailure::Closed).await;
    let (client, policy) = (a_client(), slow(100));
    assert_eq!(admitted(&engine, client, policy, 3).await, 3);
    assert_eq!(redis.say("SCRIPT FLUSH\r\n").await.unwrap(), "+OK\r\n");
    assert_eq!(admitted(&engine, client, policy, 3).await, 3);
    assert_eq!(engine.without_engine(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_when_the_quota_is_whole() {
    let redis = Redis::start().await;
    let engine = open(&redis.url(), "whole:", OnFailure::Closed).await;
    let quick = policy(RouteClass::Read, false, 10, 1);
    for _ in 0..20 {
        admitted(&engine, a_client(), quick, 1).await;
    }
    until("the keys to go", async || {
        redis.say("DBSIZE\r\n").await.unwrap() == ":0\r\n"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_share_a_quota_and_say_so_when_redis_is_away() {
    let mut redis = Redis::start().await;
    let service = async |url: String| {
        let server = Server::quiet(|config| {
            config.seed.limit.exempt.clear();
            config.limit.engine = LimitEngine::Redis;
            config.limit.redis = self::config(&url, "services:", OnFailure::Local);
        })
        .await;
        server
            .change(json!({"limit": {"try": {"burst": {"quota": 10, "window_s": 80_000}}}}))
            .await;
        server
    };
    let servers = [service(redis.url()).await, service(redis.url()).await];
    let status = async |server: &Server| server.get("/api/v1/limits").await.json::<LimitStatus>();
    for server in &servers {
        until("Redis to be reached", async || {
            status(server).await.engine.state == EngineState::Up
        })
        .await;
    }
    let mut admitted = 0;
    for request in 0..30 {
        let answer = servers[request % 2]
            .send(Method::POST, "/api/v1/limits/try", &[], "")
            .await;
        admitted += u32::from(answer.status == 204);
    }
    assert_eq!(admitted, 10);
    redis.kill().await;
    for server in &servers {
        until("the service to notice", async || {
            status(server).await.engine.state == EngineState::Down
        })
        .await;
        let said = status(server).await;
        assert_eq!((&*said.engine.name, said.on_failure), ("redis", Some(OnFailure::Local)));
        assert!(said.engine.detail.contains("each process limits by itself"), "{said:?}");
        let ready = server.get("/readyz").await;
        assert!(
            ready.status == 200 && ready.text().contains("rate limits: Redis"),
            "{ready:?}"
        );
        until("the topic to say so", async || {
            let page = server.poll("from=limits").await;
            let said: LimitStatus = serde_json::from_str(&page.events[0].data).unwrap();
            said.engine.state == EngineState::Down && said.without_engine > 0
        })
        .await;
    }
    redis.start_again().await;
    for server in &servers {
        until("Redis to be reached again", async || {
            status(server).await.engine.state == EngineState::Up
        })
        .await;
    }
}

/// A load on two processes through the end and the return of their Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_process_admits_at_most_a_quota_of_its_own() {
    const QUOTA: u32 = 100;
    let mut redis = Redis::start().await;
    let engines = [
        open(&redis.url(), "away:", OnFailure::Local).await,
        open(&redis.url(), "away:", OnFailure::Local).await,
    ];
    // b = 100, r = 50 a second.
    let (client, policy) = (a_client(), policy(RouteClass::Read, false, QUOTA, 2));
    let (count, end) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let begun = Instant::now();
    let load = engines.each_ref().map(|engine| {
        let (engine, count, end) = (Arc::clone(engine), Arc::clone(&count), Arc::clone(&end));
        tokio::spawn(async move {
            while end.load(Relaxed) == 0 {
                let decisions = engine.check(client, &[policy], 1, now_us()).await.unwrap();
                count.fetch_add(u32::from(decisions[0].allowed), Relaxed);
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        })
    });
    let pass = |ms| tokio::time::sleep(Duration::from_millis(ms));
    pass(3000).await;
    let (shared, shared_s) = (count.load(Relaxed), begun.elapsed().as_secs_f64());
    redis.kill().await;
    let killed = Instant::now();
    pass(3000).await;
    redis.start_again().await;
    for engine in &engines {
        reached(&**engine, EngineState::Up).await;
    }
    let away_s = killed.elapsed().as_secs_f64();
    let (away, back) = (count.load(Relaxed) - shared, Instant::now());
    pass(2000).await;
    end.store(1, Relaxed);
    for load in load {
        load.await.unwrap();
    }
    let (after, after_s) = (count.load(Relaxed) - shared - away, back.elapsed().as_secs_f64());
    let r = f64::from(QUOTA) / 2.0;
    println!(
        "shared: {shared} in {shared_s:.1} s; away: {away} in {away_s:.1} s, {:.0} beyond one quota's r·t; back: {after} in {after_s:.1} s (r·t = {:.0})",
        f64::from(away) - r * away_s,
        r * after_s
    );
    assert!(f64::from(shared) <= f64::from(QUOTA) + r * shared_s);
    // Each goes on from where the shared quota stood: what comes back meanwhile comes back in each.
    assert!(
        f64::from(away) <= 2.0 * r * away_s + 0.2 * f64::from(QUOTA),
        "{away} in {away_s} s"
    );
    assert!(
        f64::from(after) <= r * after_s + 0.2 * f64::from(QUOTA),
        "a burst on the way back: {after} in {after_s} s"
    );
}
