//! "How late it arrives": the delivery latency of each lane in large figures, and what a lane is doing.

mod figures;

use leptos::prelude::*;

use self::figures::Figures;
use super::frame::{on_frame, put};
use super::panel::live;
use super::{Ui, lane_name};
use crate::lane::LaneId;

/// The intervals that can be chosen, in milliseconds.
const INTERVALS: [(u32, &str); 8] = [
    (100, "every 100 ms"),
    (200, "every 200 ms"),
    (500, "every 500 ms"),
    (1_000, "every 1 s"),
    (2_000, "every 2 s"),
    (5_000, "every 5 s"),
    (10_000, "every 10 s"),
    (30_000, "every 30 s"),
];

/// The text of one lane's block.
#[derive(Clone, Copy)]
struct Block {
    value: RwSignal<String>,
    unit: RwSignal<String>,
    few: RwSignal<Vec<(&'static str, String)>>,
    beside: RwSignal<String>,
    state: RwSignal<String>,
    class: RwSignal<&'static str>,
    lost: RwSignal<bool>,
}

impl Block {
    fn new() -> Self {
        Self {
            value: RwSignal::new(String::from("–")),
            unit: RwSignal::default(),
            few: RwSignal::default(),
            beside: RwSignal::default(),
            state: RwSignal::new(String::from("connecting")),
            class: RwSignal::new("lane stale"),
            lost: RwSignal::new(false),
        }
    }

    fn put(&self, figures: Figures) {
        put(self.class, if figures.stale { "lane stale" } else { "lane" });
        put(self.value, figures.value.value);
        put(self.unit, figures.value.unit.to_owned());
        put(self.few, figures.few);
        put(self.beside, figures.beside);
        put(self.state, figures.state);
        put(self.lost, figures.lost);
    }

    fn view(self, id: LaneId, aside: AnyView) -> impl IntoView {
        let (name, class) = lane_name(id);
        let few = |(label, value): (&'static str, String)| view! { <span>{label}" "<b>{value}</b></span> };
        view! {
            <div class=move || self.class.get()>
                <div class="row"><h3 class=["title ", class].concat()>{name}</h3>{aside}</div>
                <p class="figure">
                    <span class="value">{live(self.value)}</span>
                    <span class="unit">{live(self.unit)}</span>
                    <span class=if id == LaneId::Poll { "sooner quiet" } else { "sooner" }>{live(self.beside)}</span>
                </p>
                <p class="few">{move || self.few.get().into_iter().map(few).collect::<Vec<_>>()}</p>
                <p class="state" class:lost=move || self.lost.get() aria-live="polite">{live(self.state)}</p>
            </div>
        }
        .into_any()
    }
}

pub fn lateness(ui: Ui) -> impl IntoView {
    let blocks = [Block::new(), Block::new()];
    let note = RwSignal::new(String::new());
    let mut memory = figures::Memory::default();
    on_frame(move |frame| {
        if frame.quarter {
            let [poll, stream] = memory.figures(frame.model, frame.now_us);
            blocks[0].put(poll);
            blocks[1].put(stream);
            put(note, memory.note(frame.model));
        }
    });
    view! {
        <div class="late">
            <h2>"How late it arrives"</h2>
            {blocks[0].view(LaneId::Poll, interval(ui).into_any())}
            {blocks[1].view(LaneId::Stream, view! { <span class="how">"WebSocket"</span> }.into_any())}
            <div class="foot">
                {feed(ui)}
                {solo(ui)}
                <p class="note" hidden=move || note.with(String::is_empty)>{live(note)}</p>
            </div>
        </div>
    }
}

fn interval(ui: Ui) -> impl IntoView {
    let chosen = ui.handle().model().interval_ms;
    let choose = move |event| {
        if let Ok(ms) = event_target_value(&event).parse() {
            ui.handle().set_interval_ms(ms);
        }
    };
    // One that was remembered from elsewhere is offered too, so that the box never shows another than what runs.
    let mut offered: Vec<(u32, String)> = INTERVALS.iter().map(|(ms, text)| (*ms, (*text).to_owned())).collect();
    if !INTERVALS.iter().any(|(ms, _)| *ms == chosen) {
        offered.insert(
            0,
            (chosen, ["every ", &super::format::count(chosen.into()), " ms"].concat()),
        );
    }
    let option = move |(ms, text): (u32, String)| {
        view! { <option value=super::format::count(ms.into()).replace(',', "") selected=ms == chosen>{text}</option> }
    };
    view! {
        <select aria-label="How often to poll" on:change=choose>
            {offered.into_iter().map(option).collect::<Vec<_>>()}
        </select>
    }
}

/// A choice among words, one of which holds.
fn word<T: PartialEq + Copy + Send + Sync + 'static>(
    text: &'static str,
    class: &'static str,
    of: RwSignal<T>,
    value: T,
    choose: impl Fn(T) + 'static,
) -> impl IntoView {
    view! {
        <button
            class=["plain ", class].concat()
            aria-pressed=move || if of.get() == value { "true" } else { "false" }
            on:click=move |_| {
                of.set(value);
                choose(value);
            }
        >
            {text}
        </button>
    }
    .into_any()
}

fn feed(ui: Ui) -> impl IntoView {
    view! {
        <p role="group" aria-label="The lane that feeds the cards below">
            "cards below fed by " {word("streaming", "stream", ui.feed, LaneId::Stream, |_| ())} " · "
            {word("polling", "poll", ui.feed, LaneId::Poll, |_| ())}
        </p>
    }
}

fn solo(ui: Ui) -> impl IntoView {
    let solo = RwSignal::new(ui.handle().model().solo);
    let choose = move |solo: Option<LaneId>| {
        // Cards cannot be fed by a lane that is switched off.
        if let Some(id) = solo {
            ui.feed.set(id);
        }
        ui.handle().set_solo(solo);
    };
    view! {
        <p role="group" aria-label="Which lanes run: two in one tab disturb each other" title="Two lanes in one tab disturb each other">
            "run " {word("both", "", solo, None, choose)} " · "
            {word("polling alone", "poll", solo, Some(LaneId::Poll), choose)} " · "
            {word("streaming alone", "stream", solo, Some(LaneId::Stream), choose)}
        </p>
    }
}
