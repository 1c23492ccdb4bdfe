//! All topics, with what is kept of them and who reads.

use freshet_wire::{Engine, EngineState, Retention, Topic, TopicKind, TopicScope};
use leptos::ev;
use leptos::html::Ul;
use leptos::prelude::*;

use super::super::bind::{Class, Flag, Text, class, if_empty, is, live, say};
use super::super::frame::{Frame, is_live, on_frame, put};
use super::super::notice::called;
use super::super::{Ui, format, lane_name};
use super::choose;
use super::known::Known;
use crate::route::View;

/// Rows are made so many at a time: a list that grows is not made anew with each topic.
const STEP: usize = 16;
/// The most that are shown.
const MOST: usize = 1024;

/// A topic; empty as long as there is none.
#[derive(Clone, Copy, Default)]
struct Row {
    name: Text,
    rate: Text,
    facts: Text,
    kept: Text,
    real: Flag,
}

/// `reading`: the topic of the feed.
pub fn list(ui: Ui, known: Known, reading: Text) -> AnyView {
    let rows = RwSignal::new((0..STEP).map(|_| Row::default()).collect::<Vec<_>>());
    let (head, engine) = (Text::default(), Text::default());
    let look = Class::new("panel list");
    let scroller = NodeRef::<Ul>::new();
    let mut in_view = String::new();
    let mut next_us = 0.0;
    on_frame(move |frame| {
        if ui.view() == View::Topics && reading.with_untracked(|reading| *reading != in_view) {
            let reading = reading.get_untracked();
            if is_brought_into_view(scroller, &reading) {
                in_view = reading;
            }
        }
        if ui.view() != View::Topics || frame.now_us < next_us && !frame.second {
            return;
        }
        // The first time also while the page is paused.
        next_us = if frame.deliveries.is_some() { f64::INFINITY } else { 0.0 };
        let mut count = 0;
        if let Some(deliveries) = frame.deliveries {
            known.each(deliveries, |_| count += 1);
        }
        put(head, heading(frame, ui, count.min(MOST)));
        let live = is_live(&frame.model.lane(ui.feed()).status);
        put(look, if live { "panel list" } else { "panel list stale" });
        let Some(deliveries) = frame.deliveries else { return };
        put(engine, troubled(&deliveries.pubsub));
        let wanted = count.clamp(STEP, MOST).next_multiple_of(STEP);
        let there = rows.with_untracked(Vec::len);
        if wanted > there {
            rows.update(|rows| rows.extend((there..wanted).map(|_| Row::default())));
        }
        rows.with_untracked(|rows| {
            let mut rows = rows.iter();
            // What the service says of itself comes after what its users come for.
            for kind in [TopicKind::Log, TopicKind::State] {
                known.each(deliveries, |topic| {
                    if topic.kind == kind
                        && let Some(row) = rows.next()
                    {
                        row.fill(Some(topic), frame.now_us);
                    }
                });
            }
            rows.for_each(|row| row.fill(None, frame.now_us));
        });
    });
    view! {
        <section class=class(look) aria-label="Topics">
            <div class="head"><h2>"Topics"</h2><span class="dim">{live(head)}</span></div>
            <p class="state lost" hidden=if_empty(engine)>{live(engine)}</p>
            <ul node_ref=scroller>{move || rows.get().into_iter().map(|row| row.view(ui, reading)).collect::<Vec<_>>()}</ul>
        </section>
    }
    .into_any()
}

/// What is wrong with the engine, in its own words.
fn troubled(engine: &Engine) -> String {
    let is = match engine.state {
        EngineState::Up => return String::new(),
        // Before it says anything nothing is wrong.
        _ if engine.detail.is_empty() => return String::new(),
        EngineState::Down => " is down: ",
        EngineState::Connecting | EngineState::Degraded => ": ",
    };
    [called(engine), is, &engine.detail, "."].concat()
}

impl Row {
    fn fill(&self, topic: Option<&Topic>, now_us: f64) {
        let Some(topic) = topic else {
            put(self.name, String::new());
            return;
        };
        put(self.real, !topic.synthetic);
        put(self.name, topic.name.clone());
        let rate = format::rate(topic.events_per_s);
        say(self.rate, &[&rate, " · ", &format::bytes(topic.bytes_per_s), "/s"]);
        put(self.facts, facts(topic));
        put(self.kept, kept(topic, now_us));
    }

    fn view(self, ui: Ui, reading: Text) -> AnyView {
        let name = self.name;
        let current = move || {
            let is_read = reading.with(|reading| name.with(|name| reading == name));
            is_read.then_some("true")
        };
        let go = move |event: ev::MouseEvent| {
            if !(event.ctrl_key() || event.meta_key() || event.shift_key()) {
                event.prevent_default();
                choose(ui, name.get_untracked());
            }
        };
        let href = move || name.with(|name| ["#view=topics&topic=", name].concat());
        view! {
            <li hidden=if_empty(name)><a href=href aria-current=current on:click=go>
                <span class="row">
                    <b>{live(name)}</b>
                    <span class="label" hidden=is(self.real)>"synthetic"</span>
                    <span class="end">{live(self.rate)}</span>
                </span>
                <span class="small">{live(self.facts)}</span>
                <span class="small">{live(self.kept)}</span>
            </a></li>
        }
        .into_any()
    }
}

/// Scrolls the list, and nothing else, to the topic that is read; false as long as it has no row.
fn is_brought_into_view(scroller: NodeRef<Ul>, reading: &str) -> bool {
    let Some(list) = scroller.get_untracked() else {
        return false;
    };
    let row = list.query_selector("[aria-current]").ok().flatten();
    let Some(row) = row.filter(|row| {
        row.get_attribute("href")
            .is_some_and(|href| href.ends_with(&["=", reading].concat()))
    }) else {
        return false;
    };
    let (row, view) = (row.get_bounding_client_rect(), list.get_bounding_client_rect());
    let above = (view.top() - row.top()).max(0.0);
    let below = (row.bottom() - view.bottom()).max(0.0);
    if above + below > 0.0 {
        list.set_scroll_top(list.scroll_top() + (below - above) as i32);
    }
    true
}

/// `listed` topics have a row.
fn heading(frame: &Frame<'_>, ui: Ui, listed: usize) -> String {
    let lane = frame.model.lane(ui.feed());
    let (by, _) = lane_name(lane.id);
    match (is_live(&lane.status), frame.deliveries, lane.last_heard_us) {
        (false, Some(_), Some(heard_us)) => [
            "figures of ",
            &*format::ago(frame.now_us - heard_us),
            " ago: ",
            by,
            " is down",
        ]
        .concat(),
        (_, None, _) => ["waiting for ", by].concat(),
        (_, Some(deliveries), _) => {
            let all = &deliveries.topics_total;
            let count = format::count(u64::from(all.topics));
            // Until the list of all is there, or where there are more than are shown.
            let more = match u64::from(all.topics).saturating_sub(listed as u64) {
                0 => String::new(),
                more => [" (", &*format::count(more), " not listed)"].concat(),
            };
            let rate = format::events_per_s(all.events_per_s);
            [&*count, &more, " · ", &rate, " · by ", by].concat()
        }
    }
}

/// "log · shared · offsets 12,004–98,119 · 2 readers"
fn facts(topic: &Topic) -> String {
    let kind = match topic.kind {
        TopicKind::Log => "log",
        TopicKind::State => "state",
    };
    let scope = match topic.scope {
        TopicScope::Shared => "shared",
        TopicScope::Local => "local",
    };
    let first: u64 = topic.partitions.iter().map(|it| it.first_offset).min().unwrap_or(0);
    let next: u64 = topic.partitions.iter().map(|it| it.next_offset).max().unwrap_or(0);
    let offsets = match next > first {
        true => ["offsets ", &*format::count(first), "\u{2013}", &format::count(next - 1)].concat(),
        false => String::from("no event yet"),
    };
    let partitions = match topic.partitions.len() {
        0 | 1 => String::new(),
        many => [&*format::count(many as u64), " partitions · "].concat(),
    };
    let readers = format::count(topic.readers.into());
    let unit = if topic.readers == 1 { " reader" } else { " readers" };
    [kind, " · ", scope, " · ", &*partitions, &offsets, " · ", &readers, unit].concat()
}

/// "holds 1.2 MB since 3 h 12 min, keeps 7 d or 268 MB"
fn kept(topic: &Topic, now_us: f64) -> String {
    let Some(log) = topic.log else {
        return [
            "holds ",
            &*format::bytes(topic.window.bytes as f64),
            " in memory alone, at most ",
            &format::bytes(topic.window.max_bytes as f64),
        ]
        .concat();
    };
    let mut out = String::from("holds ");
    out.push_str(&format::bytes(log.bytes.unwrap_or(topic.window.bytes) as f64));
    if let Some(first_us) = log.first_us {
        out.push_str(" from the last ");
        out.push_str(&format::ago(now_us - first_us as f64));
    }
    out.push_str(&keeps(&log.retention));
    out
}

fn keeps(retention: &Retention) -> String {
    let age = retention.max_age_s.map(|s| match s {
        172_800.. => [&*format::count(s / 86_400), "\u{a0}d"].concat(),
        _ => format::ago(s as f64 * 1e6),
    });
    let bytes = retention.max_bytes.map(|bytes| format::bytes(bytes as f64));
    match (age, bytes) {
        (Some(age), Some(bytes)) => [", keeps ", &*age, " or ", &bytes].concat(),
        (Some(one), None) | (None, Some(one)) => [", keeps ", &*one].concat(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_said_by_the_bounds_that_there_are() {
        let said = |max_age_s, max_bytes| keeps(&Retention { max_age_s, max_bytes }).replace('\u{a0}', " ");
        assert_eq!(said(Some(604_800), Some(268_435_456)), ", keeps 7 d or 268 MB");
        assert_eq!(said(Some(3600), None), ", keeps 1 h 0 min");
        assert_eq!(said(None, None), "");
    }
}
