//! A topic's folder, and the small files in it.
//!
//! ```text
//! t000001/topic.json   name, kind, epoch…; the topic exists once this file does
//!         topic.copy   the same again, for when the other one is damaged
//!         state.json   whether all that was written is on disk, see [`State`]
//!         synced       up to where all was on disk, see `mark.rs`
//!         keyed        there were publications with a key
//!         N.seg        the segment that begins with offset N
//!         N.keys       the keys of a segment that is gone, as long as they are remembered
//!         *.new        half written, of no account
//! ```
//!
//! Those that hold JSON end with its checksum, so that no flipped bit is taken for what was written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use freshet_wire::{Epoch, Retention, TopicKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::Used;
use super::medium::Medium;
use crate::pubsub::TopicSpec;

/// Between the JSON in a file and its CRC-32, which is followed by a line feed.
const SEAL: &[u8; 2] = b"\n#";
/// Bytes from there on.
const SEALED: usize = SEAL.len() + 9;
pub(super) const DESCRIPTION: &str = "topic.json";
const COPY: &str = "topic.copy";

/// What `topic.json` says, and `topic.copy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) kind: TopicKind,
    pub(super) synthetic: bool,
    pub(super) writable: bool,
    pub(super) epoch: Epoch,
    pub(super) created_us: i64,
}

impl Description {
    /// The topic is there once this is done.
    pub(super) fn write(&self, medium: &dyn Medium, folder: &Path) -> io::Result<()> {
        write_whole(medium, folder, COPY, self)?;
        write_whole(medium, folder, DESCRIPTION, self)
    }

    /// What is known of the topic, and what was wrong with the file that should say it. `None` where neither file is there.
    pub(super) fn find(medium: &dyn Medium, folder: &Path) -> io::Result<Option<(Self, Option<String>)>> {
        let copy = read::<Self>(&folder.join(COPY)).unwrap_or_default();
        let (found, fault) = match (read::<Self>(&folder.join(DESCRIPTION)), &copy) {
            (Ok(Some(found)), _) => (found, None),
            (Ok(None), None) => return Ok(None),
            (Err(error), None) => return Err(error),
            (Ok(None), Some(copy)) => (copy.clone(), Some("was gone".to_owned())),
            (Err(error), Some(copy)) => (copy.clone(), Some(format!("cannot be read ({error})"))),
        };
        if fault.is_some() || copy.as_ref() != Some(&found) {
            // Where there is no room for it, what is there goes on being enough.
            if let Err(error) = found.write(medium, folder) {
                tracing::warn!(topic = found.name, %error, "what is known of it cannot be written again");
            }
        }
        Ok(Some((found, fault)))
    }

    pub(super) fn spec(&self, retention: Retention) -> TopicSpec {
        TopicSpec {
            name: self.name.clone(),
            kind: self.kind,
            synthetic: self.synthetic,
            writable: self.writable,
            retention,
        }
    }
}

/// `state.json`: how the log was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "left", rename_all = "snake_case")]
pub(super) enum State {
    /// All of it is on disk, and the next offset is this one.
    Whole { next: u64 },
    /// Events are being appended, since this boot of the machine: what was written last may be on disk or not.
    Appending { boot: String },
}

/// What tells one boot of the machine from another; empty where there is no telling, and that is never the same.
pub(super) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// A file that is either the old one or the new one, also after a power failure.
pub(super) fn write_whole(medium: &dyn Medium, folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    put_beside(medium, folder, name, value)?;
    fs::rename(folder.join(format!("{name}.new")), folder.join(name))?;
    medium.sync_folder(folder)
}

/// Writes the file's new content beside it, so that only the name has to change.
pub(super) fn put_beside(medium: &dyn Medium, folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let (path, mut text) = (folder.join(format!("{name}.new")), serde_json::to_vec(value)?);
    let crc = crc32fast::hash(&text);
    text.extend_from_slice(SEAL);
    writeln!(text, "{crc:08x}")?;
    let written = File::create(&path).and_then(|file| {
        medium.write(&file, &text, 0)?;
        file.sync_all()
    });
    // On a full disk what was half written is in the way of what would make room.
    written.inspect_err(|_| _ = fs::remove_file(&path))
}

/// `None` where there is no such file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(checked(&text)?)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The JSON in a file, where it is what was written. Without a checksum it is of an earlier version.
fn checked(text: &[u8]) -> io::Result<&[u8]> {
    let Some((json, seal)) = text
        .split_last_chunk::<SEALED>()
        .filter(|(_, seal)| seal.starts_with(SEAL))
    else {
        return Ok(text);
    };
    let crc = format!("{:08x}\n", crc32fast::hash(json));
    match seal.ends_with(crc.as_bytes()) {
        true => Ok(json),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its checksum is not that of its content",
        )),
    }
}

/// The files `N.EXTENSION`, in the order of their numbers.
pub(super) fn numbered(folder: &Path, extension: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_number = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
        if is_number
            && path.extension().is_some_and(|found| found == extension)
            && let Ok(number) = stem.parse()
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Takes away what was half written when the process ended.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Gives a file or folder another name, under which nobody looks for it; what is in it stays.
pub(super) fn set_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 0.. {
        let aside = path.with_file_name(format!("{name}.{why}-{number}"));
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The name of the file with the keys of a segment that is gone.
pub(super) fn keys_name(base: u64) -> String {
    format!("{base:020}.keys")
}

/// What is in it.
pub(super) type KeysFile = Vec<(String, Used)>;
