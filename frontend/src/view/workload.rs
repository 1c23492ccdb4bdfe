//! Controls of the synthetic workload: events that are made up, to see what the lanes do with them.

use freshet_wire::{SettingsVersion, Shape, Workload};
use leptos::html::{Input, Select};
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::Storage;

use super::bind::{Flag, Text, click, is, live, say, text};
use super::frame::{is_live, on_frame, put};
use super::{Ui, format};
use crate::api;

const TOPIC: &str = "workload";
/// Where the admin token is kept: for this tab, until it is closed.
const TOKEN: &str = "freshet-admin-token";
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
        // Off is shown as the rate that ran before, or else as the one that one would try first.
        if workload.rate_hz > 0.0 {
            set(self.rate, workload.rate_hz);
        } else if self.rate_hz().is_none() {
            set(self.rate, 1000.0);
        }
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

    fn rate_hz(&self) -> Option<f64> {
        let value = self.rate.get_untracked()?.value_as_number();
        value.is_finite().then_some(value)
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

/// What is to be sent, kept in case it has to be sent again with the admin token.
#[derive(Clone)]
struct Change {
    patch: String,
    /// What is started wants to be seen.
    starts: bool,
}

pub fn workload(ui: Ui) -> AnyView {
    let form = Form {
        rate: NodeRef::new(),
        shape: NodeRef::new(),
        burst: NodeRef::new(),
        payload: NodeRef::new(),
    };
    let secret = NodeRef::<Input>::new();
    let token = StoredValue::new(kept_token());
    let refused = StoredValue::new(None::<Change>);
    let no_token_needed = Flag::new(true);
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
    let (mut read_us, mut was_live) = (0.0, false);
    on_frame(move |frame| {
        let lane = frame.model.lane(ui.feed());
        if is_live(&lane.status) != was_live {
            was_live = !was_live;
            // What was said before the connection came back is not true any more.
            say(answer, &[]);
        }
        let newest = lane.newest("settings");
        let Some(newest) = newest.filter(|newest| frame.quarter && newest.received_us != read_us) else {
            return;
        };
        read_us = newest.received_us;
        let Ok(settings) = serde_json::from_str::<SettingsVersion>(&newest.data) else {
            return;
        };
        if settings.version != version.get_value() {
            say(answer, &[]);
        }
        version.set_value(settings.version);
        let workload = settings.settings.workload;
        show(&workload);
        if !touched.get_value() {
            form.fill(&workload);
        }
    });
    let send = move |change: Change| {
        say(answer, &[]);
        spawn_local(async move {
            let given = token.get_value();
            match api::patch_settings(change.patch.clone(), version.get_value(), &given).await {
                Ok(status) => {
                    let settings = status.in_force;
                    version.set_value(settings.version);
                    touched.set_value(false);
                    show(&settings.settings.workload);
                    form.fill(&settings.settings.workload);
                    keep_token(&given);
                    put(no_token_needed, true);
                    if change.starts {
                        race_it(ui);
                    }
                }
                Err(failure) if failure.needs_token() => {
                    keep_token("");
                    token.set_value(String::new());
                    refused.set_value(Some(change));
                    put(no_token_needed, false);
                    say(
                        answer,
                        &[if given.is_empty() {
                            "Only with the admin token can this be changed."
                        } else {
                            "This is not the admin token."
                        }],
                    );
                }
                Err(failure) => put(answer, failure.why),
            }
        });
    };
    let start = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let rate_hz = form.rate_hz();
        match form.patch() {
            None => say(answer, &["Each box needs a number."]),
            Some(_) if rate_hz == Some(0.0) && off.get_untracked() => {
                say(
                    answer,
                    &["At 0 events per second nothing starts: enter a rate above 0."],
                );
            }
            Some(patch) => send(Change {
                patch,
                starts: rate_hz > Some(0.0),
            }),
        }
    };
    let stop = click(move || {
        send(Change {
            patch: String::from(r#"{"workload":{"rate_hz":0}}"#),
            starts: false,
        });
    });
    let unlock = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if let (Some(input), Some(change)) = (secret.get_untracked(), refused.get_value()) {
            token.set_value(input.value().trim().to_owned());
            input.set_value("");
            send(change);
        }
    };
    let shapes: Vec<_> = SHAPES
        .iter()
        .map(|(_, value, text)| view! { <option value=*value>{*text}</option> })
        .collect();
    let touch = move |_| {
        touched.set_value(true);
        say(answer, &[]);
    };
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
                <input id="w-burst" type="number" node_ref=form.burst min="1" max="10000" step="1" required/>
                <label for="w-payload">"bytes of each event's data"</label>
                <input id="w-payload" type="number" node_ref=form.payload min="32" max="16384" step="1" required/>
                <span class="actions">
                    <button class="go" type="submit">{live(go)}</button>
                    <button type="button" on:click=stop disabled=is(off)>"Stop"</button>
                </span>
            </form>
            <form class="form" on:submit=unlock hidden=is(no_token_needed)>
                <label for="w-token">"admin token, kept for this tab"</label>
                <input id="w-token" type="password" node_ref=secret autocomplete="off" required/>
                <span class="actions"><button class="go" type="submit">"Send with the token"</button></span>
            </form>
            <p class="dim why">
                "Made-up events on a schedule of their own: each one's lateness counts from the moment it was meant to happen."
            </p>
            <p class="state lost" role="alert">{live(answer)}</p>
        </section>
    }
    .into_any()
}

/// Adds the workload to the topics of the race.
fn race_it(ui: Ui) {
    let handle = ui.handle();
    let mut topics = handle.model().topics.clone();
    if !topics.iter().any(|topic| topic == TOPIC) {
        topics.push(TOPIC.to_owned());
        handle.set_topics(topics);
    }
}

fn storage() -> Option<Storage> {
    window().session_storage().ok()?
}

/// The token that was typed here, or else the one that is kept.
pub(super) fn given_token(secret: NodeRef<Input>) -> String {
    let typed = secret.get_untracked().map(|input| input.value().trim().to_owned());
    typed.filter(|token| !token.is_empty()).unwrap_or_else(kept_token)
}

pub(super) fn kept_token() -> String {
    let kept = storage().and_then(|storage| storage.get_item(TOKEN).ok()?);
    kept.unwrap_or_default()
}

/// Best effort: a browser may refuse storage. An empty one is forgotten.
pub(super) fn keep_token(token: &str) {
    if let Some(storage) = storage() {
        let _ = if token.is_empty() {
            storage.remove_item(TOKEN)
        } else {
            storage.set_item(TOKEN, token)
        };
    }
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
