//! "Allowed against limited": the last minutes, second by second.

use freshet_wire::LimitMoment;
use leptos::html::Canvas;
use leptos::prelude::*;

use super::super::bind::{Flag, Text, say};
use super::super::chart::palette::Palette;
use super::super::chart::scale::{TimeScale, age_label, time_step_us};
use super::super::chart::surface::{FONT, Surface};
use super::super::frame::{on_frame, put};
use super::super::panel::{Empty, Rows, picture, tools};
use super::super::{Ui, format};
use super::words::{KEPT_S, keep};
use crate::route::View;

const LEFT: f64 = 46.0;

pub fn history(ui: Ui) -> AnyView {
    let canvas = NodeRef::<Canvas>::new();
    let (as_table, rows) = (Flag::new(false), Rows::default());
    let empty = Empty {
        title: Text::default(),
        text: Text::default(),
    };
    let mut surface: Option<Surface> = None;
    let mut moments: Vec<LimitMoment> = Vec::new();
    on_frame(move |frame| {
        if ui.view() != View::Limits {
            return;
        }
        if frame.quarter
            && let Some(limits) = frame.limits
        {
            keep(&mut moments, &limits.history, frame.now_us);
        }
        if surface.is_none() {
            surface = canvas.get_untracked().and_then(Surface::new);
        }
        let Some(surface) = &mut surface else { return };
        let resized = surface.fit();
        if frame.second {
            let (title, text) = match (frame.limits, moments.is_empty()) {
                (None, _) => ("Loading", "The counters come with the topic limits."),
                (_, true) => (
                    "No request was counted",
                    "In the last minutes nobody asked for anything.",
                ),
                _ => ("", ""),
            };
            say(empty.title, &[title]);
            say(empty.text, &[text]);
            if as_table.get_untracked() {
                put(rows, seconds(&moments, frame.now_us));
            }
        }
        if !surface.is_empty() && (frame.quarter || frame.repaint || resized) {
            draw(surface, frame.palette, &moments, frame.shown_us);
        }
    });
    const LABEL: &str = "Requests allowed, limited and shed, second by second. The same is there as a table.";
    let layers = vec![
        view! { <canvas node_ref=canvas role="img" aria-label=LABEL></canvas> }.into_any(),
        empty.view(),
    ];
    view! {
        <section class="panel history" aria-label="Allowed against limited">
            <div class="head">
                <h2>"Allowed against limited"</h2>
                <span class="dim">"requests a second, of all clients"</span>
                <span class="end">
                    <span class="legend">
                        <span class="allowed">"allowed"</span>
                        <span class="limited">"limited (429)"</span>
                        <span class="shed">"shed (503)"</span>
                    </span>
                    {tools("Allowed against limited", as_table)}
                </span>
            </div>
            {picture(layers, as_table, "Allowed and limited, second by second, the newest first", &["second", "allowed", "limited", "near", "shed", "denied"], rows)}
        </section>
    }
    .into_any()
}

fn seconds(moments: &[LimitMoment], now_us: f64) -> Vec<Vec<String>> {
    let row = |moment: &LimitMoment| {
        let counts = &moment.counts;
        let mut row = vec![[&*format::ago(now_us - moment.at_us as f64), " ago"].concat()];
        row.extend([counts.allowed, counts.limited, counts.near, counts.shed, counts.denied].map(format::count));
        row
    };
    moments.iter().rev().take(60).map(row).collect()
}

/// The round number at or above: 1, 2 or 5 times a power of ten.
pub(super) fn round_up(most: f64) -> f64 {
    let (mut top, mut factors) = (10.0, [2.0, 2.5, 2.0].into_iter().cycle());
    while top < most
        && let Some(factor) = factors.next()
    {
        top *= factor;
    }
    top
}

fn draw(surface: &Surface, palette: &Palette, moments: &[LimitMoment], now_us: f64) {
    let pen = &surface.pen;
    surface.clear();
    let (top, bottom) = (8.0, surface.height - 22.0);
    let time = TimeScale {
        now_us,
        span_us: KEPT_S as f64 * 1e6,
        left: LEFT,
        right: surface.width - 8.0,
    };
    let asked = |moment: &LimitMoment| (moment.counts.allowed + moment.counts.limited + moment.counts.shed) as f64;
    let most = round_up(moments.iter().map(asked).fold(0.0, f64::max));
    let y = |count: f64| bottom - count / most * (bottom - top);
    pen.set_font(FONT);
    pen.set_line_width(1.0);
    pen.set_stroke_style(&palette.rule);
    for count in [0.0, most / 2.0, most] {
        surface.line(LEFT, surface.crisp(y(count)), time.right, surface.crisp(y(count)));
        surface.text(
            &format::count(count as u64),
            LEFT - 8.0,
            y(count) + 4.0,
            "right",
            &palette.faint,
        );
    }
    let step_us = time_step_us(time.span_us, (surface.width / 90.0).floor());
    let mut age_us = 0.0;
    while age_us <= time.span_us {
        let align = if age_us == 0.0 { "right" } else { "center" };
        let x = time.x(now_us - age_us).max(LEFT + 10.0);
        surface.text(&age_label(age_us), x, surface.height - 5.0, align, &palette.faint);
        age_us += step_us;
    }
    let width = (1e6 / time.us_per_px() - 1.0).max(1.0);
    for moment in moments {
        let x = time.x(moment.at_us as f64) - width;
        if x < LEFT || x > time.right {
            continue;
        }
        let counts = &moment.counts;
        let mut from = 0.0;
        for (count, colour) in [(counts.allowed, &palette.dim), (counts.limited, &palette.lost)] {
            if count > 0 {
                let to = from + count as f64;
                // A single one among thousands must still be seen.
                let height = (y(from) - y(to)).max(2.0);
                pen.set_fill_style(colour);
                pen.fill_rect(x, y(from) - height, width, height);
                from = to;
            }
        }
        if counts.shed > 0 {
            let height = (y(from) - y(from + counts.shed as f64)).max(3.0);
            pen.set_stroke_style(&palette.lost);
            pen.stroke_rect(x, y(from) - height, width, height);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        let ends = [0.0, 10.0, 11.0, 21.0, 99.0, 101.0, 4_000.0].map(round_up);
        assert_eq!(ends, [10.0, 10.0, 20.0, 50.0, 100.0, 200.0, 5_000.0]);
    }
}
