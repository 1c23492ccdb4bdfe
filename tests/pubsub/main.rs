//! What only real engines show: the contract that every engine of pub/sub keeps, and what is special to one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

#[cfg(feature = "cloud-pubsub")]
mod cloud;
#[cfg(feature = "kafka")]
mod kafka;
