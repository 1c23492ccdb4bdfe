//! The Rate limits card: allowed against limited, and the clients that ask most.

use freshet_wire::{EngineState, LimitStatus, LimitedClient};
use leptos::html::I;
use leptos::prelude::*;

use super::bind::{Class, Text, class, if_empty, live, say, text};
use super::frame::{is_live, on_frame, put};
use super::leader::fill;
use super::limits_view::words::{left_at, rate, trouble};
use super::{Ui, format, lane_name};

const ROWS: usize = 3;

/// A client; empty as long as there is none.
#[derive(Clone, Copy)]
struct Row {
    client: Text,
    ok: Text,
    limited: Text,
    left: Text,
    /// Of the width: what was asked, of which the one at its end was refused.
    bars: [NodeRef<I>; 2],
}

pub fn limits(ui: Ui) -> AnyView {
    let rows = [(); ROWS].map(|()| Row {
        client: Text::default(),
        ok: Text::default(),
        limited: Text::default(),
        left: Text::default(),
        bars: [NodeRef::new(), NodeRef::new()],
    });
    let look = Class::new("panel third limits stale");
    let (head, more, away) = (Text::default(), Text::default(), Text::default());
    let (allowed, limited) = (text("–"), text("–"));
    let refused = Class::new("");
    let mut filled = false;
    on_frame(move |frame| {
        // The first time also while the page is paused.
        let first = !filled && frame.limits.is_some();
        if !(frame.quarter || first) {
            return;
        }
        let lane = frame.model.lane(ui.feed());
        let fresh = is_live(&lane.status) && frame.limits.is_some();
        put(
            look,
            if fresh {
                "panel third limits"
            } else {
                "panel third limits stale"
            },
        );
        let (by, _) = lane_name(lane.id);
        let Some(status) = frame.limits else {
            say(head, &["waiting for ", by]);
            return;
        };
        filled = true;
        let says = if is_live(&lane.status) { "" } else { " · no news by " };
        say(head, &[&quota(status), says, if says.is_empty() { "" } else { by }]);
        put(allowed, format::count(status.total.allowed));
        put(limited, format::count(status.total.limited));
        put(refused, if status.total.limited > 0 { "some" } else { "" });
        put(away, trouble(status));
        let asked = |client: &LimitedClient| client.counts.allowed + client.counts.limited;
        let most = status.clients.iter().map(asked).max().unwrap_or_default().max(1);
        let mut clients = status.clients.iter();
        for row in rows {
            match clients.next() {
                Some(client) => row.fill(client, most as f64, frame.now_us),
                None => put(row.client, String::new()),
            }
        }
        let others = u64::from(status.clients_total).saturating_sub(ROWS as u64);
        match others {
            0 => say(more, &[]),
            _ => say(more, &[&format::count(others), " more in the Limits view"]),
        }
    });
    view! {
        <section class=class(look) aria-label="Rate limits">
            <div class="head"><h2>"Rate limits"</h2><span class="dim">{live(head)}</span></div>
            <dl class="two">
                <div><dt>"allowed"</dt><dd>{live(allowed)}</dd></div>
                <div class=class(refused)><dt>"limited (429)"</dt><dd>{live(limited)}</dd></div>
            </dl>
            <ul>{rows.map(Row::view).into_iter().collect::<Vec<_>>()}</ul>
            <p class="dim foot" hidden=if_empty(more)>{live(more)}</p>
            <p class="warning">{live(away)}</p>
        </section>
    }
    .into_any()
}

impl Row {
    fn fill(&self, client: &LimitedClient, most: f64, now_us: f64) {
        let counts = &client.counts;
        put(self.client, client.client.clone());
        say(self.ok, &[&format::count(counts.allowed), " ok"]);
        match counts.limited {
            0 => say(self.limited, &[]),
            limited => say(self.limited, &[&format::count(limited), " limited"]),
        }
        match &client.standing {
            None => say(self.left, &["no quota holds"]),
            Some(standing) => {
                let left = format::count(left_at(standing, now_us).into());
                say(self.left, &[&left, " left of ", &standing.policy]);
            }
        }
        let asked = (counts.allowed + counts.limited) as f64;
        let shares = [asked / most, counts.limited as f64 / asked.max(1.0)];
        for (bar, share) in self.bars.iter().zip(shares) {
            if let Some(bar) = bar.get_untracked() {
                fill(&bar, share);
            }
        }
    }

    fn view(self) -> AnyView {
        let [asked, refused] = self.bars;
        view! {
            <li hidden=if_empty(self.client)>
                <b>{live(self.client)}</b>
                <span class="dim">
                    {live(self.ok)}
                    <span class="lost">{live(self.limited)}</span>
                    <span>{live(self.left)}</span>
                </span>
                <i aria-hidden="true"><i node_ref=asked><i node_ref=refused></i></i></i>
            </li>
        }
        .into_any()
    }
}

/// "embedded · 200 reads a second, each client"
fn quota(status: &LimitStatus) -> String {
    let read = status.policies.iter().find(|policy| policy.name == "read");
    let engine = match status.engine.state {
        EngineState::Up => "",
        _ => " is away",
    };
    let words = read.map(|policy| [" · ", &*rate(policy.quota, "read"), ", each client"].concat());
    [&*status.engine.name, engine, &words.unwrap_or_default()].concat()
}
