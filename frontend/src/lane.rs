//! One way of delivery, as this page sees it: its status, what it brought, what it missed.
//!
//! What they bring goes through the one [`Lane::ingest`]. No network here: that is in `lane/poll.rs` and `lane/stream.rs`.

mod batch;
mod connections;
mod ingest;
pub mod poll;
mod record;
mod retry;
mod status;
pub mod stream;
mod subscriptions;
mod track;

use crate::latency::{self, Arrival, History, Ring, Summary};
pub use batch::Batch;
pub(crate) use connections::{Connections, NO_WORKER, Unanswered};
pub use ingest::Receipt;
pub use record::{Counters, GapMark, Newest, Request};
pub(crate) use retry::{Backoff, Watchdog};
pub use status::{LaneId, Status};
pub use track::RangeHash;
pub(crate) use track::{Step, Track};

/// One lane's state.
#[derive(Debug)]
pub struct Lane {
    pub id: LaneId,
    pub status: Status,
    /// Since when the status is what it is.
    pub since_us: f64,
    /// The name under which the server counts this lane: `id` in [`freshet_wire::Reader`].
    pub reader: String,
    /// Topics of the race, ever chosen: [`Arrival::topic`] is an index. Both lanes have the same list.
    pub topics: Vec<String>,
    /// What came on the topics of the race, in the order in which it came.
    pub arrivals: Ring<Arrival>,
    pub history: History,
    pub counters: Counters,
    pub gaps: Ring<GapMark>,
    /// Polling only: what was asked and answered.
    pub requests: Ring<Request>,
    /// Polling only: when the server said that the quota is spent.
    pub limited: Ring<f64>,
    /// Polling only: a request is under way since then.
    pub asking_since_us: Option<f64>,
    /// When anything at all came from the server.
    pub last_heard_us: Option<f64>,
    tracks: Vec<Track>,
    /// The tab was hidden at some time since the last batch.
    was_hidden: bool,
    /// Grows when other topics are followed or positions are forgotten: what was asked before is out of date.
    pub(crate) followed: u32,
}

impl Lane {
    /// At 10,000 events/s the last five seconds fit.
    pub const ARRIVALS: usize = 1 << 16;
    pub const GAPS: usize = 256;
    pub const REQUESTS: usize = 1024;

    pub fn new(id: LaneId, reader: String) -> Self {
        Self {
            id,
            status: Status::Connecting,
            since_us: 0.0,
            reader,
            topics: Vec::new(),
            arrivals: Ring::new(Self::ARRIVALS),
            history: History::new(),
            counters: Counters::default(),
            gaps: Ring::new(Self::GAPS),
            requests: Ring::new(Self::REQUESTS),
            limited: Ring::new(Self::GAPS),
            asking_since_us: None,
            last_heard_us: None,
            tracks: Vec::new(),
            was_hidden: false,
            followed: 0,
        }
    }

    /// The newest event of a topic that is followed now.
    pub fn newest(&self, topic: &str) -> Option<&Newest> {
        self.tracks.iter().find(|track| track.name == topic)?.newest.as_ref()
    }

    /// Delivery latency of what came at or after `since_us`.
    pub fn summary(&self, since_us: f64) -> Option<Summary> {
        latency::summary(self.arrivals.iter_back(), since_us)
    }

    /// Polling only: request sent to answer received in full, of the requests since `since_us` (of the last one, if there was none).
    pub fn round_trip(&self, since_us: f64) -> Option<Summary> {
        let mut samples: Vec<f64> = self
            .requests
            .iter_back()
            .enumerate()
            .take_while(|(i, request)| *i == 0 || request.received_us >= since_us)
            .map(|(_, request)| request.received_us - request.sent_us)
            .collect();
        Summary::of(&mut samples)
    }

    /// Fingerprints of what came, by topic.
    pub fn ranges(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &RangeHash>)> {
        self.tracks.iter().map(|track| (track.name.as_str(), track.ranges()))
    }

    /// Follows these topics and no others from now on. What was followed before goes on where it is.
    pub(crate) fn follow(&mut self, race: &[String], cards: &[&str]) {
        self.tracks
            .retain(|track| race.contains(&track.name) || cards.contains(&track.name.as_str()));
        for name in race {
            let index = match self.topics.iter().position(|known| known == name) {
                Some(index) => index,
                None => {
                    self.topics.push(name.clone());
                    self.topics.len() - 1
                }
            };
            // Chosen by hand, one at a time: 65,536 are not reached, and then they are merely not drawn.
            self.follow_one(name, u16::try_from(index).ok());
        }
        for name in cards {
            if !race.iter().any(|chosen| chosen == name) {
                self.follow_one(name, None);
            }
        }
        self.followed = self.followed.wrapping_add(1);
    }

    fn follow_one(&mut self, name: &str, race: Option<u16>) {
        match self.tracks.iter_mut().find(|track| track.name == name) {
            Some(track) => track.race = race,
            None => self.tracks.push(Track::new(name.to_owned(), race)),
        }
    }

    /// Begins anew on every topic, with its newest event.
    pub(crate) fn forget_positions(&mut self) {
        self.tracks.iter_mut().for_each(Track::forget_position);
        self.followed = self.followed.wrapping_add(1);
    }

    /// The names of all topics that are followed.
    pub(crate) fn followed_topics(&self) -> impl Iterator<Item = &str> {
        self.tracks.iter().map(|track| track.name.as_str())
    }

    /// What to ask for, as `TOPIC[@CURSOR]`, of the topics that `wanted` picks. They count as asked for from now on.
    pub(crate) fn ask(&mut self, now_us: f64, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut from = Vec::with_capacity(self.tracks.len());
        for track in self.tracks.iter_mut().filter(|track| wanted(&track.name)) {
            track.asked_us.get_or_insert(now_us);
            let mut text = track.name.clone();
            if let Some(cursor) = &track.cursor {
                text.push('@');
                text.push_str(&cursor.to_string());
            }
            from.push(text);
        }
        from
    }

    /// An attempt that fails again does not make the trouble younger: the time stays while the kind of status does.
    pub(crate) fn set_status(&mut self, status: Status, now_us: f64) {
        if std::mem::discriminant(&status) != std::mem::discriminant(&self.status) {
            self.since_us = now_us;
        }
        self.status = status;
    }

    /// The tab is hidden, or was until now.
    pub(crate) fn set_hidden(&mut self) {
        self.was_hidden = true;
    }

    /// Something came, whatever it was.
    pub(crate) fn heard(&mut self, now_us: f64, hidden: bool) {
        self.last_heard_us = Some(now_us);
        self.history.tick(now_us);
        self.was_hidden = hidden;
    }

    /// The server's clock was set: what was timed before is on another scale and is let go.
    pub(crate) fn clock_stepped(&mut self, by_us: f64) {
        self.arrivals.clear();
        self.history.clear();
        self.requests.clear();
        self.gaps.clear();
        self.limited.clear();
        self.since_us += by_us;
        for time in [&mut self.last_heard_us, &mut self.asking_since_us]
            .into_iter()
            .flatten()
        {
            *time += by_us;
        }
        if let Status::Reconnecting { retry_at_us, .. }
        | Status::Refused { retry_at_us, .. }
        | Status::Limited { retry_at_us, .. } = &mut self.status
        {
            *retry_at_us += by_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_keeps_its_beginning() {
        let mut lane = Lane::new(LaneId::Stream, String::new());
        let trouble = |attempt| Status::Reconnecting {
            why: String::new(),
            retry_at_us: 0.0,
            attempt,
        };
        lane.set_status(trouble(1), 10.0);
        lane.set_status(trouble(2), 20.0);
        assert_eq!(lane.since_us, 10.0);
        lane.set_status(Status::Live, 30.0);
        assert_eq!(lane.since_us, 30.0);
    }
}
