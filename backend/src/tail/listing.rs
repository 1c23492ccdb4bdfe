//! Topics listed within a bound, for a value that goes to every page once a second: it must not grow with their number.

use std::cmp::Reverse;
use std::sync::Arc;

use freshet_wire::{Topic as TopicInfo, TopicKind, TopicTotals};

use super::topic::{Glance, Topic};
use super::{Tail, kept};

/// How much one list may hold.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub topics: usize,
    /// Of all its topics together.
    pub partitions: usize,
}

impl Tail {
    /// The topics that somebody waits for, then the busiest, then those with the newest events, as many as there is room for and in the
    /// order of their names; and the sums over all topics.
    pub fn list(&self, room: Room, now_us: i64) -> (Vec<TopicInfo>, TopicTotals) {
        let mut totals = TopicTotals::default();
        let mut glances: Vec<(Glance, Arc<Topic>)> = Vec::new();
        for topic in self.topics() {
            let glance = topic.glance(now_us);
            totals.topics += 1;
            totals.logs += u32::from(topic.kind() == TopicKind::Log);
            totals.events_per_s += glance.events_per_s;
            totals.bytes_per_s += glance.bytes_per_s;
            totals.window_bytes += glance.window_bytes;
            totals.duplicates += glance.duplicates;
            totals.fenced += kept(&self.engine, &topic).fenced;
            glances.push((glance, topic));
        }
        // Stable: what is equal stays in the order of names.
        glances.sort_by(|(a, _), (b, _)| {
            let waited_for = b.is_waited_for.cmp(&a.is_waited_for);
            let busy = b.bytes_per_s.total_cmp(&a.bytes_per_s);
            waited_for
                .then(busy)
                .then(Reverse(a.newest_us).cmp(&Reverse(b.newest_us)))
        });
        let mut partitions = 0;
        glances.retain(|(glance, _)| {
            let fits = partitions + glance.partitions <= room.partitions;
            partitions += if fits { glance.partitions } else { 0 };
            fits
        });
        glances.truncate(room.topics);
        glances.sort_by(|(_, a), (_, b)| a.name().cmp(b.name()));
        let listed = glances.iter();
        let listed = listed.map(|(_, topic)| topic.describe(kept(&self.engine, topic), now_us));
        (listed.collect(), totals)
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::TopicKind;
    use serde_json::value::RawValue;

    use super::*;
    use crate::pubsub::Record;
    use crate::pubsub::memory::Memory;
    use crate::tail::Watch;

    const ROOM: Room = Room {
        topics: 8,
        partitions: 8,
    };

    fn append(topic: &Topic, count: usize, now_us: i64) {
        let record = Record {
            produced_us: now_us,
            host: None,
            token: None,
            kind: "test".into(),
            id: None,
            key: None,
            data: RawValue::NULL.to_owned(),
        };
        (0..count).for_each(|_| _ = topic.append(&record, now_us));
    }

    /// Forty topics, the later the busier, and one that nobody writes to.
    fn tail() -> Tail {
        let tail = Tail::new(Arc::new(Memory::default()), 1 << 20, 1 << 20);
        for number in 0..40 {
            let kind = if number % 2 == 0 {
                TopicKind::Log
            } else {
                TopicKind::State
            };
            append(&tail.local(&format!("t{number:02}"), kind), number, 1_000_000);
        }
        tail.local("quiet", TopicKind::Log);
        tail
    }

    fn names(listed: &[TopicInfo]) -> Vec<&str> {
        listed.iter().map(|topic| &*topic.name).collect()
    }

    #[test]
    fn the_busiest_are_listed_by_name_and_the_sums_are_of_all() {
        let tail = tail();
        let (listed, totals) = tail.list(ROOM, 2_000_000);
        assert_eq!(names(&listed), ["t32", "t33", "t34", "t35", "t36", "t37", "t38", "t39"]);
        let all = tail.describe(2_000_000);
        assert_eq!((totals.topics, totals.logs), (41, 21));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        close(totals.events_per_s, all.iter().map(|topic| topic.events_per_s).sum());
        close(totals.bytes_per_s, all.iter().map(|topic| topic.bytes_per_s).sum());
        assert!(totals.events_per_s > 700.0, "{totals:?}");
        assert_eq!(
            totals.window_bytes,
            all.iter().map(|topic| topic.window.bytes).sum::<u64>()
        );
        assert_eq!(all.len(), 41, "who asks for all gets all");
    }

    #[test]
    fn a_topic_that_is_read_is_listed_however_quiet_and_then_the_newest() {
        let tail = tail();
        let mut watch = Watch::new(&tail);
        watch.add(&tail.topic("quiet").unwrap());
        // Long after, nothing is busy any more.
        append(&tail.topic("t03").unwrap(), 1, 50_000_000);
        append(&tail.topic("t05").unwrap(), 1, 51_000_000);
        let room = Room { topics: 3, ..ROOM };
        let (listed, _) = tail.list(room, 90_000_000);
        assert_eq!(names(&listed), ["quiet", "t03", "t05"]);
        drop(watch);
        let (listed, _) = tail.list(room, 90_000_000);
        assert_eq!(listed.len(), 3);
        assert!(!names(&listed).contains(&"quiet"), "{:?}", names(&listed));
    }

    #[test]
    fn partitions_are_bounded_too() {
        let room = Room { partitions: 2, ..ROOM };
        let (listed, totals) = tail().list(room, 2_000_000);
        assert_eq!((names(&listed), totals.topics), (vec!["t38", "t39"], 41));
    }
}
