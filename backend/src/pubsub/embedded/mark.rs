//! Up to which offset a log was on disk, in a file beside it: so that events that were acknowledged and are gone from their file are
//! not taken for a write that was torn off, and their offsets are not given away again.
//!
//! The mark is written after each sync and never synced itself: it is a lower bound. When the process alone ended it is exact; after a power
//! failure it may be older, and then the log goes on further on anyway (`recovery.rs`). Two slots take turns, so that one of them is
//! always whole.
//!
//! ```text
//! slot   epoch, 12 hexadecimal digits │ offset u64 │ CRC-32 of both u32
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use freshet_wire::Epoch;

pub(super) const NAME: &str = "synced";
const SLOT: usize = 24;

/// The mark of one log.
#[derive(Debug)]
pub(super) struct Mark {
    /// Made when something is to be marked: a topic without events has none.
    file: Option<File>,
    epoch: String,
    /// The slot that is written next.
    slot: u64,
    next: u64,
}

impl Mark {
    /// The mark in the folder; one of another epoch, or one that cannot be read, says nothing.
    pub(super) fn find(folder: &Path, epoch: Epoch) -> io::Result<Self> {
        let mut mark = Self {
            file: None,
            epoch: epoch.to_string(),
            slot: 0,
            next: 0,
        };
        let file = match OpenOptions::new().read(true).write(true).open(folder.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(mark),
            Err(error) => return Err(error),
        };
        for slot in 0..2 {
            let mut bytes = [0; SLOT];
            let whole = file.read_exact_at(&mut bytes, slot * SLOT as u64);
            if whole.is_ok()
                && let Some((epoch, next)) = decode(&bytes)
                && epoch == mark.epoch.as_bytes()
                && next >= mark.next
            {
                (mark.next, mark.slot) = (next, 1 - slot);
            }
        }
        mark.file = Some(file);
        Ok(mark)
    }

    /// What is before this offset was on disk.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// What is before this offset is on disk.
    pub(super) fn set(&mut self, folder: &Path, next: u64) -> io::Result<()> {
        if next <= self.next {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let made = options.read(true).write(true).create(true).truncate(false);
                self.file.insert(made.open(folder.join(NAME))?)
            }
        };
        file.write_all_at(&encode(&self.epoch, next), self.slot * SLOT as u64)?;
        (self.next, self.slot) = (next, 1 - self.slot);
        Ok(())
    }
}

fn encode(epoch: &str, next: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT);
    bytes.extend_from_slice(epoch.as_bytes());
    bytes.extend_from_slice(&next.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT]) -> Option<(&[u8], u64)> {
    let (marked, crc) = bytes.split_last_chunk()?;
    let (epoch, next) = marked.split_last_chunk()?;
    (crc32fast::hash(marked).to_le_bytes() == *crc).then_some((epoch, u64::from_le_bytes(*next)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mark_that_was_torn_off_anywhere_is_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let epoch = Epoch::new(7);
        let find = || Mark::find(folder.path(), epoch).unwrap().next();
        assert_eq!(find(), 0);
        for next in [3, 4, 9] {
            let mut mark = Mark::find(folder.path(), epoch).unwrap();
            let (before, path) = (mark.next(), folder.path().join(NAME));
            let old = fs::read(&path).unwrap_or_default();
            mark.set(folder.path(), next).unwrap();
            let new = fs::read(&path).unwrap();
            for at in 0..new.len() {
                // What was written stands there up to a byte, behind it what stood there before.
                let mut torn = new[..at].to_vec();
                torn.extend(old.iter().skip(at));
                fs::write(&path, &torn).unwrap();
                let found = find();
                assert!(found == next && torn == new || found == before, "{found} at {at}");
            }
            fs::write(&path, &new).unwrap();
            assert_eq!(find(), next);
        }
        let mut mark = Mark::find(folder.path(), epoch).unwrap();
        mark.set(folder.path(), 5).unwrap();
        assert_eq!(find(), 9, "it never goes back");
        // One process sets it again and again, and never where the last one stands.
        for next in 10..14 {
            let path = folder.path().join(NAME);
            let old = fs::read(&path).unwrap();
            mark.set(folder.path(), next).unwrap();
            let new = fs::read(&path).unwrap();
            let written = (0..new.len()).rfind(|&at| new[at] != old[at]).unwrap();
            let mut torn = new.clone();
            torn[written] ^= 1;
            fs::write(&path, torn).unwrap();
            assert_eq!(find(), next - 1);
            fs::write(&path, new).unwrap();
        }
        assert_eq!(Mark::find(folder.path(), Epoch::new(8)).unwrap().next(), 0);
    }
}
