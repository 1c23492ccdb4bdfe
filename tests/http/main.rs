//! Through real HTTP: polling, settings, sources, bad input and what the service says of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod batches;
mod cluster;
mod config;
mod connection;
mod flood;
mod guard;
mod input;
mod limits;
mod metrics;
mod poll;
mod publish;
mod replay;
mod service;
mod settings;
mod source;
