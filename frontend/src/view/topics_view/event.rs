//! One event, opened: its JSON in lines, what is said of it, and its way to this page.

use freshet_wire::Event;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::super::bind::{Flag, Text, click, if_empty, is, live, say, text};
use super::super::format;
use super::super::frame::put;
use super::{Shared, rows};
use crate::api;
use crate::feed::datetime::in_full;
use crate::feed::journey::Times;
use crate::feed::json::pretty;
use crate::feed::rows::Row;
use crate::lane::Batch;

/// Of a longer event's data the beginning is shown.
const MOST_BYTES: usize = 256 << 10;

const HEADERS: [&str; 9] = [
    "id",
    "type",
    "topic",
    "partition",
    "offset",
    "epoch",
    "host",
    "token",
    "size",
];

/// Its stages, and the whole.
const STAGES: [(&str, &str); 5] = [
    ("produced", "When it happened, by the clock of who produced it"),
    ("ingested", "The server's tail had it"),
    ("sent", "The message that brought it was put together"),
    (
        "received",
        "This page had it; this page's clock, moved onto the server's",
    ),
    (
        "delivery latency",
        "From produced to received, or from ingested where another machine's clock says when it was produced",
    ),
];

#[derive(Clone, Copy)]
struct Panel {
    title: Text,
    headers: [Text; HEADERS.len()],
    stages: [(Text, Text); STAGES.len()],
    note: Text,
    json: Text,
    more: Text,
    /// Its text was let go.
    gone: Text,
    closed: Flag,
}

pub(super) fn event(shared: Shared) -> AnyView {
    let panel = Panel {
        title: text("Event"),
        headers: HEADERS.map(|_| Text::default()),
        stages: STAGES.map(|_| Default::default()),
        note: Text::default(),
        json: Text::default(),
        more: Text::default(),
        gone: Text::default(),
        closed: Flag::new(true),
    };
    let again = StoredValue::new(None::<(String, u32, u64)>);
    let ui = shared.ui;
    Effect::new(move |_| {
        let handle = ui.handle();
        let feed = handle.feed();
        let row = shared.opened.get().and_then(|number| feed.rows.get(number));
        put(panel.closed, row.is_none());
        match row {
            Some(Row::Event(item)) => {
                let bound_us = handle.model().offset().map(|offset| offset.bound_us);
                panel.journey(&item.times, bound_us);
                match item.whole() {
                    Some(text) => panel.show(text),
                    None => {
                        panel.forget(["Event ", &*format::count(item.offset)].concat());
                        say(panel.json, &[item.preview(), "…"]);
                        say(
                            panel.gone,
                            &["Its text was let go: it keeps a bounded number of bytes."],
                        );
                        let topic = feed.topic.clone().unwrap_or_default();
                        again.set_value(Some((topic, item.partition, item.offset)));
                    }
                }
            }
            Some(Row::Gap(gap)) => {
                panel.forget(["Gap from offset ", &*format::count(gap.from_offset)].concat());
                put(panel.json, rows::words(gap.count, Some(gap.reason)));
            }
            Some(Row::Hole(from, count)) => {
                panel.forget(["Gap from offset ", &*format::count(*from)].concat());
                put(panel.json, rows::words(*count, None));
            }
            None => {}
        }
    });
    let close = click(move || shared.opened.set(None));
    let read_again = click(move || {
        let Some((topic, partition, offset)) = again.get_value() else {
            return;
        };
        say(panel.gone, &["Reading it from the log again …"]);
        spawn_local(async move {
            let reader = [&*ui.handle().model().stream.reader, "-feed"].concat();
            let page = api::event(&topic, partition, offset, &reader).await;
            // Another one may be opened by now.
            if again.get_value() != Some((topic, partition, offset)) {
                return;
            }
            let page = match page {
                Ok(page) => page,
                Err(failure) => return put(panel.gone, failure.why),
            };
            let batch = Batch::parse(&page);
            let events = batch.map(|batch| batch.events).unwrap_or_default();
            match events
                .iter()
                .find(|(_, event)| (event.partition, event.offset) == (partition, offset))
            {
                Some((text, _)) => panel.show(text),
                None => say(panel.gone, &["The log does not keep it any more."]),
            }
        });
    });
    let headers: Vec<_> = HEADERS
        .into_iter()
        .zip(panel.headers)
        .map(|(name, value)| view! { <div hidden=if_empty(value)><dt>{name}</dt><dd>{live(value)}</dd></div> })
        .collect();
    let stages: Vec<_> = STAGES
        .into_iter()
        .zip(panel.stages)
        .map(|((name, title), (at, took))| {
            view! {
                <tr hidden=if_empty(took)>
                    <th scope="row" title=title>{name}</th>
                    <td class="mono">{live(at)}</td>
                    <td>{live(took)}</td>
                </tr>
            }
        })
        .collect();
    view! {
        <section class="panel event" aria-label="Event" hidden=is(panel.closed)>
            <div class="head">
                <h2>{live(panel.title)}</h2>
                <span class="end"><button on:click=close>"Close"</button></span>
            </div>
            <div class="parts">
                <div>
                    <dl>{headers}</dl>
                    <h3>"Its way here"</h3>
                    <table class="way"><tbody>{stages}</tbody></table>
                    <p class="dim">{live(panel.note)}</p>
                </div>
                <div>
                    <p class="dim" hidden=if_empty(panel.gone)>
                        {live(panel.gone)}" "<button on:click=read_again>"Read it again"</button>
                    </p>
                    <pre tabindex="0" role="region" aria-label="Its data">{live(panel.json)}</pre>
                    <p class="dim" hidden=if_empty(panel.more)>{live(panel.more)}</p>
                </div>
            </div>
        </section>
    }
    .into_any()
}

impl Panel {
    fn forget(&self, title: String) {
        put(self.title, title);
        self.headers.iter().for_each(|header| put(*header, String::new()));
        for text in [self.more, self.gone, self.note] {
            put(text, String::new());
        }
    }

    /// The event in full.
    fn show(&self, text: &str) {
        let Ok(event) = serde_json::from_str::<Event<'_>>(text) else {
            return;
        };
        let note = self.note.get_untracked();
        self.forget(["Event ", &*format::count(event.offset)].concat());
        put(self.note, note);
        let token = event.token.as_ref().map(|token| {
            let number = format::plain(token.number as f64);
            [&*token.scope, " · ", &number].concat()
        });
        let values = [
            event.id.to_string(),
            event.kind.to_string(),
            event.topic.to_string(),
            format::count(event.partition.into()),
            format::count(event.offset),
            event.epoch.to_string(),
            event.host.as_deref().unwrap_or_default().to_owned(),
            token.unwrap_or_default(),
            format::bytes(text.len() as f64),
        ];
        for (header, value) in self.headers.iter().zip(values) {
            put(*header, value);
        }
        let (json, cut) = pretty(event.data.get(), MOST_BYTES);
        put(self.json, json);
        if cut {
            let whole = format::bytes(event.data.get().len() as f64);
            say(self.more, &["The beginning, of ", &whole, ": an export has all of it."]);
        }
    }

    fn journey(&self, times: &Times, bound_us: Option<f64>) {
        let whole = times.latency_us();
        for (cell, stage) in self.stages.iter().zip(times.stages()) {
            put(cell.0, in_full(stage.at_us));
            let took = match stage.took_us {
                Some(us) => ["+ ", &*format::stage(us)].concat(),
                None if stage.name == "produced" => String::from("·"),
                None => String::from("another clock"),
            };
            put(cell.1, took.replace("+ \u{2212}", "\u{2212} "));
        }
        put(self.stages[4].1, format::stage(whole));
        let clocks = match bound_us {
            Some(bound_us) => [
                "Sent and received are told by two clocks: ±",
                &*format::latency_text(bound_us),
                ".",
            ]
            .concat(),
            None => {
                String::from("This page does not know the server's clock yet: what it received when is by its own.")
            }
        };
        let history = if times.is_history() {
            " It was kept until the feed asked for it, so its latency is not that of a delivery."
        } else {
            ""
        };
        say(self.note, &[&clocks, history]);
    }
}
