//! How far it came: said at the end, and when there is no end.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use freshet_wire::Receipt;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

/// What a program is ended with that a signal ended: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: u64,
    /// Of these, how many had been published by an earlier try.
    before: u64,
    last: Option<Receipt>,
    /// Up to this line all is published.
    line: u64,
    /// Up to this line it is on its way.
    sent: u64,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::default(),
        }
    }

    pub(super) fn sends(&self, line: u64) {
        self.state.lock().sent = line;
    }

    pub(super) fn published(&self, line: u64, receipts: Vec<Receipt>) {
        let mut state = self.state.lock();
        state.line = line;
        state.events += receipts.len() as u64;
        state.before += receipts.iter().filter(|receipt| receipt.duplicate).count() as u64;
        state.last = receipts.into_iter().next_back().or(state.last.take());
    }

    pub(super) fn ended(&self, topic: &str) {
        let state = self.state.lock();
        let Some(last) = &state.last else {
            eprintln!("freshet: nothing to publish");
            return;
        };
        let before = match state.before {
            0 => String::new(),
            before => format!(" ({before} of them by an earlier try)"),
        };
        eprintln!(
            "freshet: {} events published to {topic}{before}, the last at offset {}, in {:.3} s",
            state.events,
            last.offset,
            self.started.elapsed().as_secs_f64()
        );
    }

    /// It goes no further; `refused`: what was on its way was not taken.
    pub(super) fn stopped(&self, refused: bool) {
        let mut state = self.state.lock();
        if refused {
            state.sent = state.line;
        }
        eprintln!("freshet: {}", state.how_far());
    }

    /// From now on, whoever interrupts it is told before it ends.
    pub(super) fn tell_if_interrupted(progress: &Arc<Self>) {
        let progress = Arc::clone(progress);
        thread::spawn(move || {
            // Where signals cannot be listened to, they end the program as ever.
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
                return;
            };
            runtime.block_on(async {
                let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
                let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
                    return;
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                // Held to the end, so that nothing moves on after it was said.
                let state = progress.state.lock();
                eprintln!("freshet: interrupted; {}", state.how_far());
                std::process::exit(INTERRUPTED);
            });
        });
    }
}

impl State {
    fn how_far(&self) -> String {
        let line = self.line;
        let mut text = match self.events {
            0 => "nothing is published; begin again at line 1".to_owned(),
            events => format!(
                "{events} events are published, up to line {line}; begin again at line {}",
                line + 1
            ),
        };
        if self.sent > line {
            text += &format!(
                ". Whether lines {} to {} are published is not known; with the same --key, the same again doubles nothing",
                line + 1,
                self.sent
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::Epoch;

    use super::*;

    #[test]
    fn how_far_it_came_counts_events_and_lines_apart() {
        let progress = Progress::begin();
        let said = || progress.state.lock().how_far();
        assert_eq!(said(), "nothing is published; begin again at line 1");
        progress.sends(5);
        assert!(said().contains("Whether lines 1 to 5 are published"), "{}", said());
        let receipt = Receipt {
            topic: "t".to_owned(),
            epoch: Epoch::new(1),
            partition: 0,
            offset: 7,
            id: "i".to_owned(),
            duplicate: true,
        };
        progress.published(5, vec![receipt.clone(), receipt]);
        assert_eq!(said(), "2 events are published, up to line 5; begin again at line 6");
        assert_eq!(progress.state.lock().before, 2);
    }
}
