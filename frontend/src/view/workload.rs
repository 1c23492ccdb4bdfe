//! Controls of the synthetic workload: events that are made up, to see what the lanes do with them.

use freshet_wire::{SettingsVersion, Shape, Workload};
use leptos::html::{Input, Select};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::bind::{Flag, Text, click, is, live, say, text};
use super::frame::{on_frame, put};
use super::{Ui, format};
use crate::api;

const TOPIC: &str = "workload";
const SHAPES: [(Shape, &str, &str); 3] = [
    (Shape::Steady, "steady", "steady"),
    (Shape::Poisson, "poisson", "Poisson"),
    (Shape::Bursts, "bursts", "bursts"),
];

/// The boxes of the form.
#[derive(Clone, Copy)]
struct Form {
    rate: NodeRef<Input>,
    shape: NodeRef<Select>,
    burst: NodeRef<Input>,
    payload: NodeRef<Input>,
}

impl Form {
    /// Shows what is set on the server; only until the reader has touched it.
    fn fill(&self, workload: &Workload) {
        let set = |input: NodeRef<Input>, value: f64| {
            if let Some(input) = input.get_untracked() {
                input.set_value(&format::plain(value));
            }
        };
        // An empty box would say nothing: off is shown as the rate that one would try first.
        set(
            self.rate,
            if workload.rate_hz > 0.0 {
                workload.rate_hz
            } else {
                1000.0
            },
        );
        set(self.burst, workload.burst_events.into());
        set(self.payload, workload.payload_bytes.into());
        if let Some(select) = self.shape.get_untracked() {
            select.set_value(
                SHAPES
                    .iter()
                    .find(|(shape, ..)| *shape == workload.shape)
                    .map_or("steady", |it| it.1),
            );
        }
    }

    /// As a JSON merge patch; `None` where a box holds no number.
    fn patch(&self) -> Option<String> {
        let number = |input: NodeRef<Input>| {
            let value = input.get_untracked()?.value_as_number();
            value.is_finite().then(|| format::plain(value))
        };
        let shape = self.shape.get_untracked()?.value();
        Some(
            [
                r#"{"workload":{"rate_hz":"#,
                &number(self.rate)?,
                r#","shape":""#,
                &shape,
                r#"","burst_events":"#,
                &number(self.burst)?,
                r#","payload_bytes":"#,
                &number(self.payload)?,
                "}}",
            ]
            .concat(),
        )
    }
}

pub fn workload(ui: Ui) -> AnyView {
    let form = Form {
        rate: NodeRef::new(),
        shape: NodeRef::new(),
        burst: NodeRef::new(),
        payload: NodeRef::new(),
    };
    let version = StoredValue::new(0u64);
    let touched = StoredValue::new(false);
    let off = Flag::new(true);
    let state = text("waiting for the settings");
    let go = text("Start and show in the race");
    let answer = Text::default();
    let show = move |workload: &Workload| {
        let stands = workload.rate_hz <= 0.0;
        put(off, stands);
        say(go, &[if stands { "Start and show in the race" } else { "Change" }]);
        put(state, said(workload));
    };
    let mut read_us = 0.0;
    on_frame(move |frame| {
        let newest = frame.model.lane(ui.feed()).newest("settings");
        let Some(newest) = newest.filter(|newest| frame.quarter && newest.received_us != read_us) else {
            return;
        };
        read_us = newest.received_us;
        let Ok(settings) = serde_json::from_str::<SettingsVersion>(&newest.data) else {
            return;
        };
        version.set_value(settings.version);
        let workload = settings.settings.workload;
        show(&workload);
        if !touched.get_value() {
            form.fill(&workload);
        }
    });
    let send = move |patch: Option<String>| {
        let Some(patch) = patch else {
            return say(answer, &["Each box needs a number."]);
        };
        say(answer, &[]);
        spawn_local(async move {
            match api::patch_settings(patch, version.get_value()).await {
                Ok(settings) => {
                    version.set_value(settings.version);
                    show(&settings.settings.workload);
                }
                Err(failure) => put(answer, failure.why),
            }
        });
    };
    let start = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        // What is started wants to be seen.
        let handle = ui.handle();
        let mut topics = handle.model().topics.clone();
        if !topics.iter().any(|topic| topic == TOPIC) {
            topics.push(TOPIC.to_owned());
            handle.set_topics(topics);
        }
        send(form.patch());
    };
    let stop = click(move || send(Some(String::from(r#"{"workload":{"rate_hz":0}}"#))));
    let shapes: Vec<_> = SHAPES
        .iter()
        .map(|(_, value, text)| view! { <option value=*value>{*text}</option> })
        .collect();
    let touch = move |_| touched.set_value(true);
    view! {
        <section class="panel third workload" aria-label="Synthetic workload">
            <div class="head">
                <h2>"Workload"</h2>
                <span class="dim">{live(state)}</span>
                <span class="end"><span class="label">"synthetic"</span></span>
            </div>
            <form class="form" on:submit=start on:input=touch>
                <label for="w-rate">"events per second"</label>
                <input id="w-rate" type="number" node_ref=form.rate min="0" max="10000" step="any" required/>
                <label for="w-shape">"spread over time"</label>
                <select id="w-shape" node_ref=form.shape>{shapes}</select>
                <label for="w-burst">"events in a burst"</label>
                <input id="w-burst" type="number" node_ref=form.burst min="1" step="1" required/>
                <label for="w-payload">"bytes of each event's data"</label>
                <input id="w-payload" type="number" node_ref=form.payload min="32" max="16384" step="1" required/>
                <span class="actions">
                    <button class="go" type="submit">{live(go)}</button>
                    <button type="button" on:click=stop disabled=is(off)>"Stop"</button>
                </span>
            </form>
            <p class="dim why">
                "Made-up events on a schedule of their own: each one's lateness counts from the moment it was meant to happen."
            </p>
            <p class="state lost" role="alert">{live(answer)}</p>
        </section>
    }
    .into_any()
}

fn said(workload: &Workload) -> String {
    if workload.rate_hz <= 0.0 {
        return String::from("off");
    }
    let shape = SHAPES
        .iter()
        .find(|(shape, ..)| *shape == workload.shape)
        .map_or("", |it| it.2);
    let payload = format::bytes(workload.payload_bytes.into());
    [
        "running: ",
        &*format::rate(workload.rate_hz),
        ", ",
        shape,
        ", ",
        &payload,
    ]
    .concat()
}
