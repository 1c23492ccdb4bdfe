//! Differences of counters over a window in which nothing was changed: it begins anew with every change. Pure.

use freshet_wire::{Deliveries, Reader};

use crate::lane::{Counters, Lane, LaneId};
use crate::model::Model;

/// How long the window is at most; with rare polls it holds four of them.
const LONGEST_US: f64 = 60e6;

/// One lane's counters at one moment: the page's own, and the server's if they are known.
#[derive(Debug, Clone, PartialEq, Default)]
struct Counted {
    page: Counters,
    late: Late,
    server: Option<Reader>,
}

/// Sums since the page was loaded, of arrivals that count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Late {
    sum_us: f64,
    count: u64,
    /// Polls, or messages, that brought one.
    batches: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Snapshot {
    at_us: f64,
    lanes: [Counted; 2],
}

/// What has to stay as it is for figures to be of one thing.
#[derive(Debug, Clone, PartialEq, Default)]
struct Circumstances {
    interval_ms: u32,
    topics: Vec<String>,
    solo: Option<LaneId>,
    /// A connection that is lost, and one that comes back, begin something new.
    since_us: [f64; 2],
    /// When the settings that are in force were made.
    settings_us: Option<f64>,
}

/// Snapshots about a second apart, the oldest first.
#[derive(Debug, Default)]
pub struct Window {
    snapshots: Vec<Snapshot>,
    /// What the window before it counted last.
    before: Option<[Counters; 2]>,
    under: Circumstances,
    late: [Late; 2],
    /// The lanes' events that are in `late`.
    seen: [u64; 2],
}

/// What one lane cost over the window. `None`: not measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cost {
    /// Anything was asked or came at all.
    pub measured: bool,
    /// Requests, or frames.
    pub exchanges: Option<u64>,
    pub empty_share: Option<f64>,
    pub bytes_per_event: Option<f64>,
    pub cpu_us_per_event: Option<f64>,
    /// Delivery latency.
    pub mean_us: Option<f64>,
    /// Polls, or messages, that brought an event.
    pub batches: u64,
    pub events: u64,
    pub missed: u64,
    pub unknown_gaps: u64,
    pub duplicates: u64,
    pub superseded: u64,
}

impl Window {
    /// Takes a snapshot; `interrupted`: nobody looked for a while, as in a hidden tab.
    pub fn take(&mut self, model: &Model, deliveries: Option<&Deliveries>, at_us: f64, interrupted: bool) {
        let lanes = [&model.poll, &model.stream];
        let under = Circumstances {
            interval_ms: model.interval_ms,
            topics: model.topics.clone(),
            solo: model.solo,
            since_us: lanes.map(|lane| lane.since_us),
            settings_us: lanes
                .iter()
                .filter_map(|lane| lane.newest("settings"))
                .map(|it| it.produced_us)
                .reduce(f64::max),
        };
        let counted = [0, 1].map(|at| {
            let lane = lanes[at];
            self.add_arrivals(at, lane);
            Counted {
                page: lane.counters,
                late: self.late[at],
                server: deliveries
                    .and_then(|all| all.readers.iter().find(|reader| reader.id == lane.reader))
                    .cloned(),
            }
        });
        if interrupted || under != self.under {
            self.under = under;
            self.begin_anew();
        }
        self.add(at_us, counted);
    }

    fn add_arrivals(&mut self, at: usize, lane: &Lane) {
        let new = lane.counters.events.saturating_sub(self.seen[at]);
        self.seen[at] = lane.counters.events;
        let (late, mut last_us) = (&mut self.late[at], f64::NAN);
        let new = lane
            .arrivals
            .iter_back()
            .take(usize::try_from(new).unwrap_or(usize::MAX));
        for arrival in new.filter(|arrival| arrival.counts()) {
            late.sum_us += arrival.latency_us();
            late.count += 1;
            late.batches += u64::from(arrival.received_us != last_us);
            last_us = arrival.received_us;
        }
    }

    /// Only the last snapshot's counts of what was lost stay: what a reconnect brings to light belongs to the new window.
    fn begin_anew(&mut self) {
        self.before = self.snapshots.pop().map(|last| last.lanes.map(|lane| lane.page));
        self.snapshots.clear();
    }

    fn add(&mut self, at_us: f64, mut lanes: [Counted; 2]) {
        for (new, old) in lanes.iter_mut().zip(self.before.take().into_iter().flatten()) {
            new.page.missed = old.missed;
            new.page.unknown_gaps = old.unknown_gaps;
            new.page.duplicates = old.duplicates;
            new.page.told_duplicates = old.told_duplicates;
            new.page.superseded = old.superseded;
        }
        let longest_us = LONGEST_US.max(4e3 * f64::from(self.under.interval_ms));
        self.snapshots
            .retain(|snapshot| at_us - snapshot.at_us <= longest_us + 0.5e6);
        self.snapshots.push(Snapshot { at_us, lanes });
    }

    /// How much time the differences cover.
    pub fn span_us(&self) -> f64 {
        match (self.snapshots.first(), self.snapshots.last()) {
            (Some(first), Some(last)) => last.at_us - first.at_us,
            _ => 0.0,
        }
    }

    /// The interval at which it was polled.
    pub fn interval_ms(&self) -> u32 {
        self.under.interval_ms
    }

    pub fn cost(&self, lane: usize) -> Cost {
        let Some(last) = self.snapshots.last() else {
            return Cost::default();
        };
        let (first, last) = (&self.snapshots[0].lanes[lane], &last.lanes[lane]);
        let page = |of: fn(&Counters) -> u64| of(&last.page).saturating_sub(of(&first.page));
        let late = last.late.count.saturating_sub(first.late.count);
        let mut cost = Cost {
            measured: page(|counters| counters.requests + counters.frames) > 0,
            events: page(|counters| counters.events),
            missed: page(|counters| counters.missed),
            unknown_gaps: page(|counters| counters.unknown_gaps),
            duplicates: page(|counters| counters.duplicates + counters.told_duplicates),
            superseded: page(|counters| counters.superseded),
            mean_us: (late > 0).then(|| (last.late.sum_us - first.late.sum_us) / late as f64),
            batches: last.late.batches.saturating_sub(first.late.batches),
            ..Cost::default()
        };
        // A server that was restarted counts from zero: from then on, the oldest snapshot of the same count.
        if let Some(now) = &last.server
            && let Some(then) = self
                .snapshots
                .iter()
                .filter_map(|snapshot| snapshot.lanes[lane].server.as_ref())
                .find(|then| then.first_seen_us == now.first_seen_us)
        {
            let more = |of: fn(&Reader) -> u64| of(now).saturating_sub(of(then));
            let per = |n: u64, whole: u64| (whole > 0).then(|| n as f64 / whole as f64);
            let requests = more(|reader| reader.requests);
            // What feeds the page's own cards is no event of the race.
            let events = more(|reader| reader.events).saturating_sub(more(|reader| reader.state_events));
            let bytes = more(|reader| reader.bytes_in) + more(|reader| reader.bytes_out);
            let exchanges = if lane == 0 {
                requests
            } else {
                more(|reader| reader.frames)
            };
            cost.exchanges = (exchanges > 0).then_some(exchanges);
            cost.empty_share = if lane == 0 {
                per(more(|reader| reader.empty), requests)
            } else {
                None
            };
            cost.bytes_per_event = per(bytes.saturating_sub(more(|reader| reader.state_bytes)), events);
            cost.cpu_us_per_event = per(more(|reader| reader.cpu_us), events);
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::LaneKind;

    use super::*;

    fn reader(first_seen_us: i64, requests: u64, events: u64) -> Reader {
        Reader {
            id: String::from("r"),
            lane: LaneKind::Poll,
            active: true,
            first_seen_us,
            requests,
            empty: requests / 2,
            frames: 0,
            // As many values of state topics again, of 1,000 bytes each.
            events: events * 2,
            state_events: events,
            bytes_in: events * 10,
            bytes_out: events * 1_090,
            state_bytes: events * 1_000,
            cpu_us: events * 4,
            missed: 0,
            unknown_gaps: 0,
            superseded: 0,
            queue_events: 0,
            queue_bytes: 0,
        }
    }

    fn counted(events: u64, server: Option<Reader>) -> [Counted; 2] {
        let page = Counters {
            events,
            ..Counters::default()
        };
        [
            Counted {
                page,
                server,
                ..Counted::default()
            },
            Counted::default(),
        ]
    }

    #[test]
    fn costs_are_differences_over_the_window_and_not_sums_since_the_beginning() {
        let mut window = Window::default();
        for second in 0..100u64 {
            let server = reader(1, 1_000 + second, 5_000 + 20 * second);
            window.add(second as f64 * 1e6, counted(700 + 20 * second, Some(server)));
        }
        let cost = window.cost(0);
        assert_eq!(window.span_us(), 60e6);
        assert_eq!((cost.exchanges, cost.events), (Some(60), 1_200));
        assert_eq!(
            (cost.bytes_per_event, cost.cpu_us_per_event),
            (Some(100.0), Some(4.0)),
            "for each event of the race"
        );
        assert_eq!(cost.empty_share, Some(0.5));
    }

    #[test]
    fn a_server_that_counts_anew_is_not_compared_with_the_one_before() {
        let mut window = Window::default();
        window.add(0.0, counted(0, Some(reader(1, 900, 9_000))));
        window.add(1e6, counted(0, Some(reader(2, 3, 30))));
        window.add(2e6, counted(0, Some(reader(2, 5, 50))));
        assert_eq!(window.cost(0).exchanges, Some(2));
        assert_eq!(window.cost(0).cpu_us_per_event, Some(4.0));
    }

    #[test]
    fn what_was_not_measured_is_no_number() {
        let mut window = Window::default();
        assert_eq!(window.cost(0), Cost::default());
        window.add(0.0, counted(0, None));
        window.add(1e6, counted(5, None));
        let cost = window.cost(0);
        assert_eq!((cost.events, cost.exchanges, cost.bytes_per_event), (5, None, None));
        window.add(2e6, counted(5, Some(reader(1, 1, 0))));
        assert_eq!(window.cost(0).bytes_per_event, None, "no event: nothing for each event");
    }

    #[test]
    fn a_new_window_forgets_what_was_before_but_not_what_comes_to_light_with_it() {
        let mut window = Window::default();
        let lost = |events, missed| {
            let mut lanes = counted(events, None);
            lanes[0].page.missed = missed;
            lanes
        };
        window.add(0.0, lost(0, 0));
        window.add(30e6, lost(900, 3));
        window.begin_anew();
        window.add(31e6, lost(1_000, 45));
        assert_eq!(window.span_us(), 0.0);
        window.add(41e6, lost(1_010, 45));
        assert_eq!(window.span_us(), 10e6);
        let cost = window.cost(0);
        assert_eq!((cost.events, cost.missed), (10, 42));
    }

    #[test]
    fn with_rare_polls_the_window_holds_four_of_them() {
        let mut window = Window::default();
        window.under.interval_ms = 30_000;
        for second in 0..300u32 {
            window.add(f64::from(second) * 1e6, counted(0, None));
        }
        assert_eq!(window.span_us(), 120e6);
    }
}
