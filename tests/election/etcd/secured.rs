//! etcd that asks for certificates and for a user.

use std::sync::Arc;
use std::time::Instant;

use freshet::config::{EtcdConfig, EtcdTls};
use freshet::election::{self, Election};
use freshet_tests::secured::{self, Authority, PASSWORD};
use freshet_tests::until;
use freshet_wire::EngineState;

fn open(config: &EtcdConfig, node: &str) -> Arc<dyn Election> {
    Arc::new(election::etcd::open(config, node).unwrap())
}

#[tokio::test]
async fn a_cluster_that_asks_for_certificates_and_users_is_joined_by_whoever_has_them() {
    let authority = Authority::make();
    let (etcd, tls) = secured::start(&authority, "freshet-test").await;
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
    let unknown = Authority::make();
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
