//! How the clusters of outside engines are reached: what several capabilities have in common.

#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "zookeeper")]
pub(crate) mod zookeeper;
