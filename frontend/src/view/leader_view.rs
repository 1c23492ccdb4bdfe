//! The Leader view: who leads, every node and what can be done with it, what came before, and Raft's own view.

mod raft;
mod timeline;

use leptos::prelude::*;

use super::Ui;
use super::bind::{Class, Flag, Text, class, if_empty, is, live, say};
use super::frame::{on_frame, put};
use super::leader::words::{self, News};
use super::leader::{LeaseBar, nodes};
use super::tabs::hidden_unless;
use crate::route::View;

pub fn leader_view(ui: Ui) -> AnyView {
    view! {
        <main id="leader" hidden=hidden_unless(ui, View::Leader)>
            {now(ui)}
            {timeline::timeline(ui)}
            <section class="panel members" aria-label="Nodes">
                <div class="head">
                    <h2>"Nodes"</h2>
                    <span class="dim">"what is done to a node of this process is not kept over a restart"</span>
                </div>
                {nodes(ui, true)}
            </section>
            {raft::raft(ui)}
        </main>
    }
    .into_any()
}

/// Who leads now, and the figures.
fn now(ui: Ui) -> AnyView {
    let look = Class::new("panel now unknown");
    let (head, who, says, lease, engine, warning) = (
        Text::default(),
        Text::default(),
        Text::default(),
        Text::default(),
        Text::default(),
        Text::default(),
    );
    let figures = [(); 6].map(|()| Text::default());
    let [token_word, token, changes, failovers, refused, held] = figures;
    let no_lease = Flag::new(true);
    let left = LeaseBar::new();
    let mut filled = false;
    on_frame(move |frame| {
        if ui.view() != View::Leader {
            return;
        }
        let news = News::of(frame, ui);
        left.show(frame, &news);
        let first = !filled && news.cluster.is_some();
        if !(frame.quarter || first || news.is_leaderless() && !frame.model.paused) {
            return;
        }
        filled |= first;
        let (name, how, state) = news.headline();
        put(
            look,
            match state {
                "led" => "panel now",
                "leaderless" => "panel now leaderless",
                _ => "panel now unknown",
            },
        );
        put(who, name);
        put(says, how);
        let said = news.lease();
        put(no_lease, said.is_none());
        put(lease, said.map(|(_, text)| text).unwrap_or_default());
        let Some(cluster) = news.cluster else {
            say(head, &["waiting for ", news.by]);
            return;
        };
        let by = if news.fresh {
            " · by "
        } else {
            " · figures are old: no news by "
        };
        say(
            head,
            &[
                &cluster.election.name,
                " · ",
                &cluster.scope,
                " · seen by ",
                &cluster.node,
                by,
                news.by,
            ],
        );
        say(engine, &[&cluster.election.detail]);
        put(warning, words::flapping(cluster));
        say(token_word, &[words::token_name(&cluster.election.name)]);
        let known = news.leader().map(|leader| words::number(leader.token.number));
        let nobody = if news.is_leaderless() { "none" } else { "unknown" };
        put(token, known.unwrap_or_else(|| String::from(nobody)));
        put(changes, words::number(cluster.leader_changes));
        put(failovers, words::failovers(cluster));
        put(refused, words::number(cluster.stale.refused));
        put(held, words::number(cluster.stale.held_back));
    });
    view! {
        <section class=class(look) aria-label="Who leads">
            <div class="head"><h2>"Who leads"</h2><span class="dim">{live(head)}</span></div>
            <div class="parts">
                <div>
                    <p class="who"><b>{live(who)}</b>" "<span>{live(says)}</span></p>
                    <p class="lease" hidden=is(no_lease)>
                        <i><i node_ref=left.node></i></i>
                        <span class="dim">{live(lease)}</span>
                    </p>
                </div>
                <dl>
                    <div><dt>{live(token_word)}", the fencing token"</dt><dd>{live(token)}</dd></div>
                    <div><dt>"leaderships seen"</dt><dd>{live(changes)}</dd></div>
                    <div><dt>"stale writes refused by the log"</dt><dd>{live(refused)}</dd></div>
                    <div><dt>"held back by the leader itself"</dt><dd>{live(held)}</dd></div>
                </dl>
            </div>
            <p class="dim">{live(failovers)}</p>
            <p class="state lost" hidden=if_empty(engine)>{live(engine)}</p>
            <p class="warning" role="alert" hidden=if_empty(warning)>{live(warning)}</p>
        </section>
    }
    .into_any()
}
