//! "Where the time goes": the stages of the delivery latency, and what the page itself adds.

mod means;

use leptos::html::Canvas;
use leptos::prelude::*;

use self::means::{Painted, Stages};
use super::bind::{Text, if_empty, live, say};
use super::chart::surface::Surface;
use super::format;
use super::frame::{Frame, on_frame, put};
use super::panel::lanes_table;

/// The shades of the three stages that make up the delivery latency, in the bar and beside their names.
const SHADES: [f64; 3] = [0.3, 0.6, 1.0];
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
    let bars = [NodeRef::<Canvas>::new(), NodeRef::<Canvas>::new()];
    let mut surfaces: [Option<Surface>; 2] = [None, None];
    let mut painted = [Painted::default(), Painted::default()];
    on_frame(move |frame| {
        let lanes = [&frame.model.poll, &frame.model.stream];
        for at in 0..2 {
            painted[at].frame(lanes[at], frame.now_us);
        }
        if !frame.second && !frame.repaint {
            return;
        }
        let window_us = WINDOW_US.max(2.2e3 * f64::from(frame.model.interval_ms));
        for at in 0..2 {
            let means = Stages::of(lanes[at].arrivals.iter_back(), frame.now_us - window_us);
            if surfaces[at].is_none() {
                surfaces[at] = bars[at].get_untracked().and_then(Surface::new);
            }
            if let Some(surface) = &mut surfaces[at] {
                bar(surface, frame, at, means);
            }
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
                <canvas node_ref=bars[0]></canvas>
                <canvas node_ref=bars[1]></canvas>
            </div>
            {lanes_table(ROWS.into_iter().zip(cells).map(|it| row(it).into_any()).collect())}
            <p class="dim foot" hidden=if_empty(bound)>"Between the two clocks each stage is known to "{live(bound)}"."</p>
        </section>
    }
    .into_any()
}

/// The three stages as one bar, each as wide as its share.
fn bar(surface: &mut Surface, frame: &Frame<'_>, lane: usize, stages: Option<Stages>) {
    surface.fit();
    // While another view is shown.
    if surface.is_empty() {
        return;
    }
    surface.clear();
    let context = &surface.context;
    context.set_fill_style_str(&frame.palette.rule);
    context.fill_rect(0.0, 0.0, surface.width, surface.height);
    let Some(stages) = stages else { return };
    let parts = [stages.ingest_us, stages.wait_us, stages.travel_us].map(|us| us.max(0.0));
    let whole: f64 = parts.iter().sum();
    if whole <= 0.0 {
        return;
    }
    context.clear_rect(0.0, 0.0, surface.width, surface.height);
    context.set_fill_style_str(&frame.palette.lanes[lane]);
    let mut x = 0.0;
    for (part, shade) in parts.into_iter().zip(SHADES) {
        let width = part / whole * surface.width;
        context.set_global_alpha(shade);
        context.fill_rect(x, 0.0, (width - 1.0).max(0.5), surface.height);
        x += width;
    }
    context.set_global_alpha(1.0);
}
