//! Where readers of history were, with the ids before that: who goes on from there, by whatever request, need not look back.

use parking_lot::Mutex;

use super::recent::Recent;

/// Places that are kept; the one that was not used for longest goes first. Each has up to a megabyte of ids.
const MOST: usize = 48;

/// The ids of one partition from an offset up to another.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) log_id: u32,
    pub(super) partition: usize,
    pub(super) since: u64,
    pub(super) next: u64,
    pub(super) recent: Recent,
}

#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<Vec<Scan>>);

impl Scans {
    /// The one that has most of the ids between these two offsets, and all from the first one on.
    pub(super) fn find(&self, log_id: u32, partition: usize, since: u64, to: u64) -> Option<Scan> {
        let mut scans = self.0.lock();
        let fits = |scan: &Scan| {
            (scan.log_id, scan.partition) == (log_id, partition)
                && scan.since <= since
                && (since..=to).contains(&scan.next)
        };
        let fitting = scans.iter().enumerate().filter(|(_, scan)| fits(scan));
        let (found, _) = fitting.max_by_key(|(_, scan)| scan.next)?;
        let found = scans.remove(found);
        scans.push(found.clone());
        Some(found)
    }

    /// Keeps one that has come so far.
    pub(super) fn keep(&self, scan: Scan) {
        let place = |scan: &Scan| (scan.log_id, scan.partition, scan.next);
        let mut scans = self.0.lock();
        let since = scans
            .iter()
            .find(|known| place(known) == place(&scan))
            .map(|known| known.since);
        if since.is_some_and(|since| since <= scan.since) {
            return;
        }
        scans.retain(|known| place(known) != place(&scan));
        if scans.len() >= MOST {
            scans.remove(0);
        }
        scans.push(scan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(partition: usize, since: u64, next: u64) -> Scan {
        Scan {
            log_id: 1,
            partition,
            since,
            next,
            recent: Recent::new(10, 0),
        }
    }

    #[test]
    fn the_one_that_has_most_is_found_and_they_are_bounded() {
        let scans = Scans::default();
        for known in [scan(0, 0, 5), scan(0, 2, 8), scan(0, 4, 9), scan(1, 0, 9)] {
            scans.keep(known);
        }
        let found = |since, to| scans.find(1, 0, since, to).map(|scan| (scan.since, scan.next));
        assert_eq!(found(3, 9), Some((2, 8)));
        assert_eq!(found(0, 9), Some((0, 5)));
        assert_eq!(found(4, 9), Some((4, 9)));
        assert_eq!(
            (found(10, 20), scans.find(2, 0, 4, 9).map(|scan| scan.next)),
            (None, None)
        );
        // The same place again, with more of what stands before it.
        scans.keep(scan(0, 1, 9));
        assert_eq!(found(4, 9), Some((1, 9)));
        (0..100).for_each(|next| scans.keep(scan(2, 0, next)));
        assert_eq!(found(4, 9), None);
        assert_eq!(scans.0.lock().len(), MOST);
    }
}
