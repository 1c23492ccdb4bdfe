//! The head of the page: name, tabs, clock, whether what is shown is live, pause and theme.

use freshet_wire::Deliveries;
use leptos::prelude::*;

use super::bind::{Class, Flag, Text, class, click, if_empty, live, pressed, say, text};
use super::frame::{is_live, on_frame, put};
use super::notice::{called, down, notice, silent_us};
use super::{Ui, format, lane_name, tabs, theme};
use crate::lane::{LaneId, Status};
use crate::model::Model;

pub fn header(ui: Ui) -> AnyView {
    let (clock, clock_title) = (Text::default(), Text::default());
    let words = text("connecting");
    let look = Class::new("live");
    let paused = Flag::new(ui.handle().model().paused);
    let pause_words = text("Pause");
    on_frame(move |frame| {
        // A paused picture must not hide that the connection is lost.
        if !frame.tick {
            return;
        }
        let (text, class) = state(frame.model, frame.deliveries, frame.now_us);
        put(words, text);
        put(look, class);
        put(paused, frame.model.paused);
        dim(frame.model.paused);
        say(pause_words, &[pause_word(frame.model.paused)]);
        if let Some(offset) = frame.model.offset() {
            put(clock, format::offset(offset.offset_us, offset.bound_us));
        }
        let fine = if frame.model.cross_origin_isolated {
            "5 µs"
        } else {
            "0.1 ms at best: the page is not isolated"
        };
        say(
            clock_title,
            &[
                "The server's clock minus this page's, and the bound of its error. This page's clock ticks every ",
                fine,
            ],
        );
    });
    let pause = click(move || {
        let handle = ui.handle();
        let pause = !handle.model().paused;
        handle.set_paused(pause);
        put(paused, pause);
        dim(pause);
        say(pause_words, &[pause_word(pause)]);
    });
    view! {
        <header class="top">
            <span class="brand">
                <svg class="logo" viewBox="0 0 26 18" aria-hidden="true">
                    <path class="wave stream" d="M2 6.5c3.6-5.8 7.4-5.8 11 0s7.4 5.8 11 0"/>
                    <path class="wave poll" d="M2 13.5c3.6-5.8 7.4-5.8 11 0s7.4 5.8 11 0"/>
                </svg>
                <h1>"freshet"</h1>
            </span>
            {tabs::tabs(ui)}
            {notice()}
            <div class="facts">
                <span hidden=if_empty(clock) title=live(clock_title)>"clock "<b>{live(clock)}</b></span>
                <span class=class(look) role="status">{live(words)}</span>
            </div>
            <div class="buttons">
                <button on:click=pause aria-pressed=pressed(paused) title="Freezes the pictures; the lanes go on">
                    {live(pause_words)}
                </button>
                {theme::toggle()}
            </div>
        </header>
    }
    .into_any()
}

fn pause_word(paused: bool) -> &'static str {
    if paused { "Resume" } else { "Pause" }
}

/// Figures that stand still look like it.
fn dim(paused: bool) {
    if let Some(root) = document().document_element()
        && root.has_attribute("data-paused") != paused
    {
        let _ = root.toggle_attribute("data-paused");
    }
}

/// What is shown is live, or why not.
fn state(model: &Model, deliveries: Option<&Deliveries>, now_us: f64) -> (String, &'static str) {
    let engine = deliveries.and_then(down);
    let down = |id: LaneId| !matches!(model.lane(id).status, Status::Live | Status::Off);
    let waits = |id: LaneId| matches!(model.lane(id).status, Status::Connecting);
    let (poll, stream) = (LaneId::Poll, LaneId::Stream);
    let silent = |id: LaneId| silent_us(model.lane(id), now_us).is_some();
    match (down(poll), down(stream)) {
        (false, false) if silent(poll) && silent(stream) => (String::from("no sign of life"), "live lost"),
        (false, false) if silent(poll) => (String::from("polling waits"), "live lost"),
        (false, false) if silent(stream) => (String::from("streaming is silent"), "live lost"),
        // The lanes are well, and have nothing to bring.
        (false, false) if engine.is_some() => {
            let words = engine.map(|engine| [called(engine), " is down"].concat());
            (words.unwrap_or_default(), "live lost")
        }
        (false, false) if model.paused => (String::from("paused"), "live"),
        (false, false) => match model.solo {
            Some(id) => (["live, ", lane_name(id).0, " alone"].concat(), "live well"),
            None => (String::from("live"), "live well"),
        },
        _ if [poll, stream].into_iter().all(|id| waits(id) || !down(id)) => (String::from("connecting"), "live"),
        (true, true) => (String::from("disconnected"), "live lost"),
        (true, false) if matches!(model.poll.status, Status::Limited { .. }) => {
            (String::from("polling is limited"), "live lost")
        }
        (true, false) if is_live(&model.stream.status) => (String::from("polling is down"), "live lost"),
        (false, true) if is_live(&model.poll.status) => (String::from("streaming is down"), "live lost"),
        _ => (String::from("disconnected"), "live lost"),
    }
}
