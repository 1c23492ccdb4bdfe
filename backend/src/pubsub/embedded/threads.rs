//! The log's two threads.
//!
//! The *committer* syncs: all that was written while it was syncing shares its next round, however many publishers wait for it. The
//! *keeper* looks after what nobody waits for: it has synced what is half a second old, drops what is too much, tries a disk that failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Shared;
use super::common::{Common, Next};

/// Nothing that is written waits longer for the disk before the keeper notices.
const DUE: Duration = Duration::from_millis(500);
/// Between two looks at what retention says, where no segment was begun.
const RETENTION: Duration = Duration::from_secs(5);

pub(super) fn commit(common: Arc<Common>) -> io::Result<JoinHandle<()>> {
    let run = move || {
        while let Next::Topics(topics) = common.commit.next(None) {
            topics.iter().for_each(|topic| topic.sync());
        }
    };
    Builder::new().name("log.commit".to_owned()).spawn(run)
}

pub(super) fn keep(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let run = move || {
        let common = &shared.common;
        let tick = common.options.tick;
        let (mut ticked, mut retained) = (Instant::now(), Instant::now());
        loop {
            match common.keep.next(Some(tick)) {
                Next::End => return,
                Next::Nothing => {}
                Next::Topics(rolled) => {
                    for topic in rolled {
                        topic.to_keep.store(false, SeqCst);
                        topic.drop_old();
                    }
                    shared.drop_beyond_total();
                }
            }
            if ticked.elapsed() < tick {
                continue;
            }
            ticked = Instant::now();
            let is_time = retained.elapsed() >= RETENTION.min(10 * tick);
            if is_time {
                retained = ticked;
            }
            let open = shared.open.read().values().cloned().collect::<Vec<_>>();
            for topic in open {
                if topic.is_due(DUE) {
                    common.commit.add(&topic, &topic.to_commit);
                }
                topic.probe();
                if let Err(error) = topic.settle(common.options.idle) {
                    tracing::warn!(topic = &*topic.name, %error, "cannot note down that all is on disk");
                }
                if is_time {
                    topic.drop_old();
                }
            }
            if is_time {
                shared.drop_beyond_total();
            }
            common.health.tick(common.now_us());
        }
    };
    Builder::new().name("log.keep".to_owned()).spawn(run)
}
