//! Where the live settings are kept.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::key::Key;
use super::{Nothing, engine, settings};

/// The engine that keeps the live settings (`[settings]` in the file).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum SettingsEngine {
    /// `settings.toml` in the data folder.
    #[default]
    File,
}

/// Not derived, as [`super::PubSub`] is not.
impl<'de> Deserialize<'de> for SettingsEngine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (engine, members) = engine(from)?;
        match engine.as_str() {
            Some("file") => settings(members).map(|Nothing {}| Self::File),
            _ => Err(D::Error::custom("engine: \"file\" is expected")),
        }
    }
}

pub(super) fn keys() -> Vec<Key> {
    vec![
        Key::choice(
            "settings.engine",
            &["file"],
            "Where the live settings are kept: settings.toml in the data folder.",
        )
        .default("file"),
    ]
}
