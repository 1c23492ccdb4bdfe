//! The page in a real browser, served by the release binary and by Trunk.
//!
//! `window.__freshet()` is the page's own account of what it counted and measured; here it is held against what the
//! server counted, and what is to be seen against both.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod access;
mod config;
mod controls;
#[cfg(feature = "contract")]
mod engine;
mod keyboard;
mod lanes;
mod latency;
mod leader;
mod limits;
mod motion;
mod outage;
mod page;
mod topics;
mod trunk;
