//! What can be done to the nodes of the program that serves this page: asked once more before it is done, and its result said.

use freshet_wire::NodeAction;
use leptos::html::{Dialog, Input};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::words;
use crate::api;
use crate::view::Ui;
use crate::view::bind::{Flag, Text, click, if_empty, is, live, say};
use crate::view::frame::{on_frame, put};
use crate::view::workload::{given_token, keep_token};

/// What came of something stands for so long: soon it is not of now any more.
const SAID_US: f64 = 8e6;

/// The question, whatever it is about: there is one dialog for all nodes.
#[derive(Clone, Copy)]
pub struct Faults {
    dialog: NodeRef<Dialog>,
    secret: NodeRef<Input>,
    wanted: StoredValue<Option<(NodeAction, String)>>,
    /// How long an election takes, as the engine says.
    election: StoredValue<String>,
    title: Text,
    text: Text,
    answer: Text,
    no_token_needed: Flag,
    busy: Flag,
    said: Text,
}

impl Faults {
    pub fn new() -> Self {
        Self {
            dialog: NodeRef::new(),
            secret: NodeRef::new(),
            wanted: StoredValue::new(None),
            election: StoredValue::new(String::new()),
            title: Text::default(),
            text: Text::default(),
            answer: Text::default(),
            no_token_needed: Flag::new(true),
            busy: Flag::new(false),
            said: Text::default(),
        }
    }

    /// What came of the last thing that was done.
    pub fn said(&self) -> Text {
        self.said
    }

    /// Asks whether this is to be done.
    pub fn ask(&self, action: NodeAction, node: String, leads: bool, is_needed: bool) {
        say(self.title, &[words::title(action), " ", &node]);
        let text = self
            .election
            .with_value(|election| words::consequence(action, leads, is_needed, election));
        put(self.text, text);
        say(self.answer, &[]);
        self.wanted.set_value(Some((action, node)));
        if let Some(dialog) = self.dialog.get_untracked() {
            let _ = dialog.show_modal();
        }
    }

    fn close(&self) {
        if let Some(dialog) = self.dialog.get_untracked() {
            dialog.close();
        }
    }

    fn send(self) {
        let Some((action, node)) = self.wanted.get_value().filter(|_| !self.busy.get_untracked()) else {
            return;
        };
        let token = given_token(self.secret);
        put(self.busy, true);
        say(self.answer, &[]);
        spawn_local(async move {
            let result = api::act(&node, action, &token).await;
            put(self.busy, false);
            match result {
                Ok(_) => {
                    keep_token(&token);
                    self.forget_typed();
                    put(self.no_token_needed, true);
                    put(self.said, words::outcome(action, &node));
                    self.close();
                }
                Err(failure) if failure.needs_token() => {
                    keep_token("");
                    self.forget_typed();
                    put(self.no_token_needed, false);
                    let why = match token.is_empty() {
                        true => "Only with the admin token can this be done.",
                        false => "This is not the admin token.",
                    };
                    say(self.answer, &[why]);
                    if let Some(input) = self.secret.get_untracked() {
                        let _ = input.focus();
                    }
                }
                Err(failure) => put(self.answer, failure.why),
            }
        });
    }

    fn forget_typed(&self) {
        if let Some(input) = self.secret.get_untracked() {
            input.set_value("");
        }
    }
}

/// The dialog itself. It stands at the page's end, and is shown above everything else.
pub fn question(ui: Ui) -> AnyView {
    let faults = ui.faults();
    let mut version = None;
    let mut said = (String::new(), 0.0);
    on_frame(move |frame| {
        // Also while the pictures are paused.
        if faults.said.with_untracked(|words| *words != said.0) {
            said = (faults.said.get_untracked(), frame.now_us + SAID_US);
        } else if !said.0.is_empty() && frame.now_us > said.1 {
            put(faults.said, String::new());
            said.0.clear();
        }
        // What the engine says of itself is not changed while it runs.
        let engine = frame.cluster.map(|cluster| cluster.election.since_us);
        if engine != version {
            version = engine;
            faults.election.set_value(words::election_time(frame.cluster));
        }
    });
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        faults.send();
    };
    let cancel = click(move || faults.close());
    view! {
        <dialog node_ref=faults.dialog aria-labelledby="fault-title" aria-describedby="fault-text">
            <form on:submit=send>
                <h2 id="fault-title">{live(faults.title)}"?"</h2>
                <p id="fault-text" class="dim">{live(faults.text)}</p>
                <p hidden=is(faults.no_token_needed)>
                    <label for="fault-token">"admin token, kept for this tab"</label>
                    <input id="fault-token" type="password" node_ref=faults.secret autocomplete="off"/>
                </p>
                <p class="state lost" role="alert" hidden=if_empty(faults.answer)>{live(faults.answer)}</p>
                <p class="actions">
                    <button type="button" on:click=cancel>"Cancel"</button>
                    <button class="go" type="submit" disabled=is(faults.busy)>{live(faults.title)}</button>
                </p>
            </form>
        </dialog>
    }
    .into_any()
}
