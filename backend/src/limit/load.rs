//! What is open at once, and whether the process keeps up: the second line, for many clients that each keep to their quotas.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Client;

/// How often it is looked whether the process keeps up.
const LOOK: Duration = Duration::from_millis(100);

/// What can be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connection,
    Request,
    Stream,
}

/// What is open now, by client; only clients that have something open are in it.
#[derive(Debug, Default)]
pub struct Open {
    clients: Mutex<HashMap<Client, [u32; 3]>>,
    all: [AtomicU32; 3],
}

/// Counts as open as long as it lives.
#[derive(Debug)]
pub struct Held {
    open: Arc<Open>,
    client: Client,
    kind: Kind,
}

impl Open {
    /// `None` where so many are open already: in all, or of this client.
    pub fn hold(self: &Arc<Self>, client: Client, kind: Kind, most: u32, most_of_client: u32) -> Option<Held> {
        let mut clients = self.clients.lock();
        // Only changed under the lock.
        if self.all[kind as usize].load(Relaxed) >= most {
            return None;
        }
        let counts = clients.entry(client).or_default();
        if counts[kind as usize] >= most_of_client {
            if *counts == [0; 3] {
                clients.remove(&client);
            }
            return None;
        }
        counts[kind as usize] += 1;
        self.all[kind as usize].fetch_add(1, Relaxed);
        Some(Held {
            open: Arc::clone(self),
            client,
            kind,
        })
    }

    pub fn count(&self, kind: Kind) -> u32 {
        self.all[kind as usize].load(Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut clients = self.open.clients.lock();
        self.open.all[self.kind as usize].fetch_sub(1, Relaxed);
        if let Some(counts) = clients.get_mut(&self.client) {
            counts[self.kind as usize] = counts[self.kind as usize].saturating_sub(1);
            if *counts == [0; 3] {
                clients.remove(&self.client);
            }
        }
    }
}

/// How late the process comes to what is due: whoever asks now waits at least that long.
#[derive(Debug, Default)]
pub struct Lag {
    lag_us: AtomicU64,
    is_over: AtomicBool,
}

impl Lag {
    pub fn lag_us(&self) -> u64 {
        self.lag_us.load(Relaxed)
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Notes a measurement. One that is late may have been the machine's fault; two in a row are not over soon.
    fn note(&self, lag: Duration, most: Duration) {
        let lag_us = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let before_us = self.lag_us.swap(lag_us, Relaxed);
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        self.is_over.store(lag_us > most_us && before_us > most_us, Relaxed);
    }

    /// Measures until the process stops.
    pub async fn watch(&self, most: Duration, mut stopping: watch::Receiver<bool>) {
        loop {
            let due = Instant::now() + LOOK;
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = stopping.wait_for(|&stopping| stopping) => return,
            }
            self.note(due.elapsed(), most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        Client::of([192, 0, 2, last].into())
    }

    #[test]
    fn a_client_holds_no_more_than_its_share_and_all_no_more_than_the_whole() {
        let open = Arc::new(Open::default());
        let hold = |last| open.hold(client(last), Kind::Request, 3, 2);
        let (first, second) = (hold(1), hold(1));
        assert!(first.is_some() && second.is_some() && hold(1).is_none());
        let third = hold(2);
        assert!(third.is_some() && hold(3).is_none());
        assert!(
            open.hold(client(1), Kind::Stream, 3, 2).is_some(),
            "each kind for itself"
        );
        drop(first);
        assert!(hold(3).is_some());
        drop((second, third));
        assert_eq!((open.count(Kind::Request), open.clients.lock().len()), (0, 0));
    }

    #[test]
    fn one_late_moment_is_no_overload() {
        let (lag, most) = (Lag::default(), Duration::from_millis(100));
        let late = Duration::from_millis(101);
        lag.note(late, most);
        assert!(!lag.is_over());
        lag.note(late, most);
        assert!(lag.is_over());
        lag.note(Duration::ZERO, most);
        assert!(!lag.is_over());
    }
}
