//! Leader election against real servers. A module is named as its engine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "what failovers took is printed")]
#![cfg(any(feature = "etcd", feature = "zookeeper"))]

mod ensemble;
mod processes;

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(all(feature = "etcd", feature = "kafka"))]
mod together;
#[cfg(feature = "zookeeper")]
mod zookeeper;
