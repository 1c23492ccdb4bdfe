//! Through a real WebSocket: the stream, and clients that break its rules.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod alive;
mod hold;
mod publish;
mod roam;
mod rules;
mod same;
mod slow;
mod subscribe;
