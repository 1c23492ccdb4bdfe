//! The embedded engine, in a folder of its own, and what editors and shells do to its file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use freshet::config::SettingsEngine;
use freshet::settings::SettingsStore;
use freshet::settings::contract::{Harness, Process};
use freshet_wire::SettingsDocument;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

struct Store {
    folder: TempDir,
    store: OnceCell<Arc<dyn SettingsStore>>,
}

impl Store {
    async fn start() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: OnceCell::new(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("settings.toml")
    }
}

impl Harness for Store {
    /// One process alone has the folder.
    async fn open(&self, node: &str) -> Arc<dyn SettingsStore> {
        let open = async || crate::open(&SettingsEngine::File, self.folder.path(), node);
        Arc::clone(self.store.get_or_init(open).await)
    }

    async fn write(&self, _document: &SettingsDocument, settings: Option<&Value>) {
        let text = match settings {
            Some(settings) => {
                let text = fs::read_to_string(self.folder.path().join("settings.json")).unwrap();
                let record: Value = serde_json::from_str(&text).unwrap();
                let text = set(
                    record["text"].as_str().unwrap(),
                    "cpu_hz",
                    &settings["source"]["cpu_hz"],
                );
                set(&text, "payload_bytes", &settings["workload"]["payload_bytes"])
            }
            None => "source = nonsense".to_owned(),
        };
        fs::write(self.file(), text).unwrap();
    }

    /// There is no connection to lose; the file is gone for a while.
    async fn reconnect(&self, between: impl AsyncFnOnce()) {
        fs::remove_file(self.file()).unwrap();
        between().await;
    }
}

/// The text, with another value for this key.
fn set(text: &str, key: &str, value: &Value) -> String {
    let begins = format!("{key} = ");
    assert!(text.lines().any(|line| line.starts_with(&begins)), "{text}");
    let lines = text.lines().map(|line| match line.starts_with(&begins) {
        true => format!("{begins}{value}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

mod contract {
    freshet::settings_contract!(super::Store::start);
}

/// What vim does with `backupcopy` at its default: it tries whether it may make files here, moves the old file away, writes a new
/// one, and deletes the old one.
fn vim(file: &Path, text: &str) {
    let probe = file.with_file_name("4913");
    OpenOptions::new().write(true).create_new(true).open(&probe).unwrap();
    let permissions = fs::metadata(file).unwrap().permissions();
    fs::set_permissions(&probe, permissions.clone()).unwrap();
    fs::remove_file(&probe).unwrap();
    let backup = file.with_file_name("settings.toml~");
    fs::rename(file, &backup).unwrap();
    let mut new = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(file)
        .unwrap();
    new.write_all(text.as_bytes()).unwrap();
    new.sync_all().unwrap();
    drop(new);
    fs::set_permissions(file, fs::Permissions::from_mode(permissions.mode())).unwrap();
    fs::remove_file(backup).unwrap();
}

/// The same with `backupcopy=yes`: the old file is copied, and written anew where it is.
fn vim_in_place(file: &Path, text: &str) {
    let backup = file.with_file_name("settings.toml~");
    fs::copy(file, &backup).unwrap();
    let mut same = OpenOptions::new().write(true).truncate(true).open(file).unwrap();
    same.write_all(text.as_bytes()).unwrap();
    same.sync_all().unwrap();
    drop(same);
    fs::remove_file(backup).unwrap();
}

fn sed(file: &Path, text: &str) {
    let line = text.lines().find(|line| line.starts_with("payload_bytes")).unwrap();
    let script = format!("s/^payload_bytes.*/{line}/");
    let done = Command::new("sed").args(["-i", &script]).arg(file).status();
    assert!(done.unwrap().success());
}

fn mv(file: &Path, text: &str) {
    let other = file.with_file_name("other.toml");
    fs::write(&other, text).unwrap();
    let done = Command::new("mv").arg("-f").arg(&other).arg(file).status();
    assert!(done.unwrap().success());
}

fn redirected(file: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"printf '%s' "$1" >"$2""#, "sh", text]).arg(file);
    assert!(shell.status().unwrap().success());
}

/// By somebody who is slower than a look at the file.
fn truncated_first(file: &Path, text: &str) {
    let mut same = OpenOptions::new().write(true).truncate(true).open(file).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (first, second) = text.split_at(text.len() / 3);
    same.write_all(first.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    same.write_all(second.as_bytes()).unwrap();
}

/// Saves this text to a file.
type Save = fn(&Path, &str);

const SAVES: [(&str, Save); 6] = [
    ("vim", vim),
    ("vim, in place", vim_in_place),
    ("sed -i", sed),
    ("mv", mv),
    ("the shell's >", redirected),
    ("truncated, and written a while later", truncated_first),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_saves_it_the_file_is_applied_once() {
    let store = Store::start().await;
    let process = Process::start(store.open("a").await, "a").await;
    let mut watched = process.live.watch();
    for (round, bytes) in (0..).zip(1000..1003_u32) {
        for (index, (how, save)) in (0..).zip(SAVES) {
            let (bytes, version) = (bytes + 10 * (index + 1), round * 6 + index + 2);
            let text = set(
                &fs::read_to_string(store.file()).unwrap(),
                "payload_bytes",
                &bytes.into(),
            );
            let (file, saved) = (store.file(), text.clone());
            spawn_blocking(move || save(&file, &saved)).await.unwrap();
            process
                .until(how, |told| told.in_force.settings.workload.payload_bytes == bytes)
                .await;
            // Longer than a look at the file takes, and than a file that is wrong is waited for.
            tokio::time::sleep(Duration::from_millis(700)).await;
            let told = process.live.status();
            assert_eq!(
                (told.in_force.version, &told.refused),
                (u64::from(version), &None),
                "{how}"
            );
            assert_eq!(fs::read_to_string(store.file()).unwrap(), text, "{how}");
            assert_eq!(watched.borrow_and_update().version, u64::from(version), "{how}");
        }
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_saves_it_a_file_that_is_wrong_is_refused_with_the_reason() {
    let store = Store::start().await;
    let process = Process::start(store.open("a").await, "a").await;
    let good = fs::read_to_string(store.file()).unwrap();
    let wrong = set(&good, "payload_bytes", &7.into());
    for (how, save) in SAVES {
        for (text, refused) in [(&wrong, true), (&good, false)] {
            let (file, saved) = (store.file(), text.clone());
            spawn_blocking(move || save(&file, &saved)).await.unwrap();
            process
                .until(how, |told| {
                    told.refused.as_ref().map(|refused| &*refused.key) == refused.then_some("workload.payload_bytes")
                })
                .await;
            assert_eq!(process.live.current().version, 1, "{how}");
        }
    }
    // One that stays empty is refused as well.
    fs::write(store.file(), "").unwrap();
    process.until("a refusal", |told| told.refused.is_some()).await;
    assert_eq!(process.live.current().version, 1);
    process.stop().await;
}
