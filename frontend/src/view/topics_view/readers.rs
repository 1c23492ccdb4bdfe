//! Who reads, and who lags behind: every reader of the server, as it counts them.

use freshet_wire::{LaneKind, Reader};
use leptos::prelude::*;

use super::super::bind::{Class, Text, class, live, say};
use super::super::frame::{is_live, on_frame, put};
use super::super::panel::Rows;
use super::super::{Ui, format};
use crate::route::View;

/// Readers that have a row: those that lag most, then those that missed most.
const MOST: usize = 8;

pub fn readers(ui: Ui) -> AnyView {
    let (rows, head) = (Rows::default(), Text::default());
    let look = Class::new("panel readers");
    on_frame(move |frame| {
        let Some(deliveries) = frame.deliveries.filter(|_| frame.second && ui.view() == View::Topics) else {
            return;
        };
        let model = frame.model;
        let live = is_live(&model.lane(ui.feed()).status);
        put(look, if live { "panel readers" } else { "panel readers stale" });
        let own = [&model.poll.reader, &model.stream.reader];
        let mut readers: Vec<&Reader> = deliveries.readers.iter().filter(|reader| reader.active).collect();
        readers.sort_by_key(|reader| std::cmp::Reverse((reader.queue_events, reader.missed, reader.events)));
        let more = match readers.len().saturating_sub(MOST) {
            0 => String::new(),
            more => [", ", &*format::count(more as u64), " more than here"].concat(),
        };
        say(head, &[&*format::count(readers.len() as u64), &more]);
        let row = |reader: &&Reader| {
            let is_own = own.into_iter().any(|name| reader.id.starts_with(name.as_str()));
            vec![
                [&*reader.id, if is_own { " (this page)" } else { "" }].concat(),
                lag(reader),
                dropped(reader),
            ]
        };
        let new: Vec<_> = readers.iter().take(MOST).map(row).collect();
        put(rows, new);
    });
    let cells = |cells: Vec<String>| {
        let mut cells = cells.into_iter();
        let head = cells.next().unwrap_or_default();
        let rest: Vec<_> = cells.map(|cell| view! { <td>{cell}</td> }).collect();
        view! { <tr><th scope="row">{head}</th>{rest}</tr> }
    };
    view! {
        <section class=class(look) aria-label="Readers">
            <div class="head"><h2>"Readers"</h2><span class="dim">{live(head)}</span></div>
            <table>
                <thead><tr>
                    <th scope="col">"reader"</th>
                    <th scope="col" title="Events of a log that wait for it now, and their bytes">"lag"</th>
                    <th scope="col" title="Events that it was told are lost to it; their number is not always known">"missed"</th>
                </tr></thead>
                <tbody>{move || rows.get().into_iter().map(cells).collect::<Vec<_>>()}</tbody>
            </table>
        </section>
    }
    .into_any()
}

fn lag(reader: &Reader) -> String {
    match (reader.lane, reader.queue_events) {
        (LaneKind::Poll, _) => String::from("polls"),
        (LaneKind::Stream, 0) => String::from("none"),
        (LaneKind::Stream, events) => [
            &*format::count(events),
            " · ",
            &format::bytes(reader.queue_bytes as f64),
        ]
        .concat(),
    }
}

fn dropped(reader: &Reader) -> String {
    match (reader.missed, reader.unknown_gaps) {
        (missed, 0) => format::count(missed),
        (0, _) => String::from("unknown"),
        (missed, _) => ["≥", &*format::count(missed)].concat(),
    }
}
