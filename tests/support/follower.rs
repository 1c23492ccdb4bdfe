//! What a reader was given, checked as it comes: order, nothing twice, nothing lost without a word.

use std::collections::BTreeMap;

use freshet_wire::{Cursor, Event, Gap, GapReason};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One event as it was delivered: its bytes, and what a test asks of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub topic: String,
    pub epoch: String,
    pub partition: u32,
    pub offset: u64,
    pub produced_us: i64,
    pub ingested_us: i64,
    /// The JSON of `data`.
    pub data: String,
    /// The whole event, byte for byte.
    pub raw: String,
}

impl Delivered {
    fn parse(raw: &RawValue) -> Self {
        let event: Event<'_> = serde_json::from_str(raw.get()).unwrap_or_else(|error| panic!("{error}: {raw}"));
        Self {
            topic: event.topic.into_owned(),
            epoch: event.epoch.to_string(),
            partition: event.partition,
            offset: event.offset,
            produced_us: event.produced_us,
            ingested_us: event.ingested_us,
            data: event.data.get().to_owned(),
            raw: raw.get().to_owned(),
        }
    }
}

/// What one poll or one message of the stream brought. `gaps` and `more` are a poll's alone.
#[derive(Debug, Clone)]
pub struct Page {
    pub events: Vec<Delivered>,
    pub next: BTreeMap<String, Cursor>,
    pub gaps: Vec<Gap>,
    pub more: bool,
    pub sent_us: i64,
}

impl Page {
    pub fn parse(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow)]
            events: Vec<&'a RawValue>,
            next: BTreeMap<String, Cursor>,
            #[serde(default)]
            gaps: Vec<Gap>,
            #[serde(default)]
            more: bool,
            sent_us: i64,
        }
        let raw: Raw<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self {
            events: raw.events.into_iter().map(Delivered::parse).collect(),
            next: raw.next,
            gaps: raw.gaps,
            more: raw.more,
            sent_us: raw.sent_us,
        }
    }

    pub fn offsets(&self) -> Vec<u64> {
        self.events.iter().map(|event| event.offset).collect()
    }

    /// `TOPIC@CURSOR` of this topic: where the next poll begins.
    pub fn next_of(&self, topic: &str) -> String {
        format!("{topic}@{}", self.next[topic])
    }
}

/// Follows one log topic through any number of polls, messages and reconnections, and panics at the first event that
/// comes twice, out of order, with other bytes than before, or after a hole that no gap told.
#[derive(Debug)]
pub struct Follower {
    topic: String,
    /// Where it began, and the offset that must come next.
    pub from: Option<u64>,
    pub next: Option<u64>,
    pub events: BTreeMap<u64, Delivered>,
    /// Offsets that were told as a gap.
    pub missed: u64,
    pub gaps: Vec<Gap>,
    /// As the server gave it, to go on from.
    pub cursor: Option<Cursor>,
}

impl Follower {
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            from: None,
            next: None,
            events: BTreeMap::new(),
            missed: 0,
            gaps: Vec::new(),
            cursor: None,
        }
    }

    /// `TOPIC@CURSOR`, or the given position before anything was read.
    pub fn position(&self, first: &str) -> String {
        match &self.cursor {
            Some(cursor) => format!("{}@{cursor}", self.topic),
            None => format!("{}@{first}", self.topic),
        }
    }

    pub fn gap(&mut self, gap: &Gap) {
        if gap.topic != self.topic {
            return;
        }
        assert_eq!(gap.reason, GapReason::Retention, "{gap:?}");
        let count = gap
            .count
            .unwrap_or_else(|| panic!("within one epoch a gap has a number: {gap:?}"));
        assert!(count > 0, "a gap of nothing: {gap:?}");
        self.advance(gap.from_offset, count, &format!("{gap:?}"));
        self.missed += count;
        self.gaps.push(gap.clone());
    }

    /// Takes in a page, or a message of the stream whose gaps were told before it.
    pub fn page(&mut self, page: &Page) {
        page.gaps.iter().for_each(|gap| self.gap(gap));
        for event in &page.events {
            if event.topic != self.topic {
                continue;
            }
            self.advance(event.offset, 1, &event.raw);
            self.events.insert(event.offset, event.clone());
        }
        if let Some(cursor) = page.next.get(&self.topic) {
            if let Some(next) = self.next {
                assert_eq!(cursor.next, [next], "the cursor stands where the reader stands");
            }
            self.cursor = Some(cursor.clone());
        }
    }

    fn advance(&mut self, offset: u64, count: u64, what: &str) {
        let expected = *self.next.get_or_insert(offset);
        self.from.get_or_insert(offset);
        assert!(offset >= expected, "again, after {expected} was next: {what}");
        assert!(
            offset <= expected,
            "{} offsets were lost without a word before {what}",
            offset - expected
        );
        self.next = Some(offset + count);
    }

    /// Delivered and told gaps cover what was read exactly once.
    pub fn check(&self) {
        let span = self.next.unwrap_or(0) - self.from.unwrap_or(0);
        assert_eq!(self.events.len() as u64 + self.missed, span);
    }

    /// Events that both got have the same bytes (invariant 1). Returns how many those were.
    pub fn same_bytes_as(&self, other: &Self) -> usize {
        let mut both = 0;
        for (offset, event) in &self.events {
            if let Some(twin) = other.events.get(offset) {
                assert_eq!(event.raw, twin.raw);
                both += 1;
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a follower that has had offsets 0 to 4 and stands at 5 takes this page.
    fn takes(page: &str) -> bool {
        let event = |offset: u64, x: u32| {
            format!(
                r#"{{"topic":"t","epoch":"0123456789ab","partition":0,"offset":{offset},"id":"","produced_us":1,"ingested_us":2,"type":"","data":{x}}}"#
            )
        };
        let mut follower = Follower::new("t");
        let first: Vec<String> = (0..5).map(|offset| event(offset, 0)).collect();
        follower.page(&Page::parse(&format!(
            r#"{{"events":[{}],"next":{{"t":"0123456789ab-5"}},"sent_us":3}}"#,
            first.join(",")
        )));
        let mut page = page.to_owned();
        for offset in 0..20 {
            page = page.replace(&format!("<{offset}>"), &event(offset, 0));
        }
        std::panic::catch_unwind(move || {
            follower.page(&Page::parse(&page));
            follower.check();
        })
        .is_ok()
    }

    #[test]
    fn what_breaks_a_promise_is_noticed() {
        let page = |events: &str, gaps: &str, next: u64| {
            takes(&format!(
                r#"{{"events":[{events}],"gaps":[{gaps}],"next":{{"t":"0123456789ab-{next}"}},"sent_us":3}}"#
            ))
        };
        let gap = |from: u64, count: &str| {
            format!(r#"{{"topic":"t","partition":0,"from_offset":{from},"count":{count},"reason":"retention"}}"#)
        };
        assert!(page("<5>,<6>", "", 7));
        assert!(page("<8>", &gap(5, "3"), 9));
        assert!(page("", "", 5));
        assert!(!page("<4>,<5>", "", 6), "again");
        assert!(!page("<6>", "", 7), "a hole");
        assert!(!page("<6>,<5>", "", 7), "out of order");
        assert!(!page("<8>", &gap(5, "2"), 9), "a gap too short");
        assert!(!page("<8>", &gap(5, "4"), 9), "a gap that covers an event");
        assert!(!page("<8>", &gap(4, "4"), 9), "a gap that covers what was there");
        assert!(!page("<8>", &gap(5, "null"), 9), "a gap of unknown size in one log");
        assert!(!page("<5>", &gap(5, "0"), 6), "a gap of nothing");
        assert!(!page("<5>", "", 7), "a cursor that is ahead");
        assert!(!page("<5>", "", 5), "a cursor that is behind");
    }

    #[test]
    fn other_bytes_are_noticed() {
        let follower = |data: &str| {
            let mut follower = Follower::new("t");
            follower.page(&Page::parse(&format!(
                r#"{{"events":[{{"topic":"t","epoch":"0123456789ab","partition":0,"offset":0,"id":"","produced_us":1,"ingested_us":2,"type":"","data":{data}}}],"next":{{"t":"0123456789ab-1"}},"sent_us":3}}"#
            )));
            follower
        };
        let (one, same, other) = (follower("1"), follower("1"), follower("1.0"));
        assert_eq!(one.same_bytes_as(&same), 1);
        assert!(std::panic::catch_unwind(move || one.same_bytes_as(&other)).is_err());
    }
}
