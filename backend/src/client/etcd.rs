//! A client of etcd: who it is, whom it trusts, and how long it waits.

use std::io;
use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Error, Identity, TlsOptions};

use crate::config::EtcdTls;

/// Reads the files that the configuration names. No answer may take longer than `patience`.
pub(crate) fn options(
    user: Option<&str>,
    password: Option<&str>,
    tls: Option<&EtcdTls>,
    patience: Duration,
) -> io::Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(patience)
        .with_timeout(patience)
        // A member that lost its leader must not keep us waiting on it. Whether the connection lives is seen by the renewals: etcd takes
        // pings more often than every five seconds for an attack.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(user) = user {
        options = options.with_user(user, password.unwrap_or_default());
    }
    if let Some(tls) = tls {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let mut with = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&tls.ca)?));
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            with = with.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &tls.server_name {
            with = with.domain_name(name);
        }
        options = options.with_tls(with);
    }
    Ok(options)
}

/// What went wrong, for people.
pub(crate) fn failed(error: Error) -> String {
    match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        error => error.to_string(),
    }
}

/// Revisions are never negative.
pub(crate) fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}
