//! How the log fares, in words for people.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use freshet_wire::{Engine, EngineState};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What was found damaged or cut off stands in the state for so long.
const REMEMBERED_US: i64 = 3_600_000_000;
/// So many findings stand in the state at once, the newest ones; the process's log has them all.
const MOST_FINDINGS: usize = 8;

#[derive(Debug)]
pub(super) struct Health {
    state: watch::Sender<Engine>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What is wrong now, by topic.
    troubles: BTreeMap<Arc<str>, Trouble>,
    /// Topics of which what is too old or too much cannot be dropped, and why.
    stuck: BTreeMap<Arc<str>, String>,
    findings: VecDeque<Finding>,
}

/// What is wrong with a topic now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The disk takes no more events.
    Refused(String),
    /// What was written cannot be made durable.
    Unsafe(String),
}

#[derive(Debug)]
struct Finding {
    at_us: i64,
    is_loss: bool,
    topic: Box<str>,
    text: String,
}

impl Health {
    pub(super) fn new(now_us: i64) -> Self {
        Self {
            state: watch::Sender::new(Engine {
                name: super::NAME.to_owned(),
                state: EngineState::Up,
                since_us: now_us,
                detail: String::new(),
            }),
            known: Mutex::default(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Engine> {
        self.state.subscribe()
    }

    /// Something is wrong with the topic from now on, or with `None` no more.
    pub(super) fn set_trouble(&self, topic: &Arc<str>, trouble: Option<Trouble>, now_us: i64) {
        let mut known = self.known.lock();
        let before = match &trouble {
            Some(trouble) => known.troubles.insert(Arc::clone(topic), trouble.clone()),
            None => known.troubles.remove(topic),
        };
        match trouble {
            Some(Trouble::Refused(why) | Trouble::Unsafe(why)) if before.is_none() => {
                tracing::error!(topic = &**topic, why, "the disk fails");
            }
            None if before.is_some() => tracing::info!(topic = &**topic, "the disk works again"),
            _ => {}
        }
        self.tell(&mut known, now_us);
    }

    /// There is no such topic any more: nothing is wrong with it.
    pub(super) fn forget(&self, topic: &str, now_us: i64) {
        let mut known = self.known.lock();
        known.troubles.remove(topic);
        known.stuck.remove(topic);
        known.findings.retain(|finding| *finding.topic != *topic);
        self.tell(&mut known, now_us);
    }

    /// What is too old or too much of the topic cannot be dropped, or with `None` can be again.
    pub(super) fn set_stuck(&self, topic: &Arc<str>, why: Option<String>, now_us: i64) {
        let mut known = self.known.lock();
        match why {
            Some(why) => {
                if known.stuck.get(topic) == Some(&why) {
                    return;
                }
                tracing::error!(topic = &**topic, why);
                known.stuck.insert(Arc::clone(topic), why);
            }
            None if known.stuck.remove(topic).is_some() => tracing::info!(topic = &**topic, "what is old goes again"),
            None => return,
        }
        self.tell(&mut known, now_us);
    }

    /// Something was found that cannot be helped: it is said, and remembered for a while.
    pub(super) fn find(&self, topic: &str, is_loss: bool, text: &str, now_us: i64) {
        tracing::warn!(topic, "{text}");
        let mut known = self.known.lock();
        if known.findings.len() == MOST_FINDINGS {
            known.findings.pop_front();
        }
        known.findings.push_back(Finding {
            at_us: now_us,
            is_loss,
            topic: Box::from(topic),
            text: format!("{topic:?}: {text}"),
        });
        self.tell(&mut known, now_us);
    }

    /// Forgets old findings.
    pub(super) fn tick(&self, now_us: i64) {
        let mut known = self.known.lock();
        if known.findings.front().is_some_and(|oldest| is_old(oldest, now_us)) {
            self.tell(&mut known, now_us);
        }
    }

    fn tell(&self, known: &mut Known, now_us: i64) {
        known.findings.retain(|finding| !is_old(finding, now_us));
        let is_unsafe = |trouble: &Trouble| matches!(trouble, Trouble::Unsafe(_));
        let state = if known.troubles.values().any(is_unsafe) {
            EngineState::Down
        } else if !known.troubles.is_empty()
            || !known.stuck.is_empty()
            || known.findings.iter().any(|finding| finding.is_loss)
        {
            EngineState::Degraded
        } else {
            EngineState::Up
        };
        let troubles = known.troubles.iter().map(|(topic, trouble)| {
            let (Trouble::Refused(why) | Trouble::Unsafe(why)) = trouble;
            format!("{topic:?}: {why}")
        });
        let stuck = known.stuck.iter().map(|(topic, why)| format!("{topic:?}: {why}"));
        let findings = known.findings.iter().rev().map(|finding| finding.text.clone());
        let told: Vec<String> = troubles.chain(stuck).chain(findings).take(MOST_FINDINGS).collect();
        let detail = told.join("; ");
        self.state.send_if_modified(|engine| {
            let changed = engine.state != state || engine.detail != detail;
            if engine.state != state {
                (engine.state, engine.since_us) = (state, now_us);
            }
            engine.detail = detail;
            changed
        });
    }
}

fn is_old(finding: &Finding, now_us: i64) -> bool {
    now_us.saturating_sub(finding.at_us) > REMEMBERED_US
}
