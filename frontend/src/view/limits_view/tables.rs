//! The counters by policy and by client, and who is near a limit. Rows are made once and written into.

use freshet_wire::{LimitCounts, LimitStatus};
use leptos::prelude::*;

use super::super::bind::{Text, if_empty, live, say};
use super::super::frame::{Frame, on_frame, put};
use super::super::{Ui, format};
use super::words::{is_near, stands, words};
use crate::route::View;

/// Two for each class, and some to spare.
const POLICIES: usize = 16;
/// As many as the server names, and the others.
const CLIENTS: usize = 51;

pub(super) type Row<const N: usize> = [Text; N];

pub(super) fn table<const N: usize>(caption: &'static str, heads: [&'static str; N], rows: &[Row<N>]) -> AnyView {
    let heads: Vec<_> = heads
        .into_iter()
        .map(|head| view! { <th scope="col">{head}</th> })
        .collect();
    let row = |row: &Row<N>| {
        let cells: Vec<_> = row[1..].iter().map(|cell| view! { <td>{live(*cell)}</td> }).collect();
        view! { <tr hidden=if_empty(row[0])><th scope="row">{live(row[0])}</th>{cells}</tr> }
    };
    view! {
        <div class="scroll" tabindex="0" role="region" aria-label=caption>
            <table>
                <caption class="unseen">{caption}</caption>
                <thead><tr>{heads}</tr></thead>
                <tbody>{rows.iter().map(row).collect::<Vec<_>>()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

pub(super) fn rows<const N: usize>(count: usize) -> Vec<Row<N>> {
    (0..count).map(|_| [(); N].map(|()| Text::default())).collect()
}

/// Writes one row after the other, and empties the rest.
pub(super) fn fill<const N: usize>(rows: &[Row<N>], mut values: impl Iterator<Item = [String; N]>) {
    for row in rows {
        match values.next() {
            Some(values) => row.iter().zip(values).for_each(|(cell, value)| put(*cell, value)),
            None => put(row[0], String::new()),
        }
    }
}

/// The figures, when it is time to write them.
pub(super) fn due<'a>(frame: &Frame<'a>, ui: Ui) -> Option<&'a LimitStatus> {
    frame.limits.filter(|_| frame.quarter && ui.view() == View::Limits)
}

pub fn policies(ui: Ui) -> AnyView {
    let rows = rows::<5>(POLICIES);
    let on_rows = rows.clone();
    on_frame(move |frame| {
        let Some(limits) = due(frame, ui) else { return };
        let values = limits.policies.iter().map(|policy| {
            [
                policy.name.clone(),
                words(policy.quota),
                format::count(policy.allowed),
                format::count(policy.limited),
                format::count(policy.near),
            ]
        });
        fill(&on_rows, values);
    });
    let heads = ["policy", "in words", "allowed", "limited", "near"];
    view! {
        <section class="panel policies" aria-label="By policy">
            <div class="head">
                <h2>"By policy"</h2>
                <span class="dim">"a request must find room in both policies of its class; one that both refuse counts in both"</span>
            </div>
            {table("Policies", heads, &rows)}
        </section>
    }
    .into_any()
}

pub fn clients(ui: Ui) -> AnyView {
    let rows = rows::<6>(CLIENTS);
    let on_rows = rows.clone();
    let (head, near) = (Text::default(), Text::default());
    on_frame(move |frame| {
        let Some(limits) = due(frame, ui) else { return };
        let now_us = frame.now_us;
        let named = limits.clients.iter().map(|client| {
            let standing = client.standing.as_ref().map(|standing| {
                let near = if is_near(standing, now_us) { " · near" } else { "" };
                [&*standing.policy, ": ", &stands(standing, now_us), near].concat()
            });
            let ago = [&*format::ago(now_us - client.last_us as f64), " ago"].concat();
            row(
                client.client.clone(),
                &client.counts,
                standing.unwrap_or_else(|| String::from("–")),
                ago,
            )
        });
        let unnamed = (limits.others != LimitCounts::default()).then(|| {
            row(
                String::from("others"),
                &limits.others,
                String::from("–"),
                String::from("–"),
            )
        });
        fill(&on_rows, named.chain(unnamed));
        let count = format::count(limits.clients_total.into());
        say(head, &[&count, " remembered; the 50 with the most requests by name"]);
        let at_limit: Vec<_> = limits
            .clients
            .iter()
            .filter(|client| client.standing.as_ref().is_some_and(|it| is_near(it, now_us)))
            .map(|client| &*client.client)
            .take(5)
            .collect();
        match at_limit[..] {
            [] => say(near, &["Nobody is near a limit now."]),
            _ => say(near, &["Near a limit now: ", &at_limit.join(", ")]),
        }
    });
    let heads = [
        "client",
        "allowed",
        "limited",
        "shed, denied",
        "tightest policy, left now",
        "last",
    ];
    view! {
        <section class="panel clients" aria-label="By client">
            <div class="head"><h2>"By client"</h2><span class="dim">{live(head)}</span></div>
            <p class="state">{live(near)}</p>
            {table("Clients", heads, &rows)}
        </section>
    }
    .into_any()
}

fn row(name: String, counts: &LimitCounts, standing: String, last: String) -> [String; 6] {
    [
        name,
        format::count(counts.allowed),
        format::count(counts.limited),
        format::count(counts.shed + counts.denied),
        standing,
        last,
    ]
}
