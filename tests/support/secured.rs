//! etcd that asks for certificates and for a user.

use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, PermissionType, TlsOptions};
use freshet::config::EtcdTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::etcd::{Etcd, ServerTls};

/// Of the user `freshet`.
pub const PASSWORD: &str = "of the test";

/// One authority, and what it has signed.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer,
        };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Files with a certificate for `localhost` and 127.0.0.1, and its key.
    pub fn signed(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer);
        let [cert_path, key_path] = ["pem", "key"].map(|kind| self.path(&format!("{name}.{kind}")));
        std::fs::write(&cert_path, certificate.unwrap().pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        (cert_path, key_path)
    }
}

/// Makes the user `freshet`, who may read and write below the prefix and nothing else, and lets nobody in without a user from then on.
async fn ask_for_users(endpoints: Vec<String>, tls: &EtcdTls, prefix: &str) {
    let read = |path: &Path| std::fs::read(path).unwrap();
    let identity = Identity::from_pem(read(tls.cert.as_ref().unwrap()), read(tls.key.as_ref().unwrap()));
    let with = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(read(&tls.ca)))
        .identity(identity);
    let mut client = Client::connect(endpoints, Some(ConnectOptions::new().with_tls(with)))
        .await
        .unwrap();
    for role in ["root", "own"] {
        client.role_add(role).await.unwrap();
    }
    let below = etcd_client::Permission::new(PermissionType::Readwrite, prefix).with_prefix();
    client.role_grant_permission("own", below).await.unwrap();
    for (user, role) in [("root", "root"), ("freshet", "own")] {
        client.user_add(user, PASSWORD, None).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}

/// One that lets nobody in who has no certificate of this authority, and no user; `freshet` is one, for what is below this prefix. With it, what a
/// client needs for its connection.
pub async fn start(authority: &Authority, prefix: &str) -> (Etcd, EtcdTls) {
    let (cert, key) = authority.signed("server");
    let ca = authority.path("ca.pem");
    let tls = ServerTls {
        ca: ca.clone(),
        cert,
        key,
    };
    let etcd = Etcd::start_with(1, Some(tls)).await;
    let (cert, key) = authority.signed("client");
    let tls = EtcdTls {
        ca,
        cert: Some(cert),
        key: Some(key),
        server_name: None,
    };
    ask_for_users(etcd.endpoints(), &tls, prefix).await;
    (etcd, tls)
}
