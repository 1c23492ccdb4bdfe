//! Live settings: validated, versioned, watched. In memory for now: a restart begins with the defaults.

use std::sync::Arc;

use freshet_wire::{LimitSettings, Quota, RouteClass, Settings, SettingsVersion};
use serde_json::Value;
use tokio::sync::watch;

use crate::network::Network;

/// The highest rate of a quota, in requests a second: above it, whole microseconds are too coarse for the limiter.
const MOST_PER_S: u32 = 10_000;
const MOST_QUOTA: u32 = 1_000_000;
const MOST_WINDOW_S: u32 = 86_400;
/// Networks that a list takes: every request is held against them.
const MOST_NETWORKS: usize = 256;

/// The lowest rate that is not off: once in a hundred seconds.
const LEAST_HZ: f64 = 0.01;

/// Bounds, by the path of the setting: from, to and unit.
const BOUNDS: [(&str, f64, f64, &str); 8] = [
    ("source.cpu_hz", 0.0, 20.0, "samples a second"),
    ("source.network_hz", 0.0, 20.0, "samples a second"),
    ("source.memory_hz", 0.0, 20.0, "samples a second"),
    ("source.disk_hz", 0.0, 5.0, "samples a second"),
    ("source.processes_hz", 0.0, 2.0, "samples a second"),
    ("workload.rate_hz", 0.0, 10_000.0, "events a second"),
    ("workload.burst_events", 1.0, 10_000.0, "events"),
    ("workload.payload_bytes", 32.0, 16_384.0, "bytes"),
];

/// The settings in force, and those who watch them.
#[derive(Debug)]
pub struct Store {
    current: watch::Sender<Arc<SettingsVersion>>,
}

/// Why a change is refused; the settings stay as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{reason}")]
    Invalid { field: String, reason: String },
    #[error("the settings are at version {current}, not {expected}: read them again and repeat the change")]
    Conflict { expected: u64, current: u64 },
}

impl Store {
    pub fn new(settings: Settings, now_us: i64) -> Self {
        let first = SettingsVersion {
            version: 1,
            changed_us: now_us,
            settings,
        };
        Self {
            current: watch::Sender::new(Arc::new(first)),
        }
    }

    pub fn current(&self) -> Arc<SettingsVersion> {
        Arc::clone(&self.current.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<SettingsVersion>> {
        self.current.subscribe()
    }

    /// Applies a JSON merge patch (RFC 7396) whole or not at all; `expected` is the version it was made for.
    pub fn patch(
        &self,
        patch: &Value,
        expected: Option<u64>,
        now_us: i64,
    ) -> Result<Arc<SettingsVersion>, SettingsError> {
        let mut outcome = None;
        self.current
            .send_if_modified(|current| match changed(current, patch, expected) {
                Ok(settings) if settings == current.settings => {
                    outcome = Some(Ok(Arc::clone(current)));
                    false
                }
                Ok(settings) => {
                    *current = Arc::new(SettingsVersion {
                        version: current.version + 1,
                        changed_us: now_us,
                        settings,
                    });
                    outcome = Some(Ok(Arc::clone(current)));
                    true
                }
                Err(error) => {
                    outcome = Some(Err(error));
                    false
                }
            });
        outcome.unwrap_or_else(|| Ok(self.current()))
    }
}

fn changed(current: &SettingsVersion, patch: &Value, expected: Option<u64>) -> Result<Settings, SettingsError> {
    if let Some(expected) = expected.filter(|&expected| expected != current.version) {
        return Err(SettingsError::Conflict {
            expected,
            current: current.version,
        });
    }
    let invalid = |field: &str, reason: String| SettingsError::Invalid {
        field: field.to_owned(),
        reason,
    };
    if !patch.is_object() {
        return Err(invalid(
            "body",
            "a merge patch of the settings is a JSON object".to_owned(),
        ));
    }
    let mut document = to_value(&current.settings);
    merge(&mut document, patch);
    let settings: Settings = serde_path_to_error::deserialize(&document)
        .map_err(|error| invalid(&error.path().to_string(), error.inner().to_string()))?;
    for (path, least, most, unit) in BOUNDS {
        let value = document
            .pointer(&format!("/{}", path.replace('.', "/")))
            .and_then(Value::as_f64);
        let in_bounds = |value| (least..=most).contains(&value);
        if path.ends_with("_hz") {
            if !value.is_some_and(|value| value == 0.0 || value >= LEAST_HZ && in_bounds(value)) {
                return Err(invalid(
                    path,
                    format!("{path} takes 0 (off) or {LEAST_HZ} to {most} {unit}"),
                ));
            }
        } else if !value.is_some_and(in_bounds) {
            return Err(invalid(path, format!("{path} takes {least} to {most} {unit}")));
        }
    }
    check_limit(&settings.limit)?;
    Ok(settings)
}

fn check_limit(limit: &LimitSettings) -> Result<(), SettingsError> {
    let invalid = |field: String, reason: String| Err(SettingsError::Invalid { field, reason });
    for class in RouteClass::ALL {
        let quotas = limit.of(class);
        for (name, Quota { quota, window_s }) in [("burst", quotas.burst), ("sustained", quotas.sustained)] {
            let field = |member| format!("limit.{}.{name}.{member}", class.name());
            if quota > MOST_QUOTA {
                return invalid(
                    field("quota"),
                    format!("a quota is 0 (no limit) to {MOST_QUOTA} requests"),
                );
            }
            if !(1..=MOST_WINDOW_S).contains(&window_s) {
                return invalid(field("window_s"), format!("a window has 1 to {MOST_WINDOW_S} seconds"));
            }
            if quota.div_ceil(window_s) > MOST_PER_S {
                return invalid(
                    field("quota"),
                    format!("a quota comes back at {MOST_PER_S} requests a second at most"),
                );
            }
        }
        let admin = (class == RouteClass::Admin).then_some([quotas.burst, quotas.sustained]);
        // With less, whoever changed it could hardly take it back.
        if admin.is_some_and(|quotas| quotas.iter().any(|quota| (1..5).contains(&quota.quota))) {
            return invalid(
                "limit.admin".to_owned(),
                "a quota of admin is 0 (no limit) or at least 5".to_owned(),
            );
        }
    }
    for (field, texts) in [("limit.exempt", &limit.exempt), ("limit.denied", &limit.denied)] {
        if texts.len() > MOST_NETWORKS {
            return invalid(
                field.to_owned(),
                format!("{field} takes up to {MOST_NETWORKS} networks"),
            );
        }
        for text in texts {
            match text.parse::<Network>() {
                Err(error) => return invalid(field.to_owned(), error.to_string()),
                Ok(network) if field == "limit.denied" && has_loopback(&network.of_clients()) => {
                    let reason = format!("{text} has a loopback address in it: who denied it could not take it back");
                    return invalid(field.to_owned(), reason);
                }
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

fn has_loopback(network: &Network) -> bool {
    let loopback = [([127, 0, 0, 0].into(), 8), (std::net::Ipv6Addr::LOCALHOST.into(), 128)];
    loopback
        .into_iter()
        .any(|(address, bits)| network.overlaps(&Network::of(address, bits)))
}

fn to_value(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// RFC 7396, section 2; but a null, which would remove a member, is left to stand: every setting has a value,
/// so it is refused at its own path.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(members)) => {
            for (name, value) in members {
                merge(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn store() -> Store {
        Store::new(Settings::default(), 1)
    }

    fn field(store: &Store, patch: &Value) -> String {
        match store.patch(patch, None, 2) {
            Err(SettingsError::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_applied_whole_and_watched() {
        let store = store();
        let mut watch = store.watch();
        let patch = json!({"source": {"cpu_hz": 4}, "workload": {"rate_hz": 250.5, "shape": "poisson"}});
        let next = store.patch(&patch, Some(1), 7).unwrap();
        assert_eq!((next.version, next.changed_us), (2, 7));
        assert_eq!(next.settings.source.cpu_hz, 4.0);
        assert_eq!(next.settings.source.disk_hz, 1.0, "what was not named stays");
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow_and_update().version, 2);
        // The same again changes nothing.
        assert_eq!(store.patch(&patch, None, 8).unwrap().version, 2);
        assert!(!watch.has_changed().unwrap());
    }

    #[test]
    fn a_refusal_names_the_field_and_changes_nothing() {
        let store = store();
        assert_eq!(field(&store, &json!({"source": {"cpu_hz": 21}})), "source.cpu_hz");
        assert_eq!(field(&store, &json!({"source": {"cpu_hz": -1}})), "source.cpu_hz");
        assert_eq!(field(&store, &json!({"source": {"cpu_hz": 1e-9}})), "source.cpu_hz");
        assert_eq!(field(&store, &json!({"source": {"cpu_hz": "fast"}})), "source.cpu_hz");
        assert_eq!(
            field(&store, &json!({"workload": {"payload_bytes": 31}})),
            "workload.payload_bytes"
        );
        assert_eq!(
            field(&store, &json!({"workload": {"payload_bytes": 40.5}})),
            "workload.payload_bytes"
        );
        assert_eq!(field(&store, &json!({"workload": {"shape": "odd"}})), "workload.shape");
        assert_eq!(field(&store, &json!({"workload": null})), "workload");
        assert_eq!(field(&store, &json!({"sources": {}})), "sources");
        assert_eq!(field(&store, &json!([1])), "body");
        let valid_and_not = json!({"source": {"cpu_hz": 5}, "workload": {"rate_hz": 1e9}});
        assert_eq!(field(&store, &valid_and_not), "workload.rate_hz");
        assert_eq!(store.current().settings, Settings::default());
        assert_eq!(store.current().version, 1);
    }

    #[test]
    fn limits_have_bounds_and_nobody_locks_themselves_out() {
        let store = store();
        let quota =
            |quota: u32, window_s: u32| json!({"limit": {"read": {"burst": {"quota": quota, "window_s": window_s}}}});
        assert_eq!(field(&store, &quota(1_000_001, 600)), "limit.read.burst.quota");
        assert_eq!(field(&store, &quota(10_001, 1)), "limit.read.burst.quota");
        assert_eq!(field(&store, &quota(10, 0)), "limit.read.burst.window_s");
        assert_eq!(
            field(&store, &json!({"limit": {"read": {"burst": {"quota": -1}}}})),
            "limit.read.burst.quota"
        );
        assert_eq!(field(&store, &json!({"limit": {"reed": {}}})), "limit.reed");
        assert_eq!(
            field(&store, &json!({"limit": {"admin": {"burst": {"quota": 1}}}})),
            "limit.admin"
        );
        assert_eq!(
            field(&store, &json!({"limit": {"exempt": ["localhost"]}})),
            "limit.exempt"
        );
        for own in ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::1", "::/0"] {
            assert_eq!(field(&store, &json!({"limit": {"denied": [own]}})), "limit.denied");
        }
        let valid = json!({"limit": {"denied": ["192.0.2.0/24"], "stream-message": {"sustained": {"quota": 0}}}});
        assert_eq!(
            store
                .patch(&valid, None, 2)
                .unwrap()
                .settings
                .limit
                .stream_message
                .sustained
                .quota,
            0
        );
    }

    #[test]
    fn a_change_made_for_an_older_version_is_a_conflict() {
        let store = store();
        store.patch(&json!({"source": {"cpu_hz": 4}}), None, 2).unwrap();
        let conflict = store.patch(&json!({"source": {"cpu_hz": 5}}), Some(1), 3);
        assert_eq!(
            conflict,
            Err(SettingsError::Conflict {
                expected: 1,
                current: 2
            })
        );
    }

    proptest! {
        #[test]
        fn no_patch_brings_a_setting_out_of_its_bounds(path in 0..BOUNDS.len(), value in prop_oneof![any::<f64>(), -10.0..20_000.0]) {
            let (section, name) = BOUNDS[path].0.split_once('.').unwrap();
            let store = store();
            let applied = store.patch(&json!({section: {name: value}}), None, 2).is_ok();
            let now = to_value(&store.current().settings);
            for (path, least, most, _) in BOUNDS {
                let value = now.pointer(&format!("/{}", path.replace('.', "/"))).and_then(Value::as_f64).unwrap();
                prop_assert!((least..=most).contains(&value), "{} {} {}", applied, path, value);
            }
        }
    }
}
