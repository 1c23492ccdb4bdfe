//! What is told of the configuration in force: each key with its value and where that came from, and no secret.

use freshet_wire::{ConfigKey, SettingKind};
use serde_json::Value;

use super::key::Key;
use super::load::Values;

/// Parts of names of librdkafka's properties whose values are secrets, or may be.
const SECRETS: [&str; 9] = [
    "password",
    "secret",
    "token",
    "key",
    "pem",
    "jaas",
    "credential",
    "oauthbearer",
    "certificate",
];

/// Every key in force.
pub(super) fn keys(values: &Values<'_>) -> Vec<ConfigKey> {
    values.in_force().map(|key| told(values, key)).collect()
}

/// The live settings that are seeded.
pub(super) fn seeded(values: &Values<'_>) -> Vec<ConfigKey> {
    values.seeded().map(|key| told(values, key)).collect()
}

fn told(values: &Values<'_>, key: &Key) -> ConfigKey {
    ConfigKey {
        key: key.name.clone(),
        kind: key.kind,
        value: masked(key, values.value(&key.name)),
        default: key.default.clone(),
        secret: key.secret,
        unit: key.unit.clone(),
        least: key.least,
        most: key.most,
        choices: key.choices.clone(),
        what: key.what.clone(),
        source: values.source(&key.name),
    }
}

/// The value without what is secret in it.
pub(super) fn masked(key: &Key, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if key.secret => Value::from(ConfigKey::MASK),
        Value::String(text) => Value::String(without_password(text)),
        Value::Array(list) => list.iter().map(|member| masked(key, member)).collect(),
        Value::Object(members) if key.kind == SettingKind::Table => {
            let members = members.iter().map(|(name, value)| {
                let lower = name.to_ascii_lowercase();
                let is_secret = SECRETS.iter().any(|secret| lower.contains(secret));
                let value = if is_secret {
                    Value::from(ConfigKey::MASK)
                } else {
                    masked(key, value)
                };
                (name.clone(), value)
            });
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

/// A URL's password masked (RFC 3986, section 3.2.1); another text stays.
fn without_password(text: &str) -> String {
    let masked = || {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A password may have an '@' in it, or a '/': then the last '@' is behind it.
        let at = rest[..end].rfind('@').or_else(|| rest.rfind('@'))?;
        let user = rest[..at].split(':').next().unwrap_or_default();
        let mask = ConfigKey::MASK;
        Some(format!("{scheme}://{user}:{mask}{}", &rest[at..]))
    };
    masked().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::key;

    #[test]
    fn no_secret_is_told() {
        let told = |name: &str, value: Value| masked(key(name).unwrap(), &value).to_string();
        let urls = [
            "redis://:sesame@h:1/0",
            "redis://u:sesame@h",
            "rediss://u:se/sesame@h:1/0",
            "redis://u:x@sesame@h",
        ];
        for url in urls {
            let told = told("limit.redis.url", json!(url));
            assert!(!told.contains("sesame") && told.contains("@h"), "{url}: {told}");
        }
        assert_eq!(told("limit.redis.url", json!("redis://h:1/0")), "\"redis://h:1/0\"");
        let told_list = told("election.endpoints", json!(["http://u:sesame@h:1", "http://i:2"]));
        assert!(
            !told_list.contains("sesame") && told_list.contains("http://i:2"),
            "{told_list}"
        );
        for name in ["admin_token", "election.password"] {
            assert_eq!(told(name, json!("sesame-sesame-sesame")), "\"••••\"");
            assert_eq!(told(name, Value::Null), "null");
        }
        let properties =
            json!({"sasl.username": "u", "sasl.password": "sesame", "ssl.key.pem": "sesame", "x": "http://:sesame@h"});
        let told = told("pubsub.properties", properties);
        assert!(!told.contains("sesame") && told.contains("\"u\""), "{told}");
    }
}
