//! The timeline of leaderships: a line for each node, the gaps without a leader across them, and the same as a table.

use std::cell::RefCell;
use std::rc::Rc;

use freshet_wire::{Cluster, LeaderState, Span};
use leptos::prelude::*;

use super::super::Ui;
use super::super::bind::{Flag, Text, say};
use super::super::frame::{on_frame, put};
use super::super::leader::picture::{Picture, Window};
use super::super::leader::words::{self, News};
use super::super::panel::{Empty, Rows, picture, tools};
use super::super::point::{self, Line, Tip};
use super::super::topics_view::ahead_us;
use crate::feed::datetime::{Style, moment};
use crate::route::View;

/// What the reader can choose from, besides what fits.
const WINDOWS: [(&str, &str, f64); 4] = [
    ("60", "last minute", 60e6),
    ("300", "last 5 minutes", 300e6),
    ("900", "last 15 minutes", 900e6),
    ("3600", "last hour", 3_600e6),
];
/// Where what there is decides.
const FITS: Window = Window::Most(900e6);

pub fn timeline(ui: Ui) -> AnyView {
    let as_table = Flag::new(false);
    let rows = Rows::default();
    let tip = Tip::new();
    let empty = Empty {
        title: Text::default(),
        text: Text::default(),
    };
    let drawn = Rc::new(RefCell::new(Picture::lines(FITS)));
    let (on_pointer, on_choice) = (Rc::clone(&drawn), Rc::clone(&drawn));
    let node = drawn.borrow().node();
    let mut made = (0, 0);
    on_frame(move |frame| {
        if ui.view() != View::Leader {
            return;
        }
        let news = News::of(frame, ui);
        let cluster = news.cluster;
        let nothing = cluster.is_none_or(|cluster| cluster.timeline.is_empty());
        let words = [
            ("", ""),
            (
                "Nobody has led yet",
                "Each leadership that this process sees is drawn here, to scale.",
            ),
            (
                "Nothing is known yet",
                "The lane that feeds the cards has brought nothing of the cluster.",
            ),
        ];
        let (title, text) = words[usize::from(nothing) + usize::from(cluster.is_none())];
        say(empty.title, &[title]);
        say(empty.text, &[text]);
        if let (Some(cluster), Some(pointed)) = (cluster, drawn.borrow_mut().paint(frame, &news)) {
            match pointed.and_then(|it| Some((cluster.timeline.get(it.index)?, it))) {
                Some((span, it)) => {
                    let token = words::token_name(&cluster.election.name);
                    tip.show(what(span), lines(span, token, &news), it.x, 30.0, it.width);
                }
                None => tip.hide(),
            }
        }
        // Only what changes the table makes it anew.
        let key = cluster.map_or((0, 0), |cluster| {
            let newest = cluster.timeline.last().map_or(0, |span| span.from_us);
            (newest, cluster.timeline.len() + usize::from(news.fresh) * 1000)
        });
        if as_table.get_untracked() && key != made {
            made = key;
            let table = cluster.map(|cluster| table(cluster, &news));
            put(rows, table.unwrap_or_default());
        }
    });
    let tell = move |gesture| on_pointer.borrow_mut().tell(gesture);
    let choose = move |event| {
        let value = event_target_value(&event);
        let chosen = WINDOWS.into_iter().find(|window| window.0 == value);
        on_choice
            .borrow_mut()
            .set_window(chosen.map_or(FITS, |window| Window::Exactly(window.2)));
    };
    const LABEL: &str = "Who led when: a line for each node, a bar for each leadership, and the gaps in which nobody led, to scale. \
        Arrow keys go through them; the same is there as a table.";
    const HEADS: [&str; 5] = ["what", "token", "from", "until", "lasted"];
    let options: Vec<_> = WINDOWS
        .iter()
        .map(|(value, text, _)| view! { <option value=*value>{*text}</option> })
        .collect();
    let layers = vec![point::canvas(node, LABEL, Rc::new(tell)), empty.view(), tip.view()];
    view! {
        <section class="panel timeline" aria-label="Timeline of leaderships">
            <div class="head">
                <h2>"Leaderships"</h2>
                <span class="dim">"to scale, since this process started"</span>
                <span class="end">
                    <span class="legend">
                        <span class="leads">"leads"</span>
                        <span class="led">"led"</span>
                        <span class="gap">"no leader"</span>
                    </span>
                    <select aria-label="How much of the past is shown" on:change=choose>
                        <option value="fits">"as fits"</option>
                        {options}
                    </select>
                    {tools("The timeline", as_table)}
                </span>
            </div>
            {picture(layers, as_table, "Leaderships and the gaps between them, the newest first", &HEADS, rows)}
        </section>
    }
    .into_any()
}

/// "node-2 led", "no leader"
fn what(span: &Span) -> String {
    let lasts = span.until_us.is_none();
    match (span.state, &span.node) {
        (LeaderState::Led, Some(node)) => [&**node, if lasts { " leads" } else { " led" }].concat(),
        (LeaderState::Leaderless, _) => String::from("no leader"),
        _ => String::from("unknown"),
    }
}

fn lines(span: &Span, token: &'static str, news: &News<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(number) = span.token {
        lines.push((token, words::number(number), ""));
    }
    let at = |us: i64| moment(us, news.now_us as i64, Style::Local, ahead_us(us));
    lines.push(("from", at(span.from_us), ""));
    match span.until_us {
        Some(us) => lines.push(("until", at(us), "")),
        None => lines.push(("lasts", String::from(if news.fresh { "still" } else { "unknown" }), "")),
    }
    let lasted = span
        .duration_us
        .map_or(news.until_us() - span.from_us as f64, |us| us as f64);
    lines.push(("for", words::lasted(lasted), ""));
    lines
}

/// The newest first. What still lasts has no figure, which would be another one each moment.
fn table(cluster: &Cluster, news: &News<'_>) -> Vec<Vec<String>> {
    let at = |us: i64| moment(us, news.now_us as i64, Style::Local, ahead_us(us));
    let row = |span: &Span| {
        let open = if news.fresh { "lasts" } else { "unknown" };
        vec![
            what(span),
            span.token.map_or_else(|| String::from("–"), words::number),
            at(span.from_us),
            span.until_us.map_or_else(|| String::from(open), at),
            span.duration_us
                .map_or_else(|| String::from(open), |us| words::lasted(us as f64)),
        ]
    };
    cluster.timeline.iter().rev().map(row).collect()
}
