//! The Topics card: what there is, as the lane that feeds the cards brings it.

mod reading;
mod spark;

use std::rc::Rc;

use freshet_wire::TopicKind;
use leptos::prelude::*;

use self::reading::reading;
use self::spark::Spark;
use super::bind::{Class, Text, class, if_empty, live, say};
use super::frame::{Frame, is_live, on_frame, put};
use super::{Ui, format, lane_name};
use crate::lane::Newest;

/// Topics that have a row, and events that have a line.
const ROWS: usize = 8;
const LINES: usize = 5;
/// As much of an event as fits a line of the widest card.
const LINE: usize = 160;

/// A topic; empty as long as there is none.
#[derive(Clone)]
struct Row {
    name: Text,
    synthetic: Text,
    reading: Text,
    rate: Text,
    spark: Spark,
    /// The line is of what the events say, not of how many there are.
    reads: StoredValue<bool>,
}

/// An event.
#[derive(Clone, Copy, Default)]
struct Line {
    offset: Text,
    topic: Text,
    data: Text,
}

pub fn topics(ui: Ui) -> AnyView {
    let row = |_| Row {
        name: Text::default(),
        synthetic: Text::default(),
        reading: Text::default(),
        rate: Text::default(),
        spark: Spark::new(),
        reads: StoredValue::new(false),
    };
    let rows: Rc<[Row]> = (0..ROWS).map(row).collect();
    let lines = [(); LINES].map(|()| Line::default());
    let head = Text::default();
    let look = Class::new("panel third topics");
    let on_rows = Rc::clone(&rows);
    on_frame(move |frame| {
        if frame.quarter {
            let live = is_live(&frame.model.lane(ui.feed()).status);
            put(
                look,
                if live {
                    "panel third topics"
                } else {
                    "panel third topics stale"
                },
            );
            put(head, heading(frame, ui));
            fill(frame, ui, &on_rows, &lines);
        }
        on_rows.iter().for_each(|row| row.spark.draw(frame));
    });
    let line = |line: Line| {
        view! { <li hidden=if_empty(line.topic)>{live(line.offset)}" "<b>{live(line.topic)}</b>" "{live(line.data)}</li> }
    };
    view! {
        <section class=class(look) aria-label="Topics">
            <div class="head"><h2>"Topics"</h2><span class="dim">{live(head)}</span></div>
            <ul>{rows.iter().map(Row::view).collect::<Vec<_>>()}</ul>
            <ol class="newest" aria-label="Newest event of each topic">
                {lines.into_iter().map(line).collect::<Vec<_>>()}
            </ol>
        </section>
    }
    .into_any()
}

impl Row {
    fn view(&self) -> AnyView {
        view! {
            <li class="topic" hidden=if_empty(self.name)>
                <span class="name">{live(self.name)}<i>{live(self.synthetic)}</i></span>
                <span class="dim reading">{live(self.reading)}</span>
                <span class="dim rate">{live(self.rate)}</span>
                {self.spark.view()}
            </li>
        }
        .into_any()
    }
}

fn fill(frame: &Frame<'_>, ui: Ui, rows: &[Row], lines: &[Line]) {
    let lane = frame.model.lane(ui.feed());
    let known = frame.deliveries.map_or(&[][..], |deliveries| &deliveries.topics);
    let mut topics = known.iter().filter(|topic| topic.kind == TopicKind::Log);
    let mut newest: Vec<(&str, &Newest)> = Vec::new();
    for row in rows {
        let Some(topic) = topics.next() else {
            put(row.name, String::new());
            continue;
        };
        let event = lane.newest(&topic.name);
        let read = event.and_then(|event| reading(&topic.name, &event.data));
        let reads = read.is_some();
        let (value, text) = read.unwrap_or_else(|| {
            let followed = frame.model.topics.contains(&topic.name);
            (
                topic.events_per_s,
                String::from(if followed { "" } else { "not in the race" }),
            )
        });
        // Another topic's line, or a line of another quantity, begins anew.
        let other = row.reads.get_value() != reads || row.name.with_untracked(|name| *name != topic.name);
        if other {
            row.reads.set_value(reads);
            row.spark.clear();
            put(row.name, topic.name.clone());
        }
        row.spark.add(value);
        say(row.synthetic, &[if topic.synthetic { "synthetic" } else { "" }]);
        // Of a lane that is down the heading tells it.
        let aged = event.filter(|_| is_live(&lane.status));
        let old = aged.and_then(|event| age(frame.now_us - event.produced_us, frame, topic.events_per_s));
        put(
            row.reading,
            match &old {
                Some(age) if reads => [&*text, " · ", age].concat(),
                _ => text,
            },
        );
        put(row.rate, format::rate(topic.events_per_s));
        if let Some(event) = event {
            let later = newest
                .iter()
                .take_while(|(_, other)| other.received_us >= event.received_us)
                .count();
            newest.insert(later, (topic.name.as_str(), event));
        }
    }
    let mut newest = newest.into_iter();
    for line in lines {
        let (topic, event) = newest.next().unzip();
        say(line.topic, &[topic.unwrap_or_default()]);
        put(line.offset, event.map(|event| offset(event.offset)).unwrap_or_default());
        put(
            line.data,
            event
                .map(|event| event.data.chars().take(LINE).collect())
                .unwrap_or_default(),
        );
    }
}

/// How old a value is, where it is older than what passes between two events, three times over.
fn age(us: f64, frame: &Frame<'_>, events_per_s: f64) -> Option<String> {
    let polled_us = 1e3 * f64::from(frame.model.interval_ms);
    let apart_us = if events_per_s > 0.0 { 1e6 / events_per_s } else { 0.0 };
    (us > 3.0 * polled_us.max(apart_us).max(1e6)).then(|| [&*format::ago(us), " old"].concat())
}

/// An offset in groups of three digits that stay one word.
fn offset(offset: u64) -> String {
    format::count(offset).replace(',', "\u{2009}")
}

fn heading(frame: &Frame<'_>, ui: Ui) -> String {
    let lane = frame.model.lane(ui.feed());
    let (name, _) = lane_name(lane.id);
    if !is_live(&lane.status) {
        return match lane.last_heard_us {
            Some(heard) => [name, " is down · ", &*format::ago(frame.now_us - heard), " old"].concat(),
            None => [name, " has brought nothing yet"].concat(),
        };
    }
    let Some(deliveries) = frame.deliveries else {
        return ["waiting for ", name].concat();
    };
    // Of more topics than are listed, those that are not count nevertheless.
    let logs = || deliveries.topics.iter().filter(|topic| topic.kind == TopicKind::Log);
    let count = u64::from(deliveries.topics_total.logs);
    let rate: f64 = logs().map(|topic| topic.events_per_s).sum();
    let more = match (count as usize).saturating_sub(logs().count().min(ROWS)) {
        0 => String::new(),
        more => [" (", &*format::count(more as u64), " more than here)"].concat(),
    };
    [
        &*format::count(count),
        &more,
        " · ",
        &format::events_per_s(rate),
        " · by ",
        name,
    ]
    .concat()
}
