//! What is drawn, written down as steps and handed to a worker (`assets/painter.js`) once a frame: to fill the pixels of a picture takes
//! longer than all else that the page does in a frame, and what draws holds up neither lanes nor figures.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Float32Array, Object, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, OffscreenCanvas, OffscreenCanvasRenderingContext2d, Worker};

/// `assets/painter.js`. From this page's own origin: nothing else may run here.
const WORKER: &str = "/painter.js";

/// Behind each of the texts of a frame; it stands in none of them.
const APART: char = '\0';

/// Frames that the worker has not drawn yet, at most; it tells of every eighth one. A page that is further ahead leaves frames out.
const MOST_AHEAD: u32 = 24;

/// A step of the worker's, by its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Canvas,
    Resize,
    Save,
    Restore,
    BeginPath,
    MoveTo,
    LineTo,
    Rect,
    Circle,
    Clip,
    Fill,
    Stroke,
    FillRect,
    StrokeRect,
    ClearRect,
    LineWidth,
    Alpha,
    Dash,
    FillStyle,
    StrokeStyle,
    LineJoin,
    Font,
    TextAlign,
    FillText,
}

/// What all pictures are to show after this frame.
#[derive(Debug, Default)]
struct Sheet {
    steps: Vec<f32>,
    words: String,
    /// Whose steps the last ones are.
    canvas: u32,
}

/// The worker, as far as the page knows it.
#[derive(Debug)]
struct Painter {
    worker: Worker,
    /// Frames that it was handed and has not drawn.
    ahead: Rc<Cell<u32>>,
    is_broken: Rc<Cell<bool>>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut()>,
}

thread_local! {
    static SHEET: RefCell<Sheet> = RefCell::default();
    /// Started with the first picture; `None` within where the browser starts none.
    static PAINTER: RefCell<Option<Option<Painter>>> = const { RefCell::new(None) };
    static NUMBERS: Cell<u32> = const { Cell::new(0) };
    /// Measures texts; nothing is drawn on it.
    static RULER: RefCell<Option<OffscreenCanvasRenderingContext2d>> = const { RefCell::new(None) };
}

impl Painter {
    fn start() -> Option<Self> {
        let worker = Worker::new(WORKER).ok()?;
        let (ahead, is_broken) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
        let (known, broke) = (Rc::clone(&ahead), Rc::clone(&is_broken));
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let drawn = message.data().as_f64().unwrap_or(0.0) as u32;
            known.set(known.get().saturating_sub(drawn));
        });
        let on_error = Closure::<dyn FnMut()>::new(move || broke.set(true));
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Some(Self {
            worker,
            ahead,
            is_broken,
            _on_message: on_message,
            _on_error: on_error,
        })
    }

    /// Fails for a worker that is gone only: then there are no pictures, and the tables are still there.
    fn tell(&self, fields: &[(&str, JsValue)], transfer: &JsValue) {
        let message = Object::new();
        for (name, value) in fields {
            let _ = Reflect::set(&message, &(*name).into(), value);
        }
        let _ = self.worker.post_message_with_transfer(&message, &Array::of1(transfer));
    }
}

fn with_painter<T>(tell: impl FnOnce(&Painter) -> T) -> Option<T> {
    PAINTER.with_borrow_mut(|painter| painter.get_or_insert_with(Painter::start).as_ref().map(tell))
}

/// Whether the worker has so much to draw that the next frame is better left out.
pub fn is_ahead() -> bool {
    PAINTER.with_borrow(|painter| {
        let painter = painter.as_ref().and_then(Option::as_ref);
        painter.is_some_and(|painter| painter.ahead.get() >= MOST_AHEAD && !painter.is_broken.get())
    })
}

/// At the end of a frame: what was drawn in it goes to the worker, for all pictures together.
pub fn hand_over() {
    SHEET.with_borrow_mut(|sheet| {
        if sheet.steps.is_empty() {
            return;
        }
        let steps = Float32Array::from(&*sheet.steps);
        let buffer = JsValue::from(steps.buffer());
        with_painter(|painter| {
            painter.ahead.set(painter.ahead.get() + 1);
            painter.tell(&[("steps", steps.into()), ("words", (&sheet.words).into())], &buffer);
        });
        sheet.steps.clear();
        sheet.words.clear();
        sheet.canvas = 0;
    });
}

/// How wide a text is, in CSS pixels.
pub fn width(text: &str, font: &str) -> f64 {
    let measure = |ruler: &OffscreenCanvasRenderingContext2d| {
        ruler.set_font(font);
        ruler.measure_text(text).ok().map(|metrics| metrics.width())
    };
    let made = || {
        let canvas = OffscreenCanvas::new(1, 1).ok()?;
        canvas.get_context("2d").ok()??.dyn_into().ok()
    };
    RULER.with_borrow_mut(|ruler| {
        if ruler.is_none() {
            *ruler = made();
        }
        ruler.as_ref().and_then(measure).unwrap_or(0.0)
    })
}

/// Draws on one picture, by the rules of a canvas (HTML, "the 2D rendering context"): what was set stays set, also from frame to frame.
#[derive(Debug)]
pub struct Pen {
    /// From 1 on.
    canvas: u32,
}

impl Pen {
    /// Hands the pixels to the worker; `None` where the browser starts none.
    pub fn new(pixels: OffscreenCanvas) -> Option<Self> {
        let canvas = NUMBERS.with(|numbers| {
            numbers.set(numbers.get() + 1);
            numbers.get()
        });
        let pixels = JsValue::from(pixels);
        with_painter(|painter| painter.tell(&[("canvas", canvas.into()), ("pixels", pixels.clone())], &pixels))?;
        Some(Self { canvas })
    }

    fn step<const N: usize>(&self, step: Step, about: [f64; N]) {
        SHEET.with_borrow_mut(|sheet| {
            if sheet.canvas != self.canvas {
                sheet.canvas = self.canvas;
                sheet.steps.extend([f32::from(Step::Canvas as u8), self.canvas as f32]);
            }
            sheet.steps.push(f32::from(step as u8));
            // To a thousandth of a pixel on the widest screen.
            sheet.steps.extend(about.map(|number| number as f32));
        });
    }

    fn say(&self, words: &str) {
        SHEET.with_borrow_mut(|sheet| {
            sheet.words.extend(words.chars().filter(|letter| *letter != APART));
            sheet.words.push(APART);
        });
    }

    /// Width and height in device pixels, of which `ratio` make one of CSS. What was set before is forgotten.
    pub fn resize(&self, width: f64, height: f64, ratio: f64) {
        self.step(Step::Resize, [width, height, ratio]);
    }

    pub fn save(&self) {
        self.step(Step::Save, []);
    }

    pub fn restore(&self) {
        self.step(Step::Restore, []);
    }

    pub fn begin_path(&self) {
        self.step(Step::BeginPath, []);
    }

    pub fn move_to(&self, x: f64, y: f64) {
        self.step(Step::MoveTo, [x, y]);
    }

    pub fn line_to(&self, x: f64, y: f64) {
        self.step(Step::LineTo, [x, y]);
    }

    pub fn rect(&self, x: f64, y: f64, width: f64, height: f64) {
        self.step(Step::Rect, [x, y, width, height]);
    }

    pub fn circle(&self, x: f64, y: f64, radius: f64) {
        self.step(Step::Circle, [x, y, radius]);
    }

    pub fn clip(&self) {
        self.step(Step::Clip, []);
    }

    pub fn fill(&self) {
        self.step(Step::Fill, []);
    }

    pub fn stroke(&self) {
        self.step(Step::Stroke, []);
    }

    pub fn fill_rect(&self, x: f64, y: f64, width: f64, height: f64) {
        self.step(Step::FillRect, [x, y, width, height]);
    }

    pub fn stroke_rect(&self, x: f64, y: f64, width: f64, height: f64) {
        self.step(Step::StrokeRect, [x, y, width, height]);
    }

    pub fn clear_rect(&self, x: f64, y: f64, width: f64, height: f64) {
        self.step(Step::ClearRect, [x, y, width, height]);
    }

    pub fn set_line_width(&self, width: f64) {
        self.step(Step::LineWidth, [width]);
    }

    pub fn set_alpha(&self, alpha: f64) {
        self.step(Step::Alpha, [alpha]);
    }

    /// Dashes of `on` and `off` pixels; a full line for 0.
    pub fn set_dash(&self, on: f64, off: f64) {
        self.step(Step::Dash, [on, off]);
    }

    pub fn set_fill_style(&self, colour: &str) {
        self.step(Step::FillStyle, []);
        self.say(colour);
    }

    pub fn set_stroke_style(&self, colour: &str) {
        self.step(Step::StrokeStyle, []);
        self.say(colour);
    }

    pub fn set_line_join(&self, join: &str) {
        self.step(Step::LineJoin, []);
        self.say(join);
    }

    pub fn set_font(&self, font: &str) {
        self.step(Step::Font, []);
        self.say(font);
    }

    pub fn set_text_align(&self, align: &str) {
        self.step(Step::TextAlign, []);
        self.say(align);
    }

    pub fn fill_text(&self, text: &str, x: f64, y: f64) {
        self.step(Step::FillText, [x, y]);
        self.say(text);
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        let gone = [("canvas", self.canvas.into()), ("gone", true.into())];
        with_painter(|painter| painter.tell(&gone, &JsValue::UNDEFINED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = include_str!("../../../../assets/painter.js");

    #[test]
    fn the_worker_knows_each_step_by_the_same_number() {
        let last = Step::FillText as usize;
        let cases: Vec<_> = SCRIPT
            .lines()
            .filter_map(|line| line.trim().strip_prefix("case "))
            .collect();
        assert_eq!(cases.len(), last + 1);
        let steps = [
            Step::Canvas,
            Step::Resize,
            Step::Save,
            Step::Restore,
            Step::BeginPath,
            Step::MoveTo,
            Step::LineTo,
            Step::Rect,
            Step::Circle,
            Step::Clip,
            Step::Fill,
            Step::Stroke,
            Step::FillRect,
            Step::StrokeRect,
            Step::ClearRect,
            Step::LineWidth,
            Step::Alpha,
            Step::Dash,
            Step::FillStyle,
            Step::StrokeStyle,
            Step::LineJoin,
            Step::Font,
            Step::TextAlign,
            Step::FillText,
        ];
        for (case, step) in cases.iter().zip(steps) {
            let expected = format!("{}: // {step:?}", step as u8);
            let name = case.split([' ', ':']).filter(|word| !word.is_empty()).take(3);
            let told = case.starts_with(&expected);
            assert!(told, "{expected} is {:?}", name.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_pictures_draw_in_turn_is_one_sheet() {
        let (one, other) = (Pen { canvas: 1 }, Pen { canvas: 2 });
        one.move_to(1.5, 2.0);
        one.set_font("12px Inter");
        other.fill_text("a\0b", 3.0, 4.0);
        other.stroke();
        SHEET.with_borrow_mut(|sheet| {
            let steps: &[f32] = &[0.0, 1.0, 5.0, 1.5, 2.0, 21.0, 0.0, 2.0, 23.0, 3.0, 4.0, 11.0];
            assert_eq!((&*sheet.steps, &*sheet.words), (steps, "12px Inter\0ab\0"));
        });
        // Nobody is told outside of a browser.
        std::mem::forget((one, other));
    }
}
