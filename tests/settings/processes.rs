//! Three processes on one etcd: every change is applied in each of them.

use std::time::{Duration, Instant};

use freshet_tests::etcd::Etcd;
use freshet_tests::http::{Answer, get, request, send};
use freshet_tests::program::Program;
use freshet_tests::{now_us, within};
use freshet_wire::SettingsStatus;
use http::Method;
use serde_json::{Value, json};

/// Beside other work.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["a", "b", "c"];
const CHANGES: u32 = 200;

async fn patch(program: &Program, patch: &Value) -> Answer {
    let request = request(Method::PATCH, "/api/v1/settings", &[], &patch.to_string());
    send(program.address, request).await
}

async fn status(program: &Program) -> SettingsStatus {
    get(program.address, "/api/v1/settings").await.json()
}

/// Waits until it is so of what this process tells.
async fn until(program: &Program, what: &str, is_so: impl Fn(&SettingsStatus) -> bool) -> SettingsStatus {
    let asking = async {
        loop {
            let status = status(program).await;
            if is_so(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(PATIENCE, what, asking).await
}

/// What each process took to apply a version, by its own account, once all three are listed with it.
async fn applied(program: &Program, version: u64) -> Vec<i64> {
    let all = until(program, "all to have applied it", |told| {
        told.applied.len() == NAMES.len() && told.applied.iter().all(|applied| applied.version == version)
    });
    let mut applied = all.await.applied;
    applied.sort_by(|a, b| a.node.cmp(&b.node));
    assert!(applied.iter().map(|applied| &*applied.node).eq(NAMES), "{applied:?}");
    applied.iter().map(|applied| applied.applied_us).collect()
}

fn report(what: &str, mut took_us: Vec<i64>) {
    took_us.sort_unstable();
    let at = |part: usize| took_us[(took_us.len() * part / 100).min(took_us.len() - 1)];
    let ms = |us: i64| us as f64 / 1000.0;
    println!(
        "{what}, {} times: p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        took_us.len(),
        ms(at(50)),
        ms(at(99)),
        ms(at(100))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_applied_in_each_also_across_a_restart_of_etcd() {
    let mut etcd = Etcd::start(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("freshet.toml");
    let endpoints = etcd.endpoints();
    let config = format!(
        "[election]\nengine = 'etcd'\nendpoints = {endpoints:?}\n[settings]\nengine = 'etcd'\nendpoints = {endpoints:?}\n\
         [pubsub]\nengine = 'memory'\n[seed.limit]\nexempt = ['127.0.0.0/8']\n"
    );
    std::fs::write(&path, config).unwrap();
    let mut programs = Vec::new();
    for name in NAMES {
        programs.push(Program::start(&["--config", path.to_str().unwrap(), "--node-id", name]).await);
    }
    for program in &programs {
        applied(program, 1).await;
    }
    let (mut written, mut answered, mut refused) = (Vec::new(), Vec::new(), 0);
    let mut version = 1;
    for change in 0..CHANGES {
        let author = &programs[change as usize % 3];
        let bytes = 100 + change;
        let asked = json!({"workload": {"payload_bytes": bytes}});
        if change == CHANGES / 2 {
            etcd.kill(0).await;
            refused = without_etcd(&programs, &asked, version).await;
            etcd.start_again(0).await;
        }
        let changed = loop {
            let answer = patch(author, &asked).await;
            if answer.status == 200 {
                break answer.json::<SettingsStatus>();
            }
            assert_eq!(answer.status, 503, "{answer:?}");
            refused += 1;
        };
        let now = now_us();
        assert!(changed.in_force.version > version, "{changed:?} after {version}");
        version = changed.in_force.version;
        for program in &programs {
            let told = until(program, "the change", |told| told.in_force.version >= version).await;
            assert_eq!(told.in_force, changed.in_force, "each change is seen, by each");
        }
        let listed = applied(author, version).await;
        written.extend(listed.iter().map(|applied| applied - changed.in_force.changed_us));
        let others = listed.iter().zip(0..).filter(|(_, index)| *index != change % 3);
        answered.extend(others.map(|(applied, _)| applied - now));
    }
    for program in &programs {
        let metrics = get(program.address, "/metrics").await;
        let counted = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("freshet_settings_changes_total "))
            .expect("the counter of changes");
        assert!(counted.parse::<u32>().unwrap() >= CHANGES, "{counted}");
    }
    println!("{CHANGES} changes, each applied in 3 processes; {refused} refused while etcd was away");
    report("from written to applied, in each process", written);
    report("from the answer to applied, in the others", answered);
}

/// All go on with the settings they have, say that etcd is away, and refuse to change anything; how often they did.
async fn without_etcd(programs: &[Program], change: &Value, version: u64) -> u32 {
    let begun = Instant::now();
    for program in programs {
        let answer = patch(program, change).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.text().contains("etcd"), "{answer:?}");
        let told = until(program, "word that etcd is away", |told| {
            told.engine.detail.contains("etcd")
        })
        .await;
        assert_eq!(told.in_force.version, version);
        let ready = get(program.address, "/readyz").await;
        assert_eq!(ready.status, 200);
        assert!(ready.text().contains("settings: etcd"), "{ready:?}");
    }
    println!("three times told in {:?} that etcd is away", begun.elapsed());
    u32::try_from(programs.len()).unwrap()
}
