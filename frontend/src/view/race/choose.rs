//! Which topics the race shows.

use leptos::prelude::*;

use super::super::frame::{on_frame, put};
use super::super::panel::live;
use super::super::{Ui, format};
use freshet_wire::TopicKind;

#[derive(Debug, Clone, PartialEq)]
struct Choice {
    name: String,
    rate: String,
    synthetic: bool,
    chosen: bool,
}

pub fn topics(ui: Ui) -> impl IntoView {
    let choices: RwSignal<Vec<Choice>> = RwSignal::default();
    let label = RwSignal::new(String::from("topics"));
    on_frame(move |frame| {
        if !frame.second {
            return;
        }
        let chosen = &frame.model.topics;
        let known = frame.deliveries.map_or(&[][..], |deliveries| &deliveries.topics);
        let mut list: Vec<Choice> = known
            .iter()
            .filter(|topic| topic.kind == TopicKind::Log)
            .map(|topic| Choice {
                name: topic.name.clone(),
                rate: format::rate(topic.events_per_s),
                synthetic: topic.synthetic,
                chosen: chosen.contains(&topic.name),
            })
            .collect();
        // A topic that was chosen and is gone can still be taken off.
        for name in chosen
            .iter()
            .filter(|name| !known.iter().any(|topic| topic.name == **name))
        {
            list.push(Choice {
                name: name.clone(),
                rate: String::new(),
                synthetic: false,
                chosen: true,
            });
        }
        put(
            label,
            [
                &*format::count(chosen.len() as u64),
                if chosen.len() == 1 { " topic" } else { " topics" },
            ]
            .concat(),
        );
        put(choices, list);
    });
    let names = move || choices.with(|all| all.iter().map(|choice| choice.name.clone()).collect::<Vec<_>>());
    view! {
        <details class="menu">
            <summary class="button" aria-label="Topics that the race shows">{live(label)}</summary>
            <ul>
                <For each=names key=|name| name.clone() children=move |name| row(ui, choices, name)/>
            </ul>
        </details>
    }
    .into_any()
}

fn row(ui: Ui, choices: RwSignal<Vec<Choice>>, name: String) -> impl IntoView {
    let find = {
        let name = name.clone();
        move || choices.with(|all| all.iter().find(|choice| choice.name == name).cloned())
    };
    let choice = Memo::new(move |_| find());
    let change = {
        let name = name.clone();
        move |event| {
            let handle = ui.handle();
            let mut topics = handle.model().topics.clone();
            topics.retain(|topic| *topic != name);
            if event_target_checked(&event) {
                topics.push(name.clone());
            }
            handle.set_topics(topics);
        }
    };
    view! {
        <li><label>
            <input type="checkbox" on:change=change
                prop:checked=move || choice.with(|choice| choice.as_ref().is_some_and(|choice| choice.chosen))/>
            <span>{name}</span>
            <span class="label" hidden=move || choice.with(|choice| !choice.as_ref().is_some_and(|choice| choice.synthetic))>"synthetic"</span>
            <span class="dim rate">{move || choice.with(|choice| choice.as_ref().map(|choice| choice.rate.clone()))}</span>
        </label></li>
    }
}
