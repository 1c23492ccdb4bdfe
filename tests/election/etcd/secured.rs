//! etcd that asks for certificates and for a user.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, PermissionType, TlsOptions};
use freshet::config::{EtcdConfig, EtcdTls};
use freshet::election::{self, Election};
use freshet_tests::etcd::{Etcd, ServerTls};
use freshet_tests::until;
use freshet_wire::EngineState;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

const PASSWORD: &str = "of the test";

/// One authority, and what it has signed.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Files with a certificate for `localhost` and 127.0.0.1, and its key.
    fn signed(&self, name: &str) -> (PathBuf, PathBuf) {
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
async fn ask_for_users(endpoints: Vec<String>, tls: &EtcdTls) {
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
    let below = etcd_client::Permission::new(PermissionType::Readwrite, "freshet-test").with_prefix();
    client.role_grant_permission("own", below).await.unwrap();
    for (user, role) in [("root", "root"), ("freshet", "own")] {
        client.user_add(user, PASSWORD, None).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.auth_enable().await.unwrap();
}

fn open(config: &EtcdConfig, node: &str) -> Arc<dyn Election> {
    Arc::new(election::etcd::open(config, node).unwrap())
}

#[tokio::test]
async fn a_cluster_that_asks_for_certificates_and_users_is_joined_by_whoever_has_them() {
    let authority = Authority::new();
    let (cert, key) = authority.signed("server");
    let ca = authority.path("ca.pem");
    let etcd = Etcd::start_with(
        1,
        Some(ServerTls {
            ca: ca.clone(),
            cert,
            key,
        }),
    )
    .await;
    let (cert, key) = authority.signed("client");
    let tls = EtcdTls {
        ca,
        cert: Some(cert),
        key: Some(key),
        server_name: None,
    };
    ask_for_users(etcd.endpoints(), &tls).await;
    let right = EtcdConfig {
        endpoints: etcd.endpoints(),
        prefix: "freshet-test".to_owned(),
        ttl_s: 2,
        user: Some("freshet".to_owned()),
        password: Some(PASSWORD.to_owned()),
        tls: Some(tls.clone()),
    };
    let member = open(&right, "a");
    let leads = || {
        member
            .board()
            .mandate()
            .borrow()
            .as_ref()
            .is_some_and(|mandate| mandate.holds(Instant::now()))
    };
    until("a leader", async || leads()).await;

    // Who lacks one of the two is told that it cannot be reached, and does not lead.
    let unknown = Authority::new();
    let (cert, key) = unknown.signed("stranger");
    let strange = EtcdTls {
        cert: Some(cert),
        key: Some(key),
        ..tls.clone()
    };
    let wrong = [
        (
            "no certificate",
            EtcdConfig {
                tls: Some(EtcdTls {
                    cert: None,
                    key: None,
                    ..tls.clone()
                }),
                ..right.clone()
            },
        ),
        (
            "a strange certificate",
            EtcdConfig {
                tls: Some(strange),
                ..right.clone()
            },
        ),
        (
            "a strange authority",
            EtcdConfig {
                tls: Some(EtcdTls {
                    ca: unknown.path("ca.pem"),
                    ..tls
                }),
                ..right.clone()
            },
        ),
        (
            "a wrong password",
            EtcdConfig {
                password: Some("guessed".to_owned()),
                ..right.clone()
            },
        ),
        (
            "a prefix of others",
            EtcdConfig {
                prefix: "others".to_owned(),
                ..right.clone()
            },
        ),
    ];
    for (what, config) in wrong {
        let stranger = open(&config, "b");
        until(what, async || stranger.board().engine().state == EngineState::Down).await;
        let engine = stranger.board().engine();
        println!("{what}: {}", engine.detail);
        assert!(
            !engine.detail.is_empty() && !engine.detail.contains("guessed"),
            "{what}: {engine:?}"
        );
        assert!(stranger.board().mandate().borrow().is_none(), "{what}");
        stranger.close().await;
    }
    assert!(leads(), "all the while");
    member.close().await;
}
