//! The small lines beside the topics: the last minute, as the lane brought it.
//!
//! Not canvases: a browser keeps each of those as a layer of its own, which costs something on every frame, drawn on or not.

use std::cell::RefCell;
use std::rc::Rc;

use leptos::prelude::*;

use super::super::bind::{Text, live};
use super::super::frame::{Frame, put};
use crate::latency::Ring;

/// A minute of quarters of a second.
const KEPT: usize = 240;

/// Of the line's own scale, which is stretched to the room that there is.
const HEIGHT: f64 = 220.0;
/// Room for half of the line's breadth.
const MARGIN: f64 = 20.0;
const VIEW: &str = "0 0 239 220";

#[derive(Clone)]
pub struct Spark {
    points: Text,
    values: Rc<RefCell<Ring<f64>>>,
}

impl Spark {
    pub fn new() -> Self {
        Self {
            points: Text::default(),
            values: Rc::new(RefCell::new(Ring::new(KEPT))),
        }
    }

    pub fn add(&self, value: f64) {
        self.values.borrow_mut().push(value);
    }

    /// It becomes the line of another topic.
    pub fn clear(&self) {
        self.values.borrow_mut().clear();
        put(self.points, String::new());
    }

    pub fn view(&self) -> AnyView {
        // What it shows is also there in words.
        view! {
            <svg viewBox=VIEW preserveAspectRatio="none" aria-hidden="true"><polyline points=live(self.points)/></svg>
        }
        .into_any()
    }

    pub fn draw(&self, frame: &Frame<'_>) {
        if frame.second {
            put(self.points, points(&self.values.borrow()));
        }
    }
}

/// The newest value at the right.
fn points(values: &Ring<f64>) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A line that does not move lies in the middle; noise of a thousandth is not blown up to a mountain.
    let range = (high - low).max(high.abs() * 1e-3).max(f64::MIN_POSITIVE);
    let middle = f64::midpoint(high, low);
    let mut points = String::with_capacity(8 * values.len());
    for (back, value) in values.iter_back().enumerate() {
        let y = HEIGHT / 2.0 - (value - middle) / range * (HEIGHT - 2.0 * MARGIN);
        // Whole numbers are written fast, and a tenth of a pixel is enough.
        for part in [(KEPT - 1 - back) as u32, y.round() as u32] {
            points.push_str(&part.to_string());
            points.push(' ');
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> String {
        let mut ring = Ring::new(KEPT);
        values.iter().for_each(|value| ring.push(*value));
        points(&ring)
    }

    #[test]
    fn the_newest_value_is_at_the_right_and_the_extremes_touch_the_margins() {
        assert_eq!(of(&[1.0, 2.0, 1.5]), "239 110 238 20 237 200 ");
    }

    #[test]
    fn a_line_that_does_not_move_lies_in_the_middle() {
        assert_eq!(of(&[5.0, 5.0]), "239 110 238 110 ");
        assert_eq!(of(&[0.0]), "239 110 ");
        assert_eq!(of(&[]), "");
    }
}
