//! The Config view: every live setting and every fixed one, where each value came from, changes with their difference before they are
//! applied, what came before, and how long a change took to get everywhere.

mod arrival;
mod edits;
mod fixed;
mod formats;
mod history;
mod jump;
mod keys;
mod propagation;
mod review;
mod values;

use freshet_wire::{SettingKey, SettingsChange, SettingsStatus, StaticConfig};
use leptos::ev;
use leptos::html::Select;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde_json::Value;
use wasm_bindgen::JsCast;

use self::edits::{Edits, Pending};
use self::formats::Format;
use self::keys::Row;
use self::propagation::Propagation;
use super::bind::{Class, Flag, Text, class, click, if_empty, is, live, say, text};
use super::frame::{Frame, is_live, on_frame, put};
use super::tabs::hidden_unless;
use super::{Ui, format, lane_name};
use crate::api::{self, Failure};
use crate::lane::LaneId;
use crate::route::View;

/// After a look that failed, the next one.
const AGAIN_US: f64 = 5e6;
/// Between two looks for the history of versions that follow each other.
const SOON_US: f64 = 5e5;

/// What the panels of the view share.
#[derive(Clone, Copy)]
struct Board {
    ui: Ui,
    /// What can be set; empty until the server has told.
    schema: StoredValue<Vec<SettingKey>>,
    rows: RwSignal<Vec<Row>>,
    status: StoredValue<Option<SettingsStatus>>,
    /// The settings of the status, as JSON.
    settings: StoredValue<Value>,
    history: RwSignal<Vec<SettingsChange>>,
    fixed: RwSignal<Option<StaticConfig>>,
    /// Why it is not known, where it is not.
    no_fixed: Text,
    edits: StoredValue<Edits>,
    pending: RwSignal<Vec<Pending>>,
    /// What is looked for, in small letters.
    sought: StoredValue<String>,
    changed_only: StoredValue<bool>,
    propagation: StoredValue<Propagation>,
    /// Counts what came that the panels should look at.
    news: RwSignal<u32>,
}

/// What has to be asked for, and when that was tried last.
#[derive(Default, Clone, Copy)]
struct Asked {
    busy: bool,
    tried_us: f64,
    /// The version of which the history is known.
    history_of: Option<u64>,
    /// The connection in which the rest was asked for: another process may answer in the next one.
    since_us: Option<f64>,
}

impl Board {
    /// Takes in settings that are newer than those that are known, or say something else of the same.
    fn take(self, status: SettingsStatus) {
        let older = self.status.with_value(|known| {
            let known = known.as_ref();
            known.is_some_and(|known| known.in_force.version > status.in_force.version && known.place == status.place)
        });
        // After a change was applied here, a lane still brings what was before it.
        if older {
            return;
        }
        self.settings
            .set_value(serde_json::to_value(&status.in_force.settings).unwrap_or_default());
        self.status.set_value(Some(status));
        self.refresh();
        self.news.update(|news| *news += 1);
    }

    /// Brings rows and pending changes in step with what is typed and what is in force.
    fn refresh(self) {
        let pending = self.schema.with_value(|schema| {
            self.settings.with_value(|settings| {
                let mut pending = Vec::new();
                self.edits
                    .update_value(|edits| pending = edits.pending(schema, settings));
                pending
            })
        });
        let (sought, changed_only) = (self.sought.get_value(), self.changed_only.get_value());
        self.rows.with_untracked(|rows| {
            for row in rows {
                let at = row.key.with_value(|key| pending.iter().find(|it| it.key == key.key));
                row.fill(self, at, &sought, changed_only);
            }
        });
        put(self.pending, pending);
    }

    fn version(self) -> Option<u64> {
        self.status
            .with_value(|status| status.as_ref().map(|status| status.in_force.version))
    }

    fn typed(self, key: &SettingKey, typed: &str) {
        self.settings
            .with_value(|settings| self.edits.update_value(|edits| edits.typed(key, typed, settings)));
        self.refresh();
    }
}

pub fn config_view(ui: Ui) -> AnyView {
    let board = Board {
        ui,
        schema: StoredValue::new(Vec::new()),
        rows: RwSignal::new(Vec::new()),
        status: StoredValue::new(None),
        settings: StoredValue::new(Value::Null),
        history: RwSignal::new(Vec::new()),
        fixed: RwSignal::new(None),
        no_fixed: text("Asking the server…"),
        edits: StoredValue::new(Edits::default()),
        pending: RwSignal::new(Vec::new()),
        sought: StoredValue::new(String::new()),
        changed_only: StoredValue::new(false),
        propagation: StoredValue::new(Propagation::default()),
        news: RwSignal::new(0),
    };
    let (head, where_, refused, trouble) = (Text::default(), Text::default(), Text::default(), Text::default());
    let look = Class::new("panel settings");
    let asked = StoredValue::new(Asked::default());
    let mut seen: [Option<f64>; 2] = [None; 2];
    let mut next_us = 0.0;
    on_frame(move |frame| {
        // Whether it is shown or not: a change is timed when it arrives.
        for (at, id) in [LaneId::Poll, LaneId::Stream].into_iter().enumerate() {
            let Some(newest) = frame.model.lane(id).newest("settings") else {
                continue;
            };
            if seen[at].replace(newest.received_us) == Some(newest.received_us) {
                continue;
            }
            let Ok(status) = serde_json::from_str::<SettingsStatus>(&newest.data) else {
                continue;
            };
            let mut is_news = false;
            board
                .propagation
                .update_value(|it| is_news = it.note(at, &status.in_force, newest.received_us));
            if id == ui.feed() || is_news {
                board.take(status);
            }
        }
        if ui.view() != View::Config || frame.now_us < next_us && next_us - frame.now_us < 1e6 {
            return;
        }
        next_us = frame.now_us + 250e3;
        ask(board, asked, frame, trouble);
        let live = is_live(&frame.model.lane(ui.feed()).status);
        put(look, if live { "panel settings" } else { "panel settings stale" });
        board.status.with_value(|status| {
            put(head, heading(frame, ui, status.as_ref()));
            let Some(status) = status else { return };
            say(where_, &[&*status.engine.name, " · ", &status.place]);
            match &status.refused {
                None => say(refused, &[]),
                Some(it) => say(
                    refused,
                    &[
                        // Most reasons begin with it.
                        if it.reason.contains(&it.key) { "" } else { &it.key },
                        if it.reason.contains(&it.key) { "" } else { ": " },
                        &*it.reason,
                        ". It was found ",
                        &*format::ago(frame.now_us - it.refused_us as f64),
                        " ago; version ",
                        &*format::count(status.in_force.version),
                        " stays in force.",
                    ],
                ),
            }
        });
        board
            .rows
            .with_untracked(|rows| rows.iter().for_each(|row| row.tell(board, frame.now_us)));
    });
    // What is typed and not applied is not lost by a slip.
    let leaving = window_event_listener(ev::beforeunload, move |event| {
        if board.pending.with_untracked(|pending| !pending.is_empty()) {
            event.prevent_default();
        }
    });
    on_cleanup(move || leaving.remove());
    let none = Flag::new(false);
    let search = move |event: ev::Event| {
        board.sought.set_value(event_target_value(&event).trim().to_lowercase());
        board.refresh();
        put(none, keys::is_none_shown(board));
    };
    let only = move |event: ev::Event| {
        board.changed_only.set_value(event_target_checked(&event));
        board.refresh();
        put(none, keys::is_none_shown(board));
    };
    view! {
        <main id="config" hidden=hidden_unless(ui, View::Config)>
            <section class=class(look) aria-label="Live settings">
                <div class="head">
                    <h2>"Live settings"</h2>
                    <span class="dim">{live(head)}</span>
                    <span class="end"><code title="Where they are kept: they may be edited there, too">{live(where_)}</code></span>
                </div>
                <p class="refused" role="alert" hidden=if_empty(refused)>
                    <b>"What stands in the store is not valid, and is not in force. "</b>{live(refused)}
                </p>
                <p class="state lost" role="alert" hidden=if_empty(trouble)>{live(trouble)}</p>
                <div class="bar">
                    <input class="find" type="search" placeholder="Find a setting" aria-label="Find a setting" on:input=search/>
                    <label class="check"><input type="checkbox" on:change=only/>"only what is not the default"</label>
                    {copy(board)}
                </div>
                {jump::links(board)}
                {keys::sections(board)}
                <p class="dim" role="status" hidden=move || !none.get()>"No setting is like that."</p>
            </section>
            {review::review(board)}
            {arrival::arrival(board)}
            {history::history(board)}
            {fixed::fixed(board)}
        </main>
    }
    .into_any()
}

/// Asks for what no topic brings, while the view is shown.
fn ask(board: Board, asked: StoredValue<Asked>, frame: &Frame<'_>, trouble: Text) {
    let mut it = asked.get_value();
    let lane = frame.model.lane(board.ui.feed());
    let version = board.version();
    let is_known = it.since_us == Some(lane.since_us);
    let has_all = is_known && (version.is_none() || it.history_of == version);
    if it.busy || has_all || !is_live(&lane.status) {
        return;
    }
    // A new version's history is asked for soon.
    let is_news = it.since_us.is_some() && it.history_of != version;
    let pause_us = if is_news { SOON_US } else { AGAIN_US };
    if it.tried_us > 0.0 && (frame.now_us - it.tried_us).abs() < pause_us {
        return;
    }
    (it.busy, it.tried_us) = (true, frame.now_us);
    asked.set_value(it);
    let since_us = lane.since_us;
    spawn_local(async move {
        let result = look(board, is_known).await;
        asked.update_value(|it| {
            it.busy = false;
            if let Ok(version) = &result {
                (it.since_us, it.history_of) = (Some(since_us), Some(*version));
            }
        });
        match result {
            Ok(_) => say(trouble, &[]),
            Err(failure) => say(
                trouble,
                &[
                    "The server does not say what can be set: ",
                    &failure.why,
                    ". It is asked again.",
                ],
            ),
        }
    });
}

/// The version of which the history is known afterwards.
async fn look(board: Board, is_known: bool) -> Result<u64, Failure> {
    if !is_known {
        let schema = api::settings_schema().await?.keys;
        if board.schema.with_value(|known| *known != schema) {
            let rows = schema.iter().cloned().map(Row::new).collect();
            board.schema.set_value(schema);
            put_rows(board, rows);
        }
        board.take(api::settings().await?);
        match api::config().await {
            Ok(config) => put(board.fixed, Some(config)),
            Err(failure) if failure.status == Some(404) => {
                say(
                    board.no_fixed,
                    &["This server does not tell of its fixed configuration."],
                );
            }
            Err(failure) => put(board.no_fixed, failure.why),
        }
    }
    let history = api::settings_history().await?;
    put(board.history, history.changes);
    board.refresh();
    Ok(history.version)
}

fn put_rows(board: Board, rows: Vec<Row>) {
    board.rows.set(rows);
    board.refresh();
}

fn heading(frame: &Frame<'_>, ui: Ui, status: Option<&SettingsStatus>) -> String {
    let lane = frame.model.lane(ui.feed());
    let (by, _) = lane_name(lane.id);
    let Some(status) = status else {
        return ["waiting for ", by].concat();
    };
    let version = format::count(status.in_force.version);
    let age = format::ago(frame.now_us - status.in_force.changed_us as f64);
    match lane.last_heard_us.filter(|_| !is_live(&lane.status)) {
        Some(heard_us) => {
            let heard = format::ago(frame.now_us - heard_us);
            ["version ", &*version, " as of ", &*heard, " ago: ", by, " is down"].concat()
        }
        None if status.in_force.version == 0 => ["the store has not been read yet · by ", by].concat(),
        None => {
            let who = &status.in_force.changed_by;
            ["version ", &*version, ", ", &*age, " ago by ", who, " · by ", by].concat()
        }
    }
}

/// The settings in force, to be taken along.
fn copy(board: Board) -> AnyView {
    let format = NodeRef::<Select>::new();
    let words = text("Copy as");
    let copy = click(move || {
        let chosen = format.get_untracked().map(|select| select.value()).unwrap_or_default();
        let format = Format::ALL.into_iter().find(|(_, name)| *name == chosen);
        let Some((format, name)) = format else { return };
        let written = board.settings.with_value(|settings| format.write(settings));
        spawn_local(async move {
            let told = match written_to_clipboard(&written).await {
                Some(()) => ["Copied as ", name].concat(),
                None => String::from("The browser refuses"),
            };
            put(words, told);
            gloo_timers::future::TimeoutFuture::new(2_500).await;
            say(words, &["Copy as"]);
        });
    });
    let formats: Vec<_> = Format::ALL
        .iter()
        .map(|(_, name)| view! { <option value=*name>{*name}</option> })
        .collect();
    view! {
        <span class="copy">
            <button on:click=copy aria-live="polite">{live(words)}</button>
            <select node_ref=format aria-label="Format of the copy">{formats}</select>
        </span>
    }
    .into_any()
}

async fn written_to_clipboard(text: &str) -> Option<()> {
    let navigator = js_sys::Reflect::get(&window(), &"navigator".into()).ok()?;
    let clipboard = js_sys::Reflect::get(&navigator, &"clipboard".into()).ok()?;
    let write = js_sys::Reflect::get(&clipboard, &"writeText".into()).ok()?;
    let write: js_sys::Function = write.dyn_into().ok()?;
    let promise: js_sys::Promise = write.call1(&clipboard, &text.into()).ok()?.dyn_into().ok()?;
    wasm_bindgen_futures::JsFuture::from(promise).await.ok().map(drop)
}

/// The heads of a table of keys.
fn heads(first: &'static str) -> AnyView {
    let heads: Vec<_> = [first, "value", "default", "from"]
        .map(|head| view! { <th scope="col">{head}</th> })
        .into_iter()
        .collect();
    view! { <thead><tr>{heads}</tr></thead> }.into_any()
}

/// A flag for `hidden` that follows whether there is something to show.
fn unless(shown: Flag) -> impl Fn() -> bool + Copy + Send + Sync {
    let hidden = is(shown);
    move || !hidden()
}
