//! All topics: what is told of some each second, and what the list of all says of the others.
//!
//! The value of `deliveries` has no room for all where there are many; the rest is asked for, as long as the view is looked at.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use freshet_wire::{Deliveries, Topic};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api;

/// Between two questions for the list of all.
const EVERY_US: f64 = 5e6;
/// The same, where another topic has appeared.
const SOON_US: f64 = 1e6;

#[derive(Clone, Copy)]
pub(super) struct Known(StoredValue<Rc<RefCell<State>>, LocalStorage>);

#[derive(Default)]
struct State {
    all: BTreeMap<String, Topic>,
    /// When it was asked for last; `None`: never.
    asked_us: Option<f64>,
    asking: bool,
    /// It was answered, however.
    answered: bool,
}

impl State {
    /// Whether to ask for the list: not where what is told each second is all there is.
    fn is_due(&self, listed: usize, total: usize, now_us: f64) -> bool {
        let wait_us = match self.all.len() == total {
            true => EVERY_US,
            false => SOON_US,
        };
        listed < total && !self.asking && self.asked_us.is_none_or(|asked_us| now_us - asked_us >= wait_us)
    }
}

impl Known {
    pub(super) fn new() -> Self {
        Self(StoredValue::new_local(Rc::default()))
    }

    /// Asks for all of them, if that is due.
    pub(super) fn look(&self, deliveries: &Deliveries, now_us: f64) {
        let state = self.0.get_value();
        let total = deliveries.topics_total.topics as usize;
        if !state.borrow().is_due(deliveries.topics.len(), total, now_us) {
            return;
        }
        {
            let mut state = state.borrow_mut();
            (state.asking, state.asked_us) = (true, Some(now_us));
        }
        spawn_local(async move {
            let answer = api::topics().await;
            let mut state = state.borrow_mut();
            (state.asking, state.answered) = (false, true);
            // Where it was refused, what was known stays, and it is asked for again.
            if let Ok(answer) = answer {
                state.all = answer
                    .topics
                    .into_iter()
                    .map(|topic| (topic.name.clone(), topic))
                    .collect();
            }
        });
    }

    /// Nobody has said yet whether there are others than those that are told each second.
    pub(super) fn is_open(&self, deliveries: &Deliveries) -> bool {
        let total = deliveries.topics_total.topics as usize;
        deliveries.topics.len() < total && !self.0.get_value().borrow().answered
    }

    /// A topic, as fresh as it is known.
    pub(super) fn find<T>(&self, deliveries: &Deliveries, name: &str, take: impl FnOnce(&Topic) -> T) -> Option<T> {
        let told = deliveries.topics.iter().find(|topic| topic.name == name);
        match told {
            Some(topic) => Some(take(topic)),
            None => self.0.get_value().borrow().all.get(name).map(take),
        }
    }

    /// Each topic in the order of their names.
    pub(super) fn each(&self, deliveries: &Deliveries, mut take: impl FnMut(&Topic)) {
        let state = self.0.get_value();
        let state = state.borrow();
        merged(&state.all, &deliveries.topics).for_each(&mut take);
    }
}

/// Those of the list, with what is told each second in the place of what the list says of it.
fn merged<'a>(all: &'a BTreeMap<String, Topic>, told: &'a [Topic]) -> impl Iterator<Item = &'a Topic> {
    let mut merged: BTreeMap<&str, &Topic> = BTreeMap::new();
    // Where what is told is more than the list has, as it is where that was never asked for, it goes in as well.
    for topic in all.values().chain(told) {
        merged.insert(&topic.name, topic);
    }
    merged.into_values()
}

#[cfg(test)]
mod tests {
    use freshet_wire::{Epoch, TopicKind, TopicScope, Window};

    use super::*;

    fn topic(name: &str, events_per_s: f64) -> Topic {
        Topic {
            name: name.to_owned(),
            kind: TopicKind::Log,
            scope: TopicScope::Shared,
            synthetic: false,
            writable: true,
            epoch: Epoch::new(1),
            partitions: Vec::new(),
            events_per_s,
            bytes_per_s: 0.0,
            window: Window {
                events: 0,
                bytes: 0,
                max_bytes: 0,
                span_us: 0,
            },
            log: None,
            duplicates: 0,
            fenced: 0,
            unavailable: None,
            readers: 0,
        }
    }

    #[test]
    fn every_topic_stands_there_once_with_what_was_told_last() {
        let all = [topic("a", 0.0), topic("c", 0.0)];
        let all: BTreeMap<String, Topic> = all.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        let told = [topic("b", 2.0), topic("c", 3.0)];
        let listed: Vec<_> = merged(&all, &told)
            .map(|topic| (&*topic.name, topic.events_per_s))
            .collect();
        assert_eq!(listed, [("a", 0.0), ("b", 2.0), ("c", 3.0)]);
    }

    #[test]
    fn the_list_is_asked_for_where_there_are_more_than_are_told_and_sooner_where_there_is_a_new_one() {
        let mut state = State::default();
        assert!(!state.is_due(3, 3, 0.0), "all are told");
        assert!(state.is_due(3, 4, 0.0));
        state.asked_us = Some(0.0);
        assert!(!state.is_due(3, 4, SOON_US - 1.0));
        assert!(state.is_due(3, 4, SOON_US), "one more than is known");
        state.all = (0..4).map(|n| (n.to_string(), topic("t", 0.0))).collect();
        assert!(!state.is_due(3, 4, SOON_US));
        assert!(state.is_due(3, 4, EVERY_US));
        state.asking = true;
        assert!(!state.is_due(3, 4, EVERY_US));
    }
}
