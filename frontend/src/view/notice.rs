//! What must not be overlooked, in the head of the page: no answer, a refusal, a broken promise.

use freshet_wire::{Deliveries, Engine, EngineState, Topic};
use leptos::prelude::*;

use super::bind::{Class, Text, class, if_empty, live};
use super::chart::pen;
use super::format;
use super::frame::{on_frame, put};
use crate::lane::{Lane, LaneId, Status};
use crate::model::Model;

/// The stream hears an answer to its clock probes every two seconds; whoever owes one for longer than this is silent.
const SILENT_US: f64 = 3.5e6;

pub fn notice() -> AnyView {
    let (what, why) = (Text::default(), Text::default());
    let look = Class::new("notice");
    on_frame(move |frame| {
        // Also while the picture is paused.
        if frame.tick {
            let away = || engine_away(frame.deliveries?, frame.now_us);
            let trouble = trouble(frame.model, frame.now_us).or_else(away);
            put(look, if trouble.is_some() { "notice" } else { "notice calm" });
            let outrun = || outrun(frame.model, frame.deliveries?);
            let undrawn = || pen::is_broken().then(undrawn);
            let (title, text) = trouble.or_else(outrun).or_else(undrawn).unwrap_or_default();
            put(what, title);
            put(why, text);
        }
    });
    view! {
        <div class=class(look) role="alert" hidden=if_empty(what)>
            // Only the first part is announced: the other counts seconds.
            <p><b>{live(what)}</b><span class="dim" aria-live="off">{live(why)}</span></p>
        </div>
    }
    .into_any()
}

fn trouble(model: &Model, now_us: f64) -> Option<(String, String)> {
    let unexplained = model.poll.counters.unexplained + model.stream.counters.unexplained;
    if unexplained > 0 {
        let what = [
            &format::count(unexplained),
            " events are missing that nobody reported as missing.",
        ]
        .concat();
        return Some((
            what,
            String::from("This must never happen; please report it with the server's log."),
        ));
    }
    let lanes = [&model.poll, &model.stream];
    let mut wanted = lanes.into_iter().filter(|lane| lane.status != Status::Off).peekable();
    if wanted.peek().is_some() && wanted.all(|lane| is_lost(lane, now_us)) {
        return Some((String::from("The back end does not answer."), waiting(lanes, now_us)));
    }
    if let Some(silent_us) = lanes
        .into_iter()
        .filter_map(|lane| silent_us(lane, now_us))
        .reduce(f64::max)
        && !lanes.into_iter().any(|lane| is_heard(lane, now_us))
    {
        let why = [
            "Connected, but nothing came for ",
            &*format::ago(silent_us),
            ", not even a sign of life.",
        ];
        return Some((String::from("The back end is silent."), why.concat()));
    }
    if let Status::Limited { retry_at_us, .. } = model.poll.status {
        let left_us = (retry_at_us - now_us).max(0.0);
        let why = [
            "The server refused a poll (429). It goes on in ",
            &*format::ago(left_us + 999e3),
            ", as the server asked; so far ",
            &format::count(model.poll.counters.limited),
            " polls were refused. Streaming spends nothing of this quota.",
        ];
        return Some((String::from("Polling has spent its quota."), why.concat()));
    }
    model
        .problem
        .as_ref()
        .map(|problem| (String::from("The server refused something."), problem.clone()))
}

fn undrawn() -> (String, String) {
    (
        String::from("The pictures cannot be drawn."),
        String::from(
            "The thread that draws them does not answer. Their figures are there as tables; another try is to load the page again.",
        ),
    )
}

/// The engine behind the shared topics, where it is down: both lanes are live then, and bring nothing new.
pub fn down(deliveries: &Deliveries) -> Option<&Engine> {
    let engine = &deliveries.pubsub;
    (engine.state == EngineState::Down).then_some(engine)
}

/// An engine as its users call it.
pub fn called(engine: &Engine) -> &str {
    match engine.name.as_str() {
        "kafka" => "Kafka",
        "cloud-pubsub" => "Google Cloud Pub/Sub",
        "log" => "The log",
        other => other,
    }
}

fn engine_away(deliveries: &Deliveries, now_us: f64) -> Option<(String, String)> {
    let engine = down(deliveries)?;
    let since = format::ago((now_us - engine.since_us as f64).max(0.0));
    let why = ["For ", &*since, ": ", &engine.detail, "."].concat();
    Some(([called(engine), " is down."].concat(), why))
}

/// For how long a lane that is connected has been owed an answer, if that is too long.
pub fn silent_us(lane: &Lane, now_us: f64) -> Option<f64> {
    let owed_since_us = match lane.id {
        LaneId::Poll => lane.asking_since_us,
        LaneId::Stream => lane.last_heard_us.map(|heard_us| heard_us.max(lane.since_us)),
    };
    owed_since_us
        .filter(|_| lane.status == Status::Live)
        .map(|since_us| now_us - since_us)
        .filter(|silent_us| *silent_us > SILENT_US)
}

fn is_heard(lane: &Lane, now_us: f64) -> bool {
    lane.status == Status::Live && lane.last_heard_us.is_some_and(|heard_us| now_us - heard_us < SILENT_US)
}

/// A topic of the race of which more is written between two polls than is kept: polling will miss events.
fn outrun(model: &Model, deliveries: &Deliveries) -> Option<(String, String)> {
    if model.poll.status != Status::Live {
        return None;
    }
    let chosen = |topic: &&Topic| model.topics.contains(&topic.name);
    let topics = deliveries.topics.iter().filter(chosen);
    let topic = topics.max_by(|a, b| share(a).total_cmp(&share(b)))?;
    let interval_s = f64::from(model.interval_ms) / 1e3;
    (share(topic) * interval_s > 1.0).then(|| {
        let why = [
            "Between two polls ",
            &format::bytes(topic.bytes_per_s * interval_s),
            " are written, of which the newest ",
            &format::bytes(kept_bytes(topic)),
            " are kept: polling misses the rest.",
        ];
        let what = [
            "Polling every ",
            &format::interval(model.interval_ms),
            " is too slow for ",
            &topic.name,
            ".",
        ];
        (what.concat(), why.concat())
    })
}

/// What share of what is kept of a topic is written in a second.
fn share(topic: &Topic) -> f64 {
    topic.bytes_per_s / kept_bytes(topic).max(1.0)
}

/// How far back a poll can reach: as far as the engine's log, or else as the window in memory.
fn kept_bytes(topic: &Topic) -> f64 {
    let window = topic.window.max_bytes as f64;
    match topic.log {
        None => window,
        Some(log) => log
            .retention
            .max_bytes
            .map_or(f64::INFINITY, |log| (log as f64).max(window)),
    }
}

fn is_lost(lane: &Lane, now_us: f64) -> bool {
    match lane.status {
        Status::Reconnecting { .. } => true,
        // A first attempt may take its time.
        Status::Connecting => now_us - lane.since_us > 3e6,
        _ => false,
    }
}

/// How old everything is, and when the next attempt is.
fn waiting(lanes: [&Lane; 2], now_us: f64) -> String {
    let newest = lanes
        .iter()
        .filter_map(|lane| lane.arrivals.newest())
        .map(|it| it.received_us)
        .reduce(f64::max);
    let retry = lanes
        .iter()
        .filter_map(|lane| match lane.status {
            Status::Reconnecting { retry_at_us, .. } => Some(retry_at_us - now_us),
            _ => None,
        })
        .reduce(f64::min);
    let mut text = match newest {
        Some(newest) => [
            "Nothing below is live: the newest event came ",
            &*format::ago(now_us - newest),
            " ago. ",
        ]
        .concat(),
        None => String::from("Nothing has come from it yet. "),
    };
    match retry {
        Some(left) if left > 0.0 => {
            text.push_str("Trying again in ");
            text.push_str(&format::ago(left + 999e3));
            text.push('.');
        }
        _ => text.push_str("Trying now."),
    }
    text
}

#[cfg(test)]
mod tests {
    use freshet_wire::{Epoch, Log, Retention, TopicKind, TopicScope, Window};

    use super::*;

    fn topic(log: Option<Log>) -> Topic {
        Topic {
            name: "a".into(),
            kind: TopicKind::Log,
            scope: TopicScope::Shared,
            synthetic: false,
            writable: false,
            epoch: Epoch::new(1),
            partitions: Vec::new(),
            events_per_s: 100.0,
            bytes_per_s: 1000.0,
            window: Window {
                events: 0,
                bytes: 0,
                max_bytes: 500,
                span_us: 0,
            },
            log,
            duplicates: 0,
            fenced: 0,
            unavailable: None,
            readers: 0,
        }
    }

    fn log(max_bytes: Option<u64>) -> Option<Log> {
        let retention = Retention {
            max_age_s: None,
            max_bytes,
        };
        Some(Log {
            retention,
            ..Log::default()
        })
    }

    #[test]
    fn an_engine_that_is_down_is_told_with_what_it_means_and_since_when() {
        let deliveries = |state| Deliveries {
            readers: Vec::new(),
            readers_total: 0,
            pubsub: Engine {
                name: "kafka".into(),
                state,
                since_us: 1_000_000,
                detail: "no broker answers".into(),
            },
            topics: Vec::new(),
            topics_total: Default::default(),
            process_cpu_us: 0,
        };
        let (what, why) = engine_away(&deliveries(EngineState::Down), 4e6).unwrap();
        assert_eq!(what, "Kafka is down.");
        assert_eq!(why.replace('\u{a0}', " "), "For 3 s: no broker answers.");
        assert_eq!(engine_away(&deliveries(EngineState::Up), 4e6), None);
    }

    #[test]
    fn a_poll_reaches_as_far_back_as_what_is_kept() {
        assert_eq!(share(&topic(None)), 2.0);
        assert_eq!(share(&topic(log(Some(10_000)))), 0.1);
        assert_eq!(share(&topic(log(Some(10)))), 2.0, "the window is there in any case");
        assert_eq!(share(&topic(log(None))), 0.0, "nothing goes by size");
    }
}
