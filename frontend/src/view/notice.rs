//! What must not be overlooked, above everything else: no answer, a refusal, a broken promise.

use leptos::prelude::*;

use super::bind::{Text, if_empty, live};
use super::format;
use super::frame::{on_frame, put};
use crate::lane::{Lane, Status};
use crate::model::Model;

pub fn notice() -> AnyView {
    let (what, why) = (Text::default(), Text::default());
    let mut next_us = 0.0;
    on_frame(move |frame| {
        // Also while the picture is paused.
        if frame.now_us >= next_us {
            next_us = frame.now_us + 250e3;
            let (title, text) = trouble(frame.model, frame.now_us).unwrap_or_default();
            put(what, title);
            put(why, text);
        }
    });
    view! {
        <div class="notice" role="alert" hidden=if_empty(what)>
            // Only the first part is announced: the other counts seconds.
            <b>{live(what)}</b>
            <span class="dim" aria-live="off">{live(why)}</span>
        </div>
    }
    .into_any()
}

fn trouble(model: &Model, now_us: f64) -> Option<(String, String)> {
    let unexplained = model.poll.counters.unexplained + model.stream.counters.unexplained;
    if unexplained > 0 {
        let what = [
            &format::count(unexplained),
            " events are missing that nobody reported as missing.",
        ]
        .concat();
        return Some((
            what,
            String::from("This must never happen; please report it with the server's log."),
        ));
    }
    let lanes = [&model.poll, &model.stream];
    let mut wanted = lanes.into_iter().filter(|lane| lane.status != Status::Off).peekable();
    if wanted.peek().is_some() && wanted.all(|lane| is_lost(lane, now_us)) {
        return Some((String::from("The back end does not answer."), waiting(lanes, now_us)));
    }
    model
        .problem
        .as_ref()
        .map(|problem| (String::from("The server refused something."), problem.clone()))
}

fn is_lost(lane: &Lane, now_us: f64) -> bool {
    match lane.status {
        Status::Reconnecting { .. } => true,
        // A first attempt may take its time.
        Status::Connecting => now_us - lane.since_us > 3e6,
        _ => false,
    }
}

/// How old everything is, and when the next attempt is.
fn waiting(lanes: [&Lane; 2], now_us: f64) -> String {
    let newest = lanes
        .iter()
        .filter_map(|lane| lane.arrivals.newest())
        .map(|it| it.received_us)
        .reduce(f64::max);
    let retry = lanes
        .iter()
        .filter_map(|lane| match lane.status {
            Status::Reconnecting { retry_at_us, .. } => Some(retry_at_us - now_us),
            _ => None,
        })
        .reduce(f64::min);
    let mut text = match newest {
        Some(newest) => [
            "Nothing below is live: the newest event came ",
            &*format::ago(now_us - newest),
            " ago. ",
        ]
        .concat(),
        None => String::from("Nothing has come from it yet. "),
    };
    match retry {
        Some(left) if left > 0.0 => {
            text.push_str("Trying again in ");
            text.push_str(&format::ago(left + 999e3));
            text.push('.');
        }
        _ => text.push_str("Trying now."),
    }
    text
}
