//! How long a change of the settings took to arrive at this page, by each lane.

use std::collections::VecDeque;

use freshet_wire::SettingsVersion;

/// The newest changes are kept.
const KEPT: usize = 8;

/// A version of the settings, and when each lane brought it.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    pub version: u64,
    pub changed_us: i64,
    pub by: String,
    pub on: String,
    /// From the change to this page, in microseconds: by polling, by streaming. The clocks of who changed it and of this page's server are in
    /// it where these are two machines.
    pub took_us: [Option<f64>; 2],
}

#[derive(Debug, Default)]
pub struct Propagation {
    /// The newest first.
    pub arrived: VecDeque<Arrived>,
    /// What each lane has brought last. The first one was there before the page was: nothing propagated.
    seen: [Option<u64>; 2],
}

impl Propagation {
    /// A lane brought this version at this moment of the server's clock. True if it is news.
    pub fn note(&mut self, lane: usize, version: &SettingsVersion, received_us: f64) -> bool {
        let Some(before) = self.seen[lane].replace(version.version) else {
            return false;
        };
        if before == version.version {
            return false;
        }
        let took_us = received_us - version.changed_us as f64;
        let at = match self.arrived.iter().position(|it| it.version == version.version) {
            Some(at) => at,
            None => {
                let newer = self
                    .arrived
                    .iter()
                    .take_while(|it| it.version > version.version)
                    .count();
                self.arrived.insert(
                    newer,
                    Arrived {
                        version: version.version,
                        changed_us: version.changed_us,
                        by: version.changed_by.clone(),
                        on: version.changed_on.clone(),
                        took_us: [None; 2],
                    },
                );
                newer
            }
        };
        if let Some(arrived) = self.arrived.get_mut(at) {
            arrived.took_us[lane] = Some(took_us);
        }
        self.arrived.truncate(KEPT);
        true
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::Settings;

    use super::*;

    fn version(version: u64, changed_us: i64) -> SettingsVersion {
        SettingsVersion {
            version,
            changed_us,
            changed_by: "API".into(),
            changed_on: "a".into(),
            changes: Vec::new(),
            settings: Settings::default(),
        }
    }

    #[test]
    fn a_change_is_timed_on_each_lane_and_what_was_there_before_is_not() {
        let mut it = Propagation::default();
        assert!(!it.note(0, &version(3, 0), 1e6));
        assert!(!it.note(1, &version(3, 0), 1e6));
        assert!(it.arrived.is_empty());
        assert!(it.note(1, &version(4, 2_000_000), 2_001_500.0));
        assert!(
            !it.note(1, &version(4, 2_000_000), 2_900_000.0),
            "the same once more is no news"
        );
        assert!(it.note(0, &version(4, 2_000_000), 2_700_000.0));
        assert_eq!(it.arrived[0].took_us, [Some(700_000.0), Some(1_500.0)]);
        // Polling comes later than the next change: it never had the one between.
        it.note(1, &version(5, 3_000_000), 3_001_000.0);
        it.note(1, &version(6, 4_000_000), 4_001_000.0);
        it.note(0, &version(6, 4_000_000), 4_500_000.0);
        let took: Vec<_> = it
            .arrived
            .iter()
            .map(|it| (it.version, it.took_us[0].is_some()))
            .collect();
        assert_eq!(took, [(6, true), (5, false), (4, true)]);
        (7..40).for_each(|at| _ = it.note(1, &version(at, 0), 1.0));
        assert_eq!(it.arrived.len(), KEPT);
        assert_eq!(it.arrived[0].version, 39);
    }
}
