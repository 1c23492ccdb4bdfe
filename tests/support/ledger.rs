//! What a reader was told of a topic whose log may have partitions, and may become another one: each offset once, or a gap that covers it.

use std::collections::BTreeMap;

use freshet_wire::{Cursor, Epoch, Gap, GapReason, Receipt};

use crate::follower::{Delivered, Page};

/// Checks what comes as it comes, and panics at the first event that comes twice, out of order, or after a hole that nothing told.
#[derive(Debug)]
pub struct Ledger {
    topic: String,
    /// By log and partition.
    stretches: BTreeMap<(Epoch, u32), Stretch>,
    /// As the server gave it, to go on from.
    pub cursor: Option<Cursor>,
}

/// What is known of one partition of one log.
#[derive(Debug, Default)]
struct Stretch {
    from: u64,
    next: u64,
    events: BTreeMap<u64, Delivered>,
    gaps: Vec<Gap>,
    /// It was told that the log is another one now, and that nobody knows how much was missed.
    is_over: bool,
}

/// What became of an event that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// Its offset is in a gap that says how many are missing.
    Counted(GapReason),
    /// It was in a log that is gone, of which the reader was told just that.
    OtherLog,
    /// It was gone before the reader began.
    BeforeTheBeginning,
}

impl Ledger {
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            stretches: BTreeMap::new(),
            cursor: None,
        }
    }

    /// `TOPIC@CURSOR`, or the beginning before anything was read.
    pub fn position(&self) -> String {
        match &self.cursor {
            Some(cursor) => format!("{}@{cursor}", self.topic),
            None => format!("{}@earliest", self.topic),
        }
    }

    /// Takes in a page, or a message of the stream with the gaps that were told before it.
    pub fn take(&mut self, page: &Page) {
        let Some(cursor) = page.next.get(&self.topic) else {
            let nothing = page.events.iter().all(|event| event.topic != self.topic);
            assert!(
                nothing && page.gaps.iter().all(|gap| gap.topic != self.topic),
                "no cursor: {page:?}"
            );
            return;
        };
        let topic = self.topic.clone();
        for gap in page.gaps.iter().filter(|gap| gap.topic == topic) {
            match gap.reason {
                GapReason::Epoch => self.end(gap),
                _ => {
                    let count = gap.count.unwrap_or_else(|| panic!("how many within one log: {gap:?}"));
                    assert!(count > 0, "a gap of nothing: {gap:?}");
                    let what = format!("{gap:?}");
                    let stretch = self.advance(cursor.epoch, gap.partition, gap.from_offset, count, &what);
                    stretch.gaps.push(gap.clone());
                }
            }
        }
        for event in page.events.iter().filter(|event| event.topic == topic) {
            assert_eq!(
                event.epoch,
                cursor.epoch.to_string(),
                "of another log than the cursor: {}",
                event.raw
            );
            let stretch = self.advance(cursor.epoch, event.partition, event.offset, 1, &event.raw);
            stretch.events.insert(event.offset, event.clone());
        }
        if let Some(known) = self.cursor.as_ref().filter(|known| known.epoch != cursor.epoch) {
            let mut old = self.stretches.iter().filter(|((epoch, _), _)| *epoch == known.epoch);
            assert!(
                old.all(|(_, stretch)| stretch.is_over),
                "another log, and nothing told it: {page:?}"
            );
        }
        for (partition, &next) in (0..).zip(&cursor.next) {
            let begun = || Stretch {
                from: next,
                next,
                ..Stretch::default()
            };
            let stretch = self.stretches.entry((cursor.epoch, partition)).or_insert_with(begun);
            assert_eq!(
                stretch.next, next,
                "the cursor stands where the reader stands: {page:?}"
            );
        }
        self.cursor = Some(cursor.clone());
    }

    fn end(&mut self, gap: &Gap) {
        assert_eq!(gap.count, None, "nobody can know how many: {gap:?}");
        let epoch = self.cursor.as_ref().map(|cursor| cursor.epoch);
        let epoch = epoch.unwrap_or_else(|| panic!("another log, before there was one: {gap:?}"));
        let stretch = self.stretches.get_mut(&(epoch, gap.partition));
        let stretch = stretch.unwrap_or_else(|| panic!("no such partition: {gap:?}"));
        assert_eq!(gap.from_offset, stretch.next, "it begins where the reader stood");
        stretch.is_over = true;
    }

    fn advance(&mut self, epoch: Epoch, partition: u32, offset: u64, count: u64, what: &str) -> &mut Stretch {
        let begun = || Stretch {
            from: offset,
            next: offset,
            ..Stretch::default()
        };
        let stretch = self.stretches.entry((epoch, partition)).or_insert_with(begun);
        assert!(!stretch.is_over, "of a log that is gone: {what}");
        assert!(offset >= stretch.next, "again, after {} was next: {what}", stretch.next);
        assert!(
            offset <= stretch.next,
            "{} offsets were lost without a word before {what}",
            offset - stretch.next
        );
        stretch.next = offset + count;
        stretch
    }

    /// What became of the event that this receipt is for. Panics if nothing was told of it, or if it came with other data.
    pub fn fate(&self, receipt: &Receipt, data: &str) -> Fate {
        let Some(stretch) = self.stretches.get(&(receipt.epoch, receipt.partition)) else {
            let told = self.stretches.values().any(|stretch| stretch.is_over);
            assert!(told, "nothing was told of the log of {receipt:?}");
            return Fate::OtherLog;
        };
        if receipt.offset < stretch.from {
            return Fate::BeforeTheBeginning;
        }
        if receipt.offset >= stretch.next {
            assert!(
                stretch.is_over,
                "nothing was told of {receipt:?}: {} comes next",
                stretch.next
            );
            return Fate::OtherLog;
        }
        if let Some(event) = stretch.events.get(&receipt.offset) {
            assert_eq!(event.data, data, "other data than {receipt:?}");
            return Fate::Delivered;
        }
        let covers = |gap: &&Gap| (gap.from_offset..gap.from_offset + gap.count.unwrap_or(0)).contains(&receipt.offset);
        let gap = stretch.gaps.iter().find(covers);
        Fate::Counted(
            gap.unwrap_or_else(|| panic!("neither event nor gap at {receipt:?}"))
                .reason,
        )
    }

    /// Logs that it has read.
    pub fn logs(&self) -> usize {
        let mut epochs: Vec<Epoch> = self.stretches.keys().map(|(epoch, _)| *epoch).collect();
        epochs.dedup();
        epochs.len()
    }

    pub fn events(&self) -> impl Iterator<Item = &Delivered> {
        self.stretches.values().flat_map(|stretch| stretch.events.values())
    }

    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.stretches.values().flat_map(|stretch| &stretch.gaps)
    }

    /// Events that were told to be missing, where their number is known.
    pub fn missed(&self) -> u64 {
        let lost = self.gaps().filter(|gap| gap.reason.is_loss());
        lost.filter_map(|gap| gap.count).sum()
    }

    /// Events that both got have the same bytes (invariant 1). Returns how many those were.
    pub fn same_bytes_as(&self, other: &Self) -> usize {
        let mut both = 0;
        for (place, stretch) in &self.stretches {
            let Some(twin) = other.stretches.get(place) else {
                continue;
            };
            for (offset, event) in &stretch.events {
                if let Some(twin) = twin.events.get(offset) {
                    assert_eq!(event.raw, twin.raw);
                    both += 1;
                }
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const OLD: &str = "0123456789ab";
    const NEW: &str = "ba9876543210";

    fn page(epoch: &str, events: &[(u32, u64)], gaps: &str, next: &str) -> Page {
        let event = |&(partition, offset): &(u32, u64)| {
            format!(
                r#"{{"topic":"t","epoch":"{epoch}","partition":{partition},"offset":{offset},"id":"","produced_us":1,"ingested_us":2,"type":"","data":{offset}}}"#
            )
        };
        let events: Vec<String> = events.iter().map(event).collect();
        Page::parse(&format!(
            r#"{{"events":[{}],"gaps":[{gaps}],"next":{{"t":"{epoch}-{next}"}},"sent_us":3}}"#,
            events.join(",")
        ))
    }

    fn gap(partition: u32, from: u64, count: &str, reason: &str) -> String {
        format!(r#"{{"topic":"t","partition":{partition},"from_offset":{from},"count":{count},"reason":"{reason}"}}"#)
    }

    /// One that has had two events of partition 0 and one of partition 1.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new("t");
        ledger.take(&page(OLD, &[(0, 0), (1, 0), (0, 1)], "", "2-1"));
        ledger
    }

    fn takes(pages: &[Page]) -> bool {
        let mut ledger = ledger();
        catch_unwind(AssertUnwindSafe(|| pages.iter().for_each(|page| ledger.take(page)))).is_ok()
    }

    #[test]
    fn what_breaks_a_promise_is_noticed() {
        let over = [gap(0, 2, "null", "epoch"), gap(1, 1, "null", "epoch")].join(",");
        assert!(takes(&[page(OLD, &[(1, 1), (0, 2)], "", "3-2")]));
        assert!(takes(&[page(OLD, &[(0, 5)], &gap(0, 2, "3", "retention"), "6-1")]));
        assert!(takes(&[page(NEW, &[(0, 0)], &over, "1-0")]));
        assert!(!takes(&[page(OLD, &[(0, 1)], "", "2-1")]), "again");
        assert!(!takes(&[page(OLD, &[(1, 2)], "", "2-3")]), "a hole");
        assert!(!takes(&[page(OLD, &[(0, 2)], "", "4-1")]), "a cursor that is ahead");
        assert!(
            !takes(&[page(OLD, &[(0, 4)], &gap(0, 2, "1", "retention"), "5-1")]),
            "a gap too short"
        );
        assert!(
            !takes(&[page(OLD, &[], &gap(0, 2, "null", "lost"), "5-1")]),
            "a gap without a number"
        );
        assert!(
            !takes(&[page(NEW, &[(0, 0)], "", "1-0")]),
            "another log, without a word"
        );
        assert!(
            !takes(&[page(NEW, &[(0, 0)], &gap(0, 2, "null", "epoch"), "1-0")]),
            "told of one partition alone"
        );
        assert!(
            !takes(&[page(NEW, &[(0, 0)], &over.replace(":2,", ":1,"), "1-0")]),
            "not where it stood"
        );
        assert!(
            !takes(&[page(NEW, &[], &over, "0-0"), page(OLD, &[(0, 2)], "", "3-1")]),
            "back to the old log"
        );
    }

    #[test]
    fn the_fate_of_an_acknowledged_event_is_known() {
        let receipt = |epoch: &str, partition, offset| Receipt {
            topic: "t".to_owned(),
            epoch: epoch.parse().unwrap(),
            partition,
            offset,
            id: String::new(),
            duplicate: false,
        };
        let mut ledger = ledger();
        ledger.take(&page(OLD, &[(0, 5)], &gap(0, 2, "3", "retention"), "6-1"));
        let fate = |ledger: &Ledger, receipt: &Receipt| {
            catch_unwind(AssertUnwindSafe(|| ledger.fate(receipt, &receipt.offset.to_string()))).ok()
        };
        assert_eq!(fate(&ledger, &receipt(OLD, 0, 5)), Some(Fate::Delivered));
        assert_eq!(
            fate(&ledger, &receipt(OLD, 0, 4)),
            Some(Fate::Counted(GapReason::Retention))
        );
        assert_eq!(fate(&ledger, &receipt(OLD, 0, 6)), None, "nothing was told of it");
        assert_eq!(fate(&ledger, &receipt(NEW, 0, 0)), None, "nor of its log");
        assert!(
            catch_unwind(AssertUnwindSafe(|| ledger.fate(&receipt(OLD, 0, 5), "6"))).is_err(),
            "other data"
        );
        assert_eq!(ledger.missed(), 3);
        let over = [gap(0, 6, "null", "epoch"), gap(1, 1, "null", "epoch")].join(",");
        ledger.take(&page(NEW, &[(0, 7)], &over, "8-0"));
        assert_eq!(fate(&ledger, &receipt(OLD, 0, 6)), Some(Fate::OtherLog));
        assert_eq!(fate(&ledger, &receipt(NEW, 0, 6)), Some(Fate::BeforeTheBeginning));
        assert_eq!(ledger.logs(), 2);
    }
}
