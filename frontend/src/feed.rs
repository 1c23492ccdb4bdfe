//! The feed of one topic: what the Topics view reads, over a subscription of its own. Plain data; the network is in `feed/follow.rs`.
//!
//! Whoever pauses it, looks at older rows while it is full, or goes to another view, stops the reading, not the picture alone: the
//! connection is closed and the cursor is kept, and reading goes on from there. So nothing is missed, and nothing is let go that is
//! being looked at.

pub mod datetime;
pub mod filter;
mod follow;
pub mod journey;
pub mod json;
pub mod rows;

use freshet_wire::{Cursor, Event, Gap, Position};

use self::journey::Times;
use self::rows::{Item, Row, Rows};
use crate::lane::{Batch, Status, Step, Track};
pub(crate) use follow::run;

/// What the server sends at once, at most: with less room than that the feed is full.
const BATCH: usize = 1000;

/// Why nothing is read although a topic is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The reader of the page said so.
    Wanted,
    /// What is looked at would be let go next.
    Full,
}

/// What the feed counted since its topic was chosen or replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub events: u64,
    pub bytes: u64,
    /// Reported as lost, where the number is known.
    pub missed: u64,
    /// Gaps of unknown number.
    pub unknown_gaps: u64,
    /// Came before, and was dropped.
    pub duplicates: u64,
    /// Holes that nobody told: never to be seen.
    pub unexplained: u64,
}

#[derive(Debug)]
pub struct Feed {
    pub topic: Option<String>,
    /// `Off`: nothing is to be read now.
    pub status: Status,
    /// Since when, on the server's clock.
    pub since_us: f64,
    pub pause: Option<Pause>,
    /// Another view is shown.
    away: bool,
    /// Older rows are looked at, so none may be let go.
    pub held: bool,
    pub rows: Rows,
    pub counters: Counters,
    /// What the newest event took to come, and whether it was old when it was sent.
    pub newest: Option<Times>,
    /// Where reading goes on.
    pub cursor: Option<Cursor>,
    /// Where it began.
    begin: Option<Position>,
    track: Track,
    /// Grows when what was asked before is out of date.
    pub(crate) asked: u32,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            topic: None,
            status: Status::Off,
            since_us: 0.0,
            pause: None,
            away: true,
            held: false,
            rows: Rows::default(),
            counters: Counters::default(),
            newest: None,
            cursor: None,
            begin: None,
            track: Track::new(String::new(), None),
            asked: 0,
        }
    }

    /// Reads this topic from there on, and forgets what was read before.
    pub(crate) fn choose(&mut self, topic: Option<String>, begin: Option<Position>) {
        self.track = Track::new(topic.clone().unwrap_or_default(), None);
        self.topic = topic;
        self.begin = begin;
        self.cursor = None;
        self.newest = None;
        self.pause = None;
        self.held = false;
        self.counters = Counters::default();
        self.rows.clear();
        self.status = Status::Connecting;
        self.asked = self.asked.wrapping_add(1);
    }

    pub(crate) fn set_pause(&mut self, pause: Option<Pause>) {
        if self.pause != pause {
            self.pause = pause;
            self.asked = self.asked.wrapping_add(1);
        }
    }

    /// Whether older rows are looked at. Who does so no more, reads on.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
        if !held && self.pause == Some(Pause::Full) {
            self.set_pause(None);
        }
    }

    /// Nothing came for a while: what came last, however old it was, was the last there is.
    pub fn is_quiet(&self, now_us: f64) -> bool {
        self.newest.is_none_or(|newest| now_us - newest.received_us > 500_000.0)
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away
    }

    pub(crate) fn ask_again(&mut self) {
        self.asked = self.asked.wrapping_add(1);
    }

    pub(crate) fn set_away(&mut self, away: bool) {
        if self.away != away {
            self.away = away;
            self.asked = self.asked.wrapping_add(1);
        }
    }

    /// What is to be subscribed to now, as `TOPIC[@POSITION]`.
    pub(crate) fn wanted(&self) -> Option<String> {
        let topic = self.topic.as_deref()?;
        if self.pause.is_some() || self.away {
            return None;
        }
        let begin = self.begin.as_ref().map(Position::to_string);
        let position = self.cursor.as_ref().map(Cursor::to_string).or(begin);
        Some(match position {
            Some(position) => [topic, "@", &position].concat(),
            None => topic.to_owned(),
        })
    }

    pub(crate) fn set_status(&mut self, status: Status, now_us: f64) {
        if std::mem::discriminant(&status) != std::mem::discriminant(&self.status) {
            self.since_us = now_us;
        }
        self.status = status;
    }

    /// Takes a batch in; `host` is the one whose clock is the server's.
    pub(crate) fn take(&mut self, batch: Batch<'_>, received_us: f64, host: Option<&str>) {
        for (text, event) in &batch.events {
            self.take_event(text, event, batch.sent_us, received_us, host);
        }
        if let Some((_, cursor)) = batch
            .next
            .into_iter()
            .find(|(topic, _)| Some(topic) == self.topic.as_ref())
        {
            self.cursor = Some(cursor);
        }
        if self.held && self.pause.is_none() && self.rows.room() < BATCH {
            self.set_pause(Some(Pause::Full));
        }
    }

    fn take_event(&mut self, text: &str, event: &Event<'_>, sent_us: i64, received_us: f64, host: Option<&str>) {
        if self.topic.as_deref() != Some(&*event.topic) {
            return;
        }
        match self.track.advance(event.epoch, event.partition, event.offset) {
            Step::Next => {}
            Step::Duplicate => {
                self.counters.duplicates += 1;
                return;
            }
            Step::Unexplained { from_offset, count } => {
                self.counters.unexplained += 1;
                self.rows.push(Row::Hole(from_offset, count));
            }
        }
        let times = Times {
            produced_us: event.produced_us,
            ingested_us: event.ingested_us,
            sent_us,
            received_us,
            foreign: matches!((&event.host, host), (Some(its), Some(ours)) if its != ours),
        };
        self.counters.events += 1;
        self.counters.bytes += text.len() as u64;
        self.newest = Some(times);
        self.rows.push(Row::Event(Item::new(text, event, times)));
    }

    pub(crate) fn told(&mut self, gap: Gap) {
        if self.topic.as_ref() != Some(&gap.topic) {
            return;
        }
        let count = self.track.told(&gap);
        // Told before.
        if count == Some(0) {
            return;
        }
        if gap.reason.is_loss() {
            match count {
                Some(count) => self.counters.missed += count,
                None => self.counters.unknown_gaps += 1,
            }
        }
        self.rows.push(Row::Gap(Gap { count, ..gap }));
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::GapReason;

    use super::*;

    fn event(offset: u64) -> String {
        format!(
            r#"{{"topic":"t","epoch":"0123456789ab","partition":0,"offset":{offset},"id":"i","produced_us":1,"ingested_us":2,"type":"x","data":{offset}}}"#
        )
    }

    fn take(feed: &mut Feed, offsets: std::ops::Range<u64>) {
        let events: Vec<_> = offsets.clone().map(event).collect();
        let text = format!(
            r#"{{"events":[{}],"next":{{"t":"0123456789ab-{}"}},"sent_us":3}}"#,
            events.join(","),
            offsets.end
        );
        feed.take(Batch::parse(&text).unwrap(), 4.0, None);
    }

    fn feed() -> Feed {
        let mut feed = Feed::new();
        feed.choose(Some("t".to_owned()), Some(Position::Earliest));
        feed.set_away(false);
        feed
    }

    #[test]
    fn after_a_pause_or_another_view_it_reads_on_from_where_it_was_and_takes_each_event_once() {
        let mut feed = feed();
        assert_eq!(feed.wanted().as_deref(), Some("t@earliest"));
        take(&mut feed, 0..5);
        feed.set_pause(Some(Pause::Wanted));
        assert_eq!(feed.wanted(), None);
        feed.set_pause(None);
        assert_eq!(feed.wanted().as_deref(), Some("t@0123456789ab-5"));
        feed.set_away(true);
        assert_eq!(feed.wanted(), None);
        feed.set_away(false);
        // A server that begins too early, or a message that was on its way.
        take(&mut feed, 3..8);
        assert_eq!(
            (
                feed.counters.events,
                feed.counters.duplicates,
                feed.counters.unexplained
            ),
            (8, 2, 0)
        );
        assert_eq!(feed.rows.len(), 8);
        take(&mut feed, 9..10);
        assert_eq!(feed.counters.unexplained, 1);
        assert!(matches!(feed.rows.get(8), Some(Row::Hole(8, Some(1)))));
    }

    #[test]
    fn while_older_rows_are_looked_at_none_is_let_go() {
        let mut feed = feed();
        take(&mut feed, 0..900);
        feed.hold(true);
        let mut next = 900;
        while feed.wanted().is_some() {
            take(&mut feed, next..next + BATCH as u64);
            next += BATCH as u64;
        }
        assert_eq!((feed.pause, feed.rows.let_go), (Some(Pause::Full), 0));
        feed.hold(false);
        assert_eq!(feed.wanted(), Some(format!("t@0123456789ab-{next}")));
        // A pause of the reader's own stays.
        feed.set_pause(Some(Pause::Wanted));
        feed.hold(true);
        feed.hold(false);
        assert_eq!(feed.wanted(), None);
    }

    #[test]
    fn a_gap_is_a_row_once_and_counts_by_its_reason() {
        let mut feed = feed();
        take(&mut feed, 0..1);
        let gap = |from_offset, count, reason| Gap {
            topic: "t".to_owned(),
            partition: 0,
            from_offset,
            count,
            reason,
        };
        feed.told(gap(1, Some(3), GapReason::Retention));
        feed.told(gap(1, Some(3), GapReason::Retention));
        feed.told(gap(4, Some(2), GapReason::Duplicate));
        take(&mut feed, 6..7);
        assert_eq!(
            (feed.rows.len(), feed.counters.missed, feed.counters.unexplained),
            (4, 3, 0)
        );
        feed.choose(Some("u".to_owned()), None);
        feed.told(gap(7, Some(3), GapReason::Retention));
        take(&mut feed, 10..11);
        assert_eq!(
            (feed.rows.len(), feed.counters),
            (0, Counters::default()),
            "of another topic"
        );
    }
}
