//! "Delivery latency": the last five minutes of both lanes on a logarithmic axis.

use std::cell::Cell;
use std::rc::Rc;

use freshet_wire::GapReason;
use leptos::html::Canvas;
use leptos::prelude::*;

use super::bind::Flag;
use super::chart::surface::Surface;
use super::chart::trend::{Breaks, LEFT, MOST_US, Trend, TrendLane, span_us};
use super::format;
use super::frame::{Frame, on_frame, put};
use super::leader::words::elections;
use super::panel::{Rows, picture, tools};
use super::point::{self, Gesture, Line, Tip};
use crate::lane::{Lane, LaneId, Status};
use crate::latency::Bucket;
use crate::model::Model;

/// Where the pointer is: a distance from the left edge, and whether it moved.
type Pointer = Rc<Cell<(Option<f64>, bool)>>;

pub fn over_time() -> AnyView {
    let canvas = NodeRef::<Canvas>::new();
    let as_table = Flag::new(false);
    let rows = Rows::default();
    let tip = Tip::new();
    let pointer = Pointer::default();
    let mut surface: Option<Surface> = None;
    let mut shown_us = 0.0;
    let mut paused = false;
    let mut watch = Watch::default();
    let on_pointer = Rc::clone(&pointer);
    on_frame(move |frame| {
        watch.look(frame.model, frame.now_us);
        if frame.second && as_table.get_untracked() {
            put(rows, seconds(frame.model, frame.now_us));
        }
        if surface.is_none() {
            surface = canvas.get_untracked().and_then(Surface::new);
        }
        let Some(surface) = &mut surface else { return };
        let resized = surface.fit();
        let (at, moved) = pointer.get();
        if frame.second {
            shown_us = frame.shown_us;
        }
        let turned = paused != frame.model.paused;
        if surface.is_empty() || !(frame.second || frame.repaint || resized || moved || turned) {
            return;
        }
        paused = frame.model.paused;
        pointer.set((at, false));
        let mut trend = trend(frame, surface, shown_us, &watch);
        trend.pointed_us = at.map(|x| (trend.time().us_at(x) / 1e6 - 0.5).round() * 1e6);
        trend.draw();
        match trend.pointed_us.zip(at) {
            Some((us, x)) => {
                let mut age = [&*format::ago(trend.now_us - us), " ago"].concat();
                let within = |at_us: f64| (us..us + 1e6).contains(&at_us);
                if let Some(election) = trend.elections.iter().find(|it| it.at_us.is_some_and(within)) {
                    age.push_str(" · ");
                    age.push_str(&election.words);
                }
                tip.show(age, lines(&trend, us), x, 40.0, surface.width);
            }
            None => tip.hide(),
        }
    });
    let tell = move |gesture| {
        let width = canvas
            .get_untracked()
            .map_or(0.0, |canvas| f64::from(canvas.client_width()));
        let at = match gesture {
            Gesture::At(x, _) => Some(x),
            Gesture::Step(step) => {
                let from = on_pointer.get().0.unwrap_or(width);
                Some((from + 3.0 * f64::from(step)).clamp(LEFT, (width - 9.0).max(LEFT)))
            }
            Gesture::Away => None,
        };
        on_pointer.set((at, true));
    };
    const LABEL: &str = "Delivery latency of both lanes over the last minutes, on a logarithmic scale. \
        Arrow keys go through the seconds; the same is there as a table.";
    const HEADS: [&str; 7] = [
        "second",
        "polling p5",
        "polling p50",
        "polling p99",
        "streaming p5",
        "streaming p50",
        "streaming p99",
    ];
    let layers = vec![point::canvas(canvas, LABEL, Rc::new(tell)), tip.view()];
    view! {
        <section class="panel over-time" aria-label="Delivery latency">
            <div class="head">
                <h2>"Delivery latency"</h2>
                <span class="dim">"log scale, p50 line, p5\u{2013}p99 band, second by second"</span>
                <span class="end">
                    <span class="legend">
                        <span class="poll">"polling"</span>
                        <span class="stream">"streaming"</span>
                        <span class="gap">"gap, or 429"</span>
                        <span class="elected">"new leader"</span>
                    </span>
                    {tools("Delivery latency", as_table)}
                </span>
            </div>
            {picture(layers, as_table, "Delivery latency, second by second, the newest first", &HEADS, rows)}
        </section>
    }
    .into_any()
}

/// Two frames further apart than this: the tab was hidden, or the machine asleep, and what came meanwhile does not count.
const UNSEEN_US: f64 = 3e6;

/// Watches for what breaks a lane's line.
#[derive(Default)]
struct Watch {
    breaks: [Breaks; 2],
    live: [bool; 2],
    topics: Vec<String>,
    looked_us: f64,
}

impl Watch {
    /// On every frame, also while the picture is paused.
    fn look(&mut self, model: &Model, now_us: f64) {
        let chosen_anew = self.topics != model.topics;
        if chosen_anew {
            self.topics.clone_from(&model.topics);
        }
        // The clock may be set back, too.
        let unseen = (now_us - self.looked_us).abs() > UNSEEN_US;
        // Between two polls there is nothing to know.
        let joins_us = [1.3e6 + f64::from(model.interval_ms) * 1.1e3, 2.5e6];
        for (at, id) in [LaneId::Poll, LaneId::Stream].into_iter().enumerate() {
            let (lane, breaks) = (model.lane(id), &mut self.breaks[at]);
            let live = lane.status == Status::Live;
            if self.live[at] && !live {
                breaks.add(lane.since_us);
            }
            self.live[at] = live;
            if chosen_anew {
                breaks.add(now_us);
            }
            if unseen {
                breaks.add(self.looked_us);
            }
            breaks.join(now_us, joins_us[at]);
        }
        self.looked_us = now_us;
    }
}

fn trend<'a>(frame: &'a Frame<'_>, surface: &'a Surface, now_us: f64, watch: &Watch) -> Trend<'a> {
    let model = frame.model;
    // While the picture is paused there is more than it shows.
    let seen = |us: &f64| *us > now_us - MOST_US && *us < now_us;
    let lane = |at: usize, lane: &Lane| TrendLane {
        buckets: lane
            .history
            .iter()
            .filter(|bucket| seen(&bucket.start_us))
            .copied()
            .collect(),
        breaks: watch.breaks[at].clone(),
        gaps_us: lane
            .gaps
            .iter()
            .map(|gap| gap.at_us)
            .chain(lane.limited.iter().copied())
            .filter(seen)
            .collect(),
    };
    let epochs = |lane: &Lane| -> Vec<f64> {
        let new_log = lane.gaps.iter().filter(|gap| gap.reason == Some(GapReason::Epoch));
        new_log.map(|gap| gap.at_us).collect()
    };
    let stream_epochs = epochs(&model.stream);
    let epochs_us = if stream_epochs.is_empty() {
        epochs(&model.poll)
    } else {
        stream_epochs
    };
    let lanes = [lane(0, &model.poll), lane(1, &model.stream)];
    let oldest = lanes
        .iter()
        .filter_map(|lane| lane.buckets.first())
        .map(|bucket| bucket.start_us)
        .reduce(f64::min);
    Trend {
        surface,
        palette: frame.palette,
        now_us,
        span_us: span_us(oldest.map_or(0.0, |oldest| now_us - oldest)),
        paused: model.paused,
        lanes,
        epochs_us,
        elections: frame
            .cluster
            .map(|cluster| elections(cluster, now_us - MOST_US))
            .unwrap_or_default(),
        pointed_us: None,
    }
}

fn bucket_at(buckets: &[Bucket], us: f64) -> Option<&Bucket> {
    buckets.iter().find(|bucket| (bucket.start_us - us).abs() < 0.5e6)
}

fn lines(trend: &Trend<'_>, us: f64) -> Vec<Line> {
    let mut lines = Vec::new();
    for (lane, name, class) in [(0, "polling", "poll"), (1, "streaming", "stream")] {
        match bucket_at(&trend.lanes[lane].buckets, us) {
            Some(bucket) => {
                lines.push((name, [&*format::count(bucket.count.into()), " events"].concat(), class));
                lines.push(("p5", format::latency_text(bucket.p5_us), ""));
                lines.push(("p50", format::latency_text(bucket.p50_us), ""));
                lines.push(("p99", format::latency_text(bucket.p99_us), ""));
            }
            None => lines.push((name, String::from("nothing came"), class)),
        }
    }
    lines
}

/// The last minute as rows.
fn seconds(model: &Model, now_us: f64) -> Vec<Vec<String>> {
    let newest = (now_us / 1e6).floor() * 1e6 - 1e6;
    let lanes: [Vec<Bucket>; 2] = [&model.poll, &model.stream].map(|lane| lane.history.iter().copied().collect());
    (0..60)
        .map(|back| {
            let us = newest - f64::from(back) * 1e6;
            let mut row = vec![[&*format::ago(now_us - us), " ago"].concat()];
            for lane in &lanes {
                match bucket_at(lane, us) {
                    Some(bucket) => {
                        row.extend([bucket.p5_us, bucket.p50_us, bucket.p99_us].map(format::latency_text));
                    }
                    None => row.extend(["–", "–", "–"].map(String::from)),
                }
            }
            row
        })
        .collect()
}
