//! What the log asks of the disk: a trait, so that tests can count it and let it fail.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) trait Medium: fmt::Debug + Send + Sync {
    /// Writes all of it at this place of the file. After an error any part of it may be there.
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Returns when what was written is on disk (`fdatasync`; on macOS std asks for `F_FULLFSYNC`).
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Cuts the file off.
    fn cut(&self, file: &File, len: u64) -> io::Result<()>;

    /// Returns when the names in the folder are on disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Debug)]
pub(super) struct Disk;

impl Medium for Disk {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn cut(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}
