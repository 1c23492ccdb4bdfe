//! Raft's own view: terms, votes and logs of the nodes. Not there where another engine elects.

use freshet_wire::RaftView;
use leptos::prelude::*;

use super::super::bind::{Flag, Text, is, live, say};
use super::super::frame::{on_frame, put};
use super::super::leader::words::{self, News};
use super::super::panel::{Rows, table};
use super::super::{Ui, format};
use crate::route::View;

pub fn raft(ui: Ui) -> AnyView {
    let (head, foot) = (Text::default(), Text::default());
    let (no_raft, no_table) = (Flag::new(true), Flag::new(false));
    let rows = Rows::default();
    let mut made_us = 0;
    on_frame(move |frame| {
        let news = News::of(frame, ui);
        if ui.view() != View::Leader || frame.model.paused && made_us != 0 {
            return;
        }
        let Some(cluster) = news
            .cluster
            .filter(|cluster| cluster.now_us != made_us || frame.quarter)
        else {
            return;
        };
        made_us = cluster.now_us;
        put(no_raft, cluster.raft.is_none());
        let Some(raft) = &cluster.raft else { return };
        match (news.fresh, raft.term) {
            (true, Some(term)) => say(head, &["term ", &words::number(term)]),
            (true, None) => say(head, &["no node runs"]),
            (false, _) => say(head, &["unknown now: no news by ", news.by]),
        }
        put(foot, timing(raft));
        put(rows, if news.fresh { nodes(raft) } else { Vec::new() });
    });
    const HEADS: [&str; 5] = ["node", "term", "votes for", "log", "committed"];
    view! {
        <section class="panel raft" aria-label="Raft" hidden=is(no_raft)>
            <div class="head"><h2>"Raft"</h2><span class="dim">{live(head)}</span></div>
            {table(no_table, "Each node's term, vote and log", &HEADS, rows)}
            <p class="dim foot">{live(foot)}</p>
        </section>
    }
    .into_any()
}

fn nodes(raft: &RaftView) -> Vec<Vec<String>> {
    let index = |index: Option<u64>| index.map_or_else(|| String::from("–"), words::number);
    let row = |node: &freshet_wire::RaftNode| {
        let vote = match (&node.voted_for, node.is_committed) {
            (Some(other), true) => [&**other, ", elected"].concat(),
            (Some(other), false) => other.clone(),
            (None, _) => String::from("nobody"),
        };
        vec![
            node.id.clone(),
            words::number(node.term),
            vote,
            index(node.last_log),
            index(node.committed),
        ]
    };
    raft.nodes.iter().map(row).collect()
}

/// "2 nodes must agree · heartbeat 50 ms · election timeout 250–500 ms after the lease"
fn timing(raft: &RaftView) -> String {
    let ms = |ms: u64| words::lasted(ms as f64 * 1e3);
    let quorum = format::count(raft.quorum.into());
    let unit = if raft.quorum == 1 { " node" } else { " nodes" };
    let words = [
        &*quorum,
        unit,
        " must agree · heartbeat ",
        &ms(raft.heartbeat_ms),
        " · election timeout ",
        &ms(raft.election_timeout_min_ms),
        " to ",
        &ms(raft.election_timeout_max_ms),
        ", after the lease",
    ];
    words.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_is_told_from_an_election() {
        let text = r#"{"term":7,"quorum":2,"heartbeat_ms":50,"election_timeout_min_ms":250,"election_timeout_max_ms":500,"nodes":[
            {"id":"node-1","term":7,"voted_for":"node-2","is_committed":true,"last_log":9,"committed":8},
            {"id":"node-3","term":6,"voted_for":null,"is_committed":false,"last_log":null,"committed":null}]}"#;
        let raft: RaftView = serde_json::from_str(text).unwrap();
        assert_eq!(
            nodes(&raft),
            [
                ["node-1", "7", "node-2, elected", "9", "8"],
                ["node-3", "6", "nobody", "–", "–"]
            ]
        );
        let timing = timing(&raft).replace('\u{a0}', " ");
        assert_eq!(
            timing,
            "2 nodes must agree · heartbeat 50 ms · election timeout 250 ms to 500 ms, after the lease"
        );
    }
}
