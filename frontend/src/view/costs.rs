//! "What it costs": differences of counters over the last minute, the server's where it alone can know.

mod verdict;
mod window;

use leptos::prelude::*;

use self::window::{Cost, Window};
use super::format;
use super::frame::{on_frame, put};
use super::panel::live;

#[derive(Debug, Clone, PartialEq)]
struct Row {
    label: &'static str,
    title: &'static str,
    cells: [String; 2],
    lost: [bool; 2],
}

pub fn costs() -> impl IntoView {
    let rows: RwSignal<Vec<Row>> = RwSignal::new(rows(&[Cost::default(), Cost::default()]));
    let span = RwSignal::new(String::new());
    let sentence: RwSignal<Vec<(bool, String)>> = RwSignal::default();
    let mut window = Window::default();
    on_frame(move |frame| {
        if frame.second {
            window.add(frame.model, frame.deliveries, frame.now_us);
            let costs = [window.cost(0), window.cost(1)];
            put(span, ["last ", &format::ago(window.span_us() + 0.5e6)].concat());
            put(
                sentence,
                verdict::sentence(frame.model, &costs, window.span_us(), frame.now_us),
            );
            put(rows, self::rows(&costs));
        }
    });
    let row = |row: Row| {
        let [poll, stream] = row.cells;
        let [poll_lost, stream_lost] = row.lost;
        view! {
            <tr>
                <th scope="row" title=row.title>{row.label}</th>
                <td class:lost=poll_lost>{poll}</td>
                <td class:lost=stream_lost>{stream}</td>
            </tr>
        }
    };
    let part = |(strong, text): (bool, String)| {
        if strong {
            view! { <b>{text}</b> }.into_any()
        } else {
            view! { <span>{text}</span> }.into_any()
        }
    };
    view! {
        <section class="panel costs" aria-label="What it costs">
            <div class="head"><h2>"What it costs"</h2><span class="dim">{live(span)}</span></div>
            <table>
                <thead><tr>
                    <td></td>
                    <th scope="col" class="poll">"polling"</th>
                    <th scope="col" class="stream">"streaming"</th>
                </tr></thead>
                <tbody>{move || rows.get().into_iter().map(row).collect::<Vec<_>>()}</tbody>
            </table>
            <p class="verdict" hidden=move || sentence.with(Vec::is_empty)>
                {move || sentence.get().into_iter().map(part).collect::<Vec<_>>()}
            </p>
        </section>
    }
    .into_any()
}

fn rows(costs: &[Cost; 2]) -> Vec<Row> {
    let row = |label, title, cell: fn(&Cost) -> Option<String>| Row {
        label,
        title,
        cells: [&costs[0], &costs[1]].map(|cost| cell(cost).unwrap_or_else(|| String::from("–"))),
        lost: [false; 2],
    };
    let mut rows = vec![
        row(
            "requests · frames",
            "HTTP requests of polling, WebSocket messages of streaming",
            |cost| cost.exchanges.map(format::count),
        ),
        row(
            "bytes per event",
            "At the server's socket, both ways, headers and frames included",
            |cost| cost.bytes_per_event.map(format::bytes),
        ),
        row("empty polls", "Polls that brought no event", |cost| {
            cost.empty_share.map(format::percent)
        }),
        row(
            "server CPU per event",
            "CPU time of the server's threads over this lane's connections",
            |cost| cost.cpu_us_per_event.map(format::micros),
        ),
        row(
            "missed · duplicate",
            "Events that were reported as gaps, and events that came twice and were dropped",
            |cost| {
                let unknown = if cost.unknown_gaps > 0 { " + ?" } else { "" };
                Some(
                    [
                        &*format::count(cost.missed),
                        unknown,
                        " · ",
                        &format::count(cost.duplicates),
                    ]
                    .concat(),
                )
            },
        ),
        row(
            "superseded",
            "Values of state topics that a newer one replaced: nothing that counts was lost",
            |cost| Some(format::count(cost.superseded)),
        ),
    ];
    rows[4].lost = [&costs[0], &costs[1]].map(|cost| cost.missed + cost.unknown_gaps > 0);
    rows
}
