//! Every live setting: what it takes, and what it is. The page and the checks read the same table.

use std::sync::LazyLock;

use freshet_wire::{RouteClass, SettingKey, SettingKind, Settings, SettingsSchema};
use serde_json::Value;

/// The highest rate of a quota, in requests a second: above it, whole microseconds are too coarse for the limiter.
pub(super) const MOST_PER_S: u32 = 10_000;
/// The lowest rate that is not off: once in a hundred seconds.
const LEAST_HZ: f64 = 0.01;
/// Networks that a list takes: every request is held against them.
const MOST_NETWORKS: f64 = 256.0;
const MOST_FILTER_BYTES: f64 = 512.0;

const SAMPLES: &str = "samples a second";

/// All of them, section by section.
pub fn schema() -> &'static SettingsSchema {
    static SCHEMA: LazyLock<SettingsSchema> = LazyLock::new(|| SettingsSchema { keys: keys() });
    &SCHEMA
}

/// A setting's value, where the settings are this JSON.
pub(super) fn value<'a>(settings: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(settings, |value, name| value.get(name))
}

fn keys() -> Vec<SettingKey> {
    let mut keys = vec![
        rate(
            "source.cpu_hz",
            20.0,
            SAMPLES,
            "How often CPU use is sampled (topic host.cpu).",
        ),
        rate(
            "source.network_hz",
            20.0,
            SAMPLES,
            "How often network traffic is sampled (topic host.network).",
        ),
        rate(
            "source.memory_hz",
            20.0,
            SAMPLES,
            "How often memory is sampled (topic host.memory).",
        ),
        rate(
            "source.disk_hz",
            5.0,
            SAMPLES,
            "How often disks are sampled (topic host.disk).",
        ),
        rate(
            "source.processes_hz",
            2.0,
            SAMPLES,
            "How often the busiest processes are sampled (topic host.processes).",
        ),
        rate(
            "workload.rate_hz",
            10_000.0,
            "events a second",
            "The rate of the synthetic workload, on average.",
        ),
        SettingKey {
            choices: ["steady", "poisson", "bursts"].map(str::to_owned).to_vec(),
            ..key(
                "workload.shape",
                SettingKind::Choice,
                "How the synthetic events are spread over time: at equal distances, at random, or many at once.",
            )
        },
        integer(
            "workload.burst_events",
            1.0,
            10_000.0,
            "events",
            "How many events come at once, where the shape is bursts.",
        ),
        integer(
            "workload.payload_bytes",
            32.0,
            16_384.0,
            "bytes",
            "The size of a synthetic event's data, as JSON.",
        ),
        integer(
            "retention.max_age_s",
            60.0,
            315_360_000.0,
            "seconds",
            "How long events are kept of each topic.",
        ),
        integer(
            "retention.max_bytes",
            1_048_576.0,
            1_099_511_627_776.0,
            "bytes",
            "How much is kept of each topic; the oldest events go first. All of them together are bounded by the static max_total_bytes.",
        ),
        integer(
            "lane.poll_interval_ms",
            100.0,
            30_000.0,
            "milliseconds",
            "How often a page polls whose reader has not chosen: from a response to the next request.",
        ),
        SettingKey {
            choices: ["poll", "stream"].map(str::to_owned).to_vec(),
            ..key(
                "lane.cards",
                SettingKind::Choice,
                "The lane that feeds the cards of a page whose reader has not chosen.",
            )
        },
        integer(
            "election.lease_ttl_s",
            1.0,
            300.0,
            "seconds",
            "How long a leader on etcd or ZooKeeper that falls silent keeps the lead. Each process begins a new lease when this changes, and the \
             lead may go to another.",
        ),
        SettingKey {
            restart: true,
            ..integer(
                "election.raft_timeout_ms",
                200.0,
                10_000.0,
                "milliseconds",
                "The lease of a leader on the embedded Raft, and the longest that a node waits before it stands for election. It needs a restart.",
            )
        },
        sampling(
            "sampling.deliveries_hz",
            "How often the figures of topics and readers are told (topic deliveries).",
        ),
        sampling(
            "sampling.limits_hz",
            "How often the counters of the limits are told (topic limits), at most.",
        ),
    ];
    for class in RouteClass::ALL {
        for (name, what) in [("burst", "at once"), ("sustained", "in the long run")] {
            let of = |member: &str| format!("limit.{}.{name}.{member}", class.name());
            keys.push(SettingKey {
                zero: Some("no limit".to_owned()),
                ..integer(
                    &of("quota"),
                    1.0,
                    1_000_000.0,
                    "requests",
                    &format!("How many requests of the class {} a client has {what}.", class.name()),
                )
            });
            keys.push(integer(
                &of("window_s"),
                1.0,
                86_400.0,
                "seconds",
                "In how many seconds a quota that was spent is there again.",
            ));
        }
    }
    keys.extend([
        networks("limit.exempt", "Networks for which no quota holds."),
        networks("limit.denied", "Networks that are refused. One that has a loopback address in it cannot be denied."),
        key("limit.mask", SettingKind::Flag, "Whether clients' addresses are masked wherever they are shown."),
        SettingKey {
            most: Some(MOST_FILTER_BYTES),
            ..key("log.filter", SettingKind::Text, "What the process says on standard error: levels of all (info) and of modules (freshet::election=debug), separated by commas.")
        },
    ]);
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    for key in &mut keys {
        key.default = value(&defaults, &key.key).cloned().unwrap_or_default();
    }
    keys
}

fn key(key: &str, kind: SettingKind, what: &str) -> SettingKey {
    SettingKey {
        key: key.to_owned(),
        kind,
        unit: String::new(),
        least: None,
        most: None,
        zero: None,
        choices: Vec::new(),
        default: Value::Null,
        restart: false,
        what: what.to_owned(),
    }
}

fn rate(name: &str, most: f64, unit: &str, what: &str) -> SettingKey {
    SettingKey {
        unit: unit.to_owned(),
        least: Some(LEAST_HZ),
        most: Some(most),
        zero: Some("off".to_owned()),
        ..key(name, SettingKind::Number, what)
    }
}

fn integer(name: &str, least: f64, most: f64, unit: &str, what: &str) -> SettingKey {
    SettingKey {
        unit: unit.to_owned(),
        least: Some(least),
        most: Some(most),
        ..key(name, SettingKind::Integer, what)
    }
}

/// What the page shows of it is taken for old after a few seconds.
fn sampling(name: &str, what: &str) -> SettingKey {
    SettingKey {
        unit: SAMPLES.to_owned(),
        least: Some(0.5),
        most: Some(10.0),
        ..key(name, SettingKind::Number, what)
    }
}

fn networks(name: &str, what: &str) -> SettingKey {
    SettingKey {
        unit: "networks".to_owned(),
        most: Some(MOST_NETWORKS),
        ..key(name, SettingKind::Networks, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves of the settings, which are what can be set.
    fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                leaves(
                    value,
                    &format!("{path}{}{name}", if path.is_empty() { "" } else { "." }),
                    found,
                );
            }),
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn every_setting_stands_in_the_schema_once_with_its_default_within_its_bounds() {
        let defaults = serde_json::to_value(Settings::default()).unwrap();
        let mut all = Vec::new();
        leaves(&defaults, "", &mut all);
        all.sort();
        let mut keys: Vec<_> = schema().keys.iter().map(|key| key.key.clone()).collect();
        keys.sort();
        assert_eq!(keys, all);
        assert!(crate::settings::check(&defaults).is_ok());
    }
}
