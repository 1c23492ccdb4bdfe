//! The head of the page: name, tabs, clock, whether what is shown is live, pause and theme.

use leptos::prelude::*;

use super::frame::{is_live, on_frame, put};
use super::panel::live;
use super::{Ui, format, lane_name, theme};
use crate::lane::{LaneId, Status};
use crate::model::Model;

pub fn header(ui: Ui) -> impl IntoView {
    let clock = RwSignal::new(String::new());
    let clock_title = RwSignal::new(String::new());
    let words = RwSignal::new(String::from("connecting"));
    let class = RwSignal::new("live");
    let mut next_ms = 0.0;
    on_frame(move |frame| {
        // Not bound to `quarter`: a paused picture must not hide that the connection is lost.
        if frame.now_us < next_ms {
            return;
        }
        next_ms = frame.now_us + 250e3;
        let (text, look) = state(frame.model);
        put(words, text);
        put(class, look);
        if let Some(offset) = frame.model.offset() {
            put(clock, format::offset(offset.offset_us, offset.bound_us));
        }
        let fine = if frame.model.cross_origin_isolated {
            "5 µs"
        } else {
            "0.1 ms at best: the page is not isolated"
        };
        let title = [
            "The server's clock minus this page's, and the bound of its error. This page's clock ticks every ",
            fine,
        ];
        put(clock_title, title.concat());
    });
    let pause = move |_| {
        ui.paused.update(|paused| *paused = !*paused);
        ui.handle().set_paused(ui.paused.get_untracked());
    };
    view! {
        <header class="top">
            <span class="brand">
                <svg class="logo" viewBox="0 0 26 18" aria-hidden="true">
                    <path class="wave stream" d="M2 6.5c3.6-5.8 7.4-5.8 11 0s7.4 5.8 11 0"/>
                    <path class="wave poll" d="M2 13.5c3.6-5.8 7.4-5.8 11 0s7.4 5.8 11 0"/>
                </svg>
                <h1>"freshet"</h1>
            </span>
            <nav class="tabs" aria-label="Views"><a href="#compare" aria-current="page">"Compare"</a></nav>
            <div class="facts">
                <span hidden=move || clock.with(String::is_empty) title=move || clock_title.get()>"clock "<b>{live(clock)}</b></span>
                <span class=move || class.get() role="status">{live(words)}</span>
            </div>
            <div class="buttons">
                <button on:click=pause aria-pressed=move || if ui.paused.get() { "true" } else { "false" }
                    title="Freezes the pictures; the lanes go on">
                    {move || if ui.paused.get() { "Resume" } else { "Pause" }}
                </button>
                {theme::toggle()}
            </div>
        </header>
    }
    .into_any()
}

/// What is shown is live, or why not.
fn state(model: &Model) -> (String, &'static str) {
    let down = |id: LaneId| !matches!(model.lane(id).status, Status::Live | Status::Off);
    let waits = |id: LaneId| matches!(model.lane(id).status, Status::Connecting);
    let (poll, stream) = (LaneId::Poll, LaneId::Stream);
    match (down(poll), down(stream)) {
        (false, false) if model.paused => (String::from("paused"), "live"),
        (false, false) => match model.solo {
            Some(id) => (["live, ", lane_name(id).0, " alone"].concat(), "live well"),
            None => (String::from("live"), "live well"),
        },
        _ if [poll, stream].into_iter().all(|id| waits(id) || !down(id)) => (String::from("connecting"), "live"),
        (true, true) => (String::from("disconnected"), "live lost"),
        (true, false) if is_live(&model.stream.status) => (String::from("polling is down"), "live lost"),
        (false, true) if is_live(&model.poll.status) => (String::from("streaming is down"), "live lost"),
        _ => (String::from("disconnected"), "live lost"),
    }
}
