//! The small lines beside the topics: the last minute, as the lane brought it.

use std::collections::BTreeMap;

use leptos::html::Canvas;
use leptos::prelude::*;

use super::super::chart::surface::Surface;
use super::super::frame::on_frame;
use crate::latency::Ring;

/// A minute of quarters of a second.
const KEPT: usize = 240;
/// Topics that are remembered; beyond, the line of another topic is forgotten.
const TOPICS: usize = 32;

#[derive(Default)]
pub struct Sparks(BTreeMap<String, Ring<f64>>);

impl Sparks {
    pub fn add(&mut self, topic: &str, value: f64) {
        if let Some(ring) = self.0.get_mut(topic) {
            return ring.push(value);
        }
        if self.0.len() == TOPICS {
            self.0.pop_first();
        }
        let mut ring = Ring::new(KEPT);
        ring.push(value);
        self.0.insert(topic.to_owned(), ring);
    }
}

pub fn view(sparks: StoredValue<Sparks, LocalStorage>, topic: String) -> impl IntoView {
    let canvas = NodeRef::<Canvas>::new();
    let mut surface: Option<Surface> = None;
    on_frame(move |frame| {
        if surface.is_none() {
            surface = canvas.get_untracked().and_then(Surface::new);
        }
        let Some(surface) = &mut surface else { return };
        if (surface.fit() || frame.quarter || frame.repaint) && !surface.is_empty() {
            let draw = |ring: &Ring<f64>| draw(surface, ring, &frame.palette.dim);
            sparks.with_value(|sparks| sparks.0.get(&topic).map(draw));
        }
    });
    // What it shows is also there in words.
    view! { <canvas node_ref=canvas aria-hidden="true"></canvas> }.into_any()
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
        let x = surface.width - 1.0 - back as f64 * step;
        if back == 0 {
            context.move_to(x, y(*value))
        } else {
            context.line_to(x, y(*value))
        }
    }
    context.stroke();
}
