//! The live feed of the topic that is chosen: its head, its controls, its rows, and what was let go.

use leptos::prelude::*;

use super::super::bind::{Class, Flag, Text, class, click, if_empty, live, pressed, say, text};
use super::super::format;
use super::super::frame::{on_frame, put};
use super::super::panel::Empty;
use super::{Shared, controls, rows};
use crate::feed::rows::Rows;
use crate::feed::{Feed, Pause};
use crate::lane::Status;
use crate::route::View;

/// An event that is younger than this when it comes is of now.
const NOW_US: f64 = 2e6;

pub(super) fn feed(shared: Shared) -> AnyView {
    let ui = shared.ui;
    let (title, state, foot, lost) = (text("Feed"), Text::default(), Text::default(), Text::default());
    let look = Class::new("live");
    let paused = Flag::new(false);
    let pause_words = text("Pause");
    let empty = Empty {
        title: Text::default(),
        text: Text::default(),
    };
    let mut next_us = 0.0;
    on_frame(move |frame| {
        // Four times a second, also while the page's pictures are paused: the feed has a pause of its own.
        if ui.view() != View::Topics || frame.now_us < next_us && next_us - frame.now_us < 1e6 {
            return;
        }
        next_us = frame.now_us + 250e3;
        let handle = ui.handle();
        let feed = handle.feed();
        say(title, &[feed.topic.as_deref().unwrap_or("Feed")]);
        let (words, class) = said(&feed, frame.now_us);
        put(state, words);
        put(look, class);
        let stopped = feed.pause == Some(Pause::Wanted);
        put(paused, stopped);
        say(pause_words, &[if stopped { "Resume" } else { "Pause" }]);
        put(foot, counts(&feed));
        put(lost, losses(&feed));
        let (what, why) = why_empty(&feed).unwrap_or_default();
        say(empty.title, &[what]);
        put(empty.text, why);
    });
    let pause = click(move || {
        let handle = ui.handle();
        let wanted = handle.feed().pause != Some(Pause::Wanted);
        handle.tell_feed(|feed| feed.set_pause(wanted.then_some(Pause::Wanted)));
        put(paused, wanted);
        say(pause_words, &[if wanted { "Resume" } else { "Pause" }]);
    });
    view! {
        <section class="panel feed" aria-label="Feed">
            <div class="head">
                <h2>{live(title)}</h2>
                <span class="dim"><span class=class(look) role="status">{live(state)}</span></span>
                <span class="end">
                    <button class="pause" on:click=pause aria-pressed=pressed(paused)
                        title="Stops reading and keeps the place: nothing is missed">{live(pause_words)}</button>
                    {controls::buttons(shared)}
                </span>
            </div>
            {controls::filters(shared)}
            {controls::replay(shared)}
            <div class="stage">
                {rows::rows(shared)}
                {empty.view()}
            </div>
            <p class="foot dim">
                <span>{live(foot)}</span>
                <span class="lost" hidden=if_empty(lost)>{live(lost)}</span>
            </p>
        </section>
    }
    .into_any()
}

/// What the feed is doing.
fn said(feed: &Feed, now_us: f64) -> (String, &'static str) {
    let retry = |retry_at_us: f64| match retry_at_us - now_us {
        left if left > 1e6 => ["; trying again in ", &*format::ago(left)].concat(),
        _ => String::from("; trying again"),
    };
    let place = || match &feed.cursor {
        Some(cursor) => {
            let next: Vec<_> = cursor.next.iter().map(|next| format::count(*next)).collect();
            [" at offset ", &*next.join(", ")].concat()
        }
        None => String::new(),
    };
    match (feed.pause, &feed.status) {
        (Some(Pause::Wanted), _) => (["paused", &*place(), ": nothing is missed"].concat(), "live"),
        (Some(Pause::Full), _) => (["full", &*place(), ": Clear, or the newest, reads on"].concat(), "live"),
        (_, Status::Off) => (String::from("no topic is chosen"), "live"),
        (_, Status::Connecting) => (String::from("connecting"), "live"),
        (_, Status::Refused { why, retry_at_us } | Status::Limited { why, retry_at_us }) => {
            ([&**why, &retry(*retry_at_us)].concat(), "live lost")
        }
        (_, Status::Reconnecting { why, retry_at_us, .. }) => {
            (["disconnected: ", &**why, &retry(*retry_at_us)].concat(), "live lost")
        }
        (_, Status::Live) => match &feed.newest {
            Some(newest) if newest.sent_us as f64 - newest.ingested_us as f64 > NOW_US && !feed.is_quiet(now_us) => {
                let behind = format::ago(newest.sent_us as f64 - newest.ingested_us as f64);
                (["reading what is kept: ", &*behind, " old"].concat(), "live")
            }
            _ => (String::from("live"), "live well"),
        },
    }
}

/// What is there, and what was let go.
fn counts(feed: &Feed) -> String {
    let rows = &feed.rows;
    let mut out = String::new();
    if rows.is_filtered() {
        out.push_str(&format::count(rows.shown() as u64));
        out.push_str(if rows.is_scanned() { " of " } else { " so far of " });
    }
    let let_go = match rows.let_go {
        0 => String::new(),
        rows => [" · let go the oldest ", &*format::count(rows)].concat(),
    };
    let cut = match rows.cut_bytes {
        0 => String::new(),
        bytes => [" · let go ", &*format::bytes(bytes as f64), " of long texts"].concat(),
    };
    for part in [
        &*format::count(rows.len() as u64),
        if rows.len() == 1 { " row, " } else { " rows, " },
        &format::bytes(rows.bytes() as f64),
        " · read ",
        &format::count(feed.counters.events),
        &let_go,
        &cut,
        " · duplicates dropped ",
        &format::count(feed.counters.duplicates),
        " · here are kept at most ",
        &format::count(Rows::MOST as u64),
        " rows and ",
        &format::bytes(Rows::MOST_BYTES as f64),
    ] {
        out.push_str(part);
    }
    out
}

fn losses(feed: &Feed) -> String {
    let counters = &feed.counters;
    let mut out = String::new();
    if counters.missed > 0 {
        out.push_str(&format::count(counters.missed));
        out.push_str(" missed");
    }
    if counters.unknown_gaps > 0 {
        out.push_str(if out.is_empty() { "" } else { " · " });
        out.push_str("gaps of unknown length: ");
        out.push_str(&format::count(counters.unknown_gaps));
    }
    if counters.unexplained > 0 {
        out.push_str(if out.is_empty() { "" } else { " · " });
        out.push_str("holes that nobody told of: ");
        out.push_str(&format::count(counters.unexplained));
    }
    out
}

fn why_empty(feed: &Feed) -> Option<(&'static str, String)> {
    let rows = &feed.rows;
    if rows.shown() > 0 {
        return None;
    }
    if rows.len() > 0 {
        return Some(match rows.is_scanned() {
            true => (
                "No row is as the filter wants it",
                String::from("Those that come are held against it, too."),
            ),
            false => ("Searching", String::new()),
        });
    }
    Some(match (&feed.status, feed.pause) {
        (_, Some(_)) => (
            "Nothing is shown",
            String::from("The feed is paused: Resume reads on from where it was."),
        ),
        (Status::Live, _) => (
            "No event yet",
            String::from("It is connected: the next one is shown as soon as it comes."),
        ),
        (Status::Off, _) => (
            "No topic is chosen",
            String::from("Choose one from the list of topics."),
        ),
        (Status::Connecting, _) => ("Connecting", String::new()),
        (Status::Reconnecting { .. }, _) => (
            "No connection",
            String::from("Reading goes on where it was as soon as the back end answers."),
        ),
        (Status::Refused { why, .. } | Status::Limited { why, .. }, _) => ("The server refused it", why.clone()),
    })
}
