//! Where this page's client stands with every policy, running down.

use std::cell::RefCell;
use std::rc::Rc;

use freshet_wire::ClientLimits;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::super::bind::{Text, live, say};
use super::super::frame::on_frame;
use super::super::{Ui, format};
use super::tables::{fill, rows, table};
use super::words::left_at;
use crate::api;
use crate::route::View;

const ROWS: usize = 16;
/// Between two looks, which spend one `read` each.
const EVERY_US: f64 = 2e6;

#[derive(Default)]
struct Own {
    limits: Option<ClientLimits>,
    why: Option<String>,
    asking: bool,
    next_us: f64,
}

pub fn own(ui: Ui) -> AnyView {
    let rows = rows::<4>(ROWS);
    let on_rows = rows.clone();
    let head = Text::default();
    let own = Rc::new(RefCell::new(Own::default()));
    on_frame(move |frame| {
        if !frame.quarter || ui.view() != View::Limits {
            return;
        }
        let now_us = frame.now_us;
        let mut it = own.borrow_mut();
        if !it.asking && (now_us >= it.next_us || it.next_us - now_us > 700e6) {
            it.asking = true;
            let (own, handle) = (Rc::clone(&own), ui.handle());
            spawn_local(async move {
                let result = api::own_limits().await;
                let mut it = own.borrow_mut();
                it.asking = false;
                it.next_us = handle.now_us() + EVERY_US;
                match result {
                    Ok(limits) => {
                        it.limits = Some(limits);
                        it.why = None;
                    }
                    Err(failure) => {
                        // However long it takes: a quota can be changed at any time.
                        it.next_us += 1e3 * f64::from(failure.retry_after_ms.unwrap_or(0)).min(3000.0);
                        // What was told before the quota was spent is not how it stands.
                        it.limits = None;
                        it.why = Some(failure.why);
                    }
                }
            });
        }
        let Some(limits) = &it.limits else {
            say(head, &[it.why.as_deref().unwrap_or("waiting for the server")]);
            fill(&on_rows, std::iter::empty());
            return;
        };
        let age = format::ago(now_us - limits.now_us as f64);
        match &it.why {
            Some(why) => say(head, &["as of ", &age, " ago: ", why]),
            None if limits.exempt => say(head, &[&limits.client, " is exempt: no quota holds for it"]),
            None => say(head, &[&limits.client, " · asked every 2 s, which spends one read"]),
        }
        let values = limits.standings.iter().map(|standing| {
            let whole_us = standing.full_us as f64 - now_us;
            [
                standing.policy.clone(),
                format::count(left_at(standing, now_us).into()),
                format::count(standing.quota.quota.into()),
                match whole_us > 0.0 {
                    true => ["in ", &*format::ago(whole_us + 999e3)].concat(),
                    false => String::from("now"),
                },
            ]
        });
        fill(&on_rows, values);
    });
    let heads = ["policy", "left", "of", "whole again"];
    view! {
        <section class="panel own" aria-label="This page">
            <div class="head"><h2>"This page"</h2><span class="dim">{live(head)}</span></div>
            {table("What this page's client has left", heads, &rows)}
        </section>
    }
    .into_any()
}
