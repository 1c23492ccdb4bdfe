//! Which topics the race shows.

use std::rc::Rc;

use freshet_wire::TopicKind;
use leptos::ev;
use leptos::html::Details;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use super::super::bind::{Flag, Text, if_empty, is, live, say, text};
use super::super::frame::{Frame, on_frame, put};
use super::super::{Ui, format};

/// Topics that are offered. A service may have more; then the rest is chosen by the address of the page.
const OFFERED: usize = 40;

/// A row of the menu; empty as long as there is no such topic.
#[derive(Clone, Copy)]
struct Row {
    name: Text,
    rate: Text,
    real: Flag,
    chosen: Flag,
}

pub fn topics(ui: Ui) -> AnyView {
    let row = |_| Row {
        name: Text::default(),
        rate: Text::default(),
        real: Flag::new(true),
        chosen: Flag::new(false),
    };
    let rows: Rc<[Row]> = (0..OFFERED).map(row).collect();
    let label = text("topics");
    let (more, on_rows) = (Text::default(), Rc::clone(&rows));
    on_frame(move |frame| {
        if frame.second {
            let chosen = frame.model.topics.len();
            say(
                label,
                &[
                    &*format::count(chosen as u64),
                    if chosen == 1 { " topic" } else { " topics" },
                ],
            );
            let left_out = offer(frame, &on_rows);
            put(
                more,
                if left_out > 0 {
                    [&*format::count(left_out), " more"].concat()
                } else {
                    String::new()
                },
            );
        }
    });
    let menu = NodeRef::<Details>::new();
    close_by_itself(menu);
    view! {
        <details class="menu" node_ref=menu>
            <summary class="button">{live(label)}<span class="unseen">" in the race"</span></summary>
            <ul>
                {rows.iter().map(|row| row.view(ui)).collect::<Vec<_>>()}
                <li class="dim" hidden=if_empty(more)>{live(more)}</li>
            </ul>
        </details>
    }
    .into_any()
}

/// A press elsewhere closes the menu, and so does a focus that goes elsewhere, which the menu might cover; and so does Escape,
/// which gives the focus back to where it was opened.
fn close_by_itself(menu: NodeRef<Details>) {
    let opened = move || menu.get_untracked().filter(|menu| menu.has_attribute("open"));
    let elsewhere = move |target: Option<web_sys::EventTarget>| {
        let target = target.and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        if let Some(menu) = opened().filter(|menu| !menu.contains(target.as_ref())) {
            let _ = menu.remove_attribute("open");
        }
    };
    let pressed = window_event_listener(ev::pointerdown, move |event| elsewhere(event.target()));
    let focused = window_event_listener(ev::focusin, move |event| elsewhere(event.target()));
    let escaped = window_event_listener(ev::keydown, move |event| {
        let Some(menu) = opened().filter(|_| event.key() == "Escape") else {
            return;
        };
        let _ = menu.remove_attribute("open");
        let summary = menu.query_selector("summary").ok().flatten();
        if let Some(summary) = summary.and_then(|summary| summary.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = summary.focus();
        }
    });
    on_cleanup(move || {
        pressed.remove();
        focused.remove();
        escaped.remove();
    });
}

/// Fills the rows; how many topics found none.
fn offer(frame: &Frame<'_>, rows: &[Row]) -> u64 {
    let chosen = &frame.model.topics;
    let known = frame.deliveries.map_or(&[][..], |deliveries| &deliveries.topics);
    let logs = known.iter().filter(|topic| topic.kind == TopicKind::Log);
    let logs = logs.map(|topic| (&topic.name, format::rate(topic.events_per_s), topic.synthetic));
    // A topic that was chosen and is gone can still be taken off.
    let gone = chosen
        .iter()
        .filter(|name| !known.iter().any(|topic| topic.name == **name));
    let mut topics = logs.chain(gone.map(|name| (name, String::new(), false)));
    for row in rows {
        match topics.next() {
            Some((name, rate, synthetic)) => {
                put(row.chosen, chosen.contains(name));
                put(row.real, !synthetic);
                put(row.rate, rate);
                put(row.name, name.clone());
            }
            None => put(row.name, String::new()),
        }
    }
    topics.count() as u64
}

impl Row {
    fn view(self, ui: Ui) -> AnyView {
        let change = move |event| {
            let handle = ui.handle();
            let name = self.name.get_untracked();
            let mut topics = handle.model().topics.clone();
            topics.retain(|topic| *topic != name);
            let chosen = event_target_checked(&event);
            if chosen {
                topics.push(name);
            }
            put(self.chosen, chosen);
            handle.set_topics(topics);
        };
        view! {
            <li hidden=if_empty(self.name)><label>
                <input type="checkbox" on:change=change prop:checked=is(self.chosen)/>
                <span>{live(self.name)}</span>
                <span class="label" hidden=is(self.real)>"synthetic"</span>
                <span class="dim rate">{live(self.rate)}</span>
            </label></li>
        }
        .into_any()
    }
}
