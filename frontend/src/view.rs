//! Everything that is seen. Reads the model, draws, and sends the reader's wishes back by the model's handle.

pub mod bind;
pub mod chart;
pub mod compare;
pub mod config_view;
pub mod costs;
pub mod format;
pub mod frame;
pub mod header;
pub mod lateness;
pub mod leader;
pub mod leader_view;
pub mod limits;
pub mod limits_view;
pub mod notice;
pub mod over_time;
pub mod panel;
pub mod point;
pub mod race;
pub mod stages;
pub mod tabs;
pub mod theme;
pub mod topics;
pub mod topics_view;
pub mod workload;

use leptos::prelude::*;

use crate::lane::LaneId;
use crate::model::Handle;
use crate::route::{Route, View};
use leader::Faults;

/// What every view needs: the way to the model, and the few choices that are the page's own.
#[derive(Clone, Copy)]
pub struct Ui {
    handle: StoredValue<Handle, LocalStorage>,
    /// The lane that feeds the cards.
    feed: StoredValue<LaneId>,
    route: RwSignal<Route>,
    faults: Faults,
}

impl Ui {
    pub fn new(handle: Handle) -> Self {
        Self {
            handle: StoredValue::new_local(handle),
            feed: StoredValue::new(LaneId::Stream),
            route: RwSignal::new(Route::current()),
            faults: Faults::new(),
        }
    }

    pub fn feed(&self) -> LaneId {
        self.feed.get_value()
    }

    pub fn set_feed(&self, feed: LaneId) {
        self.feed.set_value(feed);
    }

    /// Where the reader is: follows the address.
    pub fn route(&self) -> RwSignal<Route> {
        self.route
    }

    /// The view that is shown, for whoever only wants to know it now.
    pub fn view(&self) -> View {
        self.route.with_untracked(|route| route.view)
    }

    /// Goes there, and puts it into the address.
    pub fn go(&self, route: Route) {
        route.enter();
        frame::put(self.route, route);
    }

    /// What can be done to nodes, and the question before it is.
    pub fn faults(&self) -> Faults {
        self.faults
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
