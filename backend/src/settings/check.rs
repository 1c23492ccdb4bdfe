//! Whether settings are valid, whoever wrote them.

use freshet_wire::{LimitSettings, Quota, RouteClass, SettingKey, SettingKind, Settings};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::schema::{MOST_PER_S, schema, value};
use crate::network::Network;

/// Why settings are refused: the key at fault, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub key: String,
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

/// Takes settings that are JSON. A section or key that is not there has its default.
pub fn check(document: &Value) -> Result<Settings, Refusal> {
    let settings: Settings = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        // Of a key that is not known the path names where it stands.
        let key = if matches!(&*path, "" | ".") {
            "document".to_owned()
        } else {
            path
        };
        Refusal::new(key, error.inner().to_string())
    })?;
    for key in &schema().keys {
        if let Some(value) = value(document, &key.key) {
            check_value(key, value)?;
        }
    }
    check_limit(&settings.limit)?;
    EnvFilter::builder()
        .parse(&settings.log.filter)
        .map_err(|error| Refusal::new("log.filter", format!("log.filter is no filter: {error}")))?;
    Ok(settings)
}

/// The same, where each key must stand there: a file that is half written is refused, not filled up with defaults.
pub(super) fn check_whole(document: &Value) -> Result<Settings, Refusal> {
    let settings = check(document)?;
    match schema().keys.iter().find(|key| value(document, &key.key).is_none()) {
        Some(SettingKey { key, default, .. }) => {
            Err(Refusal::new(key, format!("{key} is missing; its default is {default}")))
        }
        None => Ok(settings),
    }
}

/// Types are right by now.
fn check_value(key: &SettingKey, value: &Value) -> Result<(), Refusal> {
    let name = &key.key;
    let size = match (key.kind, value) {
        (SettingKind::Number | SettingKind::Integer, value) => value.as_f64(),
        (SettingKind::Text, Value::String(text)) => Some(text.len() as f64),
        (SettingKind::Networks, Value::Array(list)) => Some(list.len() as f64),
        _ => return Ok(()),
    };
    let least = key.least.unwrap_or(f64::NEG_INFINITY);
    let most = key.most.unwrap_or(f64::INFINITY);
    let is_zero = key.zero.is_some() && size == Some(0.0);
    if is_zero || size.is_some_and(|size| (least..=most).contains(&size)) {
        return Ok(());
    }
    let unit = &key.unit;
    Err(Refusal::new(
        name,
        match (key.kind, &key.zero) {
            (SettingKind::Text, _) => format!("{name} takes up to {most} bytes"),
            (SettingKind::Networks, _) => format!("{name} takes up to {most} {unit}"),
            (_, Some(zero)) => format!("{name} takes 0 ({zero}) or {least} to {most} {unit}"),
            (_, None) => format!("{name} takes {least} to {most} {unit}"),
        },
    ))
}

fn check_limit(limit: &LimitSettings) -> Result<(), Refusal> {
    for class in RouteClass::ALL {
        let quotas = limit.of(class);
        for (name, Quota { quota, window_s }) in [("burst", quotas.burst), ("sustained", quotas.sustained)] {
            if quota.div_ceil(window_s.max(1)) > MOST_PER_S {
                return Err(Refusal::new(
                    format!("limit.{}.{name}.quota", class.name()),
                    format!("a quota comes back at {MOST_PER_S} requests a second at most"),
                ));
            }
        }
        let admin = (class == RouteClass::Admin).then_some([quotas.burst, quotas.sustained]);
        // With less, whoever changed it could hardly take it back.
        if admin.is_some_and(|quotas| quotas.iter().any(|quota| (1..5).contains(&quota.quota))) {
            return Err(Refusal::new(
                "limit.admin",
                "a quota of admin is 0 (no limit) or at least 5",
            ));
        }
    }
    for (field, texts) in [("limit.exempt", &limit.exempt), ("limit.denied", &limit.denied)] {
        for text in texts {
            match text.parse::<Network>() {
                Err(error) => return Err(Refusal::new(field, error.to_string())),
                Ok(network) if field == "limit.denied" && has_loopback(&network.of_clients()) => {
                    let reason = format!("{text} has a loopback address in it: who denied it could not take it back");
                    return Err(Refusal::new(field, reason));
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

#[cfg(test)]
mod tests {
    use freshet_wire::SettingKind;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::settings::change::merge;

    fn refused(patch: &Value) -> String {
        let mut document = serde_json::to_value(Settings::default()).unwrap();
        merge(&mut document, patch);
        check(&document).unwrap_err().key
    }

    #[test]
    fn a_refusal_names_the_key() {
        assert_eq!(refused(&json!({"source": {"cpu_hz": 21}})), "source.cpu_hz");
        assert_eq!(refused(&json!({"source": {"cpu_hz": -1}})), "source.cpu_hz");
        assert_eq!(refused(&json!({"source": {"cpu_hz": 1e-9}})), "source.cpu_hz");
        assert_eq!(refused(&json!({"source": {"cpu_hz": "fast"}})), "source.cpu_hz");
        let payload = |bytes: f64| refused(&json!({"workload": {"payload_bytes": bytes}}));
        assert_eq!(payload(31.0), "workload.payload_bytes");
        assert_eq!(payload(40.5), "workload.payload_bytes");
        assert_eq!(refused(&json!({"workload": {"shape": "odd"}})), "workload.shape");
        assert_eq!(refused(&json!({"workload": null})), "workload");
        assert_eq!(refused(&json!({"sources": {}})), "sources");
        assert_eq!(refused(&json!({"retention": {"max_age_s": 1}})), "retention.max_age_s");
        assert_eq!(refused(&json!({"log": {"filter": "freshet=loud"}})), "log.filter");
    }

    #[test]
    fn limits_have_bounds_and_nobody_locks_themselves_out() {
        let quota =
            |quota: u32, window_s: u32| json!({"limit": {"read": {"burst": {"quota": quota, "window_s": window_s}}}});
        assert_eq!(refused(&quota(1_000_001, 600)), "limit.read.burst.quota");
        assert_eq!(refused(&quota(10_001, 1)), "limit.read.burst.quota");
        assert_eq!(refused(&quota(10, 0)), "limit.read.burst.window_s");
        assert_eq!(
            refused(&json!({"limit": {"read": {"burst": {"quota": -1}}}})),
            "limit.read.burst.quota"
        );
        assert_eq!(refused(&json!({"limit": {"reed": {}}})), "limit.reed");
        assert_eq!(
            refused(&json!({"limit": {"admin": {"burst": {"quota": 1}}}})),
            "limit.admin"
        );
        assert_eq!(refused(&json!({"limit": {"exempt": ["localhost"]}})), "limit.exempt");
        assert_eq!(
            refused(&json!({"limit": {"exempt": vec!["10.0.0.0/8"; 257]}})),
            "limit.exempt"
        );
        for own in ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::1", "::/0"] {
            assert_eq!(refused(&json!({"limit": {"denied": [own]}})), "limit.denied");
        }
    }

    #[test]
    fn what_must_be_whole_is_refused_by_the_key_that_is_missing() {
        let mut document = serde_json::to_value(Settings::default()).unwrap();
        assert!(check_whole(&document).is_ok());
        document["limit"]["read"]["burst"].take();
        assert_eq!(check_whole(&document).unwrap_err().key, "limit.read.burst");
        document = serde_json::to_value(Settings::default()).unwrap();
        document["log"].as_object_mut().unwrap().remove("filter");
        assert!(check(&document).is_ok());
        assert_eq!(check_whole(&document).unwrap_err().key, "log.filter");
        assert_eq!(check_whole(&json!({})).unwrap_err().key, "source.cpu_hz");
    }

    proptest! {
        #[test]
        fn no_number_out_of_its_bounds_is_taken(index in 0..schema().keys.len(), number in prop_oneof![any::<f64>(), -10.0..20_000.0]) {
            let key = &schema().keys[index];
            prop_assume!(matches!(key.kind, SettingKind::Number | SettingKind::Integer));
            let mut document = serde_json::to_value(Settings::default()).unwrap();
            let patch = key.key.rsplit('.').fold(json!(number), |inner, name| json!({name: inner}));
            merge(&mut document, &patch);
            let in_bounds = (key.least.unwrap()..=key.most.unwrap()).contains(&number) || number == 0.0 && key.zero.is_some();
            match check(&document) {
                Ok(_) => prop_assert!(in_bounds, "{} took {number}", key.key),
                Err(refusal) => prop_assert!(key.key.starts_with(&refusal.key), "{refusal:?} of {}", key.key),
            }
        }
    }
}
