//! A canvas that keeps its pixels in step with its size on the page and with the screen's pixel ratio.
//!
//! It is drawn by a worker ([`Pen`]), and its picture goes to the browser's compositor by itself (`OffscreenCanvas`): to draw on the canvas
//! of the page would have the page walked through and painted anew on every frame, and its pixels copied, also where nothing was drawn.

use std::cell::Cell;
use std::rc::Rc;

use leptos::prelude::window;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{HtmlCanvasElement, ResizeObserver};

use super::pen::{self, Pen};

/// From one slanted line of [`Surface::hatch`] to the next, in pixels.
const STRIPE: f64 = 7.0;

pub const FONT: &str = "11.5px Inter, system-ui, sans-serif";
pub const FONT_BOLD: &str = "600 11.5px Inter, system-ui, sans-serif";

pub struct Surface {
    pub pen: Pen,
    /// In CSS pixels.
    pub width: f64,
    pub height: f64,
    canvas: HtmlCanvasElement,
    ratio: f64,
    resized: Rc<Cell<bool>>,
    /// How often the pictures had been forgotten when this one was drawn.
    forgotten: u32,
    observer: ResizeObserver,
    _on_resize: Closure<dyn FnMut()>,
}

impl Surface {
    /// `None` where the browser gives no canvas or no observer: the tables are still there.
    pub fn new(canvas: HtmlCanvasElement) -> Option<Self> {
        let pen = Pen::new(canvas.transfer_control_to_offscreen().ok()?);
        let resized = Rc::new(Cell::new(true));
        let flag = Rc::clone(&resized);
        let on_resize = Closure::<dyn FnMut()>::new(move || flag.set(true));
        let observer = ResizeObserver::new(on_resize.as_ref().unchecked_ref()).ok()?;
        observer.observe(&canvas);
        Some(Self {
            pen,
            width: 0.0,
            height: 0.0,
            canvas,
            ratio: 0.0,
            resized,
            forgotten: 0,
            observer,
            _on_resize: on_resize,
        })
    }

    /// Takes over a new size. True if there is one, or the browser has forgotten the picture: everything has to be drawn anew. The font is
    /// [`FONT`] then, and whoever sets another one sets it back: a browser reads the words of a font anew each time.
    pub fn fit(&mut self) -> bool {
        let ratio = window().device_pixel_ratio();
        let forgotten = pen::forgotten();
        if !self.resized.replace(false) && ratio == self.ratio && forgotten == self.forgotten {
            return false;
        }
        self.forgotten = forgotten;
        self.ratio = ratio;
        self.width = f64::from(self.canvas.client_width());
        self.height = f64::from(self.canvas.client_height());
        let (width, height) = ((self.width * ratio).round(), (self.height * ratio).round());
        self.pen.resize(width, height, ratio);
        // A canvas of a new size has forgotten it.
        self.pen.set_font(FONT);
        true
    }

    /// Hidden, or squeezed to nothing.
    pub fn is_empty(&self) -> bool {
        self.width < 8.0 || self.height < 8.0
    }

    /// Whole device pixels, so that a line of one pixel is not smeared over two.
    pub fn crisp(&self, at: f64) -> f64 {
        ((at * self.ratio).floor() + 0.5) / self.ratio
    }

    pub fn clear(&self) {
        self.pen.clear_rect(0.0, 0.0, self.width, self.height);
    }

    /// A straight line of the current stroke.
    pub fn line(&self, x0: f64, y0: f64, x1: f64, y1: f64) {
        self.pen.begin_path();
        self.pen.move_to(x0, y0);
        self.pen.line_to(x1, y1);
        self.pen.stroke();
    }

    pub fn text(&self, text: &str, x: f64, y: f64, align: &str, colour: &str) {
        self.pen.set_text_align(align);
        self.pen.set_fill_style(colour);
        self.pen.fill_text(text, x, y);
    }

    /// Slanted lines over a rectangle, those that are seen: it may begin far left of the picture, as what began hours ago does.
    pub fn hatch(&self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let pen = &self.pen;
        pen.save();
        pen.begin_path();
        pen.rect(x, y, width, height);
        pen.clip();
        pen.set_stroke_style(colour);
        pen.set_line_width(1.0);
        pen.begin_path();
        let mut at = x - height + hidden_stripes(x, height);
        while at < x + width {
            pen.move_to(at, y + height);
            pen.line_to(at + height, y);
            at += STRIPE;
        }
        pen.stroke();
        pen.restore();
    }
}

/// How far the first line of what begins at `x` lies from the first one that is seen, in whole stripes: those that are seen stay where they are.
fn hidden_stripes(x: f64, height: f64) -> f64 {
    ((-height - x) / STRIPE).floor().max(0.0) * STRIPE
}

impl Drop for Surface {
    fn drop(&mut self) {
        self.observer.disconnect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_outage_only_what_is_seen_is_drawn_and_it_looks_the_same() {
        for x in [-1e6, -300.25, -53.0, -12.0, 38.0] {
            let skipped = hidden_stripes(x, 110.0);
            assert_eq!(skipped % STRIPE, 0.0, "the stripes stay where they were");
            assert!(skipped == 0.0 || x + skipped <= -110.0, "{x} {skipped}");
            assert!(x + skipped >= f64::min(x, -110.0 - STRIPE), "{x} {skipped}");
        }
    }
}
