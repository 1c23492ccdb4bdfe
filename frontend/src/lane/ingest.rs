//! What both lanes go through: what was there before is dropped, what is missing is found, the rest is kept.

use freshet_wire::{Event, Gap, GapReason};

use super::track::Step;
use super::{Batch, GapMark, Lane, Newest};
use crate::latency::Arrival;

/// When a batch arrived, on the server's clock in microseconds, and what else all of its events share.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    pub received_us: f64,
    pub applied_us: f64,
    pub hidden: bool,
    /// The host whose clock is the server's, as far as it is known.
    pub host: Option<&'a str>,
}

impl Lane {
    /// The single entry for what either lane brought: drops what was there before, finds what is missing, keeps the rest.
    pub(crate) fn ingest(&mut self, batch: Batch<'_>, receipt: Receipt<'_>) {
        let hidden = std::mem::take(&mut self.was_hidden) || receipt.hidden;
        for gap in &batch.gaps {
            self.told(gap, receipt.received_us);
        }
        let sent_us = batch.sent_us as f64;
        let mut at = 0;
        for (i, (text, event)) in batch.events.iter().enumerate() {
            // Events of one topic mostly follow each other.
            if self.tracks.get(at).is_none_or(|track| track.name != event.topic) {
                match self.tracks.iter().position(|track| track.name == event.topic) {
                    Some(found) => at = found,
                    None => continue, // not followed any more since this was asked for
                }
            }
            let track = &mut self.tracks[at];
            match track.advance(event.epoch, event.partition, event.offset) {
                Step::Next => {}
                Step::Duplicate => {
                    self.counters.duplicates += 1;
                    continue;
                }
                Step::Unexplained { from_offset, count } => {
                    self.counters.unexplained += 1;
                    let (topic, at_us) = (track.name.clone(), receipt.received_us);
                    self.gaps.push(GapMark {
                        topic,
                        from_offset,
                        count,
                        reason: None,
                        at_us,
                    });
                }
            }
            track.hash(event.epoch, event.partition, event.offset, text);
            track.fresh = Some(i);
            let Some(topic) = track.race else {
                self.counters.card_events += 1;
                continue;
            };
            let foreign = matches!((&event.host, receipt.host), (Some(its), Some(ours)) if its != ours);
            let ingested_us = event.ingested_us as f64;
            let arrival = Arrival {
                topic,
                offset: event.offset,
                produced_us: if foreign { ingested_us } else { event.produced_us as f64 },
                ingested_us,
                sent_us,
                received_us: receipt.received_us,
                applied_us: receipt.applied_us,
                foreign,
                hidden,
                backlog: track.asked_us.is_some_and(|asked_us| ingested_us < asked_us),
            };
            self.counters.events += 1;
            self.counters.hidden += u64::from(hidden);
            if arrival.counts() {
                self.history.add(arrival.received_us, arrival.latency_us());
            }
            self.arrivals.push(arrival);
        }
        for track in &mut self.tracks {
            // Copied once a batch, not once an event.
            if let Some((_, event)) = track.fresh.take().and_then(|i| batch.events.get(i)) {
                keep_newest(&mut track.newest, event, receipt.received_us);
            }
        }
        for (topic, cursor) in batch.next {
            if let Some(track) = self.tracks.iter_mut().find(|track| track.name == topic) {
                track.cursor = Some(cursor);
            }
        }
    }

    /// Takes in a gap that the server told.
    pub(crate) fn told(&mut self, gap: &Gap, at_us: f64) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.name == gap.topic) else {
            return;
        };
        let count = track.told(gap);
        let passed_over = match gap.reason {
            GapReason::Superseded => Some(&mut self.counters.superseded),
            GapReason::Duplicate => Some(&mut self.counters.told_duplicates),
            GapReason::Fenced => Some(&mut self.counters.fenced),
            GapReason::Vacant => Some(&mut self.counters.vacant),
            GapReason::Retention | GapReason::Epoch | GapReason::Lost => None,
        };
        // Nothing that counts was lost.
        if let Some(counter) = passed_over {
            *counter += count.unwrap_or(0);
            return;
        }
        if count == Some(0) || track.race.is_none() {
            return;
        }
        match count {
            Some(count) => self.counters.missed += count,
            None => self.counters.unknown_gaps += 1,
        }
        let (topic, from_offset, reason) = (gap.topic.clone(), gap.from_offset, Some(gap.reason));
        self.gaps.push(GapMark {
            topic,
            from_offset,
            count,
            reason,
            at_us,
        });
    }
}

fn keep_newest(newest: &mut Option<Newest>, event: &Event<'_>, received_us: f64) {
    // The old one's memory is used again.
    let mut data = newest.take().map(|old| old.data).unwrap_or_default();
    data.clear();
    let text = event.data.get();
    let end = text.floor_char_boundary(Newest::MAX_BYTES);
    data.push_str(&text[..end]);
    *newest = Some(Newest {
        epoch: event.epoch,
        partition: event.partition,
        offset: event.offset,
        produced_us: event.produced_us as f64,
        received_us,
        data,
        cut: end < text.len(),
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use freshet_wire::Epoch;
    use proptest::prelude::*;

    use super::super::LaneId;
    use super::*;

    fn event(topic: &str, epoch: u64, offset: u64, produced_us: i64) -> String {
        let epoch = Epoch::new(epoch);
        format!(
            r#"{{"topic":"{topic}","epoch":"{epoch}","partition":0,"offset":{offset},"id":"{offset}","produced_us":{produced_us},"ingested_us":{ingested},"host":"here","type":"x","data":{{"n":{offset}}}}}"#,
            ingested = produced_us + 10,
        )
    }

    fn page(events: &[String], next: &[(&str, &str)], gaps: &str) -> String {
        let next: BTreeMap<_, _> = next.iter().copied().collect();
        let next = serde_json::to_string(&next).unwrap();
        format!(
            r#"{{"events":[{}],"next":{next},"gaps":[{gaps}],"more":false,"sent_us":500}}"#,
            events.join(",")
        )
    }

    fn receipt(received_us: f64) -> Receipt<'static> {
        Receipt {
            received_us,
            applied_us: received_us + 1.0,
            hidden: false,
            host: Some("here"),
        }
    }

    fn lane() -> Lane {
        let mut lane = Lane::new(LaneId::Poll, "r".to_owned());
        lane.follow(&["a".to_owned(), "b".to_owned()], &["settings"]);
        lane.ask(0.0, |_| true);
        lane
    }

    fn ingest(lane: &mut Lane, text: &str, received_us: f64) {
        lane.ingest(Batch::parse(text).unwrap(), receipt(received_us));
    }

    proptest! {
        /// However the same events are cut into batches, and however often some come again: applied once each, in order.
        #[test]
        fn each_event_is_applied_once(cuts in prop::collection::vec((0..12u64, 0..5u64), 1..20)) {
            let (mut lane, mut next) = (lane(), 0u64);
            let mut repeated = 0;
            for (fresh, again) in cuts {
                let from = next.saturating_sub(again);
                repeated += next - from;
                next += fresh;
                let events: Vec<_> = (from..next).map(|offset| event("a", 1, offset, 100)).collect();
                ingest(&mut lane, &page(&events, &[], ""), 1000.0);
            }
            prop_assert!(lane.arrivals.iter().map(|arrival| arrival.offset).eq(0..next));
            prop_assert_eq!(lane.counters.events, next);
            prop_assert_eq!(lane.counters.duplicates, repeated);
            prop_assert_eq!(lane.counters.unexplained, 0);
        }
    }

    #[test]
    fn a_batch_ends_up_where_it_belongs() {
        let mut lane = lane();
        let events = [
            event("a", 1, 5, 100),
            event("b", 1, 9, 200),
            event("a", 1, 6, 300),
            event("settings", 1, 0, 50),
        ];
        let text = page(&events, &[("a", "000000000001-7"), ("b", "000000000001-10")], "");
        ingest(&mut lane, &text, 1000.0);
        assert_eq!(
            (lane.counters.events, lane.counters.card_events),
            (3, 1),
            "cards do not race"
        );
        let arrival = *lane.arrivals.newest().unwrap();
        assert_eq!((arrival.topic, arrival.offset, arrival.latency_us()), (0, 6, 700.0));
        assert_eq!(
            (arrival.ingested_us, arrival.sent_us, arrival.applied_us),
            (310.0, 500.0, 1001.0)
        );
        assert_eq!(lane.newest("a").unwrap().data, r#"{"n":6}"#);
        assert_eq!(lane.newest("settings").unwrap().offset, 0);
        assert_eq!(
            lane.ask(0.0, |_| true),
            ["a@000000000001-7", "b@000000000001-10", "settings"]
        );
    }

    #[test]
    fn a_gap_is_counted_by_its_reason_and_explains_the_hole() {
        let mut lane = lane();
        ingest(&mut lane, &page(&[event("a", 1, 1, 0)], &[], ""), 1.0);
        let gaps = r#"{"topic":"a","partition":0,"from_offset":2,"count":3,"reason":"retention"},
            {"topic":"settings","partition":0,"from_offset":0,"count":7,"reason":"superseded"}"#;
        ingest(&mut lane, &page(&[event("a", 1, 5, 0)], &[], gaps), 2.0);
        let counters = lane.counters;
        assert_eq!((counters.missed, counters.superseded, counters.unexplained), (3, 7, 0));
        let mark = lane.gaps.newest().unwrap();
        assert_eq!(
            (mark.from_offset, mark.count, mark.reason),
            (2, Some(3), Some(GapReason::Retention))
        );

        let gap = r#"{"topic":"a","partition":0,"from_offset":6,"count":null,"reason":"epoch"}"#;
        ingest(&mut lane, &page(&[event("a", 2, 0, 0)], &[], gap), 3.0);
        assert_eq!((lane.counters.unknown_gaps, lane.counters.unexplained), (1, 0));
    }

    #[test]
    fn what_the_server_dropped_for_good_reason_is_no_loss_and_leaves_no_hole() {
        let mut lane = lane();
        ingest(&mut lane, &page(&[event("a", 1, 1, 0)], &[], ""), 1.0);
        let gaps = r#"{"topic":"a","partition":0,"from_offset":2,"count":3,"reason":"duplicate"},
            {"topic":"a","partition":0,"from_offset":5,"count":2,"reason":"fenced"},
            {"topic":"a","partition":0,"from_offset":7,"count":1,"reason":"vacant"}"#;
        ingest(&mut lane, &page(&[event("a", 1, 8, 0)], &[], gaps), 2.0);
        let counters = lane.counters;
        assert_eq!((counters.told_duplicates, counters.fenced, counters.vacant), (3, 2, 1));
        assert_eq!((counters.missed, counters.unexplained, lane.gaps.len()), (0, 0, 0));
    }

    #[test]
    fn a_hole_that_nobody_told_is_counted_and_shown() {
        let mut lane = lane();
        ingest(
            &mut lane,
            &page(&[event("a", 1, 1, 0), event("a", 1, 4, 0)], &[], ""),
            1.0,
        );
        assert_eq!(lane.counters.unexplained, 1);
        assert_eq!(
            lane.gaps.newest().map(|mark| (mark.count, mark.reason)),
            Some((Some(2), None))
        );
    }

    #[test]
    fn what_was_there_before_it_was_asked_for_has_no_latency() {
        let mut lane = Lane::new(LaneId::Stream, "r".to_owned());
        lane.follow(&["a".to_owned()], &[]);
        lane.ask(1000.0, |_| true);
        ingest(
            &mut lane,
            &page(&[event("a", 1, 1, 900), event("a", 1, 2, 995)], &[], ""),
            2000.0,
        );
        assert_eq!(
            lane.arrivals.iter().map(|arrival| arrival.backlog).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(lane.summary(0.0).unwrap().count, 1);
    }

    #[test]
    fn anothers_clock_starts_no_latency() {
        let mut lane = lane();
        let batch = page(&[event("a", 1, 1, 5000)], &[], "");
        lane.ingest(
            Batch::parse(&batch).unwrap(),
            Receipt {
                host: Some("elsewhere"),
                ..receipt(6000.0)
            },
        );
        let arrival = lane.arrivals.newest().unwrap();
        assert!(arrival.foreign);
        assert_eq!(arrival.latency_us(), 990.0, "from ingested_us on");
    }

    #[test]
    fn negative_latency_is_kept() {
        let mut lane = lane();
        ingest(&mut lane, &page(&[event("a", 1, 1, 5000)], &[], ""), 4990.0);
        assert_eq!(lane.summary(0.0).unwrap().mean_us, -10.0);
    }

    #[test]
    fn the_first_batch_after_a_hidden_tab_is_kept_apart_too() {
        let mut lane = lane();
        lane.set_hidden();
        ingest(&mut lane, &page(&[event("a", 1, 1, 0)], &[], ""), 1.0);
        ingest(&mut lane, &page(&[event("a", 1, 2, 0)], &[], ""), 2.0);
        assert_eq!(
            lane.arrivals.iter().map(|arrival| arrival.hidden).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(lane.counters.hidden, 1);
        assert_eq!(lane.summary(0.0).unwrap().count, 1);
    }

    #[test]
    fn both_lanes_give_a_topic_the_same_index_and_keep_it() {
        let (mut one, mut other) = (lane(), lane());
        for lane in [&mut one, &mut other] {
            lane.follow(&["c".to_owned(), "a".to_owned()], &[]);
        }
        assert_eq!(one.topics, ["a", "b", "c"]);
        assert_eq!(one.topics, other.topics);
        assert!(one.followed_topics().eq(["a", "c"]));
        ingest(&mut one, &page(&[event("b", 1, 1, 0)], &[], ""), 1.0);
        assert_eq!(one.counters.events, 0, "b is not followed any more");
    }

    #[test]
    fn who_comes_back_from_solo_begins_with_the_newest() {
        let mut lane = lane();
        ingest(
            &mut lane,
            &page(&[event("a", 1, 1, 0)], &[("a", "000000000001-2")], ""),
            1.0,
        );
        lane.forget_positions();
        assert_eq!(lane.ask(500.0, |topic| topic == "a"), ["a"]);
        ingest(&mut lane, &page(&[event("a", 1, 90, 100)], &[], ""), 600.0);
        assert_eq!(
            (lane.counters.unexplained, lane.arrivals.newest().unwrap().backlog),
            (0, true)
        );
    }

    #[test]
    fn a_large_value_is_cut_between_characters() {
        let mut newest = None;
        let data = format!("\"{}\"", "é".repeat(Newest::MAX_BYTES));
        let text = format!(
            r#"{{"topic":"a","epoch":"000000000001","partition":0,"offset":1,"id":"","produced_us":0,"ingested_us":0,"type":"x","data":{data}}}"#
        );
        keep_newest(&mut newest, &serde_json::from_str(&text).unwrap(), 0.0);
        let newest = newest.unwrap();
        assert!(newest.cut && newest.data.len() <= Newest::MAX_BYTES && newest.data.len() > Newest::MAX_BYTES - 4);
    }

    #[test]
    fn a_step_of_the_clock_lets_go_of_what_was_timed_before() {
        let mut lane = lane();
        ingest(&mut lane, &page(&[event("a", 1, 1, 0)], &[], ""), 1.0);
        lane.heard(1.0, false);
        lane.clock_stepped(1e9);
        assert!(lane.arrivals.is_empty());
        assert_eq!(lane.last_heard_us, Some(1e9 + 1.0));
        ingest(&mut lane, &page(&[event("a", 1, 2, 0)], &[], ""), 2.0);
        assert_eq!(lane.counters.unexplained, 0, "positions are no times");
    }
}
