//! What the page knows: plain data that the lanes write and the view reads. No Leptos in it.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use freshet_wire::Hello;

use crate::clock::Offset;
use crate::lane::{Lane, LaneId};

/// The slowest and the fastest polling that can be chosen.
pub const INTERVAL_MS: std::ops::RangeInclusive<u32> = 100..=30_000;

/// State topics that feed cards: both lanes always carry them; they never count in the race.
pub const CARD_TOPICS: [&str; 2] = ["settings", "deliveries"];

#[derive(Debug)]
pub struct Model {
    pub poll: Lane,
    pub stream: Lane,
    /// The topics of the race that are chosen now.
    pub topics: Vec<String>,
    pub interval_ms: u32,
    /// The picture stands still; the lanes go on, so that nothing is missed.
    pub paused: bool,
    /// The tab cannot be seen.
    pub hidden: bool,
    pub solo: Option<LaneId>,
    /// How the server introduced itself, last.
    pub hello: Option<Hello>,
    /// What the server refused last, in words for people.
    pub problem: Option<String>,
    /// The page's clock is fine (5 µs) only if so.
    pub cross_origin_isolated: bool,
}

impl Model {
    pub fn lane(&self, id: LaneId) -> &Lane {
        match id {
            LaneId::Poll => &self.poll,
            LaneId::Stream => &self.stream,
        }
    }

    /// The clock's offset and its bound; `None` before the first probe was answered.
    pub fn offset(&self) -> Option<Offset> {
        None
    }
}

/// The page's handle on its model. In Leptos closures, keep it in `StoredValue::new_local`.
#[derive(Debug, Clone)]
pub struct Handle(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    model: RefCell<Model>,
}

impl Handle {
    /// Makes the model with what is remembered (URL hash, local storage) and starts both lanes.
    pub fn start() -> Self {
        let model = Model {
            poll: Lane::new(LaneId::Poll, String::new()),
            stream: Lane::new(LaneId::Stream, String::new()),
            topics: Vec::new(),
            interval_ms: 1000,
            paused: false,
            hidden: false,
            solo: None,
            hello: None,
            problem: None,
            cross_origin_isolated: false,
        };
        Self(Rc::new(Inner {
            model: RefCell::new(model),
        }))
    }

    /// To be read and let go within one animation frame or event handler.
    pub fn model(&self) -> Ref<'_, Model> {
        self.0.model.borrow()
    }

    /// Page time on the server's clock, in microseconds since the Unix epoch (the page's own before the first probe).
    pub fn now_us(&self) -> f64 {
        0.0
    }

    /// Chooses the topics of the race. Remembered.
    pub fn set_topics(&self, topics: Vec<String>) {
        self.0.model.borrow_mut().topics = topics;
    }

    /// From one response to the next request; brought into [`INTERVAL_MS`]; takes effect at once. Remembered.
    pub fn set_interval_ms(&self, interval_ms: u32) {
        self.0.model.borrow_mut().interval_ms = interval_ms.clamp(*INTERVAL_MS.start(), *INTERVAL_MS.end());
    }

    pub fn set_paused(&self, paused: bool) {
        self.0.model.borrow_mut().paused = paused;
    }

    /// Runs one lane alone, or both (`None`). A lane that comes back begins anew, with the newest events.
    pub fn set_solo(&self, solo: Option<LaneId>) {
        self.0.model.borrow_mut().solo = solo;
    }
}
