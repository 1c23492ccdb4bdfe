//! The live settings, section by section: each with its field, and with all that there is to say of it.

use freshet_wire::{SettingKey, SettingKind};
use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use super::super::bind::{Class, Flag, Text, class, click, if_empty, is, live, say};
use super::super::format;
use super::super::frame::put;
use super::edits::Pending;
use super::values::{at, bounds, said, shown};
use super::{Board, heads, unless};

/// In the order of the schema; the words stand over each.
const SECTIONS: [(&str, &str); 8] = [
    ("source", "Telemetry of the machine"),
    ("workload", "Synthetic workload"),
    ("limit", "Rate limits"),
    ("retention", "Retention"),
    ("election", "Election"),
    ("lane", "Lanes of a new page"),
    ("log", "The server's own log"),
    ("sampling", "What the service tells of itself"),
];

/// A live setting.
#[derive(Clone, Copy)]
pub struct Row {
    pub key: StoredValue<SettingKey>,
    /// What stands in the field.
    typed: Text,
    error: Text,
    /// What somebody else made of it while it was edited here.
    meanwhile: Text,
    look: Class,
    hidden: Flag,
    source: Text,
    changed: Text,
    is_default: Flag,
}

impl Row {
    pub fn new(key: SettingKey) -> Self {
        Self {
            key: StoredValue::new(key),
            typed: Text::default(),
            error: Text::default(),
            meanwhile: Text::default(),
            look: Class::new("key"),
            hidden: Flag::new(false),
            source: Text::default(),
            changed: Text::default(),
            is_default: Flag::new(true),
        }
    }

    /// The first part of its key.
    fn section(&self) -> String {
        self.key
            .with_value(|key| key.key.split('.').next().unwrap_or_default().to_owned())
    }

    /// What is in force and what is pending.
    pub fn fill(&self, board: Board, pending: Option<&Pending>, sought: &str, changed_only: bool) {
        self.key.with_value(|key| {
            let now = board.settings.with_value(|settings| at(settings, &key.key).clone());
            let typed = board
                .edits
                .with_value(|edits| edits.get(&key.key).map_or_else(|| shown(&now), str::to_owned));
            put(self.typed, typed);
            let error = pending.and_then(|pending| pending.after.as_ref().err());
            put(self.error, error.cloned().unwrap_or_default());
            match pending.filter(|it| it.conflict.is_some()) {
                Some(_) => say(self.meanwhile, &["became ", &said(&now), " meanwhile"]),
                None => say(self.meanwhile, &[]),
            }
            put(
                self.look,
                match pending {
                    Some(Pending { conflict: Some(_), .. }) => "key edited conflict",
                    Some(_) => "key edited",
                    None => "key",
                },
            );
            let is_default = now == key.default;
            put(self.is_default, is_default);
            let found = sought.is_empty() || key.key.contains(sought) || key.what.to_lowercase().contains(sought);
            put(self.hidden, !found || changed_only && is_default && pending.is_none());
        });
    }

    /// What the server refused of it.
    pub fn refuse(&self, why: &str) {
        say(self.error, &[why]);
    }

    /// Where its value came from, and when.
    pub fn tell(&self, board: Board, now_us: f64) {
        let name = self.key.with_value(|key| key.key.clone());
        let change = board.history.with_untracked(|changes| {
            let of = changes.iter().find(|it| it.changes.iter().any(|part| part.key == name));
            of.map(|it| (it.changed_us, it.changed_by.clone(), it.version))
        });
        let engine = board
            .status
            .with_value(|status| status.as_ref().map(|status| status.engine.name.to_string()));
        match (self.is_default.get_untracked(), engine) {
            (true, _) => say(self.source, &["default"]),
            (false, Some(engine)) => put(self.source, engine),
            (false, None) => say(self.source, &[]),
        }
        match change {
            Some((changed_us, by, version)) => {
                let age = format::ago(now_us - changed_us as f64);
                let version = format::count(version);
                say(self.changed, &[&age, " ago by ", &by, ", version ", &version]);
            }
            None => say(self.changed, &[]),
        }
    }

    fn view(self, board: Board) -> AnyView {
        let key = self.key.get_value();
        let (id, what) = (["c-", &key.key].concat(), ["c-what-", &key.key].concat());
        let default = said(&key.default);
        let unit = match key.kind {
            SettingKind::Number | SettingKind::Integer => [" ", &*key.unit].concat(),
            _ => String::new(),
        };
        let mut within = bounds(&key, "");
        if key.restart {
            within += match within.is_empty() {
                true => "takes effect with a restart",
                false => " · takes effect with a restart",
            };
        }
        let reset = {
            let value = shown(&key.default);
            click(move || self.key.with_value(|key| board.typed(key, &value)))
        };
        view! {
            <tr class=class(self.look) hidden=is(self.hidden)>
                <th scope="row">
                    <label for=id.clone()><code>{key.key.clone()}</code></label>
                    <span id=what.clone() class="what">{key.what.clone()}" "<span class="within">{within}</span></span>
                </th>
                <td class="field">
                    {self.field(board, &key, id, what)}<span class="unit">{unit}</span>
                    <span class="became" hidden=if_empty(self.meanwhile)>{live(self.meanwhile)}</span>
                    <span class="wrong" role="alert" hidden=if_empty(self.error)>{live(self.error)}</span>
                </td>
                <td class="default">
                    <span class="unseen">"default "</span>{default.clone()}
                    <button class="plain" hidden=is(self.is_default) on:click=reset aria-label=["reset ", &*key.key, " to its default, ", &default].concat()>"reset"</button>
                </td>
                <td class="from"><b>{live(self.source)}</b><span class="small">{live(self.changed)}</span></td>
            </tr>
        }
        .into_any()
    }

    fn field(self, board: Board, key: &SettingKey, id: String, what: String) -> AnyView {
        let typed = move |event: ev::Event| {
            let value = event_target_value(&event);
            self.key.with_value(|key| board.typed(key, &value));
        };
        let invalid = move || {
            if self.error.with(String::is_empty) {
                "false"
            } else {
                "true"
            }
        };
        let options: Vec<(String, String)> = match key.kind {
            SettingKind::Flag => [("true", "on"), ("false", "off")]
                .map(|(a, b)| (a.into(), b.into()))
                .into(),
            SettingKind::Choice => key.choices.iter().map(|it| (it.clone(), it.clone())).collect(),
            _ => Vec::new(),
        };
        if !options.is_empty() {
            let options: Vec<_> = options
                .into_iter()
                .map(|(value, name)| {
                    let own = value.clone();
                    let chosen = move || self.typed.with(|typed| *typed == own);
                    view! { <option value=value selected=chosen>{name}</option> }
                })
                .collect();
            return view! {
                <select id=id aria-describedby=what on:change=typed prop:value=live(self.typed)>{options}</select>
            }
            .into_any();
        }
        let (mode, look) = match key.kind {
            SettingKind::Number => ("decimal", "number"),
            SettingKind::Integer => ("numeric", "number"),
            _ => ("text", "wide mono"),
        };
        // From a field to Apply it is otherwise as many stops as there are fields.
        let on = move |event: ev::KeyboardEvent| {
            if event.key() == "Enter"
                && let Ok(Some(apply)) = document().query_selector(".review .go")
                && let Some(apply) = apply.dyn_ref::<web_sys::HtmlElement>()
            {
                event.prevent_default();
                let _ = apply.focus();
            }
        };
        view! {
            <input id=id class=look inputmode=mode autocomplete="off" spellcheck="false" aria-describedby=what
                aria-invalid=invalid on:keydown=on on:input=typed prop:value=live(self.typed)/>
        }
        .into_any()
    }
}

/// Whether the search found nothing.
pub fn is_none_shown(board: Board) -> bool {
    board
        .rows
        .with_untracked(|rows| !rows.is_empty() && rows.iter().all(|row| row.hidden.get_untracked()))
}

/// The sections that there are, each with its words.
pub fn titles(board: Board) -> Vec<(String, String)> {
    let mut names: Vec<String> = Vec::new();
    board.rows.with(|rows| {
        for row in rows {
            let name = row.section();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
    });
    names.into_iter().map(|name| (name.clone(), title(&name))).collect()
}

fn title(section: &str) -> String {
    let title = SECTIONS.iter().find(|(name, _)| *name == section);
    title.map_or(section, |(_, title)| title).to_owned()
}

pub fn sections(board: Board) -> AnyView {
    let waiting = Flag::new(true);
    Effect::new(move |_| waiting.set(board.rows.with(Vec::is_empty)));
    let all = move || {
        let rows = board.rows.get();
        let mut sections: Vec<(String, Vec<Row>)> = Vec::new();
        for row in rows {
            let name = row.section();
            match sections.last_mut() {
                Some((last, rows)) if *last == name => rows.push(row),
                _ => sections.push((name, vec![row])),
            }
        }
        sections
            .into_iter()
            .map(|(name, rows)| section(board, name, rows))
            .collect::<Vec<_>>()
    };
    view! {
        <p class="dim" hidden=unless(waiting)>"Asking the server what can be set…"</p>
        {all}
    }
    .into_any()
}

fn section(board: Board, name: String, rows: Vec<Row>) -> AnyView {
    let (title, id) = (title(&name), ["at-", &*name].concat());
    let parts = rows.clone();
    let empty = move || parts.iter().all(|row| row.hidden.get());
    let rows: Vec<_> = rows.into_iter().map(|row| row.view(board)).collect();
    view! {
        <div class="section" hidden=empty>
            <table>
                <caption><h3 id=id tabindex="-1">{title}</h3></caption>
                {heads("setting")}
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
    .into_any()
}
