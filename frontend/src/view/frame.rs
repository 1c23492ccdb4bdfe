//! The page's one animation loop: everything that moves is painted from here, at most once a frame.
//!
//! Painters get plain data. What is drawn on canvases goes to the thread that draws at the end of the frame; the figures of what is seen
//! together are written to signals in one frame (`tick`, four times a second), so that the browser lays out the page once for all of them,
//! and only when they changed. A hidden tab gets no frames from the browser, so nothing is drawn there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use freshet_wire::{Cluster, Deliveries, LimitStatus};
use leptos::prelude::*;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::MediaQueryList;

use super::Ui;
use super::chart::palette::Palette;
use super::chart::pen;
use crate::lane::{LaneId, Status};
use crate::model::Model;

/// What a painter sees.
pub struct Frame<'a> {
    pub model: &'a Model,
    /// Page time on the server's clock.
    pub now_us: f64,
    /// What the pictures call now: it stands still while they are paused, and moves in steps for whoever wants less motion.
    pub shown_us: f64,
    pub palette: &'a Palette,
    /// The theme changed: draw anew, whatever else.
    pub repaint: bool,
    /// Time to write what is told also while the picture is paused (4/s).
    pub tick: bool,
    /// Time to write figures (every tick); not while the picture is paused.
    pub quarter: bool,
    /// Time for what is slow (every fourth tick); not while the picture is paused.
    pub second: bool,
    /// The value of the state topic `deliveries`, as the lane that feeds the cards brought it.
    pub deliveries: Option<&'a Deliveries>,
    /// The same of `cluster`.
    pub cluster: Option<&'a Cluster>,
    /// The same of `limits`.
    pub limits: Option<&'a LimitStatus>,
    /// Less motion is wanted: nothing runs by itself.
    pub calm: bool,
}

const TICK_MS: f64 = 250.0;

/// Without a frame for so long the tab was hidden, or its machine slept.
const AWAY_MS: f64 = 1000.0;

type Paint = Box<dyn FnMut(&Frame<'_>)>;

thread_local! {
    static PAINTERS: RefCell<Vec<(u32, Paint)>> = const { RefCell::new(Vec::new()) };
    static NEXT_ID: Cell<u32> = const { Cell::new(0) };
    static REPAINT: Cell<bool> = const { Cell::new(true) };
}

/// Paints on every frame until the view that asked for it is gone.
pub fn on_frame(paint: impl FnMut(&Frame<'_>) + 'static) {
    let id = NEXT_ID.with(|next| next.replace(next.get() + 1));
    PAINTERS.with_borrow_mut(|painters| painters.push((id, Box::new(paint))));
    on_cleanup(move || PAINTERS.with_borrow_mut(|painters| painters.retain(|painter| painter.0 != id)));
}

/// The colours changed: everything is drawn anew on the next frame.
pub fn repaint() {
    REPAINT.set(true);
}

/// Starts the loop; it never ends.
pub fn start(ui: Ui) {
    let handle = ui.handle();
    let less_motion = window().match_media("(prefers-reduced-motion: reduce)").ok().flatten();
    let mut calm = less_motion.as_ref().is_some_and(MediaQueryList::matches);
    let mut palette = Palette::default();
    let mut cards = Cards::default();
    let (mut next_ms, mut ticks) = (0.0, 0_u32);
    let mut shown_us = 0.0;
    let (mut last_ms, mut was_away) = (0.0, false);
    every_frame(move |at_ms| {
        let step_ms = at_ms - last_ms;
        last_ms = at_ms;
        was_away |= step_ms > AWAY_MS;
        // A machine that is too slow for every frame's pictures has fewer frames, instead of pictures that lag behind the figures.
        if pen::leaves_out(step_ms) {
            return;
        }
        let model = handle.model();
        let now_us = handle.now_us();
        // A tab that was hidden is seen again: nothing waits for its turn, and a browser may have let go of the pictures.
        let is_back = std::mem::take(&mut was_away);
        if is_back {
            pen::forget();
        }
        let repaint = REPAINT.replace(false) || is_back;
        if repaint {
            palette = Palette::read();
        }
        let tick = at_ms >= next_ms;
        let second = is_back || tick && ticks.is_multiple_of(4);
        if tick {
            // In step with time, but what a hidden tab left out is not made up for.
            next_ms = f64::max(next_ms + TICK_MS, at_ms + TICK_MS / 2.0);
            ticks = ticks.wrapping_add(1);
            calm = less_motion.as_ref().is_some_and(MediaQueryList::matches);
            cards.deliveries.take(&model, ui.feed(), "deliveries");
            cards.limits.take(&model, ui.feed(), "limits");
        }
        // A change of leader is seen at once.
        cards.cluster.take(&model, ui.feed(), "cluster");
        if !model.paused {
            shown_us = if calm { (now_us / 1e6).floor() * 1e6 } else { now_us };
        }
        let frame = Frame {
            model: &model,
            now_us,
            shown_us,
            palette: &palette,
            repaint,
            tick,
            quarter: tick && !model.paused,
            second: second && !model.paused,
            deliveries: cards.deliveries.0.as_ref(),
            cluster: cards.cluster.0.as_ref(),
            limits: cards.limits.0.as_ref(),
            calm,
        };
        PAINTERS.with_borrow_mut(|painters| painters.iter_mut().for_each(|(_, paint)| paint(&frame)));
        pen::hand_over();
    });
}

fn every_frame(mut paint: impl FnMut(f64) + 'static) {
    let request = |closure: &Closure<dyn FnMut(f64)>| {
        // Fails only where there is no window any more.
        let _ = window().request_animation_frame(closure.as_ref().unchecked_ref());
    };
    let slot = Rc::new(RefCell::new(None::<Closure<dyn FnMut(f64)>>));
    let own = Rc::clone(&slot);
    let closure = Closure::<dyn FnMut(f64)>::new(move |at_ms| {
        paint(at_ms);
        own.borrow().as_ref().map(request);
    });
    request(&closure);
    *slot.borrow_mut() = Some(closure);
}

/// State topics, each read once for all cards.
#[derive(Default)]
struct Cards {
    deliveries: Value<Deliveries>,
    cluster: Value<Cluster>,
    limits: Value<LimitStatus>,
}

/// A value, and of which lane and moment it is.
struct Value<T>(Option<T>, Option<(LaneId, f64)>);

impl<T> Default for Value<T> {
    fn default() -> Self {
        Self(None, None)
    }
}

impl<T: DeserializeOwned> Value<T> {
    fn take(&mut self, model: &Model, feed: LaneId, topic: &str) {
        let newest = model.lane(feed).newest(topic);
        let key = newest.map(|newest| (feed, newest.received_us));
        if key != self.1 {
            self.1 = key;
            self.0 = newest.and_then(|newest| serde_json::from_str(&newest.data).ok());
        }
    }
}

/// A lane whose figures are of now.
pub fn is_live(status: &Status) -> bool {
    matches!(status, Status::Live)
}

/// Writes a signal only when its value is another one: an unchanged figure costs nothing.
pub fn put<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|old| *old != value) {
        signal.set(value);
    }
}
