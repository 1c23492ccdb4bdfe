//! A node's vote and log on disk, so that terms never go back.
//!
//! One file a node, of lines: a CRC-32 in hex, a space, a record as JSON. It is only ever appended to, and on disk before Raft goes on. Where it
//! has grown long, another one that begins with the whole state takes its place by its name.
//!
//! A last line that is torn was never acknowledged, and is cut off. Anything else that is not whole means that something was lost that Raft
//! relies on: then the node does not run.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::types::{Entry, LogId, SnapshotMeta, Types, Vote};

/// A file that is longer is written anew, in bytes.
const LONG: u64 = 256 << 10;

/// All that a node must remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) log: BTreeMap<u64, Entry>,
    pub(super) purged: Option<LogId>,
    pub(super) snapshot: Option<SnapshotMeta>,
}

/// A change of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Vote(Vote),
    Append(Vec<Entry>),
    /// What comes after this index goes.
    TruncateAfter(Option<u64>),
    /// What comes up to this goes.
    Purge(LogId),
    Snapshot(SnapshotMeta),
    /// What a file begins with.
    Whole(Box<State>),
}

impl State {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Vote(vote) => self.vote = Some(vote),
            Change::Append(entries) => self.log.extend(entries.into_iter().map(|entry| (entry.index(), entry))),
            Change::TruncateAfter(None) => self.log.clear(),
            Change::TruncateAfter(Some(last)) => _ = self.log.split_off(&(last + 1)),
            Change::Purge(upto) => {
                self.log = self.log.split_off(&(upto.index + 1));
                self.purged = Some(upto);
            }
            Change::Snapshot(meta) => self.snapshot = Some(meta),
            Change::Whole(state) => *self = *state,
        }
    }
}

/// Shared by the parts of Raft that read and write.
#[derive(Debug, Clone)]
pub(super) struct Store(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    state: State,
    /// False in tests that need no disk.
    sync: bool,
}

impl Store {
    /// Opens a node's file, and makes it where there is none. Blocks.
    pub(super) fn open(path: &Path, sync: bool) -> io::Result<Self> {
        let state = match fs::read(path) {
            Ok(bytes) => read(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error),
        };
        let (file, bytes) = begin(path, &state, sync)?;
        Ok(Self(Arc::new(Mutex::new(Open {
            path: path.to_owned(),
            file,
            bytes,
            state,
            sync,
        }))))
    }

    pub(super) fn state(&self) -> State {
        self.0.lock().state.clone()
    }

    /// Whether it has nothing to remember yet.
    pub(super) fn is_pristine(&self) -> bool {
        self.0.lock().state == State::default()
    }

    /// Has it on disk, and then in memory.
    pub(super) async fn write(&self, change: Change) -> io::Result<()> {
        let open = Arc::clone(&self.0);
        spawn_blocking(move || open.lock().write(change))
            .await
            .map_err(io::Error::other)?
    }
}

impl Open {
    fn write(&mut self, change: Change) -> io::Result<()> {
        let line = line(&change)?;
        self.file.write_all(&line)?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.bytes += line.len() as u64;
        self.state.apply(change);
        if self.bytes > LONG {
            (self.file, self.bytes) = begin(&self.path, &self.state, self.sync)?;
        }
        Ok(())
    }
}

/// A file that holds this state and nothing else, in the place of the one before.
fn begin(path: &Path, state: &State, sync: bool) -> io::Result<(File, u64)> {
    let new = path.with_extension("new");
    let line = line(&Change::Whole(Box::new(state.clone())))?;
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&new)?;
    file.write_all(&line)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(&new, path)?;
    if let Some(folder) = path.parent().filter(|_| sync) {
        File::open(folder)?.sync_all()?;
    }
    Ok((file, line.len() as u64))
}

fn line(change: &Change) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(change)?;
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

fn read(bytes: &[u8]) -> io::Result<State> {
    let mut state = State::default();
    let mut number = 0;
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    while let Some(line) = lines.next() {
        number += 1;
        match change(line) {
            Some(change) => state.apply(change),
            // Only the first one stands there by a rename, whole or not at all.
            None if number > 1 && lines.next().is_none() => break,
            None => {
                let why = format!("line {number} is damaged, and what a node voted for must not be forgotten");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
    }
    Ok(state)
}

fn change(line: &[u8]) -> Option<Change> {
    let (crc, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let crc = std::str::from_utf8(crc).ok()?.strip_suffix(' ')?;
    let whole = u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(json);
    whole.then(|| serde_json::from_slice(json).ok())?
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let open = self.0.lock();
        Ok(open.state.log.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.lock().state.vote)
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let open = self.0.lock();
        let last = open.state.log.values().next_back().map(RaftEntry::log_id);
        Ok(LogState {
            last_purged_log_id: open.state.purged,
            last_log_id: last.or(open.state.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write(Change::Vote(*vote)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        callback.io_completed(self.write(Change::Append(entries)).await);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.write(Change::TruncateAfter(last.map(|last| last.index))).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.write(Change::Purge(upto)).await
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftVote;

    use super::*;

    fn vote(term: u64, node: u64) -> Vote {
        let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: node };
        Vote::from_leader_id(leader, false)
    }

    #[tokio::test]
    async fn what_was_voted_for_is_there_again_however_the_process_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.raft");
        let store = Store::open(&path, true).unwrap();
        for term in 1..=5 {
            store.write(Change::Vote(vote(term, term % 3))).await.unwrap();
        }
        let whole = fs::read(&path).unwrap();
        // The process may have been killed in the middle of the next write.
        let next = line(&Change::Vote(vote(6, 1))).unwrap();
        for torn in 0..next.len() {
            fs::write(&path, [&whole, &next[..torn]].concat()).unwrap();
            let again = Store::open(&path, true).unwrap();
            assert_eq!(again.state().vote, Some(vote(5, 2)), "{torn} bytes of the next write");
        }
        fs::write(&path, [&whole, &*next].concat()).unwrap();
        assert_eq!(Store::open(&path, true).unwrap().state().vote, Some(vote(6, 1)));
    }

    #[tokio::test]
    async fn a_file_that_is_damaged_within_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.raft");
        let store = Store::open(&path, false).unwrap();
        for term in 1..=3 {
            store.write(Change::Vote(vote(term, 1))).await.unwrap();
        }
        let whole = fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .unwrap();
        for at in 0..last {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(Store::open(&path, false).is_err(), "byte {at} is another one");
        }
    }

    #[tokio::test]
    async fn a_long_file_is_written_anew_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.raft");
        let store = Store::open(&path, false).unwrap();
        let mut term = 0;
        let mut longest = 0;
        while fs::metadata(&path).unwrap().len() >= longest {
            longest = fs::metadata(&path).unwrap().len();
            term += 1;
            store.write(Change::Vote(vote(term, 1))).await.unwrap();
            assert!(longest <= LONG);
        }
        assert_eq!(Store::open(&path, false).unwrap().state().vote, Some(vote(term, 1)));
    }
}
