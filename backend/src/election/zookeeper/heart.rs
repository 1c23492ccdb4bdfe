//! The heartbeats of a session.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn};
use tokio::time::sleep_until;
use zookeeper_client::{Client, Error};

use crate::time::steady;

/// The heartbeats, on a task of their own; they end with this.
pub(super) struct Heart {
    beats: mpsc::UnboundedReceiver<Beat>,
    task: AbortHandle,
}

/// A heartbeat that was answered, or failed.
pub(super) struct Beat {
    pub(super) sent: Instant,
    pub(super) answered: Instant,
    pub(super) answer: Result<(), Error>,
}

impl Heart {
    /// A write to this znode, which exists as long as the session does, every so often.
    pub(super) fn start(client: Client, path: String, every: Duration) -> Self {
        let (sender, beats) = mpsc::unbounded_channel();
        let beating = async move {
            loop {
                let sent = steady();
                let answer = client.set_data(&path, &[], None).await.map(drop);
                let answered = steady();
                let beat = Beat { sent, answered, answer };
                if sender.send(beat).is_err() {
                    return;
                }
                sleep_until((sent + every).into()).await;
            }
        };
        Self {
            beats,
            task: spawn(beating).abort_handle(),
        }
    }

    /// The next one, or `None` when they ended.
    pub(super) async fn beat(&mut self) -> Option<Beat> {
        self.beats.recv().await
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stop();
    }
}
