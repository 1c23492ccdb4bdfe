//! The static configuration: what is fixed until the process is started again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use freshet_wire::{ConfigSource, StaticConfig};
use serde_json::Value;

use super::Service;
use crate::config::{self, Place};
use crate::error::Error;

/// Every key of the static configuration in force, and where its value came from; secrets are masked. None of them changes before the
/// process is started again.
#[utoipa::path(get, path = "/api/v1/config", tag = "settings", responses((status = 200, body = StaticConfig)))]
pub(super) async fn read(State(service): State<Arc<Service>>) -> Json<StaticConfig> {
    Json(service.config.stated.clone())
}

/// Refuses a patch of the live settings that has a static key in it.
pub(super) fn refuse_static(stated: &StaticConfig, patch: &Value) -> Result<(), Error> {
    match static_key(patch, "") {
        None => Ok(()),
        Some(key) => {
            let source = stated
                .keys
                .iter()
                .find(|stated| stated.key == key.name)
                .map(|stated| &stated.source);
            let set = match source {
                // Only those of the engines that are chosen are told.
                None => "not in force with the engine that is chosen".to_owned(),
                Some(ConfigSource::Default) => "at its default".to_owned(),
                Some(source) => format!("set by {}", Place(source)),
            };
            let detail = format!(
                "{} is static: it is {set}; the configuration file, {} or a flag changes it, and needs a restart",
                key.name,
                key.variable()
            );
            Err(Error::static_key(&key.name, detail))
        }
    }
}

fn static_key(patch: &Value, path: &str) -> Option<&'static config::Key> {
    let members = patch.as_object()?;
    members.iter().find_map(|(name, value)| {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        config::key(&path).or_else(|| static_key(value, &path))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_static_key_is_found_wherever_it_stands_in_a_patch() {
        let found = |patch: &Value| static_key(patch, "").map(|key| &*key.name);
        assert_eq!(found(&json!({"source": {"cpu_hz": 1}, "listen": "x"})), Some("listen"));
        assert_eq!(
            found(&json!({"limit": {"mask": true, "redis": {"url": "x"}}})),
            Some("limit.redis.url")
        );
        assert_eq!(found(&json!({"limit": {"mask": true}})), None);
        assert_eq!(found(&json!({"election": {}})), None);
        assert_eq!(found(&json!([])), None);
    }

    #[test]
    fn a_refusal_says_where_it_is_set() {
        let mut config = Config::default();
        let error = |config: &Config, patch: &Value| {
            let problem = refuse_static(&config.stated, patch).unwrap_err().problem();
            (problem.field.unwrap(), problem.detail.unwrap())
        };
        let patch = json!({"limit": {"clients": 20}});
        let (field, detail) = error(&config, &patch);
        assert_eq!(field, "limit.clients");
        assert!(
            detail.contains("default") && detail.contains("restart") && detail.contains("FRESHET_LIMIT__CLIENTS"),
            "{detail}"
        );
        for key in &mut config.stated.keys {
            key.source = ConfigSource::File {
                file: "freshet.toml".to_owned(),
                line: Some(7),
            };
        }
        assert!(error(&config, &patch).1.contains("freshet.toml:7"));
    }
}
