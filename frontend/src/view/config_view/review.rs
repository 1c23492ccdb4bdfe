//! What is about to change: the difference, before it is applied; what somebody else changed meanwhile; and what came of it.

use freshet_wire::SettingsStatus;
use leptos::ev;
use leptos::html::Input;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::super::bind::{Class, Flag, Text, class, click, is, live, say};
use super::super::format;
use super::super::frame::put;
use super::super::workload::{given_token, keep_token};
use super::Board;
use super::edits::Pending;
use super::values::{patch, said};
use crate::api::{self, Failure};

pub fn review(board: Board) -> AnyView {
    let (answer, title, discard_words) = (Text::default(), Text::default(), Text::default());
    let look = Class::new("state");
    let (busy, no_token_needed, cannot) = (Flag::new(false), Flag::new(true), Flag::new(true));
    let secret = NodeRef::<Input>::new();
    let sure = StoredValue::new(false);
    let nothing = Flag::new(true);
    Effect::new(move |_| {
        let (count, wrong, open) = board.pending.with(|pending| {
            let wrong = pending.iter().filter(|it| it.after.is_err()).count();
            let open = pending.iter().filter(|it| it.conflict.is_some()).count();
            (pending.len(), wrong, open)
        });
        put(nothing, count == 0);
        put(cannot, count == 0 || wrong + open > 0);
        let many = |count: usize, one: &str, more: &str| match count {
            1 => ["1 ", one].concat(),
            count => [&*format::count(count as u64), " ", more].concat(),
        };
        let mut words = many(count, "change is", "changes are") + " not applied";
        if wrong > 0 {
            words += &[" · ", &*many(wrong, "is not valid", "are not valid")].concat();
        }
        if open > 0 {
            words += &[" · ", &*many(open, "has to be decided", "have to be decided")].concat();
        }
        put(title, words);
        sure.set_value(false);
        say(discard_words, &["Discard"]);
    });
    let apply = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let Some(version) = board
            .version()
            .filter(|_| !busy.get_untracked() && !cannot.get_untracked())
        else {
            return;
        };
        let changes = board.pending.get_untracked();
        let values = changes
            .iter()
            .filter_map(|change| Some((&*change.key, change.after.clone().ok()?)));
        let patch = patch(values).to_string();
        let token = given_token(secret);
        put(busy, true);
        say(answer, &[]);
        spawn_local(async move {
            let result = api::patch_settings(patch, version, &token).await;
            put(busy, false);
            match result {
                Ok(status) => {
                    keep_token(&token);
                    put(no_token_needed, true);
                    put(look, "state");
                    put(answer, applied(&status));
                    board
                        .edits
                        .update_value(|edits| changes.iter().for_each(|change| edits.forget(&change.key)));
                    board.take(status);
                }
                Err(failure) => {
                    put(look, "state lost");
                    if failure.needs_token() {
                        keep_token("");
                        put(no_token_needed, false);
                    }
                    put(answer, refused(board, failure, &token).await);
                }
            }
        });
    };
    let discard = click(move || {
        let count = board.pending.with_untracked(Vec::len);
        if !sure.get_value() && count > 1 {
            sure.set_value(true);
            return say(discard_words, &["Discard all ", &format::count(count as u64), "?"]);
        }
        board.edits.update_value(super::edits::Edits::clear);
        say(answer, &[]);
        board.refresh();
    });
    let lines = move || {
        // Who changed what meanwhile is known a moment later than that it was.
        board.history.track();
        board
            .pending
            .get()
            .into_iter()
            .map(|it| line(board, it))
            .collect::<Vec<_>>()
    };
    view! {
        <section class="panel review" aria-label="Changes that are not applied" hidden=is(nothing)>
            <form on:submit=apply>
                <div class="head">
                    <h2>{live(title)}</h2>
                    <span class="end">
                        <button type="button" on:click=discard>{live(discard_words)}</button>
                        <button class="go" type="submit" disabled=move || cannot.get() || busy.get()>"Apply"</button>
                    </span>
                </div>
                <ul>{lines}</ul>
                {token_field("config-token", no_token_needed, secret)}
            </form>
        </section>
        <p class="outcome" role="status"><span class=class(look)>{live(answer)}</span></p>
    }
    .into_any()
}

/// Asks for the admin token.
pub fn token_field(id: &'static str, is_not_needed: Flag, secret: NodeRef<Input>) -> AnyView {
    view! {
        <p class="token" hidden=is(is_not_needed)>
            <label for=id>"admin token, kept for this tab"</label>
            <input id=id type="password" node_ref=secret autocomplete="off"/>
        </p>
    }
    .into_any()
}

/// Why nothing was changed: there was none, or another one.
pub fn needs_token(token: &str) -> &'static str {
    match token.is_empty() {
        true => "Only with the admin token can settings be changed.",
        false => "This is not the admin token.",
    }
}

/// Who changed a key last, and with which version, as far as the history says.
fn last_changed(board: Board, key: &str) -> Option<(String, u64)> {
    board.history.with_untracked(|changes| {
        let change = changes
            .iter()
            .find(|it| it.changes.iter().any(|part| part.key == key))?;
        Some((change.changed_by.clone(), change.version))
    })
}

fn line(board: Board, pending: Pending) -> AnyView {
    let Pending {
        key,
        unit,
        before,
        after,
        conflict,
    } = pending;
    let (mine, theirs) = (key.clone(), key.clone());
    let keep = click(move || {
        board
            .settings
            .with_value(|settings| board.edits.update_value(|edits| edits.insist(&mine, settings)));
        board.refresh();
    });
    let undo = click(move || {
        board.edits.update_value(|edits| edits.forget(&theirs));
        board.refresh();
    });
    let (after, wrong) = match after {
        Ok(value) => ([&*said(&value), " ", &unit].concat(), None),
        Err(why) => (String::from("not valid"), Some(["it takes ", &*why].concat())),
    };
    let meanwhile = conflict.map(|began| {
        let (by, version) = match last_changed(board, &key) {
            Some((by, version)) => (by, [" (version ", &*format::count(version), ")"].concat()),
            None => (String::from("Somebody else"), String::new()),
        };
        let (from, to) = (said(&began), said(&before));
        let words = [&*by, " changed it meanwhile, from ", &from, " to ", &to, &version, "."];
        view! {
            <span class="meanwhile">
                {words.concat()}" "
                <button type="button" on:click=keep>"Keep mine"</button>
            </span>
        }
    });
    let name = match meanwhile.is_some() {
        true => "Take theirs",
        false => "Undo",
    };
    view! {
        <li>
            <code>{key.clone()}</code>
            <span class="diff"><del>{said(&before)}</del>" → "<ins>{after}</ins></span>
            {wrong.map(|why| view! { <span class="lost">{why}</span> })}
            {meanwhile}
            <button type="button" class="plain" on:click=undo aria-label=[name, ": ", &*key].concat()>{name}</button>
        </li>
    }
    .into_any()
}

/// "Version 8 is in force; this process applied it after 1.2 ms."
fn applied(status: &SettingsStatus) -> String {
    let version = format::count(status.in_force.version);
    let own = status
        .applied
        .first()
        .filter(|it| it.version == status.in_force.version);
    match own.and_then(|it| it.took_us) {
        Some(took_us) => {
            let took = format::latency_text(took_us as f64);
            [
                "Version ",
                &*version,
                " is in force: applied ",
                &*took,
                " after it was written.",
            ]
            .concat()
        }
        None => ["Version ", &*version, " is in force."].concat(),
    }
}

/// What the server said no with; a field that it names is marked.
async fn refused(board: Board, failure: Failure, token: &str) -> String {
    if failure.needs_token() {
        return needs_token(token).to_owned();
    }
    if failure.status == Some(412) {
        // What somebody else made of them meanwhile; what collides with it is marked then.
        if let Ok(status) = api::settings().await {
            let (version, by) = (
                format::count(status.in_force.version),
                status.in_force.changed_by.clone(),
            );
            board.take(status);
            let collides = board
                .pending
                .with_untracked(|all| all.iter().any(|it| it.conflict.is_some()));
            let then = match collides {
                true => "Decide what is to become of the keys that both of you changed.",
                false => "It touches none of your keys: apply them again.",
            };
            return [
                "Nothing was changed: version ",
                &*version,
                " came meanwhile, by ",
                &by,
                ". ",
                then,
            ]
            .concat();
        }
    }
    let field = failure.problem.as_ref().and_then(|problem| problem.field.as_ref());
    if let Some(field) = field {
        board.rows.with_untracked(|rows| {
            let named = |row: &&super::Row| row.key.with_value(|key| key.key == **field);
            if let Some(row) = rows.iter().find(named) {
                row.refuse(&failure.why);
            }
        });
    }
    let field = field.map(|field| [" (", &**field, ")"].concat()).unwrap_or_default();
    [&*failure.why, &field, ". Nothing was changed."].concat()
}
