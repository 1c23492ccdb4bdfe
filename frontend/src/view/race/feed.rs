//! What the race keeps between frames: the columns, stretches without a connection, gaps.

use super::gaps::Holes;
use crate::lane::{Lane, LaneId, Request, Status};
use crate::latency::Ring;
use crate::model::Model;
use crate::view::chart::columns::{Columns, Mark};
use crate::view::chart::race::{Outage, Pause};

/// How many outages of a lane are kept to be drawn.
const KEPT: usize = 32;

#[derive(Default)]
pub struct LaneFeed {
    /// Of the lane's events, how many were taken over.
    seen: u64,
    /// Everything that happened up to here, this lane has or will never have.
    pub covered_us: f64,
    pub outages: Vec<Outage>,
    pub holes: Holes,
    /// Up to when gaps were taken over.
    told_us: f64,
    /// What happened before this, the lane had before its connection was lost.
    heard_us: f64,
}

pub struct Feed {
    pub columns: Columns,
    us_per_column: f64,
    /// Since when this page watches: of what was before it knows nothing.
    pub began_us: f64,
    pub lanes: [LaneFeed; 2],
}

impl Feed {
    pub fn new() -> Self {
        Self {
            columns: Columns::new(1.0, 1),
            us_per_column: 0.0,
            began_us: f64::INFINITY,
            lanes: Default::default(),
        }
    }

    /// Makes columns if they have to be of another width. True if so: what the lanes still have is to be taken anew.
    pub fn resize(&mut self, us_per_column: f64, width: f64) -> bool {
        let anew = us_per_column != self.us_per_column;
        if anew {
            self.us_per_column = us_per_column;
            // Twice the width: an event may have happened left of the picture and have arrived within it.
            self.columns = Columns::new(us_per_column, 2 * width.ceil() as usize + 2);
            self.lanes.iter_mut().for_each(|lane| lane.seen = 0);
        }
        anew
    }

    /// Takes over what came since the last frame.
    pub fn take(&mut self, model: &Model, now_us: f64) {
        // Without the server's clock there is no time axis yet; and that clock may be set back.
        if model.offset().is_some() {
            self.began_us = self.began_us.min(now_us);
        }
        for (at, id) in [LaneId::Poll, LaneId::Stream].into_iter().enumerate() {
            let lane = model.lane(id);
            self.lanes[at].status(lane);
            self.lanes[at].new_gaps(lane);
            self.arrivals(at, lane);
        }
    }

    fn arrivals(&mut self, at: usize, lane: &Lane) {
        let own = &mut self.lanes[at];
        let new = lane
            .counters
            .events
            .saturating_sub(own.seen)
            .min(lane.arrivals.len() as u64) as usize;
        own.seen = lane.counters.events;
        if new == 0 {
            return;
        }
        for arrival in lane.arrivals.iter_back().take(new) {
            own.covered_us = own.covered_us.max(arrival.produced_us);
            own.holes
                .arrived(arrival.topic, arrival.produced_us, arrival.received_us);
            if !arrival.backlog {
                let mark = Mark {
                    produced_us: arrival.produced_us,
                    received_us: arrival.received_us,
                    offset: arrival.offset,
                    topic: arrival.topic,
                };
                self.columns.add(at, mark);
            }
        }
        own.holes.settle();
    }
}

impl LaneFeed {
    fn status(&mut self, lane: &Lane) {
        let pause = match lane.status {
            Status::Live => None,
            Status::Connecting => Some(Pause::Connecting),
            Status::Reconnecting { .. } => Some(Pause::Down),
            Status::Refused { .. } | Status::Limited { .. } => Some(Pause::Refused),
            Status::Off => Some(Pause::Off),
        };
        let open = self.outages.last_mut().filter(|outage| outage.to_us.is_none());
        if open.as_ref().map(|outage| outage.pause) == pause {
            return;
        }
        if let Some(outage) = open {
            outage.to_us = Some(lane.since_us);
        }
        if let Some(pause) = pause {
            let newest = lane.arrivals.newest();
            let behind_us = newest.map_or(0.0, |arrival| arrival.latency_us().max(0.0));
            self.heard_us = lane.last_heard_us.unwrap_or(0.0) - behind_us;
            if self.outages.len() == KEPT {
                self.outages.remove(0);
            }
            self.outages.push(Outage {
                pause,
                from_us: lane.since_us,
                to_us: None,
            });
        }
    }

    fn new_gaps(&mut self, lane: &Lane) {
        let told_us = self.told_us;
        for gap in lane.gaps.iter_back().take_while(|gap| gap.at_us > told_us) {
            self.told_us = self.told_us.max(gap.at_us);
            let Some(topic) = lane.topics.iter().position(|topic| *topic == gap.topic) else {
                continue;
            };
            let topic = topic as u16;
            let before = lane
                .arrivals
                .iter_back()
                .find(|it| it.received_us < gap.at_us && it.topic == topic);
            let known_us = match lane.id {
                LaneId::Poll => complete_us(&lane.requests, gap.at_us),
                LaneId::Stream => self.heard_us,
            };
            let from_us = before.map_or(gap.at_us, |arrival| arrival.produced_us.max(known_us));
            self.holes.add(topic, from_us, gap.at_us, gap.count, gap.reason);
        }
    }
}

/// A poll that follows an answer sooner than this asks for the rest of it: no interval is so short.
const AT_ONCE_US: f64 = 50e3;

/// Up to when the polls before this moment brought all that had happened: when the last one was sent that left nothing.
fn complete_us(requests: &Ring<Request>, at_us: f64) -> f64 {
    let mut next_us = f64::NEG_INFINITY;
    for request in requests.iter_back() {
        if request.received_us + 1e3 < at_us && next_us - request.received_us > AT_ONCE_US {
            return request.sent_us;
        }
        next_us = request.sent_us;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_happened_after_the_last_poll_that_left_nothing() {
        let mut requests = Ring::new(8);
        for (sent_us, received_us) in [(2e3, 10e3), (1_000e3, 1_010e3), (1_011e3, 1_020e3), (2_020e3, 2_030e3)] {
            requests.push(Request {
                sent_us,
                received_us,
                events: 1,
            });
        }
        assert_eq!(complete_us(&requests, 2_030e3), 1_011e3);
        assert_eq!(
            complete_us(&requests, 1_020e3),
            2e3,
            "the second left something, so the first is the last that is known to be whole"
        );
        assert_eq!(complete_us(&Ring::new(1), 5.0), 0.0);
    }
}
