//! "What it costs": differences of counters since something was changed, over a minute at most; the server's where it alone can know.

mod verdict;
mod window;

use leptos::prelude::*;

use self::window::{Cost, Window};
use super::bind::{Class, Text, class, live, say, text};
use super::format;
use super::frame::{is_live, on_frame, put};
use super::panel::lanes_table;
use crate::lane::Status;

/// Each row's name, and what it means.
const ROWS: [(&str, &str); 7] = [
    (
        "requests · frames",
        "HTTP requests of polling, WebSocket messages of streaming",
    ),
    (
        "bytes per event",
        "At the server's socket, both ways, headers and frames included; without the topics that feed the page's own cards",
    ),
    ("empty polls", "Polls that brought no event of a log"),
    (
        "server CPU per event",
        "CPU time of the server's threads over this lane's connections, the page's own cards included",
    ),
    (
        "missed · duplicate",
        "Events that were reported as lost, whose number is not always known, and events that came twice, or that the engine holds twice, and were dropped",
    ),
    (
        "superseded",
        "Values of state topics that a newer one replaced: nothing that counts was lost",
    ),
    (
        "rate-limited",
        "Requests that were refused because the quota was spent (429), since the page was loaded",
    ),
];

/// The row of what was missed.
const MISSED: usize = 4;
/// The row of what was rate-limited: it counts since the page was loaded, as each refusal begins a new window.
const LIMITED: usize = 6;

/// Differences over less are noise.
const SETTLED_US: f64 = 3e6;

/// A page that was seen paints more often than that.
const UNSEEN_US: f64 = 2e6;

pub fn costs() -> AnyView {
    let cells = ROWS.map(|_| [(text("–"), Class::new("")), (text("–"), Class::new(""))]);
    let span = Text::default();
    let verdict = verdict::Sentence::new();
    let mut window = Window::default();
    let (mut next_us, mut looked_us) = (0.0, f64::INFINITY);
    let mut told = false;
    on_frame(move |frame| {
        let now_us = frame.now_us;
        let interrupted = frame.model.hidden || now_us - looked_us > UNSEEN_US;
        looked_us = now_us;
        // Also while the picture is paused, so that the window has no hole.
        // Half a tick early is in time: the other figures are written in that frame.
        if !interrupted && (!frame.tick || now_us < next_us - 125e3 && next_us - now_us < 2e6) {
            return;
        }
        next_us = now_us + 1e6;
        window.take(frame.model, frame.deliveries, now_us, interrupted);
        if frame.model.paused {
            return;
        }
        let costs = [window.cost(0), window.cost(1)];
        let statuses = [&frame.model.poll.status, &frame.model.stream.status];
        let settled = window.span_us() >= SETTLED_US;
        let bound_us = frame.model.offset().map(|offset| offset.bound_us);
        let both = statuses.into_iter().all(is_live);
        verdict.put(&window, &costs, bound_us.filter(|_| both));
        match statuses.into_iter().any(is_live) {
            true if settled => say(span, &["last ", &seconds(window.span_us())]),
            true => say(span, &["measured anew"]),
            false if told => say(span, &["from before"]),
            false => say(span, &["not measured yet"]),
        }
        let limited = [&frame.model.poll, &frame.model.stream].map(|lane| lane.counters.limited);
        for (lane, cost) in costs.iter().enumerate() {
            put(cells[LIMITED][lane].0, format::count(limited[lane]));
            put(cells[LIMITED][lane].1, if limited[lane] > 0 { "lost" } else { "" });
            let values = match statuses[lane] {
                Status::Off => [const { None }; 6],
                status if is_live(status) && settled => {
                    told = true;
                    values(cost)
                }
                // The figures of before stay, greyed.
                _ => {
                    cells[..LIMITED].iter().for_each(|row| put(row[lane].1, "none"));
                    continue;
                }
            };
            for (row, value) in cells.iter().zip(values) {
                put(row[lane].0, value.unwrap_or_else(|| String::from("–")));
                put(row[lane].1, "");
            }
            if cost.missed + cost.unknown_gaps > 0 && *statuses[lane] != Status::Off {
                put(cells[MISSED][lane].1, "lost");
            }
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
    let missed = match (cost.missed, cost.unknown_gaps) {
        (0, 1..) => String::from("unknown"),
        (missed, 1..) => ["≥", &*format::count(missed)].concat(),
        (missed, 0) => format::count(missed),
    };
    [
        cost.exchanges.map(format::count),
        cost.bytes_per_event.map(format::bytes),
        cost.empty_share.map(format::percent),
        cost.cpu_us_per_event.map(format::micros),
        cost.measured
            .then(|| [&*missed, " · ", &format::count(cost.duplicates)].concat()),
        cost.measured.then(|| format::count(cost.superseded)),
    ]
}

/// The length of a window: "40 s", also beyond a minute, because it is one number that grows.
fn seconds(us: f64) -> String {
    [&*format::fixed(us / 1e6, 0), "\u{a0}s"].concat()
}
