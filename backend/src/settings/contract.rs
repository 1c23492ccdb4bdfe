//! The promises of [`SettingsStore`] and of [`Live`] on it, asked of an engine: every engine passes them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]
