//! The Topics view: what topics there are, one of them as a live feed, an event opened, who reads, and publishing.

mod controls;
mod event;
mod export;
mod feed;
mod known;
mod list;
mod publish;
mod readers;
mod rows;

use freshet_wire::{Position, Topic, TopicKind};
use leptos::prelude::*;

use self::known::Known;
use super::Ui;
use super::bind::Text;
use super::frame::{on_frame, put};
use super::tabs::hidden_unless;
use crate::feed::Pause;
use crate::feed::datetime::{Style, moment};
use crate::route::{Route, View};

/// A feed begins so many events back, where there are that many.
const BACK: u64 = 100;

/// What the parts of the view share.
#[derive(Clone, Copy)]
struct Shared {
    ui: Ui,
    style: StoredValue<Style>,
    newest_first: RwSignal<bool>,
    /// The number of the row that is opened.
    opened: RwSignal<Option<u64>>,
    /// It was read from there on: that stands still until the reader goes to the newest.
    pinned: StoredValue<bool>,
    /// Grows whenever reading begins somewhere else.
    begun: StoredValue<u32>,
    /// The topic that is read may be published to, as far as that is known.
    writable: StoredValue<Option<bool>>,
}

impl Shared {
    /// A moment, as times are written now.
    fn moment(&self, us: i64, now_us: f64) -> String {
        let style = self.style.get_value();
        let ahead_us = match style {
            Style::Local => ahead_us(us),
            _ => 0,
        };
        moment(us, now_us as i64, style, ahead_us)
    }

    /// Reads the feed from there on.
    fn replay(&self, position: Option<Position>) {
        let topic = self.ui.handle().feed().topic.clone();
        let from_there = matches!(
            position,
            Some(Position::Earliest | Position::Offset { .. } | Position::Time(_))
        );
        self.newest_first.set(!from_there);
        self.begin(topic, position, from_there);
    }

    fn begin(&self, topic: Option<String>, position: Option<Position>, pinned: bool) {
        self.opened.set(None);
        self.pinned.set_value(pinned);
        self.begun.update_value(|begun| *begun = begun.wrapping_add(1));
        self.ui.handle().tell_feed(|feed| feed.choose(topic, position));
    }
}

/// How far this machine's time zone is ahead of UTC at that moment.
pub(super) fn ahead_us(us: i64) -> i64 {
    let date = js_sys::Date::new(&((us / 1000) as f64).into());
    -(date.get_timezone_offset() * 60e6) as i64
}

pub fn topics_view(ui: Ui) -> AnyView {
    let shared = Shared {
        ui,
        style: StoredValue::new(Style::default()),
        newest_first: RwSignal::new(true),
        opened: RwSignal::new(None),
        pinned: StoredValue::new(false),
        begun: StoredValue::new(0),
        writable: StoredValue::new(None),
    };
    let known = Known::new();
    let reading = Text::default();
    let mut paused = false;
    on_frame(move |frame| {
        let handle = ui.handle();
        let away = ui.view() != View::Topics;
        handle.tell_feed_if(|feed| feed.is_away() != away, |feed| feed.set_away(away));
        // The page's own pause holds for what the feed shows, too.
        if paused != frame.model.paused {
            paused = frame.model.paused;
            handle.tell_feed_if(
                |feed| paused || feed.pause == Some(Pause::Wanted),
                |feed| feed.set_pause(paused.then_some(Pause::Wanted)),
            );
        }
        let Some(deliveries) = frame.deliveries.filter(|_| !away) else {
            return;
        };
        known.look(deliveries, frame.now_us);
        let wanted = ui.route().with_untracked(|route| route.topic.clone());
        let wanted = wanted.or_else(|| first(&deliveries.topics));
        if reading.with_untracked(|reading| wanted.as_ref() != Some(reading)) {
            put(reading, wanted.clone().unwrap_or_default());
        }
        let same = handle.feed().topic == wanted;
        if same && !frame.second {
            return;
        }
        let name = wanted.as_deref().unwrap_or_default();
        let topic = known.find(deliveries, name, |topic| (topic.writable, begin(topic)));
        // It may be one of those that are not told each second.
        if topic.is_none() && wanted.is_some() && known.is_open(deliveries) {
            return;
        }
        shared.writable.set_value(topic.as_ref().map(|topic| topic.0));
        if same {
            return;
        }
        // A replay had turned it round.
        if shared.pinned.get_value() {
            shared.newest_first.set(true);
        }
        // One that is not known has only begun, if it is there at all.
        let position = topic.map_or(Some(Position::Earliest), |topic| topic.1);
        shared.begin(wanted, position, false);
    });
    view! {
        <main id="topics" hidden=hidden_unless(ui, View::Topics)>
            {list::list(ui, known, reading)}
            <div class="column">
                {feed::feed(shared)}
                {event::event(shared)}
                {publish::publish(shared)}
            </div>
            {readers::readers(ui)}
        </main>
    }
    .into_any()
}

/// What is read as long as nobody chose.
fn first(topics: &[Topic]) -> Option<String> {
    let log = topics.iter().find(|topic| topic.kind == TopicKind::Log);
    log.or(topics.first()).map(|topic| topic.name.clone())
}

/// Some events back, so that there is something to be seen at once.
fn begin(topic: &Topic) -> Option<Position> {
    let [partition] = topic.partitions[..] else {
        return None;
    };
    let from = Position::Offset {
        partition: partition.partition,
        offset: partition.next_offset.saturating_sub(BACK).max(partition.first_offset),
    };
    (topic.kind == TopicKind::Log).then_some(match partition.next_offset > partition.first_offset {
        true => from,
        // It was empty when that was told, up to a second ago: what came since is wanted as well.
        false => Position::Earliest,
    })
}

/// Chooses a topic, by the address.
fn choose(ui: Ui, topic: String) {
    ui.go(Route {
        view: View::Topics,
        topic: Some(topic),
        section: None,
    });
}
