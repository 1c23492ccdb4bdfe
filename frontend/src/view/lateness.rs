//! "How late it arrives": the delivery latency of each lane in large figures, and what a lane is doing.

mod figures;

use freshet_wire::{Feed, LaneSettings, SettingsStatus};
use leptos::prelude::*;

use self::figures::Figures;
use super::bind::{Class, Flag, Text, class, click, if_empty, live, say, text, word};
use super::frame::{on_frame, put};
use super::{Ui, format, lane_name};
use crate::lane::LaneId;
use crate::model::Model;

/// The intervals that can be chosen, in milliseconds.
const INTERVALS: [u32; 8] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// What changes in one lane's block.
#[derive(Clone, Copy)]
struct Block {
    value: Text,
    unit: Text,
    p50: Text,
    p99: Text,
    beside: Text,
    state: Text,
    counting: Text,
    look: Class,
    state_look: Class,
}

impl Block {
    fn new() -> Self {
        Self {
            value: text("–"),
            unit: text("ms"),
            p50: Text::default(),
            p99: Text::default(),
            beside: Text::default(),
            state: text("connecting"),
            counting: Text::default(),
            look: Class::new("lane stale"),
            state_look: Class::new("state"),
        }
    }

    fn put(&self, figures: Figures) {
        put(self.look, if figures.stale { "lane stale" } else { "lane" });
        put(self.state_look, if figures.lost { "state lost" } else { "state" });
        put(self.value, figures.value.value);
        say(self.unit, &[figures.value.unit]);
        put(self.p50, figures.p50);
        put(self.p99, figures.p99);
        put(self.beside, figures.beside);
        put(self.state, figures.state);
        put(self.counting, figures.counting);
    }

    fn view(self, id: LaneId, aside: AnyView) -> AnyView {
        let (name, colour) = lane_name(id);
        view! {
            <div class=class(self.look)>
                <div class="row"><h3 class=["title ", colour].concat()>{name}</h3>{aside}</div>
                <p class="figure">
                    <span class="value">{live(self.value)}</span>
                    <span class="unit">{live(self.unit)}</span>
                    <span class=if id == LaneId::Poll { "sooner quiet" } else { "sooner" }>{live(self.beside)}</span>
                </p>
                <p class="few">
                    <span hidden=if_empty(self.p50)>"p50 "<b>{live(self.p50)}</b></span>
                    <span hidden=if_empty(self.p99)>"p99 "<b>{live(self.p99)}</b></span>
                </p>
                // Only the first part is announced.
                <div class=class(self.state_look)>
                    <p aria-live="polite">{live(self.state)}</p>
                    <p hidden=if_empty(self.counting)>{live(self.counting)}</p>
                </div>
            </div>
        }
        .into_any()
    }
}

pub fn lateness(ui: Ui) -> AnyView {
    let blocks = [Block::new(), Block::new()];
    let note = Text::default();
    let mut memory = figures::Memory::default();
    let begin = RwSignal::new(None);
    on_frame(move |frame| {
        if frame.quarter {
            if begin.with_untracked(Option::is_none) {
                put(begin, defaults(frame.model));
            }
            let [poll, stream] = memory.figures(frame.model, frame.now_us);
            blocks[0].put(poll);
            blocks[1].put(stream);
            put(note, memory.note(frame.model));
        }
    });
    view! {
        <div class="late">
            <div class="head"><h2>"How late it arrives"</h2><span class="dim">"mean, last 5\u{a0}s"</span></div>
            {blocks[0].view(LaneId::Poll, interval(ui, begin))}
            {blocks[1].view(LaneId::Stream, view! { <span class="how">"WebSocket"</span> }.into_any())}
            <div class="foot">
                {choices(ui, begin)}
                <p class="note" hidden=if_empty(note)>{live(note)}</p>
            </div>
        </div>
    }
    .into_any()
}

/// What the service has a page begin with, once a lane has brought it.
fn defaults(model: &Model) -> Option<LaneSettings> {
    let newest = model.stream.newest("settings").or(model.poll.newest("settings"))?;
    let status: SettingsStatus = serde_json::from_str(&newest.data).ok()?;
    Some(status.in_force.settings.lane)
}

fn interval(ui: Ui, begin: RwSignal<Option<LaneSettings>>) -> AnyView {
    let shown = RwSignal::new(ui.handle().model().interval_ms);
    Effect::new(move |_| {
        if let Some(defaults) = begin.get() {
            ui.handle().set_default_interval_ms(defaults.poll_interval_ms);
            let interval_ms = ui.handle().model().interval_ms;
            put(shown, interval_ms);
        }
    });
    view! { {move || select(ui, shown.get())} }.into_any()
}

fn select(ui: Ui, chosen: u32) -> AnyView {
    let choose = move |event| {
        if let Ok(ms) = event_target_value(&event).parse() {
            ui.handle().set_interval_ms(ms);
        }
    };
    // One that was remembered from elsewhere is offered too, so that the box never shows another than what runs.
    let other = (!INTERVALS.contains(&chosen)).then_some(chosen);
    let option = move |ms: u32| {
        let name = ["every ", &format::interval(ms)].concat();
        view! { <option value=format::plain(ms.into()) selected=ms == chosen>{name}</option> }
    };
    view! {
        <select aria-label="How often to poll" on:change=choose>
            {other.into_iter().chain(INTERVALS).map(option).collect::<Vec<_>>()}
        </select>
    }
    .into_any()
}

/// Which lane feeds the cards, and which lanes run.
fn choices(ui: Ui, begin: RwSignal<Option<LaneSettings>>) -> AnyView {
    let feeds = [LaneId::Stream, LaneId::Poll].map(|id| (id, Flag::new(ui.feed() == id)));
    let solos =
        [None, Some(LaneId::Poll), Some(LaneId::Stream)].map(|it| (it, Flag::new(ui.handle().model().solo == it)));
    let chosen = StoredValue::new(false);
    let feed = move |feed: LaneId| {
        chosen.set_value(true);
        ui.set_feed(feed);
        feeds.into_iter().for_each(|(id, on)| put(on, id == feed));
    };
    Effect::new(move |_| {
        // The reader's own choice stays.
        if let Some(defaults) = begin.get().filter(|_| !chosen.get_value()) {
            feed(match defaults.cards {
                Feed::Poll => LaneId::Poll,
                Feed::Stream => LaneId::Stream,
            });
        }
    });
    let solo = move |solo: Option<LaneId>| {
        // Cards cannot be fed by a lane that is switched off.
        if let Some(id) = solo {
            feed(id);
        }
        ui.handle().set_solo(solo);
        solos.into_iter().for_each(|(it, on)| put(on, it == solo));
    };
    let feed_word = |at: usize| {
        let (id, on) = feeds[at];
        let (name, class) = lane_name(id);
        word(name, class, on, click(move || feed(id)))
    };
    let solo_word = |at: usize, name, class| {
        let (it, on) = solos[at];
        word(name, class, on, click(move || solo(it)))
    };
    view! {
        <p role="group" aria-label="The lane that feeds the cards below">
            "cards below fed by " {feed_word(0)} " " {feed_word(1)}
        </p>
        <p role="group" aria-label="Which lanes run" title="Two lanes in one tab disturb each other">
            "run " {solo_word(0, "both", "")} " " {solo_word(1, "polling alone", "poll")} " "
            {solo_word(2, "streaming alone", "stream")}
        </p>
    }
    .into_any()
}
