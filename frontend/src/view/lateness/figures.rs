//! The figures of each lane, and when they are not of now.

use crate::lane::{Lane, LaneId, Status};
use crate::latency::{Summary, predict_poll_us};
use crate::model::Model;
use crate::view::format::{self, Quantity};
use crate::view::lane_name;

/// The window of the headline.
const WINDOW_US: f64 = 5e6;

/// Answers to the clock probes come every two seconds.
const SILENT_US: f64 = 3.5e6;

/// A page that is further behind than this cannot keep up.
const BEHIND_US: f64 = 2e6;

/// Fewer events than this in a window are compared with nothing: chance moves their mean too far.
const LEAST_EVENTS: usize = 20;

/// Less than that reads "×1.0 sooner".
const LEAST_TIMES: f64 = 1.05;

/// With about one event a poll, their phase decides how late they are, not the lanes.
const LEAST_A_POLL: f64 = 2.0;

/// One lane's block, in words.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    pub value: Quantity,
    pub p50: String,
    pub p99: String,
    /// Beside the figure: polling's prediction, or how many times sooner streaming is.
    pub beside: String,
    /// What the lane is doing, unless all is well; it is announced.
    pub state: String,
    /// What goes with it and counts seconds or events; it is not announced.
    pub counting: String,
    /// The figures are not of now: they are greyed.
    pub stale: bool,
    /// The state is bad news.
    pub lost: bool,
}

/// The last summary of each lane, so that a lane that is down keeps its figures, greyed and with their age.
#[derive(Default)]
pub struct Memory {
    last: [Option<(Summary, f64)>; 2],
    /// Means while both lanes ran, for comparison when one runs alone.
    together: [Option<f64>; 2],
    prediction_us: Option<f64>,
}

impl Memory {
    pub fn figures(&mut self, model: &Model, now_us: f64) -> [Figures; 2] {
        let interval_us = f64::from(model.interval_ms) * 1e3;
        // Rare polls would leave five seconds empty.
        let windows_us = [WINDOW_US.max(2.2 * interval_us), WINDOW_US];
        let lanes = [&model.poll, &model.stream];
        let now: [Option<Summary>; 2] = [0, 1].map(|at| {
            let live = lanes[at].status == Status::Live;
            live.then(|| lanes[at].summary(now_us - windows_us[at])).flatten()
        });
        for (at, summary) in now.iter().enumerate() {
            if let Some(summary) = *summary {
                self.last[at] = Some((summary, now_us));
                if model.solo.is_none() {
                    let a_poll = summary.count as f64 / windows_us[at] * interval_us;
                    let tells = summary.count >= LEAST_EVENTS && a_poll >= LEAST_A_POLL;
                    self.together[at] = tells.then_some(summary.mean_us);
                }
            }
        }
        let round_trip = model.poll.round_trip(now_us - windows_us[0]);
        self.prediction_us = round_trip.map(|round_trip| predict_poll_us(interval_us, round_trip.mean_us));
        let missed = [0, 1].map(|at| Missed::since(lanes[at], now_us - windows_us[at]));
        let mut figures = [0, 1].map(|at| self.lane(lanes[at], at, now[at].is_some(), windows_us[at], now_us));
        for at in [0, 1] {
            if figures[at].counting.is_empty() && now[at].is_some() && missed[at].any() {
                figures[at].state = String::from("of those that arrived");
                figures[at].counting = missed[at].words();
                figures[at].lost = true;
            }
        }
        // What was missed would have been the latest of all: a mean without it is compared with nothing.
        if let [Some(poll), Some(stream)] = now
            && !missed.iter().any(Missed::any)
        {
            figures[1].beside = sooner(model, poll.mean_us, stream.mean_us);
        }
        figures
    }

    fn lane(&self, lane: &Lane, at: usize, now: bool, window_us: f64, now_us: f64) -> Figures {
        let Doing { state, counting, lost } = doing(lane, now, window_us, now_us);
        let mut figures = Figures {
            value: nothing(),
            state,
            counting,
            lost,
            stale: !now,
            ..Figures::default()
        };
        if let Some((summary, at_us)) = &self.last[at] {
            figures.value = format::latency(summary.mean_us);
            figures.p50 = format::latency_text(summary.p50_us);
            figures.p99 = format::latency_text(summary.p99_us);
            if !now {
                let age = format::ago(now_us - at_us);
                add(&mut figures.counting, &["figures of ", &age, " ago"]);
            }
        }
        if now && window_us > WINDOW_US {
            figures.state = ["mean of the last ", &*format::ago(window_us)].concat();
        }
        let behind_us = behind_us(lane, now_us);
        if at == 1 && now && behind_us > BEHIND_US {
            figures.state = String::from("this page cannot keep up");
            figures.counting = [&*format::ago(behind_us), " behind"].concat();
            figures.lost = true;
        }
        if at == 0
            && now
            && let Some(prediction) = self.prediction_us
        {
            figures.beside = ["predicted ", &*format::latency_text(prediction)].concat();
        }
        figures
    }

    /// What has to be known about the figures, beside the figures.
    pub fn note(&self, model: &Model) -> String {
        let mut notes: Vec<String> = Vec::new();
        if let Some(id) = model.solo
            && let Some(together) = self.together[id as usize]
        {
            notes.push(
                [
                    "With both lanes, ",
                    lane_name(id).0,
                    " took ",
                    &format::latency_text(together),
                    ".",
                ]
                .concat(),
            );
        }
        if model.hello.as_ref().is_some_and(|hello| hello.proxied) {
            notes.push(String::from("Through a proxy, whose time counts too."));
        }
        let foreign = |lane: &Lane| lane.arrivals.newest().is_some_and(|arrival| arrival.foreign);
        if foreign(&model.poll) || foreign(&model.stream) {
            notes.push(String::from(
                "Events of other hosts: their latency starts when this server had them.",
            ));
        }
        notes.join(" ")
    }
}

/// How late the newest is after the server sent it: what piles up on the way, or before this page.
fn behind_us(lane: &Lane, now_us: f64) -> f64 {
    let newest = lane.arrivals.newest();
    newest
        .filter(|newest| newest.counts() && now_us - newest.received_us < WINDOW_US)
        .map_or(0.0, |newest| newest.received_us - newest.sent_us)
}

/// What a lane was told that it missed.
#[derive(Debug, Default, PartialEq)]
struct Missed {
    events: u64,
    /// Gaps of which nobody knows how many events they hold.
    unknown: bool,
}

impl Missed {
    fn since(lane: &Lane, since_us: f64) -> Self {
        let mut missed = Self::default();
        for gap in lane.gaps.iter_back().take_while(|gap| gap.at_us > since_us) {
            match gap.count {
                Some(count) => missed.events += count,
                None => missed.unknown = true,
            }
        }
        missed
    }

    fn any(&self) -> bool {
        self.events > 0 || self.unknown
    }

    fn words(&self) -> String {
        match (self.events, self.unknown) {
            (0, _) => String::from("some missed"),
            (events, true) => ["at least ", &*format::count(events), " missed"].concat(),
            (events, false) => [&*format::count(events), " missed"].concat(),
        }
    }
}

/// Adds to a line.
fn add(line: &mut String, parts: &[&str]) {
    if !line.is_empty() {
        line.push_str(" · ");
    }
    line.push_str(&parts.concat());
}

fn nothing() -> Quantity {
    Quantity {
        value: String::from("–"),
        unit: "ms",
    }
}

/// How many times sooner streaming is; nothing where the clock cannot tell.
fn sooner(model: &Model, poll_us: f64, stream_us: f64) -> String {
    let bound_us = model.offset().map_or(f64::INFINITY, |offset| offset.bound_us);
    if stream_us > bound_us && poll_us >= LEAST_TIMES * stream_us {
        let mut text = format::times(poll_us / stream_us);
        text.push_str(" sooner");
        return text;
    }
    String::new()
}

/// What a lane is doing.
#[derive(Debug, Default)]
struct Doing {
    /// As in [`Figures`].
    state: String,
    counting: String,
    lost: bool,
}

fn doing(lane: &Lane, now: bool, window_us: f64, now_us: f64) -> Doing {
    let (bad, fair) = (true, false);
    let said = |state: &[&str], counting: &[&str], lost| Doing {
        state: state.concat(),
        counting: counting.concat(),
        lost,
    };
    let again = |retry_at_us: f64| {
        if retry_at_us <= now_us {
            return String::from("trying now");
        }
        ["trying again in ", &format::ago(retry_at_us - now_us + 999e3)].concat()
    };
    let silent_us = lane.last_heard_us.map_or(0.0, |heard_us| now_us - heard_us);
    match &lane.status {
        Status::Connecting => said(&["connecting"], &[], fair),
        Status::Live if lane.id == LaneId::Stream && silent_us > SILENT_US => {
            said(&["silent"], &["for ", &format::ago(silent_us)], bad)
        }
        Status::Live if now => Doing::default(),
        Status::Live if lane.arrivals.is_empty() => said(&["live"], &["no event yet"], fair),
        Status::Live => said(&["live"], &["no event for ", &format::ago(window_us)], fair),
        Status::Reconnecting { why, retry_at_us, .. } => said(&[why], &[&again(*retry_at_us)], bad),
        Status::Refused { why, retry_at_us } => said(&["refused: ", why], &[&again(*retry_at_us)], bad),
        Status::Limited { retry_at_us, .. } => {
            said(&["limited (429): its quota is spent"], &[&again(*retry_at_us)], bad)
        }
        Status::Off => {
            let other = match lane.id {
                LaneId::Poll => LaneId::Stream,
                LaneId::Stream => LaneId::Poll,
            };
            said(&["switched off while ", lane_name(other).0, " runs alone"], &[], fair)
        }
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::GapReason;

    use super::*;
    use crate::lane::GapMark;
    use crate::latency::Arrival;

    #[test]
    fn a_stream_on_which_not_even_a_probe_is_answered_is_silent() {
        let mut lane = Lane::new(LaneId::Stream, String::new());
        lane.set_status(Status::Live, 0.0);
        lane.heard(1e6, false);
        assert!(!doing(&lane, true, WINDOW_US, 3e6).lost);
        let said = doing(&lane, true, WINDOW_US, 6e6);
        assert_eq!((said.state.as_str(), said.lost), ("silent", true));
        assert!(said.counting.starts_with("for "), "{said:?}");
    }

    #[test]
    fn what_was_missed_is_said_in_numbers_as_far_as_they_are_known_and_only_for_the_window() {
        let mut lane = Lane::new(LaneId::Poll, String::new());
        assert!(!Missed::since(&lane, 0.0).any());
        for (at_us, count) in [(1e6, Some(7)), (8e6, Some(1_000)), (9e6, Some(5))] {
            let (topic, reason) = (String::from("a"), Some(GapReason::Retention));
            lane.gaps.push(GapMark {
                topic,
                from_offset: 0,
                count,
                reason,
                at_us,
            });
        }
        assert_eq!(Missed::since(&lane, 5e6).words(), "1,005 missed");
        let (topic, reason) = (String::from("a"), Some(GapReason::Epoch));
        lane.gaps.push(GapMark {
            topic,
            from_offset: 0,
            count: None,
            reason,
            at_us: 10e6,
        });
        assert_eq!(Missed::since(&lane, 5e6).words(), "at least 1,005 missed");
        assert_eq!(Missed::since(&lane, 9.5e6).words(), "some missed");
    }

    #[test]
    fn a_page_is_behind_by_what_passed_between_sending_and_receiving_as_long_as_events_come() {
        let mut lane = Lane::new(LaneId::Stream, String::new());
        assert_eq!(behind_us(&lane, 0.0), 0.0);
        lane.arrivals.push(Arrival {
            topic: 0,
            offset: 0,
            produced_us: 0.0,
            ingested_us: 0.0,
            sent_us: 1e6,
            received_us: 9e6,
            applied_us: 9e6,
            foreign: false,
            hidden: false,
            backlog: false,
        });
        assert_eq!(behind_us(&lane, 9.1e6), 8e6);
        assert_eq!(behind_us(&lane, 20e6), 0.0, "nothing comes: that is another trouble");
    }
}
