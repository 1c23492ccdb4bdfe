//! The data folder: one process at a time, and the node's name, which outlives it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::is_name;

/// This process's hold on its data folder.
#[derive(Debug)]
pub struct Node {
    pub id: String,
    /// Locked as long as it is open.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("data folder {folder}: {error}; --data names another one")]
    Unusable { folder: PathBuf, error: io::Error },
    #[error("data folder {0}: another freshet uses it; --data names another one")]
    InUse(PathBuf),
    #[error("{0}: not a node's name; delete the file to get a new one")]
    BadName(PathBuf),
}

impl Node {
    /// Makes the folder if there is none, locks it, and reads or writes the node's name; `id` overrides it.
    pub fn open(folder: &Path, id: Option<&str>) -> Result<Self, NodeError> {
        let unusable = |error| NodeError::Unusable {
            folder: folder.to_owned(),
            error,
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NodeError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let id = match id {
            Some(id) => id.to_owned(),
            None => stored_id(folder)?,
        };
        Ok(Self { id, _lock: lock })
    }
}

fn stored_id(folder: &Path) -> Result<String, NodeError> {
    let unusable = |error| NodeError::Unusable {
        folder: folder.to_owned(),
        error,
    };
    let file = folder.join("node-id");
    match fs::read_to_string(&file) {
        Ok(text) if is_name(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => return Err(NodeError::BadName(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(NodeError::BadName(file)),
        Err(error) => return Err(unusable(error)),
    }
    let random = getrandom::u32().map_err(|error| unusable(io::Error::other(error)))?;
    let id = format!("node-{:06x}", random & 0xff_ffff);
    // A name that is half written would be refused at the next start.
    let new = folder.join("node-id.new");
    let written = File::create(&new).and_then(|mut out| writeln!(out, "{id}").and_then(|()| out.sync_all()));
    written.and_then(|()| fs::rename(&new, &file)).map_err(unusable)?;
    Ok(id)
}
