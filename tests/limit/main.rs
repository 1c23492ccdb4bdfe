//! What only real engines show: the contract that every engine of the rate limits keeps, and what is special to one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

#[cfg(feature = "redis")]
mod redis;
