//! "Where the time goes": the stages of the delivery latency, and what the page itself adds.

mod means;

use leptos::html::I;
use leptos::prelude::*;

use self::means::{Painted, Stages};
use super::bind::{Class, Text, class, if_empty, live, say};
use super::format;
use super::frame::{on_frame, put};
use super::panel::lanes_table;

const WINDOW_US: f64 = 5e6;

/// Each row's class, name, and what it means.
const ROWS: [(&str, &str, &str); 6] = [
    ("s1", "produced, then ingested", "Until the server's tail had it"),
    (
        "s2",
        "waited to be sent",
        "Until the page or message was put together; polling waits for the next request",
    ),
    ("s3", "on its way", "From the server to this page: between two clocks"),
    ("sum", "delivery latency", "The three above together"),
    ("", "decoded and applied", "In this page, after it was received"),
    (
        "",
        "painted, an estimate",
        "From applied to the frame after the one in which it was drawn",
    ),
];

pub fn stages() -> AnyView {
    let cells = ROWS.map(|_| [Text::default(), Text::default()]);
    let (bound, span) = (Text::default(), Text::default());
    let bars = ["poll", "stream"].map(Bar::new);
    let mut painted = [Painted::default(), Painted::default()];
    on_frame(move |frame| {
        let lanes = [&frame.model.poll, &frame.model.stream];
        for at in 0..2 {
            painted[at].frame(lanes[at], frame.now_us);
        }
        if !frame.second {
            return;
        }
        let window_us = WINDOW_US.max(2.2e3 * f64::from(frame.model.interval_ms));
        for at in 0..2 {
            let means = Stages::of(lanes[at].arrivals.iter_back(), frame.now_us - window_us);
            bars[at].show(means);
            let stage = |of: fn(&Stages) -> f64| means.as_ref().map(of);
            let values = [
                stage(|stages| stages.ingest_us),
                stage(|stages| stages.wait_us),
                stage(|stages| stages.travel_us),
                stage(Stages::delivery_us),
                stage(|stages| stages.apply_us),
                painted[at].mean_us(),
            ];
            for (row, us) in cells.iter().zip(values) {
                put(row[at], us.map_or_else(|| String::from("–"), format::stage));
            }
        }
        say(span, &["mean of each stage, last ", &format::ago(window_us)]);
        if let Some(offset) = frame.model.offset() {
            say(bound, &["±", &format::latency_text(offset.bound_us)]);
        }
    });
    let row = |((look, name, title), [poll, stream]): ((&'static str, &'static str, &'static str), [Text; 2])| {
        view! {
            <tr class=look>
                <th scope="row" title=title><i class="shade"></i>{name}</th>
                <td>{live(poll)}</td>
                <td>{live(stream)}</td>
            </tr>
        }
    };
    view! {
        <section class="panel third stages" aria-label="Where the time goes">
            <div class="head"><h2>"Where the time goes"</h2><span class="dim">{live(span)}</span></div>
            <div class="bars" aria-hidden="true">
                {bars.map(Bar::view)}
            </div>
            {lanes_table(ROWS.into_iter().zip(cells).map(|it| row(it).into_any()).collect())}
            <p class="dim foot" hidden=if_empty(bound)>"Between the two clocks each stage is known to "{live(bound)}"."</p>
        </section>
    }
    .into_any()
}

/// The three stages that make up the delivery latency as one bar, each as wide as its share.
#[derive(Clone, Copy)]
struct Bar {
    lane: &'static str,
    look: Class,
    parts: [NodeRef<I>; 3],
}

impl Bar {
    fn new(lane: &'static str) -> Self {
        Self {
            lane,
            look: Class::new("none"),
            parts: [NodeRef::new(), NodeRef::new(), NodeRef::new()],
        }
    }

    fn show(&self, stages: Option<Stages>) {
        let shares = stages.and_then(Stages::shares);
        put(self.look, if shares.is_some() { self.lane } else { "none" });
        for (part, share) in self.parts.iter().zip(shares.unwrap_or_default()) {
            if let Some(part) = part.get_untracked() {
                let _ = part.style().set_property("flex-grow", &format::plain(share));
            }
        }
    }

    fn view(self) -> AnyView {
        let parts = self.parts.map(|part| view! { <i node_ref=part></i> });
        view! { <div class=class(self.look)>{parts}</div> }.into_any()
    }
}
