//! Everything that is seen. Reads the model, draws, and sends the reader's wishes back by the model's handle.

pub mod chart;
pub mod compare;
pub mod costs;
pub mod format;
pub mod frame;
pub mod header;
pub mod lateness;
pub mod notice;
pub mod over_time;
pub mod panel;
pub mod race;
pub mod stages;
pub mod theme;
pub mod tip;
pub mod topics;
pub mod workload;

use leptos::prelude::*;

use crate::lane::LaneId;
use crate::model::Handle;

/// What every view needs: the way to the model, and the few choices that are the page's own.
#[derive(Clone, Copy)]
pub struct Ui {
    handle: StoredValue<Handle, LocalStorage>,
    /// The lane that feeds the cards.
    pub feed: RwSignal<LaneId>,
    pub paused: RwSignal<bool>,
}

impl Ui {
    pub fn new(handle: Handle) -> Self {
        let paused = handle.model().paused;
        Self {
            handle: StoredValue::new_local(handle),
            feed: RwSignal::new(LaneId::Stream),
            paused: RwSignal::new(paused),
        }
    }

    pub fn handle(&self) -> Handle {
        self.handle.get_value()
    }
}

/// A lane's name, and its class in the style sheet: its colour.
pub fn lane_name(id: LaneId) -> (&'static str, &'static str) {
    match id {
        LaneId::Poll => ("polling", "poll"),
        LaneId::Stream => ("streaming", "stream"),
    }
}
