//! "Same events, two ways": the panel of the race.

mod choose;
mod feed;
mod gaps;
mod pointer;

use std::cell::RefCell;
use std::rc::Rc;

use leptos::html::Canvas;
use leptos::prelude::*;

use self::feed::Feed;
use self::pointer::Pointer;
use super::bind::{Flag, Text, live, say};
use super::chart::race::{LaneScene, Rails, Scene};
use super::chart::scale::TimeScale;
use super::chart::surface::Surface;
use super::frame::{Frame, on_frame, put};
use super::leader::words::elections;
use super::panel::{Empty, Rows, picture, tools};
use super::point::{self, Tip};
use super::{Ui, format};
use crate::lane::{Lane, Status};
use crate::model::Model;

/// How much of the past is shown: six polls, at least three seconds.
fn span_us(interval_ms: u32) -> f64 {
    (f64::from(interval_ms) * 6e3).clamp(3e6, 180e6)
}

pub fn race(ui: Ui) -> AnyView {
    let canvas = NodeRef::<Canvas>::new();
    let as_table = Flag::new(false);
    let rows = Rows::default();
    let head = Text::default();
    let empty = Empty {
        title: Text::default(),
        text: Text::default(),
    };
    let tip = Tip::new();
    let pointer = Rc::new(RefCell::new(Pointer::default()));
    let on_pointer = Rc::clone(&pointer);
    let mut painter = Painter {
        surface: None,
        feed: Feed::new(),
        shown_us: 0.0,
        paused: false,
        pointer,
        tip,
    };
    on_frame(move |frame| {
        painter.paint(frame, canvas);
        if frame.quarter {
            let (title, text) = why_empty(frame.model, frame.now_us).unwrap_or_default();
            say(empty.title, &[title]);
            put(empty.text, text);
        }
        if frame.second {
            put(head, heading(frame.model, painter.feed.began_us, frame.now_us));
            if as_table.get_untracked() {
                put(rows, pointer::rows(&painter.feed, frame.model, frame.now_us));
            }
        }
    });
    const LABEL: &str = "Each event as a dot at the moment it happened, a line up to the moment polling brought it \
        and a line down to the moment streaming did. Arrow keys go from event to event; the same is there as a table.";
    const HEADS: [&str; 4] = ["event", "happened", "by polling", "by streaming"];
    let tell = move |gesture| on_pointer.borrow_mut().tell(gesture);
    let layers = vec![point::canvas(canvas, LABEL, Rc::new(tell)), empty.view(), tip.view()];
    view! {
        <div class="race">
            <div class="head">
                <h2>"Same events, two ways"</h2>
                <span class="dim">"each line runs from the moment an event happened to the moment this page had it"</span>
                <span class="end">
                    <span>{live(head)}</span>
                    {choose::topics(ui)}
                    {tools("The race", as_table)}
                </span>
            </div>
            {picture(layers, as_table, "The newest events, and how late each lane brought them", &HEADS, rows)}
        </div>
    }
    .into_any()
}

struct Painter {
    surface: Option<Surface>,
    feed: Feed,
    /// What was drawn last: the same picture is not drawn twice.
    shown_us: f64,
    paused: bool,
    pointer: Rc<RefCell<Pointer>>,
    tip: Tip,
}

impl Painter {
    fn paint(&mut self, frame: &Frame<'_>, canvas: NodeRef<Canvas>) {
        let model = frame.model;
        if self.surface.is_none() {
            self.surface = canvas.get_untracked().and_then(Surface::new);
        }
        let Some(surface) = &mut self.surface else { return };
        let resized = surface.fit();
        let rails = Rails::of(surface.width, surface.height);
        let scale = TimeScale {
            now_us: frame.shown_us,
            span_us: span_us(model.interval_ms),
            left: rails.left,
            right: rails.right,
        };
        // Columns of another width are filled anew, also while the picture stands still.
        let anew = !surface.is_empty() && self.feed.resize(scale.us_per_px(), surface.width);
        if anew || !model.paused {
            self.feed.take(model, frame.now_us);
        }
        // There is no canvas while the race is shown as a table, which is made of the same columns.
        if surface.is_empty() {
            return;
        }
        let mut pointer = self.pointer.borrow_mut();
        if frame.shown_us == self.shown_us
            && self.paused == model.paused
            && !(frame.repaint || resized || anew || pointer.moved())
        {
            return;
        }
        let beside = frame.repaint || resized || anew || self.paused != model.paused;
        self.shown_us = frame.shown_us;
        self.paused = model.paused;
        let columns = &self.feed.columns;
        let pointed = pointer.find(columns, &scale, &rails);
        match &pointed {
            Some(hit) => self
                .tip
                .show(hit.title(model), hit.lines(&self.feed), hit.x, hit.y, surface.width),
            None => self.tip.hide(),
        }
        let gaps = [0, 1].map(|at| self.feed.lanes[at].holes.bands(scale.left_us()));
        let scene = |at: usize, lane| LaneScene {
            lane,
            outages: &self.feed.lanes[at].outages,
            gaps: &gaps[at],
            covered_us: self.feed.lanes[at].covered_us,
            expected_us: expected_us(lane, model),
        };
        let elections = frame.cluster.map(|cluster| elections(cluster, scale.left_us()));
        Scene {
            surface,
            palette: frame.palette,
            scale,
            rails,
            columns,
            began_us: self.feed.began_us,
            lanes: [scene(0, &model.poll), scene(1, &model.stream)],
            elections: elections.as_deref().unwrap_or_default(),
            pointed: pointed.map(|hit| hit.pointed()),
            paused: model.paused,
            anew: beside,
        }
        .draw();
    }
}

fn heading(model: &Model, began_us: f64, now_us: f64) -> String {
    let span = span_us(model.interval_ms);
    let since_us = began_us.max(now_us - span);
    let rate = [&model.poll, &model.stream]
        .into_iter()
        .filter(|_| !model.topics.is_empty())
        .filter_map(|lane| rate_hz(lane, since_us, now_us))
        .reduce(f64::max);
    [
        "last ",
        &*format::ago(span),
        " · ",
        &rate.map_or_else(|| String::from("–"), format::events_per_s),
    ]
    .concat()
}

/// Less says nothing of a rate.
const LEAST_US: f64 = 1e6;

/// How many events a second happened, over the time that the lane can tell of; `None` while it is down or has only begun.
fn rate_hz(lane: &Lane, since_us: f64, now_us: f64) -> Option<f64> {
    let newest = lane.arrivals.newest()?;
    if lane.status != Status::Live {
        return None;
    }
    let is_full = lane.arrivals.len() == Lane::ARRIVALS;
    let oldest_us = lane.arrivals.iter().next().filter(|_| is_full).map(|it| it.received_us);
    let from_us = oldest_us.map_or(since_us, |oldest_us| oldest_us.max(since_us));
    // What happened since the last answer, or while the lane lags behind, it cannot know yet.
    let asked_us = lane.requests.newest().map_or(now_us, |request| request.received_us);
    let to_us = asked_us - newest.latency_us().max(0.0);
    let happened = lane
        .arrivals
        .iter_back()
        .take_while(|it| it.received_us >= from_us)
        .filter(|it| it.produced_us >= from_us && it.produced_us <= to_us)
        .count();
    (to_us - from_us >= LEAST_US).then(|| happened as f64 / (to_us - from_us) * 1e6)
}

/// When the lane may bring what it still lacks, as far as that is known.
fn expected_us(lane: &Lane, model: &Model) -> f64 {
    match lane.status {
        Status::Reconnecting { retry_at_us, .. }
        | Status::Refused { retry_at_us, .. }
        | Status::Limited { retry_at_us, .. } => retry_at_us,
        _ => {
            let answered = lane.requests.newest().map_or(0.0, |request| request.received_us);
            answered + f64::from(model.interval_ms) * 1e3
        }
    }
}

/// Why there is nothing to be seen, if there is nothing.
fn why_empty(model: &Model, now_us: f64) -> Option<(&'static str, String)> {
    if model.topics.is_empty() {
        return Some((
            "No topic is chosen",
            String::from("Choose at least one at the top right of this panel."),
        ));
    }
    let lanes = [&model.poll, &model.stream];
    let newest = lanes
        .iter()
        .filter_map(|lane| lane.arrivals.newest())
        .map(|it| it.received_us)
        .reduce(f64::max);
    if newest.is_some_and(|newest| now_us - newest < span_us(model.interval_ms)) {
        return None;
    }
    if lanes.iter().any(|lane| lane.status == Status::Live) {
        let text = [
            "The lanes are connected, but nothing happens on ",
            &model.topics.join(", "),
            ".",
        ]
        .concat();
        return Some(("No events", text));
    }
    let text = String::from("Events appear here as soon as the back end answers.");
    Some((
        if newest.is_some() {
            "No connection"
        } else {
            "Connecting"
        },
        text,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::LaneId;
    use crate::latency::Arrival;

    fn arrival(produced_us: f64) -> Arrival {
        Arrival {
            topic: 0,
            offset: 0,
            produced_us,
            ingested_us: produced_us,
            sent_us: produced_us,
            received_us: produced_us,
            applied_us: produced_us,
            foreign: false,
            hidden: false,
            backlog: false,
        }
    }

    #[test]
    fn a_rate_is_over_the_time_that_the_lane_can_tell_of() {
        let mut lane = Lane::new(LaneId::Stream, String::new());
        assert_eq!(rate_hz(&lane, 0.0, 6e6), None);
        (0..400).for_each(|i| lane.arrivals.push(arrival(2e6 + f64::from(i) * 1e4)));
        assert_eq!(rate_hz(&lane, 2e6, 6e6), None, "it is not live");
        lane.set_status(Status::Live, 0.0);
        assert_eq!(rate_hz(&lane, 2e6, 6e6), Some(100.0), "the page watches since then");
        assert_eq!(rate_hz(&lane, 5.5e6, 6e6), None, "too short a time");
        (0..Lane::ARRIVALS as u32).for_each(|i| lane.arrivals.push(arrival(10e6 + f64::from(i) * 100.0)));
        let now_us = 10e6 + Lane::ARRIVALS as f64 * 100.0;
        assert_eq!(
            rate_hz(&lane, 0.0, now_us).map(f64::round),
            Some(10_000.0),
            "no further than the ring reaches back"
        );
    }
}
