//! How the service and the spool fare, in words for people.

use std::collections::BTreeMap;

use freshet_wire::{Engine, EngineState};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::time::now_us;

#[derive(Debug)]
pub(super) struct Health {
    state: watch::Sender<Engine>,
    spool: watch::Receiver<Engine>,
    /// What the service last said of each topic; `None`: all is well.
    topics: Mutex<BTreeMap<String, Option<String>>>,
}

impl Health {
    pub(super) fn new(spool: watch::Receiver<Engine>) -> Self {
        Self {
            state: watch::Sender::new(Engine {
                name: super::NAME.to_owned(),
                state: EngineState::Connecting,
                since_us: now_us(),
                detail: String::new(),
            }),
            spool,
            topics: Mutex::default(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Engine> {
        self.state.subscribe()
    }

    /// Topics of which the service said something.
    pub(super) fn topics(&self) -> usize {
        self.topics.lock().len()
    }

    /// What the service said of a topic now. The spool is looked at, too.
    pub(super) fn tell(&self, topic: &str, trouble: Option<String>) {
        let mut topics = self.topics.lock();
        topics.insert(topic.to_owned(), trouble);
        let troubles: Vec<&String> = topics.values().flatten().collect();
        let spool = self.spool.borrow().clone();
        let service = match troubles.len() {
            0 => EngineState::Up,
            all if all == topics.len() => EngineState::Down,
            _ => EngineState::Degraded,
        };
        let (state, detail) = match (service, troubles.first()) {
            (_, Some(why)) => {
                let more = match troubles.len() {
                    1 => String::new(),
                    all => format!(" (and {} more topics)", all - 1),
                };
                let means = "publishing is refused; what was received before can be read, and it is tried again";
                (service, format!("Pub/Sub: {why}{more}; {means}"))
            }
            _ if spool.state != EngineState::Up => (spool.state, format!("the spool: {}", spool.detail)),
            _ => (EngineState::Up, String::new()),
        };
        self.state.send_if_modified(|engine| {
            let is_changed = engine.state != state || engine.detail != detail;
            if engine.state != state {
                (engine.state, engine.since_us) = (state, now_us());
            }
            engine.detail = detail;
            is_changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_that_the_service_is_gone_and_what_it_means() {
        let (_spool, watched) = watch::channel(Engine {
            name: "log".to_owned(),
            state: EngineState::Up,
            since_us: 0,
            detail: String::new(),
        });
        let health = Health::new(watched);
        let state = health.watch();
        assert_eq!(state.borrow().state, EngineState::Connecting);
        health.tell("a", None);
        assert_eq!(state.borrow().state, EngineState::Up);
        health.tell("b", Some("no answer".to_owned()));
        assert_eq!(state.borrow().state, EngineState::Degraded);
        health.tell("a", Some("no answer".to_owned()));
        assert_eq!(state.borrow().state, EngineState::Down);
        let detail = state.borrow().detail.clone();
        assert!(
            detail.contains("no answer") && detail.contains("publishing is refused"),
            "{detail}"
        );
        health.tell("a", None);
        health.tell("b", None);
        assert_eq!((state.borrow().state, &*state.borrow().detail), (EngineState::Up, ""));
    }
}
