//! The nodes, a row each: what each does, when it was heard from, and what can be done with it.

use freshet_wire::{ClusterNode, NodeAction, NodeRole};
use leptos::prelude::*;

use super::words::{self, News, title};
use super::{Faults, LeaseBar};
use crate::view::bind::{Class, Flag, Text, class, click, if_empty, is, live, say};
use crate::view::frame::{on_frame, put};
use crate::view::{Ui, format};

/// Rows are made so many at a time, and the card has no more.
const STEP: usize = 5;

/// In this order; what cannot be done now is not there.
const ACTIONS: [NodeAction; 5] = [
    NodeAction::Start,
    NodeAction::Heal,
    NodeAction::Resign,
    NodeAction::Isolate,
    NodeAction::Stop,
];

/// A node; empty as long as there is none.
#[derive(Clone, Copy)]
struct Row {
    look: Class,
    name: Text,
    role: Text,
    contact: Text,
    detail: Text,
    leads: StoredValue<bool>,
    /// Without it too few are left to elect one.
    is_needed: StoredValue<bool>,
    not_leader: Flag,
    lease: Text,
    left: LeaseBar,
    /// By [`ACTIONS`].
    cannot: [Flag; 5],
}

impl Row {
    fn new() -> Self {
        Self {
            look: Class::new("node"),
            name: Text::default(),
            role: Text::default(),
            contact: Text::default(),
            detail: Text::default(),
            leads: StoredValue::new(false),
            is_needed: StoredValue::new(false),
            not_leader: Flag::new(true),
            lease: Text::default(),
            left: LeaseBar::new(),
            cannot: [(); 5].map(|()| Flag::new(true)),
        }
    }
}

/// On the card nodes can be stopped and started; in the view (`whole`) all can be done that there is.
pub fn nodes(ui: Ui, whole: bool) -> AnyView {
    let rows = RwSignal::new((0..STEP).map(|_| Row::new()).collect::<Vec<_>>());
    let (more, said) = (Text::default(), ui.faults().said());
    let mut made_us = 0;
    on_frame(move |frame| {
        let news = News::of(frame, ui);
        let leads = |row: &&Row| !row.not_leader.get_untracked();
        rows.with_untracked(|rows| rows.iter().filter(leads).for_each(|row| row.left.show(frame, &news)));
        let Some(cluster) = news.cluster.filter(|_| !frame.model.paused || made_us == 0) else {
            return;
        };
        let fresh = cluster.now_us != made_us;
        // The figures four times a second, and what is new is said at once.
        if fresh || frame.quarter {
            if whole && cluster.nodes.len() > rows.with_untracked(Vec::len) {
                rows.update(|rows| rows.extend((0..STEP).map(|_| Row::new())));
            }
            let hidden = cluster.nodes.len().saturating_sub(rows.with_untracked(Vec::len));
            match hidden {
                0 => say(more, &[]),
                hidden => say(more, &[&format::count(hidden as u64), " more in the Leader view"]),
            }
            let mut nodes = cluster.nodes.iter();
            rows.with_untracked(|rows| rows.iter().for_each(|row| row.fill(nodes.next(), &news, whole)));
        }
        made_us = cluster.now_us;
    });
    view! {
        <ul class="nodes">{move || rows.get().into_iter().map(|row| row.view(ui, whole)).collect::<Vec<_>>()}</ul>
        <p class="dim" hidden=if_empty(more)>{live(more)}</p>
        <p class="state said" role="status">{live(said)}</p>
    }
    .into_any()
}

impl Row {
    fn fill(&self, node: Option<&ClusterNode>, news: &News<'_>, whole: bool) {
        let Some(node) = node else {
            put(self.name, String::new());
            return;
        };
        let leads = news.leader().is_some_and(|leader| leader.node == node.id);
        put(self.look, look(node, news.fresh));
        put(self.name, node.id.clone());
        let (role, contact) = news.node(node);
        put(self.role, role);
        // The leader's lease says more on the card, where there is less room.
        say(self.contact, &[if leads && !whole { "" } else { &contact }]);
        say(self.detail, &[if news.fresh { &node.detail } else { "" }]);
        self.leads.set_value(leads);
        let is_needed = news.cluster.is_some_and(|cluster| words::is_needed(cluster, &node.id));
        self.is_needed.set_value(is_needed);
        let lease = news.lease().filter(|_| leads && !whole);
        put(self.not_leader, lease.is_none());
        put(self.lease, lease.map(|(_, text)| text).unwrap_or_default());
        for (action, cannot) in ACTIONS.into_iter().zip(self.cannot) {
            // What was true some time ago is no ground to act on.
            let can = node.local && news.fresh && node.actions.contains(&action);
            let room = whole || matches!(action, NodeAction::Stop | NodeAction::Start);
            put(cannot, !(can && room));
        }
    }

    fn view(self, ui: Ui, whole: bool) -> AnyView {
        let button = |(action, cannot): (NodeAction, Flag)| {
            // On the card these are all that there are.
            (whole || matches!(action, NodeAction::Stop | NodeAction::Start))
                .then(|| self.button(ui.faults(), action, cannot))
        };
        let buttons: Vec<_> = ACTIONS.into_iter().zip(self.cannot).filter_map(button).collect();
        view! {
            <li class=class(self.look) hidden=if_empty(self.name)>
                <i class="mark" aria-hidden="true"></i>
                <span class="what">
                    <b>{live(self.name)}</b>" "<span>{live(self.role)}</span>
                    <span class="contact">{live(self.contact)}</span>
                    <span class="lost" hidden=if_empty(self.detail)>{live(self.detail)}</span>
                    <span class="lease" hidden=is(self.not_leader)>
                        <i><i node_ref=self.left.node></i></i>
                        <span class="small">{live(self.lease)}</span>
                    </span>
                </span>
                <span class="acts">{buttons}</span>
            </li>
        }
        .into_any()
    }

    fn button(self, faults: Faults, action: NodeAction, cannot: Flag) -> AnyView {
        let name = self.name;
        let label = move || name.with(|name| [title(action), " ", name].concat());
        let ask = click(move || {
            faults.ask(
                action,
                name.get_untracked(),
                self.leads.get_value(),
                self.is_needed.get_value(),
            )
        });
        view! { <button aria-label=label hidden=is(cannot) on:click=ask>{title(action)}</button> }.into_any()
    }
}

fn look(node: &ClusterNode, fresh: bool) -> &'static str {
    if !fresh {
        return "node unknown";
    }
    match node.role {
        NodeRole::Leader => "node leads",
        NodeRole::Stopped => "node ended",
        NodeRole::Unknown => "node unknown",
        NodeRole::Follower | NodeRole::Candidate | NodeRole::Lapsed => "node",
    }
}
