//! The Limits view: what the rate limits decided, over time, by policy and by client; where this page stands; a burst to try them.

mod history;
mod own;
mod tables;
mod try_it;
pub mod words;

use freshet_wire::{LimitStatus, SettingsVersion};
use leptos::prelude::*;
use leptos::task::spawn_local;

use self::words::trouble;
use super::bind::{Class, Flag, Text, class, click, if_empty, live, pressed, say, text};
use super::frame::{Frame, is_live, on_frame, put};
use super::tabs::hidden_unless;
use super::workload::kept_token;
use super::{Ui, format, lane_name};
use crate::api;
use crate::route::View;

const FIGURES: [(&str, &str); 5] = [
    ("allowed", "Requests that found room"),
    ("limited", "Refused with 429, or with a problem on the stream"),
    ("near", "Allowed with at most a fifth of a quota left"),
    ("shed", "Refused with 503: too much was open at once"),
    ("denied", "Refused with 403: their network is denied"),
];

/// Figures come once a second, and by polling a second later.
const HOLD_US: f64 = 2.5e6;

/// The class of each where there are some.
const SOME: [&str; 5] = ["allowed some", "limited some", "near some", "shed some", "denied some"];

pub fn limits_view(ui: Ui) -> AnyView {
    let (head, engine, load) = (Text::default(), Text::default(), Text::default());
    let look = Class::new("panel totals");
    let figures = FIGURES.map(|_| text("–"));
    let looks = FIGURES.map(|(name, _)| Class::new(name));
    let masked = Flag::new(false);
    // After a change that was taken, until the figures say so too: the ones that are on their way are of before.
    let hold_us = StoredValue::new(0.0);
    let answer = Text::default();
    let mut next_us = 0.0;
    on_frame(move |frame| {
        // Also while the pictures are paused: then it says how old the figures are.
        if ui.view() != View::Limits || frame.now_us < next_us && next_us - frame.now_us < 1e6 {
            return;
        }
        next_us = frame.now_us + 250e3;
        let live = is_live(&frame.model.lane(ui.feed()).status);
        put(look, if live { "panel totals" } else { "panel totals stale" });
        put(head, heading(frame, ui));
        let Some(limits) = frame.limits.filter(|_| !frame.model.paused) else {
            return;
        };
        put(engine, trouble(limits));
        put(load, open_now(limits));
        if frame.now_us > hold_us.get_value() {
            put(masked, limits.masked);
        }
        let total = &limits.total;
        let counts = [total.allowed, total.limited, total.near, total.shed, total.denied];
        for (at, count) in counts.into_iter().enumerate() {
            put(figures[at], format::count(count));
            // A refusal is marked as one from the first on.
            put(looks[at], if count > 0 { SOME[at] } else { FIGURES[at].0 });
        }
    });
    let mask = click(move || {
        let wanted = !masked.get_untracked();
        let version = ui
            .handle()
            .model()
            .lane(ui.feed())
            .newest("settings")
            .and_then(|newest| serde_json::from_str::<SettingsVersion>(&newest.data).ok());
        let Some(version) = version.map(|settings| settings.version) else {
            say(answer, &["The settings are not known yet."]);
            return;
        };
        say(answer, &[]);
        spawn_local(async move {
            let patch = [r#"{"limit":{"mask":"#, if wanted { "true" } else { "false" }, "}}"].concat();
            match api::patch_settings(patch, version, &kept_token()).await {
                Ok(_) => {
                    hold_us.set_value(ui.handle().now_us() + HOLD_US);
                    put(masked, wanted);
                }
                Err(failure) if failure.needs_token() => say(
                    answer,
                    &["Only with the admin token can this be changed: Compare's Workload takes it, for this tab."],
                ),
                Err(failure) => put(answer, failure.why),
            }
        });
    });
    let figure = |(((name, title), value), look): (((&'static str, &'static str), Text), Class)| {
        view! { <div title=title class=class(look)><dt>{name}</dt><dd>{live(value)}</dd></div> }
    };
    let totals: Vec<_> = FIGURES.into_iter().zip(figures).zip(looks).map(figure).collect();
    view! {
        <main id="limits" hidden=hidden_unless(ui, View::Limits)>
            <section class=class(look) aria-label="Rate limits">
                <div class="head">
                    <h2>"Rate limits"</h2>
                    <span class="dim">{live(head)}</span>
                    <span class="end">
                        <button class="mask" on:click=mask aria-pressed=pressed(masked)
                            title="The setting limit.mask: from then on clients' addresses are masked wherever they are shown">"Mask addresses"</button>
                    </span>
                </div>
                <p class="state lost" role="alert" hidden=if_empty(engine)>{live(engine)}</p>
                <p class="state lost" role="alert" hidden=if_empty(answer)>{live(answer)}</p>
                <dl>{totals}</dl>
                <p class="dim">{live(load)}</p>
            </section>
            {history::history(ui)}
            {try_it::try_it(ui)}
            {own::own(ui)}
            {tables::policies(ui)}
            {tables::clients(ui)}
        </main>
    }
    .into_any()
}

fn heading(frame: &Frame<'_>, ui: Ui) -> String {
    let lane = frame.model.lane(ui.feed());
    let (by, _) = lane_name(lane.id);
    match (frame.limits, lane.last_heard_us) {
        (Some(_), Some(heard_us)) if !is_live(&lane.status) => [
            "figures of ",
            &*format::ago(frame.now_us - heard_us),
            " ago: ",
            by,
            " is down",
        ]
        .concat(),
        (None, _) => ["waiting for ", by].concat(),
        (Some(limits), _) => {
            let since = format::ago(frame.now_us - limits.since_us as f64);
            [&*limits.engine.name, " · counted for ", &since, " · by ", by].concat()
        }
    }
}

/// "open now: 3 requests of 512 · 2 streams · 0.1 ms late"
fn open_now(limits: &LimitStatus) -> String {
    let load = &limits.load;
    let mut out = [
        "open now: ",
        &*format::count(load.requests.into()),
        " of ",
        &format::count(load.max_requests.into()),
        " requests, streams: ",
        &format::count(load.streams.into()),
        " · a client may have ",
        &format::count(load.max_client_requests.into()),
        " requests and ",
        &format::count(load.max_client_streams.into()),
        " streams open at once · the server is ",
        &format::latency_text(load.lag_us as f64),
        " late and sheds above ",
        &format::latency_text(load.max_lag_us as f64),
    ]
    .concat();
    if load.shedding {
        out.push_str(" · new load is shed now");
    }
    if load.refused_connections > 0 {
        out.push_str(" · connections refused: ");
        out.push_str(&format::count(load.refused_connections));
    }
    out
}
