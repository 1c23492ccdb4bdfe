//! Publishing from the page: one event or a batch, and what the server answers.

use freshet_wire::Receipt;
use leptos::ev;
use leptos::html::{Input, Textarea};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::super::bind::{Class, Flag, Text, class, if_empty, is, is_focused, live, say};
use super::super::format;
use super::super::frame::{on_frame, put};
use super::super::workload::{given_token, keep_token};
use super::{Shared, choose};
use crate::api::{self, Failure, Publication};
use crate::route::View;

#[derive(Clone, Copy)]
struct Form {
    topic: NodeRef<Input>,
    data: NodeRef<Textarea>,
    batch: NodeRef<Input>,
    kind: NodeRef<Input>,
    partition_key: NodeRef<Input>,
    key: NodeRef<Input>,
    token: NodeRef<Input>,
}

impl Form {
    fn read(&self) -> Option<Publication> {
        let value = |input: NodeRef<Input>| input.get_untracked().map(|input| input.value().trim().to_owned());
        Some(Publication {
            topic: value(self.topic)?,
            data: self.data.get_untracked()?.value(),
            batch: self.batch.get_untracked()?.checked(),
            idempotency_key: value(self.key)?,
            kind: value(self.kind)?,
            partition_key: value(self.partition_key)?,
        })
    }

    /// A key that nobody used.
    fn fresh_key(&self) {
        if let Some(input) = self.key.get_untracked() {
            let half = || (js_sys::Math::random() * 4_294_967_296.0) as u64;
            let key = format!("{:08x}{:08x}", half(), half());
            input.set_value(&key);
        }
    }
}

pub(super) fn publish(shared: Shared) -> AnyView {
    let form = Form {
        topic: NodeRef::new(),
        data: NodeRef::new(),
        batch: NodeRef::new(),
        kind: NodeRef::new(),
        partition_key: NodeRef::new(),
        key: NodeRef::new(),
        token: NodeRef::new(),
    };
    let (answer, note) = (Text::default(), Text::default());
    let look = Class::new("state");
    let (no_token_needed, busy) = (Flag::new(true), Flag::new(false));
    // Set by hand, a key stays.
    let own_key = StoredValue::new(false);
    let ui = shared.ui;
    let filled = StoredValue::new(String::new());
    let mut seen = (None, None);
    on_frame(move |_| {
        let handle = ui.handle();
        let feed = handle.feed();
        let writable = shared.writable.get_value();
        if ui.view() != View::Topics || feed.topic == seen.0 && writable == seen.1 {
            return;
        }
        seen = (feed.topic.clone(), writable);
        let name = feed.topic.as_deref().unwrap_or_default();
        let offered = if writable == Some(true) { name } else { "" };
        // A name that was typed stays, and so does the one that is being typed.
        if let Some(input) = form.topic.get_untracked()
            && !is_focused(&input)
            && [filled.get_value().as_str(), offered, ""].contains(&input.value().as_str())
        {
            input.set_value(offered);
            filled.set_value(offered.to_owned());
        }
        match writable {
            Some(false) => say(
                note,
                &[
                    name,
                    " is only read here. Publish to a topic of your own: a new name makes one.",
                ],
            ),
            _ => say(note, &[]),
        }
        if form.key.get_untracked().is_some_and(|key| key.value().is_empty()) {
            form.fresh_key();
        }
    });
    let send = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let Some(publication) = form.read().filter(|_| !busy.get_untracked()) else {
            return;
        };
        let token = given_token(form.token);
        put(busy, true);
        say(answer, &[]);
        spawn_local(async move {
            let name = publication.topic.clone();
            let result = api::publish(publication, &token).await;
            put(busy, false);
            match result {
                Ok(receipts) => {
                    keep_token(&token);
                    put(no_token_needed, true);
                    put(look, "state");
                    put(answer, taken(&receipts));
                    if !own_key.get_value() {
                        form.fresh_key();
                    }
                    let is_read = ui.handle().feed().topic.as_ref() == Some(&name);
                    match is_read {
                        // It may have been made just now.
                        true => ui.handle().retry_feed(),
                        false => choose(ui, name),
                    }
                }
                Err(failure) => {
                    put(look, "state lost");
                    if failure.needs_token() {
                        keep_token("");
                        put(no_token_needed, false);
                    }
                    put(answer, refused(&failure, &token));
                }
            }
        });
    };
    let touched = move |_| own_key.set_value(true);
    view! {
        <section class="panel publish" aria-label="Publish">
            <div class="head"><h2>"Publish"</h2><span class="dim">"POST /topics/…/events"</span></div>
            <p class="dim" hidden=if_empty(note)>{live(note)}</p>
            <form class="parts" on:submit=send>
                <div class="form">
                    <label for="p-topic">"topic"</label>
                    <input id="p-topic" node_ref=form.topic autocomplete="off" spellcheck="false" required/>
                    <label for="p-kind">"type"</label>
                    <input id="p-kind" node_ref=form.kind placeholder="message" autocomplete="off"/>
                    <label for="p-partition">"partition key"</label>
                    <input id="p-partition" node_ref=form.partition_key autocomplete="off"/>
                    <label for="p-key">"Idempotency-Key"</label>
                    <input id="p-key" node_ref=form.key autocomplete="off" on:input=touched/>
                    <label for="p-token" hidden=is(no_token_needed)>"admin token, for this tab"</label>
                    <input id="p-token" type="password" node_ref=form.token autocomplete="off" hidden=is(no_token_needed)/>
                </div>
                <div class="form">
                    <label for="p-data">"data, as JSON"</label>
                    <label class="check"><input type="checkbox" node_ref=form.batch/>"one event a line"</label>
                    <textarea id="p-data" class="mono" rows="3" spellcheck="false" required node_ref=form.data
                        prop:value="{\"hello\": \"freshet\"}"></textarea>
                    <span class="actions">
                        <button class="go" type="submit" disabled=is(busy)>"Publish"</button>
                        <span class=class(look) role="status">{live(answer)}</span>
                    </span>
                </div>
            </form>
        </section>
    }
    .into_any()
}

/// Where it is in the log.
fn taken(receipts: &[Receipt]) -> String {
    let (Some(first), Some(last)) = (receipts.first(), receipts.last()) else {
        return String::from("Nothing was published.");
    };
    let offset = format::count(first.offset);
    let place = match receipts.len() {
        1 => ["In the log at offset ", &*offset].concat(),
        many => [
            &*format::count(many as u64),
            " events are in the log, at offsets ",
            &offset,
            " to ",
            &format::count(last.offset),
        ]
        .concat(),
    };
    let partition = match first.partition {
        0 => String::new(),
        partition => [" of partition ", &*format::count(partition.into())].concat(),
    };
    let again = match first.duplicate {
        true => "; it was there already: the same key and content change nothing",
        false => "",
    };
    [&*place, &partition, " of ", &first.topic, again, "."].concat()
}

fn refused(failure: &Failure, token: &str) -> String {
    if failure.needs_token() {
        let words = if token.is_empty() {
            "Only with the admin token can be published here."
        } else {
            "This is not the admin token."
        };
        return words.to_owned();
    }
    let status = failure
        .status
        .map(|status| [&*format::plain(status.into()), " "].concat());
    let field = failure.problem.as_ref().and_then(|problem| problem.field.as_ref());
    let field = field.map(|field| [" (", &**field, ")"].concat());
    let mut words = [&*status.unwrap_or_default(), &failure.why, &field.unwrap_or_default()].concat();
    // Nothing was said of whether it is in the log.
    if failure.status.is_none() {
        words.push_str(". Whether it is in the log is not known: sent again with the same key it is there once.");
    }
    words
}

#[cfg(test)]
mod tests {
    use freshet_wire::Epoch;

    use super::*;

    fn receipt(offset: u64, duplicate: bool) -> Receipt {
        Receipt {
            topic: "orders".to_owned(),
            epoch: Epoch::new(1),
            partition: 0,
            offset,
            id: "i".to_owned(),
            duplicate,
        }
    }

    #[test]
    fn an_answer_says_where_it_is_and_whether_it_was_there_before() {
        assert_eq!(taken(&[receipt(7, false)]), "In the log at offset 7 of orders.");
        assert!(taken(&[receipt(7, true)]).contains("was there already"));
        assert_eq!(
            taken(&[receipt(7, false), receipt(8, false)]),
            "2 events are in the log, at offsets 7 to 8 of orders."
        );
    }

    #[test]
    fn who_does_not_know_whether_it_is_in_the_log_is_told_what_to_do() {
        let mut failure = Failure::new("the server cannot be reached");
        assert!(refused(&failure, "").contains("sent again with the same key"));
        failure.status = Some(403);
        assert_eq!(refused(&failure, ""), "403 the server cannot be reached");
    }
}
