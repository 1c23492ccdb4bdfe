//! Through real HTTP: polling, bad input, settings and what the service says of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod input;
mod metrics;
mod poll;
mod service;
mod source;
