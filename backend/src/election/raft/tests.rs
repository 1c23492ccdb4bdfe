use super::cluster::Cluster;
