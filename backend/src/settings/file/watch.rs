//! Notices that the file was edited, and looks at it when it is whole.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};
use std::{fs, io};

use notify::{Event, RecursiveMode, Watcher};

use super::folder::FILE;
use super::{Look, Shared, Watching};

/// A file that changes no more for so long is taken for whole.
const QUIET: Duration = Duration::from_millis(60);
/// One that is wrong is looked at again for so long before it is refused: its writer may not be done.
const GRACE: Duration = Duration::from_millis(500);
/// Without a word from the system (as on some network file systems) it is looked at so often.
const EVERY: Duration = Duration::from_secs(2);

/// Watches until what is answered is dropped.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Watching> {
    let (looks, due) = channel();
    let tell = looks.clone();
    // The folder, because an editor's rename puts another file in the place of the one that would be watched.
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let is_ours = |event: &Event| {
            let is_file = |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name == FILE);
            !event.kind.is_access() && event.paths.iter().any(is_file)
        };
        if event.is_ok_and(|event| is_ours(&event)) {
            let _ = tell.send(());
        }
    });
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(shared.folder.path(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    let watcher = match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the settings' file cannot be watched; it is looked at every {EVERY:?}");
            None
        }
    };
    let shared = Arc::clone(shared);
    let thread = Builder::new()
        .name("settings".to_owned())
        .spawn(move || run(&shared, &due))?;
    Ok(Watching { watcher, looks, thread })
}

fn run(shared: &Shared, due: &Receiver<()>) {
    loop {
        match due.recv_timeout(EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let begun = Instant::now();
        loop {
            // An atomic replacement is whole at once; whatever else comes in pieces is waited for.
            let look = shared.look(&mut shared.inner.lock(), true);
            match look {
                Ok(Look::Done) => {
                    shared.well();
                    break;
                }
                Ok(Look::Unsettled) => {}
                Err(error) => {
                    tracing::warn!(%error, "the settings' file cannot be read");
                    let _ = shared.failed(&error);
                    break;
                }
            }
            match due.recv_timeout(QUIET) {
                // It changed again: the count begins anew, but not for ever.
                Ok(()) if begun.elapsed() < GRACE * 4 => continue,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if is_older_than_grace(shared, begun) {
                if let Err(error) = shared.look(&mut shared.inner.lock(), false) {
                    let _ = shared.failed(&error);
                }
                break;
            }
        }
    }
}

/// It was not written for a while; one that is not there was not there for a while.
fn is_older_than_grace(shared: &Shared, begun: Instant) -> bool {
    let changed = fs::metadata(shared.folder.file()).and_then(|there| there.modified());
    match changed {
        Ok(changed) => changed.elapsed().map_or(begun.elapsed() >= GRACE, |age| age >= GRACE),
        Err(_) => begun.elapsed() >= GRACE,
    }
}
