//! Static configuration: what is fixed when the process starts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::SettingKind;

/// `GET /config`: every key of the static configuration of this process, and where its value came from. None of them changes
/// before the process is started again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StaticConfig {
    /// The file that was read, where there was one.
    pub file: Option<String>,
    /// When the process read them.
    pub read_us: i64,
    /// In the order in which they are shown, section by section. Of an engine's keys, only those of the engine that is chosen.
    pub keys: Vec<ConfigKey>,
}

/// A key of the static configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigKey {
    /// The path, such as `election.ttl_s`.
    pub key: String,
    pub kind: SettingKind,
    /// `null` where it is not set, and [`Self::MASK`] where it is a secret that is set.
    pub value: Value,
    /// `null` where there is none.
    pub default: Value,
    /// A secret's value never leaves the process.
    pub secret: bool,
    /// Of a number: what is counted, such as `seconds`; else empty.
    pub unit: String,
    /// Of a number: the bounds, which are allowed themselves.
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// Of a choice: what there is to choose from.
    pub choices: Vec<String>,
    /// What it is, in a sentence or two.
    pub what: String,
    pub source: ConfigSource,
}

impl ConfigKey {
    /// Stands for a secret's value.
    pub const MASK: &str = "••••";
}

/// Where a value of the static configuration came from. A later one of these goes before an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum ConfigSource {
    Default,
    /// The configuration file, and the line in it, from 1.
    File {
        file: String,
        line: Option<u32>,
    },
    /// A variable of the environment.
    Environment {
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        flag: String,
    },
}
