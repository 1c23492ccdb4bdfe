//! What changed, when and by whom; and the way back to any of it.

use freshet_wire::{SettingChange, SettingsChange};
use leptos::html::{Button, Div, Input};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::super::bind::{Class, Flag, Text, class, click, is, live, say};
use super::super::format;
use super::super::frame::{on_frame, put};
use super::super::workload::{given_token, keep_token};
use super::Board;
use super::edits::back_to;
use super::review::{needs_token, token_field};
use super::values::said;
use crate::api;
use crate::route::View;

/// So many keys of a change are named.
const NAMED: usize = 6;

pub fn history(board: Board) -> AnyView {
    let (answer, look) = (Text::default(), Class::new("state"));
    // The version to which the way back is asked for.
    let wanted = RwSignal::new(None::<u64>);
    let (busy, no_token_needed) = (Flag::new(false), Flag::new(true));
    let secret = NodeRef::<Input>::new();
    let now_us = RwSignal::new(0.0);
    on_frame(move |frame| {
        if frame.second && board.ui.view() == View::Config {
            now_us.set(frame.now_us);
        }
    });
    let go = move |version: u64| {
        let Some(newest) = board.version().filter(|_| !busy.get_untracked()) else {
            return;
        };
        put(busy, true);
        let token = given_token(secret);
        spawn_local(async move {
            let result = api::roll_back(version, newest, &token).await;
            put(busy, false);
            match result {
                Ok(status) => {
                    keep_token(&token);
                    put(no_token_needed, true);
                    put(look, "state");
                    let made = format::count(status.in_force.version);
                    say(
                        answer,
                        &[
                            "As at version ",
                            &format::count(version),
                            " again: that is version ",
                            &made,
                            ".",
                        ],
                    );
                    put(wanted, None);
                    board.take(status);
                }
                Err(failure) => {
                    put(look, "state lost");
                    let is_stale = failure.status == Some(412);
                    let why = match failure.needs_token() {
                        true => {
                            keep_token("");
                            put(no_token_needed, false);
                            needs_token(&token).to_owned()
                        }
                        false if is_stale => String::from("Somebody changed the settings meanwhile: look again."),
                        false => [&*failure.why, ". Nothing was changed."].concat(),
                    };
                    put(answer, why);
                    if is_stale && let Ok(status) = api::settings().await {
                        board.take(status);
                    }
                }
            }
        });
    };
    let rows = move || {
        let changes = board.history.get();
        let newest = changes.first().map_or(0, |change| change.version);
        let all = changes.clone();
        changes
            .into_iter()
            .map(|change| row(change, newest, &all, wanted, now_us, go, busy))
            .collect::<Vec<_>>()
    };
    let none = move || board.history.with(|changes| !changes.is_empty());
    view! {
        <section class="panel past" aria-label="History">
            <div class="head">
                <h2 id="at-history" tabindex="-1">"History"</h2>
                <span class="dim">"the newest 50 changes; a way back is a change like any other"</span>
            </div>
            <p role="status"><span class=class(look)>{live(answer)}</span></p>
            {token_field("history-token", no_token_needed, secret)}
            <p class="dim" hidden=none>"Nothing was changed yet."</p>
            <ol class="scroll" tabindex="0" aria-label="Changes of the settings, the newest first">{rows}</ol>
        </section>
    }
    .into_any()
}

fn row(
    change: SettingsChange,
    newest: u64,
    all: &[SettingsChange],
    wanted: RwSignal<Option<u64>>,
    now_us: RwSignal<f64>,
    go: impl Fn(u64) + Copy + 'static,
    busy: Flag,
) -> AnyView {
    let version = change.version;
    let back = back_to(version, newest, all).filter(|_| version != newest);
    let not_asked = move || wanted.get() != Some(version);
    let changed_us = change.changed_us as f64;
    let age = move || [&*format::ago(now_us.get() - changed_us), " ago"].concat();
    let parts: Vec<_> = change.changes.iter().take(NAMED).map(part).collect();
    let more = change.changes.len().saturating_sub(NAMED);
    let is_seed = change.changes.is_empty() && change.changed_by == "start";
    let by = match change.changed_on.is_empty() {
        true => change.changed_by,
        false => [&*change.changed_by, " · on ", &change.changed_on].concat(),
    };
    let way_back = back.map(|back| {
        let parts: Vec<_> = back.iter().map(part).collect();
        let nothing = back.is_empty();
        let (question, asker) = (NodeRef::<Div>::new(), NodeRef::<Button>::new());
        // The focus goes with it, as what had it is hidden then.
        let ask = click(move || {
            wanted.set(Some(version));
            request_animation_frame(move || _ = question.get_untracked().map(|it| it.focus()));
        });
        let leave = click(move || {
            wanted.set(None);
            request_animation_frame(move || _ = asker.get_untracked().map(|it| it.focus()));
        });
        let what = ["What changes with the way back to version ", &*format::count(version)].concat();
        let name = ["Roll back to version ", &*format::count(version)].concat();
        view! {
            <button class="plain" node_ref=asker on:click=ask hidden=move || !not_asked()>{name}</button>
            <div class="back" role="group" tabindex="-1" aria-label=what node_ref=question hidden=not_asked>
                <p class="dim" hidden=!nothing>"The settings are the same as then."</p>
                <ul>{parts}</ul>
                <button class="go" hidden=nothing disabled=is(busy) on:click=click(move || go(version))>"Roll back"</button>
                <button on:click=leave>"Leave it"</button>
            </div>
        }
    });
    view! {
        <li>
            <div class="when"><b>{["version ", &*format::count(version)].concat()}</b><span class="dim">{age}" by "{by}</span></div>
            <ul>{parts}</ul>
            <p class="dim" hidden=!is_seed>"what an empty store was filled with"</p>
            <p class="dim" hidden=more == 0>{["and ", &*format::count(more as u64), " more"].concat()}</p>
            {way_back}
        </li>
    }
    .into_any()
}

fn part(change: &SettingChange) -> AnyView {
    view! {
        <li><code>{change.key.clone()}</code><span class="diff"><del>{said(&change.before)}</del>" → "<ins>{said(&change.after)}</ins></span></li>
    }
    .into_any()
}
