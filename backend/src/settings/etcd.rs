//! etcd: one key with the document, and beside it a key a process, under its lease, with what it applied.
//!
//! - *Compare and set*: a transaction on the key's `mod_revision`, or on its absence.
//! - *Watch*: what stands there is read, and watched from the revision of that reading on; so nothing falls between, and when a watch
//!   breaks, or was compacted away, the same is done again.
//! - *Silence*: the lease's renewals show whether etcd is there. A process that is gone is listed until its lease is over.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, EventType, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn,
    TxnOp, WatchOptions,
};
use freshet_wire::{AppliedSettings, EngineState};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::StoreError;
use super::remote::board::{Board, There, report_of};
use super::remote::{Engine, PATIENCE, Remote, SILENCE, ended, slow};
use crate::client::etcd::{failed, options, unsigned};
use crate::config::SettingsEtcd;
use crate::time::steady;

/// Between two renewals of the lease.
const RENEWALS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Etcd {
    config: SettingsEtcd,
    options: ConnectOptions,
}

/// Follows the key. etcd may be away: the status says so, and it is tried again.
pub(super) fn open(config: &SettingsEtcd, node: &str) -> Result<Remote<Etcd>, StoreError> {
    let (user, password) = (config.user.as_deref(), config.password.as_deref());
    let options = options(user, password, config.tls.as_ref(), PATIENCE);
    let options = options.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let config = config.clone();
    Ok(Remote::start(Etcd { config, options }, node))
}

impl Etcd {
    fn key(&self, name: &str) -> String {
        format!("{}/settings/{name}", self.config.prefix)
    }

    /// What [`Self::key`] was made of.
    fn name<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let name = std::str::from_utf8(key).ok()?.strip_prefix(&*self.config.prefix)?;
        name.strip_prefix("/settings/")
    }

    fn applied(&self, node: &str) -> String {
        self.key(&format!("applied/{node}"))
    }
}

fn there(kv: &KeyValue) -> There {
    There {
        mark: unsigned(kv.mod_revision()),
        kept: Some((kv.mod_revision(), kv.value().to_vec())),
    }
}

fn gone(revision: i64) -> There {
    There {
        mark: unsigned(revision),
        kept: None,
    }
}

impl Engine for Etcd {
    type Client = Client;

    const NAME: &'static str = "etcd";
    const TITLE: &'static str = "etcd";

    fn place(&self) -> String {
        self.key("document")
    }

    async fn connect(&self) -> Result<Client, String> {
        let client = Client::connect(&self.config.endpoints, Some(self.options.clone())).await;
        client.map_err(failed)
    }

    async fn read(&self, mut client: Client) -> Result<There, String> {
        let got = client.get(self.key("document"), None).await.map_err(failed)?;
        let revision = got.header().map_or(0, ResponseHeader::revision);
        Ok(got.kvs().first().map_or_else(|| gone(revision), there))
    }

    async fn write(&self, mut client: Client, handle: Option<i64>, bytes: Vec<u8>) -> Result<Option<There>, String> {
        let key = self.key("document");
        let still = match handle {
            Some(revision) => Compare::mod_revision(&*key, CompareOp::Equal, revision),
            None => Compare::version(&*key, CompareOp::Equal, 0),
        };
        let swap = Txn::new()
            .when([still])
            .and_then([TxnOp::put(&*key, bytes.clone(), None)]);
        let swapped = client.txn(swap).await.map_err(failed)?;
        let revision = swapped.header().map_or(0, ResponseHeader::revision);
        Ok(swapped.succeeded().then(|| There {
            mark: unsigned(revision),
            kept: Some((revision, bytes)),
        }))
    }

    async fn follow(
        &self,
        mut client: Client,
        board: &Board,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let mut own = board.own();
        let ttl_s = i64::try_from(SILENCE.as_secs()).unwrap_or(i64::MAX);
        let lease = client.lease_grant(ttl_s, None).await.map_err(failed)?.id();
        let before = board.mark();
        let all = GetOptions::new().with_prefix();
        let got = client.get(self.key(""), Some(all)).await.map_err(failed)?;
        let revision = got.header().map_or(0, ResponseHeader::revision);
        let mut reports = BTreeMap::new();
        let mut document = gone(revision);
        for kv in got.kvs() {
            match self.name(kv.key()) {
                Some("document") => document = there(kv),
                Some(name) => put(&mut reports, name, kv.value()),
                None => {}
            }
        }
        board.see(document, before);
        board.tell_reports(&reports);
        let from = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
        let watching = client.watch(self.key(""), Some(from)).await;
        let mut watching = watching.map_err(failed)?;
        // It sends a renewal, and waits for the answer to it.
        let (mut keeper, mut kept) = client.lease_keep_alive(lease).await.map_err(failed)?;
        let mut sent = VecDeque::<Instant>::new();
        let mut every = interval(RENEWALS);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every.tick().await;
        own.mark_changed();
        board.fares(EngineState::Up, "");
        loop {
            let overdue = sent.front().map(|sent| *sent + PATIENCE);
            tokio::select! {
                _ = every.tick() => {
                    sent.push_back(steady());
                    let asked = timeout(PATIENCE, keeper.keep_alive()).await;
                    asked.map_err(|_| slow())?.map_err(failed)?;
                }
                answered = kept.message() => {
                    let answered = answered.map_err(failed)?.ok_or("the renewals ended")?;
                    if answered.ttl() <= 0 {
                        return Err("the lease was lost".to_owned());
                    }
                    sent.pop_front();
                }
                heard = watching.message() => {
                    let heard = heard.map_err(failed)?.ok_or("the watch ended")?;
                    if heard.canceled() {
                        // Compacted, or not allowed any more: what is there is read anew.
                        return Err(format!("the watch was cancelled: {}", heard.cancel_reason()));
                    }
                    for event in heard.events() {
                        let Some(kv) = event.kv() else { continue };
                        match (event.event_type(), self.name(kv.key())) {
                            (EventType::Put, Some("document")) => _ = board.see(there(kv), 0),
                            (EventType::Delete, Some("document")) => _ = board.see(gone(kv.mod_revision()), 0),
                            (EventType::Put, Some(name)) => put(&mut reports, name, kv.value()),
                            (EventType::Delete, Some(name)) => _ = reports.remove(name.trim_start_matches("applied/")),
                            (_, None) => {}
                        }
                    }
                    board.tell_reports(&reports);
                }
                changed = own.changed() => {
                    changed.map_err(|error| error.to_string())?;
                    let report = own.borrow_and_update().clone();
                    if let Some(report) = report {
                        let report = serde_json::to_vec(&report).map_err(|error| error.to_string())?;
                        let under = PutOptions::new().with_lease(lease);
                        client.put(self.applied(&board.node), report, Some(under)).await.map_err(failed)?;
                    }
                }
                () = pause(overdue) => return Err(slow()),
                () = ended(&mut stopping) => {
                    // So that the others need not wait for its end.
                    let _ = client.lease_revoke(lease).await;
                    return Ok(());
                }
            }
        }
    }
}

fn put(reports: &mut BTreeMap<String, AppliedSettings>, name: &str, value: &[u8]) {
    let Some(node) = name.strip_prefix("applied/") else {
        return;
    };
    match report_of(node, value) {
        Some(report) => _ = reports.insert(node.to_owned(), report),
        None => _ = reports.remove(node),
    }
}

async fn pause(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
