//! "What it costs": differences of counters over the last minute, the server's where it alone can know.

mod verdict;
mod window;

use leptos::prelude::*;

use self::window::{Cost, Window};
use super::bind::{Class, Text, class, live, say, text};
use super::format;
use super::frame::{on_frame, put};
use super::panel::lanes_table;

/// Each row's name, and what it means.
const ROWS: [(&str, &str); 6] = [
    (
        "requests · frames",
        "HTTP requests of polling, WebSocket messages of streaming",
    ),
    (
        "bytes per event",
        "At the server's socket, both ways, headers and frames included",
    ),
    ("empty polls", "Polls that brought no event"),
    (
        "server CPU per event",
        "CPU time of the server's threads over this lane's connections",
    ),
    (
        "missed · duplicate",
        "Events that were reported as gaps, and events that came twice and were dropped",
    ),
    (
        "superseded",
        "Values of state topics that a newer one replaced: nothing that counts was lost",
    ),
];

pub fn costs() -> AnyView {
    let cells = ROWS.map(|_| [(text("–"), Class::new("")), (text("–"), Class::new(""))]);
    let span = Text::default();
    let verdict = verdict::Sentence::new();
    let mut window = Window::default();
    on_frame(move |frame| {
        if !frame.second {
            return;
        }
        window.take(frame.model, frame.deliveries, frame.now_us);
        let costs = [window.cost(0), window.cost(1)];
        say(span, &["last ", &format::ago(window.span_us() + 0.5e6)]);
        verdict.put(frame.model, &costs, window.span_us(), frame.now_us);
        for (lane, cost) in costs.iter().enumerate() {
            for (row, value) in cells.iter().zip(values(cost)) {
                put(row[lane].0, value.unwrap_or_else(|| String::from("–")));
            }
            put(
                cells[4][lane].1,
                if cost.missed + cost.unknown_gaps > 0 {
                    "lost"
                } else {
                    ""
                },
            );
        }
    });
    let row = |((name, title), [poll, stream]): ((&'static str, &'static str), [(Text, Class); 2])| {
        view! {
            <tr>
                <th scope="row" title=title>{name}</th>
                <td class=class(poll.1)>{live(poll.0)}</td>
                <td class=class(stream.1)>{live(stream.0)}</td>
            </tr>
        }
    };
    view! {
        <section class="panel costs" aria-label="What it costs">
            <div class="head"><h2>"What it costs"</h2><span class="dim">{live(span)}</span></div>
            {lanes_table(ROWS.into_iter().zip(cells).map(|it| row(it).into_any()).collect())}
            {verdict.view()}
        </section>
    }
    .into_any()
}

/// In the order of [`ROWS`]; `None`: not measured.
fn values(cost: &Cost) -> [Option<String>; 6] {
    let unknown = if cost.unknown_gaps > 0 { " + ?" } else { "" };
    [
        cost.exchanges.map(format::count),
        cost.bytes_per_event.map(format::bytes),
        cost.empty_share.map(format::percent),
        cost.cpu_us_per_event.map(format::micros),
        Some(
            [
                &*format::count(cost.missed),
                unknown,
                " · ",
                &format::count(cost.duplicates),
            ]
            .concat(),
        ),
        Some(format::count(cost.superseded)),
    ]
}
