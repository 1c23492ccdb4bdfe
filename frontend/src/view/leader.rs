//! The Leader card: who leads, each node, what came before; and what the Leader view shares with it.

mod faults;
mod lease_bar;
mod nodes;
pub mod picture;
pub mod words;

use leptos::prelude::*;

pub use self::faults::{Faults, question};
pub use self::lease_bar::{LeaseBar, fill};
pub use self::nodes::nodes;
use self::picture::{Picture, Window};
use self::words::News;
use super::Ui;
use super::bind::{Class, Text, class, live, say};
use super::frame::{on_frame, put};
use super::point;

/// What the card's picture reaches back at most.
const REACH_US: f64 = 300e6;

pub fn leader(ui: Ui) -> AnyView {
    let (head, who, says, foot) = (Text::default(), Text::default(), Text::default(), Text::default());
    let warning = Text::default();
    let look = Class::new("panel third leader unknown");
    let mut picture = Picture::strip(Window::Most(REACH_US));
    let node = picture.node();
    let mut filled = false;
    on_frame(move |frame| {
        let news = News::of(frame, ui);
        picture.paint(frame, &news);
        // The first time also while the page is paused; a clock that runs while nobody leads is seen to run.
        let first = !filled && news.cluster.is_some();
        if !(frame.quarter || first || news.is_leaderless() && !frame.model.paused) {
            return;
        }
        filled |= first;
        let (name, how, state) = news.headline();
        put(
            look,
            match state {
                "led" => "panel third leader",
                "leaderless" => "panel third leader leaderless",
                _ => "panel third leader unknown",
            },
        );
        put(who, name);
        put(says, how);
        say(head, &[&heading(&news)]);
        put(warning, news.cluster.map(words::flapping).unwrap_or_default());
        put(foot, news.cluster.map(footing).unwrap_or_default());
    });
    view! {
        <section class=class(look) aria-label="Leader">
            <div class="head"><h2>"Leader"</h2><span class="dim">{live(head)}</span></div>
            <p class="who"><b>{live(who)}</b>" "<span>{live(says)}</span></p>
            {nodes(ui, false)}
            // What it shows is in the Leader view also in words and as a table.
            <div class="strip">{point::picture(node)}</div>
            <p class="dim foot">{live(foot)}</p>
            <p class="warning">{live(warning)}</p>
        </section>
    }
    .into_any()
}

/// "raft · term 7 · by streaming"
fn heading(news: &News<'_>) -> String {
    let Some(cluster) = news.cluster else {
        return ["waiting for ", news.by].concat();
    };
    let engine = &cluster.election.name;
    let token = news.leader().map(|leader| {
        let number = words::number(leader.token.number);
        [" · ", words::token_name(engine), " ", &*number].concat()
    });
    let by = if news.fresh { " · by " } else { " · no news by " };
    [&**engine, &token.unwrap_or_default(), by, news.by].concat()
}

fn footing(cluster: &freshet_wire::Cluster) -> String {
    [&*words::failovers(cluster), " · ", &words::stale(cluster)].concat()
}
