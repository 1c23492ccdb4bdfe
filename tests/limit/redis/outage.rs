//! Redis stands still, dies and returns while a client asks two services over HTTP as fast as it can.

use std::sync::Mutex;

use super::*;

/// b, and r a second: so little that more is asked for on the slowest machine.
const QUOTA: u32 = 40;
const RATE: f64 = 10.0;
const SERVICES: usize = 2;
const TRY: &str = "/api/v1/limits/try";

/// How long it is away each time, in seconds: 3, or what `FRESHET_OUTAGE_S` says.
fn outage() -> Duration {
    let seconds = std::env::var("FRESHET_OUTAGE_S").ok();
    Duration::from_secs(seconds.map_or(3, |text| text.parse().expect("FRESHET_OUTAGE_S is a number of seconds")))
}

/// Requests to all services, until it is ended; when each was admitted.
struct Load {
    admitted: Arc<Mutex<Vec<Instant>>>,
    asked: Arc<AtomicU32>,
    end: Arc<AtomicU32>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(servers: &[Server]) -> Self {
        let (admitted, asked, end) = (Arc::default(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let tasks = servers.iter().chain(servers).map(|server| {
            let (address, admitted, asked, end) = (
                server.address,
                Arc::<Mutex<Vec<Instant>>>::clone(&admitted),
                Arc::clone(&asked),
                Arc::clone(&end),
            );
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await;
                while end.load(Relaxed) == 0 {
                    let answer = connection.send(request(Method::POST, TRY, &[], "")).await;
                    assert!(answer.status == 204 || answer.status == 429, "{answer:?}");
                    asked.fetch_add(1, Relaxed);
                    if answer.status == 204 {
                        admitted.lock().unwrap().push(Instant::now());
                    }
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            admitted,
            asked,
            end,
        }
    }

    fn refused(&self) -> usize {
        let admitted = self.admitted.lock().unwrap().len();
        (self.asked.load(Relaxed) as usize).saturating_sub(admitted)
    }

    /// Until the quota is spent: what is left of it when Redis goes is left in each process.
    async fn has_spent_all(&self) {
        let before = self.refused();
        until("the quota to be spent", async || self.refused() >= before + 20).await;
    }

    fn between(&self, from: Instant, to: Instant) -> u32 {
        let admitted = self.admitted.lock().unwrap();
        u32::try_from(admitted.iter().filter(|&&at| at >= from && at < to).count()).unwrap()
    }

    /// The most by which an interval within these bounds admitted more than r·t.
    fn most_beyond_rate(&self, from: Instant, to: Instant) -> f64 {
        let mut times = self.admitted.lock().unwrap().clone();
        times.retain(|&at| at >= from && at < to);
        times.sort_unstable();
        // Of the sums since each beginning only the least before counts.
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for (count, at) in (0_u32..).zip(times) {
            let ahead = f64::from(count) - RATE * (at - from).as_secs_f64();
            least = least.min(ahead);
            most = most.max(ahead + 1.0 - least);
        }
        most
    }

    async fn end(self) {
        self.end.store(1, Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn status(server: &Server) -> LimitStatus {
    server.get("/api/v1/limits").await.json()
}

async fn all_say(servers: &[Server], state: EngineState) {
    for server in servers {
        until(&format!("the service to say {state:?}"), async || {
            status(server).await.engine.state == state
        })
        .await;
    }
}

/// What a page is told while Redis is away, by the topic as by the route.
async fn is_told(servers: &[Server]) -> LimitStatus {
    let server = &servers[0];
    until("the topic to say so", async || {
        let page = server.poll("from=limits").await;
        let said: LimitStatus = serde_json::from_str(&page.events[0].data).unwrap();
        said.engine.state != EngineState::Up && said.without_engine > 0
    })
    .await;
    let said = status(server).await;
    assert_eq!((&*said.engine.name, said.on_failure), ("redis", Some(OnFailure::Local)));
    assert!(said.engine.detail.contains("each process limits by itself"), "{said:?}");
    assert!(server.get("/readyz").await.text().contains("rate limits: Redis"));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_or_killed_under_load_the_page_is_told_the_quotas_hold_and_the_way_back_has_no_burst() {
    let mut redis = Redis::start().await;
    let mut servers = Vec::new();
    for _ in 0..SERVICES {
        let server = Server::quiet(|config| {
            config.seed.limit.exempt.clear();
            config.limit.engine = LimitEngine::Redis;
            config.limit.redis = config_with(&redis);
        })
        .await;
        let quota = json!({"quota": QUOTA, "window_s": 4});
        server
            .change(json!({"limit": {"try": {"burst": quota, "sustained": {"quota": 0}}}}))
            .await;
        servers.push(server);
    }
    all_say(&servers, EngineState::Up).await;
    let load = Load::begin(&servers);
    let begun = Instant::now();
    let mut away = Vec::new();
    for killed in [false, true] {
        load.has_spent_all().await;
        let from = Instant::now();
        match killed {
            true => redis.kill().await,
            false => redis.freeze(true),
        }
        all_say(&servers, EngineState::Down).await;
        let noticed = from.elapsed();
        let told = is_told(&servers).await;
        tokio::time::sleep(outage().saturating_sub(from.elapsed())).await;
        match killed {
            true => redis.start_again().await,
            false => redis.freeze(false),
        }
        all_say(&servers, EngineState::Up).await;
        let back = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let to = Instant::now();
        let (count, away_s) = (load.between(from, back), (back - from).as_secs_f64());
        println!(
            "Redis {} for {away_s:.1} s, noticed by all in {noticed:.1?}: {:?}\n  {count} admitted meanwhile by {SERVICES} processes, {:+.0} beyond one quota's r·t; afterwards {} in {:.1} s (r·t = {:.0}), at most {:.0} beyond r·t in any interval (b = {QUOTA})",
            if killed { "killed" } else { "paused" },
            told.engine.detail,
            f64::from(count) - RATE * away_s,
            load.between(back, to),
            (to - back).as_secs_f64(),
            RATE * (to - back).as_secs_f64(),
            load.most_beyond_rate(back, to),
        );
        away.push((count, away_s, back, to));
    }
    let (total_s, total) = (begun.elapsed().as_secs_f64(), load.between(begun, Instant::now()));
    let away_s: f64 = away.iter().map(|&(_, away_s, ..)| away_s).sum();
    let quota = f64::from(QUOTA) + RATE * total_s;
    println!(
        "{} asked and {total} admitted in {total_s:.1} s; one quota is {quota:.0}: {:+.0} beyond it, of at most r·t of each other process while it was away, {:.0}",
        load.asked.load(Relaxed),
        f64::from(total) - quota,
        RATE * away_s * (SERVICES - 1) as f64
    );
    assert!(load.asked.load(Relaxed) > total, "there was more to admit than a quota");
    for &(count, away_s, back, to) in &away {
        // Each process goes on from where the shared quota stood. A check that Redis takes and does not answer may be spent in both.
        let most = SERVICES as f64 * RATE * away_s + 0.2 * f64::from(QUOTA);
        assert!(f64::from(count) <= most, "{count} in {away_s:.1} s, of {most:.0}");
        let beyond = load.most_beyond_rate(back, to);
        assert!(
            beyond <= 0.3 * f64::from(QUOTA),
            "a burst of {beyond:.0} on the way back"
        );
    }
    let most = quota + RATE * away_s * (SERVICES - 1) as f64 + 0.4 * f64::from(QUOTA);
    assert!(f64::from(total) <= most, "{total} of {most:.0}");
    load.end().await;
}

fn config_with(redis: &Redis) -> RedisConfig {
    RedisConfig {
        // So that a machine with other work is not taken for a Redis that is away.
        timeout_ms: 1000,
        ..config(&redis.url(), "outage:", OnFailure::Local)
    }
}

/// As after the clock of the server, or of the one that took its place, was set back by an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_locks_nobody_out_for_longer_than_a_quota_lasts() {
    let redis = Redis::start().await;
    let engine = open(&redis.url(), "back:", OnFailure::Closed).await;
    let (client, policy) = (a_client(), policy(RouteClass::Read, false, 10, 5));
    let tat_us = now_us() + 3_600_000_000;
    let key = format!("back:{{{client}}}:read");
    let set = format!("SET {key} \"{tat_us} {}\" PX 3700000\r\n", policy.interval_us);
    assert_eq!(redis.say(&set).await.unwrap(), "+OK\r\n");
    let policies = [policy];
    let refused = engine.check(client, &policies, 1, now_us()).await.unwrap()[0];
    assert!(!refused.allowed && refused.retry_after_us <= 500_000, "{refused:?}");
    tokio::time::sleep(Duration::from_micros(refused.retry_after_us)).await;
    let again = engine.check(client, &policies, 1, now_us()).await.unwrap()[0];
    assert!(again.allowed, "{again:?}");
}

/// Nobody sheds what is owed by hanging up while Redis is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_while_redis_is_asked_still_owes_what_it_spent_without_it() {
    let mut redis = Redis::start().await;
    let engine = open(&redis.url(), "hangs-up:", OnFailure::Local).await;
    let (client, policy) = (a_client(), slow(100));
    redis.kill().await;
    assert_eq!(admitted(&engine, client, policy, 80).await, 80);
    redis.start_again().await;
    reached(&*engine, EngineState::Up).await;
    // It takes the question and dies without having read it.
    redis.freeze(true);
    let policies = [policy];
    let asking = tokio::time::timeout(Duration::from_millis(20), engine.check(client, &policies, 1, now_us()));
    assert!(asking.await.is_err(), "nobody answered");
    redis.kill().await;
    redis.start_again().await;
    until("Redis to be reached again", async || {
        let without = engine.without_engine();
        let other = engine.check(a_client(), &[policy], 1, now_us()).await;
        other.is_ok() && engine.without_engine() == without
    })
    .await;
    assert_eq!(admitted(&engine, client, policy, 50).await, 20, "80 were spent");
    let other = open(&redis.url(), "hangs-up:", OnFailure::Local).await;
    assert_eq!(admitted(&other, client, policy, 5).await, 0, "and Redis knows");
}
