//! "Where the time goes": the stages of the delivery latency, and what the page itself adds.

mod means;

use leptos::html::Canvas;
use leptos::prelude::*;

use self::means::{Painted, Stages};
use super::chart::surface::Surface;
use super::format;
use super::frame::{Frame, on_frame, put};
use super::panel::live;

/// The shades of the three stages that make up the delivery latency, in the bar and beside their names.
const SHADES: [f64; 3] = [0.3, 0.6, 1.0];
const WINDOW_US: f64 = 5e6;

pub fn stages() -> impl IntoView {
    let rows: RwSignal<Vec<[String; 2]>> = RwSignal::new(vec![<[String; 2]>::default(); 6]);
    let bound = RwSignal::new(String::new());
    let span = RwSignal::new(String::new());
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
        let means = [0, 1].map(|at| Stages::of(lanes[at].arrivals.iter_back(), frame.now_us - window_us));
        for at in 0..2 {
            if surfaces[at].is_none() {
                surfaces[at] = bars[at].get_untracked().and_then(Surface::new);
            }
            if let Some(surface) = &mut surfaces[at] {
                bar(surface, frame, at, means[at]);
            }
        }
        let text = |us: Option<f64>| us.map_or_else(|| String::from("–"), format::stage);
        let row = |stage: fn(&Stages) -> f64| means.map(|means| text(means.as_ref().map(stage)));
        let table = vec![
            row(|stages| stages.ingest_us),
            row(|stages| stages.wait_us),
            row(|stages| stages.travel_us),
            row(Stages::delivery_us),
            row(|stages| stages.apply_us),
            [0, 1].map(|at| text(painted[at].mean_us())),
        ];
        put(span, ["mean of each stage, last ", &*format::ago(window_us)].concat());
        put(rows, table);
        let offset = frame.model.offset();
        put(
            bound,
            offset
                .map(|offset| ["±", &*format::latency_text(offset.bound_us)].concat())
                .unwrap_or_default(),
        );
    });
    let row = move |at: usize, shade: &'static str, name: &'static str, title: &'static str| {
        let cell = move |lane: usize| move || rows.with(|rows| rows[at][lane].clone());
        view! {
            <tr class=if at == 3 { "sum" } else { "" }>
                <th scope="row" title=title><i class=["shade ", shade].concat()></i>{name}</th>
                <td>{cell(0)}</td>
                <td>{cell(1)}</td>
            </tr>
        }
    };
    view! {
        <section class="panel third stages" aria-label="Where the time goes">
            <div class="head">
                <h2>"Where the time goes"</h2>
                <span class="dim">{live(span)}</span>
            </div>
            <div class="bars" aria-hidden="true">
                <canvas node_ref=bars[0]></canvas>
                <canvas node_ref=bars[1]></canvas>
            </div>
            <table>
                <thead><tr>
                    <td></td>
                    <th scope="col" class="poll">"polling"</th>
                    <th scope="col" class="stream">"streaming"</th>
                </tr></thead>
                <tbody>
                    {row(0, "s1", "produced, then ingested", "Until the server's tail had it")}
                    {row(1, "s2", "waited to be sent", "Until the page or message was put together; polling waits for the next request")}
                    {row(2, "s3", "on its way", "From the server to this page: between two clocks")}
                    {row(3, "", "delivery latency", "The three above together")}
                    {row(4, "", "decoded and applied", "In this page, after it was received")}
                    {row(5, "", "painted, an estimate", "From applied to the frame after the one in which it was drawn")}
                </tbody>
            </table>
            <p class="dim foot" hidden=move || bound.with(String::is_empty)>
                "Stages between the two clocks are known to " {move || bound.get()} "."
            </p>
        </section>
    }
    .into_any()
}

/// The three stages as one bar, each as wide as its share.
fn bar(surface: &mut Surface, frame: &Frame<'_>, lane: usize, stages: Option<Stages>) {
    surface.fit();
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
