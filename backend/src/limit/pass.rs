//! A request that is let in before it is known what it costs: a batch of events.
//!
//! It spends 1 when it comes, so that nobody sends bodies for nothing, and the rest when its events are counted and before any of
//! them is read. What was spent is never given back: its body was read for it.

use std::sync::Arc;

use freshet_wire::RouteClass;
use parking_lot::Mutex;

use super::Client;
use super::figures::Outcome;
use super::gate::{Gate, Refusal, Said, Verdict};

/// See the module. The request is counted once, with what it came to, when this is dropped.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    client: Client,
    class: RouteClass,
    came_to: Mutex<(Outcome, Vec<Said>)>,
}

/// Why the rest was not spent.
#[derive(Debug)]
pub enum Refused {
    NoRoom(Refusal),
    Shed(String),
}

impl Pass {
    pub(super) fn new(gate: &Arc<Gate>, client: Client, class: RouteClass, said: Vec<Said>) -> Self {
        Self {
            gate: Arc::clone(gate),
            client,
            class,
            came_to: Mutex::new((Outcome::Allowed, said)),
        }
    }

    /// Spends what a request of this cost has not spent yet. All of it must find room at once: one that costs more than a whole
    /// quota never does, and spends no more. A refusal tells when the whole of it would be admitted, as it is sent again whole.
    pub async fn spend(&self, cost: u32) -> Result<(), Refused> {
        if cost <= 1 {
            return Ok(());
        }
        match self.gate.decide_rest(self.client, self.class, cost).await {
            Verdict::Admitted { said, .. } => {
                self.come_to(Outcome::Allowed, said);
                Ok(())
            }
            Verdict::Limited(refusal) => {
                self.come_to(Outcome::Limited, refusal.said.clone());
                Err(Refused::NoRoom(refusal))
            }
            Verdict::Shed(why) => {
                self.come_to(Outcome::Shed, Vec::new());
                Err(Refused::Shed(why))
            }
            Verdict::Denied => Ok(()),
        }
    }

    fn come_to(&self, outcome: Outcome, said: Vec<Said>) {
        *self.came_to.lock() = (outcome, said);
    }

    /// What the policies said, for the headers of the answer.
    pub fn said(&self) -> Vec<Said> {
        self.came_to.lock().1.clone()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let (outcome, said) = self.came_to.get_mut();
        self.gate.count(self.client, self.class, *outcome, said);
    }
}
