//! The files of the embedded engine, and what a crash may leave of them.
//!
//! A change goes to disk in this order: `settings.toml.new`, then the record `settings.json`, then `settings.toml` is replaced. A crash before the
//! record leaves what was; one after it is made good at the next start, because the new file is still there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use freshet_wire::SettingsDocument;
use serde::{Deserialize, Serialize};

pub(super) const FILE: &str = "settings.toml";
const RECORD: &str = "settings.json";

/// A file that was written within this time may be half written.
const FRESH: Duration = Duration::from_millis(40);

#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// What the file says, and when it was written.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) text: String,
    pub(super) changed_us: i64,
    changed: SystemTime,
}

impl Read {
    /// Written just now.
    pub(super) fn is_fresh(&self) -> bool {
        self.changed.elapsed().is_ok_and(|age| age < FRESH)
    }
}

/// The newest version with its history, and what the file said with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) text: String,
    pub(super) document: SettingsDocument,
}

#[derive(Serialize)]
struct Written<'a> {
    text: &'a str,
    document: &'a SettingsDocument,
}

impl Folder {
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    fn new_file(&self) -> PathBuf {
        self.0.join(format!("{FILE}.new"))
    }

    /// `None` where there is no file. Bytes that are no UTF-8 are replaced, and then no TOML either.
    pub(super) fn read(&self) -> io::Result<Option<Read>> {
        let reading = || {
            let bytes = fs::read(self.file())?;
            let changed = fs::metadata(self.file())?.modified()?;
            let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok::<_, io::Error>(Read {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                changed_us: i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
                changed,
            })
        };
        match reading() {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts the file and the record to disk, so that a crash leaves both or neither.
    pub(super) fn replace(&self, text: &str, document: &SettingsDocument) -> io::Result<()> {
        let new = self.new_file();
        write(&new, text.as_bytes())?;
        if let Ok(there) = fs::metadata(self.file()) {
            fs::set_permissions(&new, there.permissions())?;
        }
        self.write_record(text, document)?;
        fs::rename(&new, self.file())?;
        self.sync()
    }

    pub(super) fn write_record(&self, text: &str, document: &SettingsDocument) -> io::Result<()> {
        let new = self.0.join(format!("{RECORD}.new"));
        write(&new, &serde_json::to_vec(&Written { text, document })?)?;
        fs::rename(&new, self.0.join(RECORD))?;
        self.sync()
    }

    /// What was refused is somebody's work.
    pub(super) fn keep_refused(&self, text: &str) -> io::Result<()> {
        write(&self.0.join(format!("{FILE}.refused")), text.as_bytes())
    }

    /// The record, after what a crash left was finished.
    pub(super) fn recover(&self) -> io::Result<Option<Record>> {
        let record = match fs::read(self.0.join(RECORD)) {
            Ok(bytes) => match serde_json::from_slice::<Record>(&bytes) {
                Ok(record) => Some(record),
                Err(error) => {
                    tracing::error!(%error, "{RECORD} cannot be read and is put aside; the history of the settings begins anew");
                    fs::rename(self.0.join(RECORD), self.0.join(format!("{RECORD}.unreadable")))?;
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let new = self.new_file();
        if let Ok(text) = fs::read_to_string(&new) {
            let is_recorded = record.as_ref().is_some_and(|record| record.text == text);
            // Who edited the old file since has the last word.
            let age = |path: &Path| fs::metadata(path).and_then(|there| there.modified()).ok();
            let is_newest = age(&self.file()) <= age(&new);
            if is_recorded && is_newest {
                fs::rename(&new, self.file())?;
            } else {
                fs::remove_file(&new)?;
            }
            self.sync()?;
        }
        Ok(record)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
