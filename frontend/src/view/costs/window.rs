//! Differences of counters over the last minute. Pure.

use freshet_wire::{Deliveries, Reader};

use crate::lane::Counters;
use crate::model::Model;

/// Snapshots a second apart; the oldest is a minute old.
const KEPT: usize = 61;

/// One lane's counters at one moment: the page's own, and the server's if they are known.
#[derive(Debug, Clone, PartialEq)]
struct Counted {
    page: Counters,
    server: Option<Reader>,
}

#[derive(Debug, Clone, PartialEq)]
struct Snapshot {
    at_us: f64,
    lanes: [Counted; 2],
}

#[derive(Debug, Default)]
pub struct Window(Vec<Snapshot>);

/// What one lane cost over the window. `None`: not measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cost {
    /// Requests, or frames.
    pub exchanges: Option<u64>,
    pub empty_share: Option<f64>,
    pub bytes_per_event: Option<f64>,
    pub cpu_us_per_event: Option<f64>,
    pub events: u64,
    pub missed: u64,
    pub unknown_gaps: u64,
    pub duplicates: u64,
    pub superseded: u64,
}

impl Window {
    pub fn add(&mut self, model: &Model, deliveries: Option<&Deliveries>, at_us: f64) {
        let lane = |lane: &crate::lane::Lane| Counted {
            page: lane.counters,
            server: deliveries
                .and_then(|all| all.readers.iter().find(|reader| reader.id == lane.reader))
                .cloned(),
        };
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(Snapshot {
            at_us,
            lanes: [lane(&model.poll), lane(&model.stream)],
        });
    }

    /// How much time the differences cover.
    pub fn span_us(&self) -> f64 {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => last.at_us - first.at_us,
            _ => 0.0,
        }
    }

    pub fn cost(&self, lane: usize) -> Cost {
        let Some(last) = self.0.last() else {
            return Cost::default();
        };
        let (first, last) = (&self.0[0].lanes[lane], &last.lanes[lane]);
        let page = |of: fn(&Counters) -> u64| of(&last.page).saturating_sub(of(&first.page));
        let mut cost = Cost {
            events: page(|counters| counters.events),
            missed: page(|counters| counters.missed),
            unknown_gaps: page(|counters| counters.unknown_gaps),
            duplicates: page(|counters| counters.duplicates),
            superseded: page(|counters| counters.superseded),
            ..Cost::default()
        };
        // A server that was restarted counts from zero: from then on, the oldest snapshot of the same count.
        if let Some(now) = &last.server
            && let Some(then) = self
                .0
                .iter()
                .filter_map(|snapshot| snapshot.lanes[lane].server.as_ref())
                .find(|then| then.first_seen_us == now.first_seen_us)
        {
            let more = |of: fn(&Reader) -> u64| of(now).saturating_sub(of(then));
            let per = |n: u64, whole: u64| (whole > 0).then(|| n as f64 / whole as f64);
            let requests = more(|reader| reader.requests);
            let events = more(|reader| reader.events);
            cost.exchanges = Some(if lane == 0 {
                requests
            } else {
                more(|reader| reader.frames)
            });
            cost.empty_share = if lane == 0 {
                per(more(|reader| reader.empty), requests)
            } else {
                None
            };
            cost.bytes_per_event = per(more(|reader| reader.bytes_in) + more(|reader| reader.bytes_out), events);
            cost.cpu_us_per_event = per(more(|reader| reader.cpu_us), events);
        }
        cost
    }
}
