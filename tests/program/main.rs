//! The program as `make release` builds it: how it starts, how it refuses to, how it ends, and the page within it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod config;
mod flood;
mod page;
mod publish;
mod start;
