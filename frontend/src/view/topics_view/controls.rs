//! The feed's controls: order, times, what is shown, where reading begins.

use freshet_wire::Position;
use gloo_timers::callback::Timeout;
use leptos::ev;
use leptos::html::{Input, Select};
use leptos::prelude::*;

use super::super::bind::{Flag, Text, click, if_empty, is, live, say};
use super::super::frame::put;
use super::{Shared, ahead_us, export};
use crate::feed::Pause;
use crate::feed::datetime::{Style, in_a_box};
use crate::feed::filter::Filter;

/// Where reading by time begins, unless another time is chosen: so long ago.
const BACK_US: i64 = 60_000_000;
/// Who types is let finish a word.
const TYPING_MS: u32 = 200;

pub(super) fn buttons(shared: Shared) -> AnyView {
    let clear = click(move || {
        shared.opened.set(None);
        shared.ui.handle().tell_feed(|feed| {
            feed.rows.clear();
            // There is room again: what comes next is read on.
            if feed.pause == Some(Pause::Full) {
                feed.set_pause(None);
            }
        });
    });
    let order = move |event| put(shared.newest_first, event_target_value(&event) == "first");
    let style = move |event| {
        shared.style.set_value(match event_target_value(&event).as_str() {
            "utc" => Style::Utc,
            "relative" => Style::Relative,
            _ => Style::Local,
        });
    };
    view! {
        <button on:click=clear title="Empties the list; reading goes on">"Clear"</button>
        {export::button(shared)}
        <select class="order" aria-label="Order of the rows" on:change=order prop:value=order_of(shared)>
            <option value="first">"newest first"</option>
            <option value="last">"newest last"</option>
        </select>
        <select aria-label="How times are written" on:change=style>
            <option value="local">"local time"</option>
            <option value="utc">"UTC"</option>
            <option value="relative">"ago"</option>
        </select>
    }
    .into_any()
}

/// A replay turns the order round.
fn order_of(shared: Shared) -> impl Fn() -> &'static str + Copy + Send + Sync {
    move || if shared.newest_first.get() { "first" } else { "last" }
}

pub(super) fn filters(shared: Shared) -> AnyView {
    let (find, fields) = (NodeRef::<Input>::new(), NodeRef::<Input>::new());
    let wrong = Text::default();
    let typing = StoredValue::new_local(None::<Timeout>);
    let apply = move || {
        let value = |input: NodeRef<Input>| input.get_untracked().map(|input| input.value()).unwrap_or_default();
        match Filter::new(&value(find), &value(fields)) {
            Ok(filter) => {
                say(wrong, &[]);
                shared.ui.handle().tell_feed(|feed| feed.rows.set_filter(filter));
            }
            Err(why) => put(wrong, why),
        }
    };
    let typed = move |_| typing.set_value(Some(Timeout::new(TYPING_MS, apply)));
    let entered = move |event: ev::SubmitEvent| {
        event.prevent_default();
        typing.set_value(None);
        apply();
    };
    let invalid = move || if wrong.with(String::is_empty) { "false" } else { "true" };
    view! {
        <form class="bar" role="search" aria-label="Filter of the feed" on:input=typed on:submit=entered>
            <input class="find" type="search" node_ref=find aria-label="Text in the event" placeholder="text in the event"
                autocomplete="off" spellcheck="false"/>
            <input class="fields" type="search" node_ref=fields aria-label="Fields of the event's data"
                placeholder="field, such as cpu.user > 0.5 and cores[*] > 0.9" autocomplete="off" spellcheck="false"
                aria-invalid=invalid aria-describedby="fields-wrong"/>
            <p id="fields-wrong" class="lost" role="status" hidden=if_empty(wrong)>{live(wrong)}</p>
        </form>
    }
    .into_any()
}

pub(super) fn replay(shared: Shared) -> AnyView {
    let (from, offset, partition, time) = (
        NodeRef::<Select>::new(),
        NodeRef::<Input>::new(),
        NodeRef::<Input>::new(),
        NodeRef::<Input>::new(),
    );
    let (no_offset, no_time) = (Flag::new(true), Flag::new(true));
    let wrong = Text::default();
    let chosen = move |_| {
        let from = from.get_untracked().map(|from| from.value()).unwrap_or_default();
        put(no_offset, from != "offset");
        put(no_time, from != "time");
        if let Some(time) = time
            .get_untracked()
            .filter(|time| from == "time" && time.value().is_empty())
        {
            let us = shared.ui.handle().now_us() as i64 - BACK_US;
            time.set_value(&in_a_box(us, ahead_us(us)));
        }
        say(wrong, &[]);
    };
    let value = |input: NodeRef<Input>| input.get_untracked().map(|input| input.value()).unwrap_or_default();
    let read = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let position = match from.get_untracked().map(|from| from.value()).as_deref() {
            Some("offset") => {
                let number = |text: String| serde_json::from_str::<u64>(text.trim()).ok();
                let at = number(value(offset)).zip(number(value(partition)).and_then(|it| u32::try_from(it).ok()));
                at.map(|(offset, partition)| Position::Offset { partition, offset })
                    .ok_or("An offset and a partition are whole numbers.")
            }
            Some("time") => {
                let ms = js_sys::Date::parse(&value(time));
                let us = ms.is_finite().then_some(Position::Time((ms * 1e3) as i64));
                us.ok_or("Enter a date and a time.")
            }
            Some("latest") => Ok(Position::Latest),
            _ => Ok(Position::Earliest),
        };
        match position {
            Ok(position) => {
                say(wrong, &[]);
                shared.replay(Some(position));
            }
            Err(why) => say(wrong, &[why]),
        }
    };
    view! {
        <form class="bar replay" aria-label="Where reading begins" on:submit=read>
            <label for="t-from">"read from"</label>
            <select id="t-from" node_ref=from on:change=chosen>
                <option value="earliest">"the oldest kept"</option>
                <option value="offset">"an offset"</option>
                <option value="time">"a time"</option>
                <option value="latest">"now on"</option>
            </select>
            <span hidden=is(no_offset)>
                <input class="number" inputmode="numeric" node_ref=offset aria-label="Offset" placeholder="offset" autocomplete="off"/>
                <input class="part" inputmode="numeric" node_ref=partition aria-label="Partition" value="0" autocomplete="off"/>
            </span>
            <input type="datetime-local" step="0.001" node_ref=time aria-label="Time, on this machine's clock" hidden=is(no_time)/>
            <button type="submit">"Read"</button>
            <p class="lost" role="status" hidden=if_empty(wrong)>{live(wrong)}</p>
        </form>
    }
    .into_any()
}
