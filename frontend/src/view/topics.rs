//! The Topics card: what there is, as the lane that feeds the cards brings it.

mod reading;
mod spark;

use leptos::prelude::*;

use self::reading::reading;
use self::spark::Sparks;
use super::frame::{Frame, is_live, on_frame, put};
use super::panel::live;
use super::{Ui, format, lane_name};
use crate::lane::Newest;
use freshet_wire::TopicKind;

const ROWS: usize = 8;
const NEWEST: usize = 5;
/// As much of an event as fits a line of the widest card.
const LINE: usize = 160;

#[derive(Debug, Clone, PartialEq, Default)]
struct Row {
    name: String,
    rate: String,
    reading: String,
    synthetic: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    offset: String,
    topic: String,
    data: String,
}

pub fn topics(ui: Ui) -> impl IntoView {
    let rows: RwSignal<Vec<Row>> = RwSignal::default();
    let lines: RwSignal<Vec<Line>> = RwSignal::default();
    let head = RwSignal::new(String::new());
    let stale = RwSignal::new(false);
    let sparks = StoredValue::new_local(Sparks::default());
    on_frame(move |frame| {
        if !frame.quarter {
            return;
        }
        let feed = ui.feed.get_untracked();
        let lane = frame.model.lane(feed);
        put(stale, !is_live(&lane.status));
        put(head, heading(frame, ui));
        let topics = frame.deliveries.map_or(&[][..], |deliveries| &deliveries.topics);
        let mut shown = Vec::new();
        let mut newest: Vec<(&str, &Newest)> = Vec::new();
        for topic in topics.iter().filter(|topic| topic.kind == TopicKind::Log).take(ROWS) {
            let event = lane.newest(&topic.name);
            let read = event.and_then(|event| reading(&topic.name, &event.data));
            let (value, text) = read.unwrap_or_else(|| {
                let followed = frame.model.topics.contains(&topic.name);
                (
                    topic.events_per_s,
                    String::from(if followed { "" } else { "not in the race" }),
                )
            });
            sparks.update_value(|sparks| sparks.add(&topic.name, value));
            newest.extend(event.map(|event| (topic.name.as_str(), event)));
            shown.push(Row {
                name: topic.name.clone(),
                rate: format::rate(topic.events_per_s),
                reading: text,
                synthetic: topic.synthetic,
            });
        }
        put(rows, shown);
        newest.sort_by(|a, b| b.1.received_us.total_cmp(&a.1.received_us));
        put(
            lines,
            newest
                .into_iter()
                .take(NEWEST)
                .map(|(topic, event)| line(topic, event))
                .collect(),
        );
    });
    let names = move || rows.with(|rows| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>());
    view! {
        <section class="panel third topics" aria-label="Topics" class:stale=move || stale.get()>
            <div class="head"><h2>"Topics"</h2><span class="dim">{live(head)}</span></div>
            <ul><For each=names key=|name| name.clone() children=move |name| row(rows, sparks, name)/></ul>
            <ol class="newest" aria-label="Newest event of each topic">
                {move || lines.get().into_iter().map(|line| view! {
                    <li>{line.offset}" "<b>{line.topic}</b>" "{line.data}</li>
                }).collect::<Vec<_>>()}
            </ol>
        </section>
    }
    .into_any()
}

fn row(rows: RwSignal<Vec<Row>>, sparks: StoredValue<Sparks, LocalStorage>, name: String) -> impl IntoView {
    let own = name.clone();
    let row = Memo::new(move |_| {
        rows.with(|rows| rows.iter().find(|row| row.name == own).cloned())
            .unwrap_or_default()
    });
    view! {
        <li class="topic">
            <span class="name">{name.clone()}<i>{move || row.with(|row| if row.synthetic { "synthetic" } else { "" })}</i></span>
            <span class="dim reading">{move || row.with(|row| row.reading.clone())}</span>
            <span class="dim rate">{move || row.with(|row| row.rate.clone())}</span>
            {spark::view(sparks, name)}
        </li>
    }
}

fn heading(frame: &Frame<'_>, ui: Ui) -> String {
    let feed = ui.feed.get_untracked();
    let lane = frame.model.lane(feed);
    let (name, _) = lane_name(feed);
    if !is_live(&lane.status) {
        return match lane.last_heard_us {
            Some(heard) => [name, " is down · ", &*format::ago(frame.now_us - heard), " old"].concat(),
            None => [name, " has brought nothing yet"].concat(),
        };
    }
    let Some(deliveries) = frame.deliveries else {
        return ["waiting for ", name].concat();
    };
    let logs = deliveries.topics.iter().filter(|topic| topic.kind == TopicKind::Log);
    let (count, rate) = logs.fold((0, 0.0), |(count, rate), topic| (count + 1, rate + topic.events_per_s));
    [
        &*format::count(count),
        " · ",
        &format::fixed(rate, 1),
        " events/s · by ",
        name,
    ]
    .concat()
}

fn line(topic: &str, event: &Newest) -> Line {
    let cut = event
        .data
        .char_indices()
        .nth(LINE)
        .map_or(event.data.len(), |(at, _)| at);
    Line {
        offset: format::count(event.offset).replace(',', "\u{2009}"),
        topic: topic.to_owned(),
        data: event.data[..cut].to_owned(),
    }
}
