//! The small lines beside the topics: the last minute, as the lane brought it.

use std::cell::RefCell;
use std::rc::Rc;

use leptos::html::Canvas;
use leptos::prelude::*;

use super::super::chart::surface::Surface;
use super::super::frame::Frame;
use crate::latency::Ring;

/// A minute of quarters of a second.
const KEPT: usize = 240;

#[derive(Clone)]
pub struct Spark {
    node: NodeRef<Canvas>,
    inner: Rc<RefCell<(Ring<f64>, Option<Surface>)>>,
}

impl Spark {
    pub fn new() -> Self {
        Self {
            node: NodeRef::new(),
            inner: Rc::new(RefCell::new((Ring::new(KEPT), None))),
        }
    }

    pub fn add(&self, value: f64) {
        self.inner.borrow_mut().0.push(value);
    }

    /// It becomes the line of another topic.
    pub fn clear(&self) {
        self.inner.borrow_mut().0.clear();
    }

    pub fn view(&self) -> AnyView {
        // What it shows is also there in words.
        super::super::point::picture(self.node)
    }

    pub fn draw(&self, frame: &Frame<'_>) {
        let (values, surface) = &mut *self.inner.borrow_mut();
        if surface.is_none() {
            *surface = self.node.get_untracked().and_then(Surface::new);
        }
        if let Some(surface) = surface
            && (surface.fit() || frame.quarter || frame.repaint)
            && !surface.is_empty()
        {
            draw(surface, values, &frame.palette.dim);
        }
    }
}

fn draw(surface: &Surface, values: &Ring<f64>, colour: &str) {
    let context = &surface.context;
    surface.clear();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A line that does not move lies in the middle; noise of a thousandth is not blown up to a mountain.
    let range = (high - low).max(high.abs() * 1e-3).max(f64::MIN_POSITIVE);
    let middle = (high + low) / 2.0;
    let y = |value: f64| surface.height / 2.0 - (value - middle) / range * (surface.height - 4.0);
    context.set_stroke_style_str(colour);
    context.set_line_width(1.25);
    context.begin_path();
    let step = surface.width / (KEPT - 1) as f64;
    for (back, value) in values.iter_back().enumerate() {
        // The first `line_to` of a path only moves.
        context.line_to(surface.width - 1.0 - back as f64 * step, y(*value));
    }
    context.stroke();
}
