//! How fast old events are read again, over all who ask for them: live readers must not wait for those who replay.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Reads of the engine that are under way at once.
const AT_ONCE: usize = 2;

/// A rate in bytes a second, shared by all.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_s: f64,
    reads: Semaphore,
    /// When what was read so far has been paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s: bytes_per_s.max(1) as f64,
            reads: Semaphore::new(AT_ONCE),
            paid: Mutex::new(None),
        }
    }

    /// Waits for a turn to read.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.reads.acquire().await.ok();
        let paid = *self.paid.lock();
        if let Some(paid) = paid.filter(|&paid| paid > Instant::now()) {
            sleep_until(paid).await;
        }
        permit
    }

    /// So much was read.
    pub(crate) fn spend(&self, bytes: usize, now: Instant) {
        let mut paid = self.paid.lock();
        let from = paid.map_or(now, |paid| paid.max(now));
        *paid = Some(from + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn over_time_no_more_is_read_than_the_rate_allows() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        for _ in 0..10 {
            let _turn = pace.turn().await;
            pace.spend(500, Instant::now());
        }
        let _turn = pace.turn().await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}
