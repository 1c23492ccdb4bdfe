//! The contract, and what people and crashes do to a file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;

use freshet_wire::SettingsDocument;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::*;
use crate::settings::contract::{Harness, Process};

struct OnDisk {
    folder: TempDir,
    store: OnceCell<Arc<dyn SettingsStore>>,
}

impl OnDisk {
    async fn start() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: OnceCell::new(),
        }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join(FILE)
    }

    fn again(&self) -> Arc<FileStore> {
        Arc::new(FileStore::open(self.folder.path(), "a", &Settings::default()).unwrap())
    }

    async fn process(&self) -> Process {
        Process::start(self.open("a").await, "a").await
    }

    /// What stands in the file, with one thing replaced.
    fn with(&self, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    }
}

impl Harness for OnDisk {
    /// One process alone has the folder.
    async fn open(&self, _node: &str) -> Arc<dyn SettingsStore> {
        let open = async || self.again() as Arc<dyn SettingsStore>;
        Arc::clone(self.store.get_or_init(open).await)
    }

    async fn write(&self, _document: &SettingsDocument, settings: Option<&Value>) {
        let text = match settings {
            Some(settings) => {
                let value = &settings["source"]["cpu_hz"];
                let bytes = &settings["workload"]["payload_bytes"];
                let whole = text::render(&Settings::default());
                whole
                    .replace("cpu_hz = 10.0", &format!("cpu_hz = {value}"))
                    .replace("payload_bytes = 128", &format!("payload_bytes = {bytes}"))
            }
            None => "source = nonsense".to_owned(),
        };
        fs::write(self.file(), text).unwrap();
    }

    async fn reconnect(&self, between: impl AsyncFnOnce()) {
        // There is no connection to lose; the file is gone for a while.
        fs::remove_file(self.file()).unwrap();
        between().await;
    }
}

crate::settings_contract!(OnDisk::start);

fn payload(bytes: u32) -> Value {
    json!({"workload": {"payload_bytes": bytes}})
}

/// Saves this text to a file.
type Save = fn(&Path, &str);

/// Ways to save a file: what editors and shells do.
fn saves() -> [(&'static str, Save); 5] {
    fn beside(file: &Path) -> std::path::PathBuf {
        file.with_extension("toml.4913")
    }
    [
        ("truncated and written", |file, text| fs::write(file, text).unwrap()),
        ("another one moved over it", |file, text| {
            fs::write(beside(file), text).unwrap();
            fs::rename(beside(file), file).unwrap();
        }),
        ("moved away and written anew, as vim does", |file, text| {
            fs::rename(file, file.with_extension("toml~")).unwrap();
            fs::write(file, text).unwrap();
            fs::remove_file(file.with_extension("toml~")).unwrap();
        }),
        ("written in pieces", |file, text| {
            let (first, second) = text.split_at(text.len() / 2);
            fs::write(file, first).unwrap();
            std::thread::sleep(Duration::from_millis(150));
            let mut file = OpenOptions::new().append(true).open(file).unwrap();
            file.write_all(second.as_bytes()).unwrap();
        }),
        ("sed -i", |file, text| {
            let line = text.lines().find(|line| line.starts_with("payload_bytes")).unwrap();
            let script = format!("s/^payload_bytes.*/{line}/");
            let done = Command::new("sed").args(["-i", &script]).arg(file).status().unwrap();
            assert!(done.success());
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_applied_once_however_it_is_saved() {
    let disk = OnDisk::start().await;
    let process = disk.process().await;
    for (number, (how, save)) in (1..).zip(saves()) {
        let text = disk.with(
            &format!("payload_bytes = {}\n", 127 + number),
            &format!("payload_bytes = {}\n", 128 + number),
        );
        let (file, saved) = (disk.file(), text.clone());
        spawn_blocking(move || save(&file, &saved)).await.unwrap();
        let is_it = |told: &freshet_wire::SettingsStatus| told.in_force.settings.workload.payload_bytes == 128 + number;
        process.until(how, is_it).await;
        let told = process.live.status();
        assert_eq!(
            (told.in_force.version, &told.refused),
            (u64::from(number) + 1, &None),
            "{how}"
        );
        assert_eq!(
            (&*told.in_force.changed_by, told.in_force.changes.len()),
            (FILE, 1),
            "{how}"
        );
        assert_eq!(
            fs::read_to_string(disk.file()).unwrap(),
            text,
            "{how}: it is left as it was saved"
        );
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_stays_half_written_is_refused_and_kept_when_it_is_replaced() {
    let disk = OnDisk::start().await;
    let process = disk.process().await;
    let text = disk.with("cpu_hz = 10.0", "cpu_hz = 5.0");
    let half = &text[..text.len() / 2];
    fs::write(disk.file(), half).unwrap();
    process.until("a refusal", |told| told.refused.is_some()).await;
    assert_eq!(process.live.current().settings, Settings::default());
    process.live.patch(&payload(77), None, "test").await.unwrap();
    assert_eq!(process.live.current().settings.source.cpu_hz, 10.0);
    let kept = disk.folder.path().join("settings.toml.refused");
    assert_eq!(fs::read_to_string(kept).unwrap(), half);
    fs::remove_file(disk.file()).unwrap();
    process
        .until("a word about the missing file", |told| told.refused.is_some())
        .await;
    process.live.patch(&payload(78), None, "test").await.unwrap();
    assert!(disk.file().exists());
    process.stop().await;
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart_and_an_edit_meanwhile_is_a_version() {
    let disk = OnDisk::start().await;
    let (store, seed) = (disk.again(), Settings::default());
    let live = crate::settings::Live::open(store.clone(), "a", seed.clone()).await;
    live.patch(&payload(64), None, "test").await.unwrap();
    let before = live.history();
    drop((live, store));
    let live = crate::settings::Live::open(disk.again(), "a", seed.clone()).await;
    assert_eq!(live.history(), before);
    assert_eq!(live.status().applied[0].took_us, None, "it was there already");
    drop(live);
    fs::write(disk.file(), disk.with("payload_bytes = 64", "payload_bytes = 65")).unwrap();
    let live = crate::settings::Live::open(disk.again(), "a", seed.clone()).await;
    assert_eq!(
        (live.current().version, live.current().settings.workload.payload_bytes),
        (3, 65)
    );
    drop(live);
    fs::write(disk.file(), "what").unwrap();
    let live = crate::settings::Live::open(disk.again(), "a", seed).await;
    assert_eq!(
        (live.current().version, live.current().settings.workload.payload_bytes),
        (3, 65)
    );
    assert!(live.status().refused.is_some());
}

#[test]
fn a_crash_between_the_files_leaves_both_or_neither() {
    let disk = tempfile::tempdir().unwrap();
    let open = || FileStore::open(disk.path(), "a", &Settings::default()).unwrap();
    let at = |name: &str| disk.path().join(name);
    let first = open();
    let before = SettingsDocument::clone(first.shared.inner.lock().document.as_ref().unwrap());
    let old = fs::read_to_string(at(FILE)).unwrap();
    let author = Author {
        by: "test",
        node: "a",
        now_us: 1,
    };
    let settings = change::patched(&before.newest.settings, &payload(64)).unwrap();
    let after = change::next(&before, settings, 0, author);
    let old_record = fs::read(at("settings.json")).unwrap();
    let revision = first.shared.inner.lock().revision;
    first.shared.swap(revision, &after).unwrap();
    drop(first);
    let (new, new_record) = (
        fs::read_to_string(at(FILE)).unwrap(),
        fs::read(at("settings.json")).unwrap(),
    );
    for (record, expected) in [(&old_record, &before), (&new_record, &after)] {
        fs::write(at(FILE), &old).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(at("settings.toml.new"), &new).unwrap();
        fs::write(at("settings.json"), record).unwrap();
        let opened = open();
        assert_eq!(opened.shared.inner.lock().document.as_deref(), Some(expected));
        let is_new = fs::read_to_string(at(FILE)).unwrap() == new;
        assert_eq!(is_new, expected == &after);
        assert!(!at("settings.toml.new").exists());
    }
}

#[test]
fn a_file_from_before_a_setting_existed_is_filled_up() {
    let disk = tempfile::tempdir().unwrap();
    let open = || FileStore::open(disk.path(), "a", &Settings::default()).unwrap();
    drop(open());
    let at = |name: &str| disk.path().join(name);
    let text = fs::read_to_string(at(FILE)).unwrap();
    let older = &text[..text.find("[log]").unwrap()];
    let mut record: Value = serde_json::from_slice(&fs::read(at("settings.json")).unwrap()).unwrap();
    record["text"] = json!(older);
    record["document"]["settings"].as_object_mut().unwrap().remove("log");
    fs::write(at(FILE), older).unwrap();
    fs::write(at("settings.json"), record.to_string()).unwrap();
    let store = open();
    let inner = store.shared.inner.lock();
    assert_eq!(
        (inner.refusal.as_ref(), inner.document.as_ref().unwrap().newest.version),
        (None, 1)
    );
    assert!(fs::read_to_string(at(FILE)).unwrap().contains("[log]"));
}
