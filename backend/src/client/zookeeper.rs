//! A client of ZooKeeper: who it is, and how long its session lasts.

use std::time::Duration;

use zookeeper_client::{Acls, Client, Connector, Error};

/// For sessions of this length.
pub(crate) fn connector(user: Option<&str>, password: Option<&str>, ttl: Duration) -> Connector {
    let connector = Client::connector()
        .with_fail_eagerly()
        .with_session_timeout(ttl)
        // A server that stands still is left for another while the session lasts; the first one that is tried may be the same.
        .with_connection_timeout(ttl / 6);
    match (user, password) {
        (Some(user), Some(password)) => connector.with_auth("digest", format!("{user}:{password}").as_bytes()),
        _ => connector,
    }
}

pub(crate) async fn connect(connector: Connector, servers: &[String]) -> Result<Client, String> {
    let client = connector.connect(&servers.join(",")).await;
    client.map_err(|error| match error {
        Error::NoHosts => "none of the servers answers".to_owned(),
        error => error.to_string(),
    })
}

/// Who may do what with what is made: a user alone, where there is one.
pub(crate) fn acls(user: Option<&str>) -> Acls<'static> {
    match user {
        Some(_) => Acls::creator_all(),
        None => Acls::anyone_all(),
    }
}
