//! The engines of the live settings, real servers among them. A module is named as its engine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "what changes took is printed")]

#[cfg(feature = "etcd")]
mod etcd;
mod file;
#[cfg(feature = "etcd")]
mod processes;
#[cfg(feature = "zookeeper")]
mod zookeeper;

use std::path::Path;
use std::sync::Arc;

use freshet::config::SettingsEngine;
use freshet::settings::SettingsStore;
use freshet_wire::Settings;

fn open(engine: &SettingsEngine, data: &Path, node: &str) -> Arc<dyn SettingsStore> {
    freshet::settings::open(engine, data, node, &Settings::default()).unwrap()
}

/// What somebody writes with the engine's own tool.
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
fn bytes(document: &freshet_wire::SettingsDocument, settings: Option<&serde_json::Value>) -> Vec<u8> {
    let Some(settings) = settings else {
        return b"what".to_vec();
    };
    let mut value = serde_json::to_value(document).unwrap();
    value["settings"] = settings.clone();
    value.to_string().into_bytes()
}

/// A change of one setting, which nothing else here changes.
#[cfg(any(feature = "etcd", feature = "zookeeper"))]
fn payload(bytes: u32) -> serde_json::Value {
    serde_json::json!({"workload": {"payload_bytes": bytes}})
}
