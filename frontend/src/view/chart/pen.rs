//! What is drawn, written down as steps and handed to a worker (`assets/painter.js`) once a frame: to fill the pixels of a picture takes
//! longer than all else that the page does in a frame, and what draws holds up neither lanes nor figures.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Float32Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, OffscreenCanvas, OffscreenCanvasRenderingContext2d, Worker};

use crate::object::object;

/// `assets/painter.js`. From this page's own origin: nothing else may run here.
const WORKER: &str = "/painter.js";

/// Behind each of the texts of a frame; it stands in none of them.
const APART: char = '\0';

/// Frames that the worker may have before it. A page that is further ahead leaves frames out, so that pictures and figures stay together.
const MOST_AHEAD: u32 = 4;

/// No frame is left out for a worker that says nothing for so long: the figures go on, and the pictures when it is back.
const PATIENCE_MS: f64 = 1000.0;

/// Then the page says that there are no pictures.
const BROKEN_MS: f64 = 10_000.0;

/// What counts at most from one frame to the next: a hidden tab and a machine that sleeps wait for nobody.
const MOST_STEP_MS: f64 = 50.0;

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

/// What this frame adds to all pictures.
#[derive(Debug, Default)]
struct Sheet {
    steps: Vec<f32>,
    words: String,
    /// The picture that the last steps are for.
    canvas: u32,
}

/// The worker, as far as the page knows it.
#[derive(Debug)]
struct Painter {
    worker: Worker,
    known: Rc<Known>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut()>,
}

#[derive(Debug, Default)]
struct Known {
    /// It has its font, and draws.
    is_ready: Cell<bool>,
    /// Frames that it was handed and has not drawn.
    ahead: Cell<u32>,
    /// For how long it has said nothing, as far as the page waited for it.
    silent_ms: Cell<f64>,
    /// Frames were let go that it should have drawn.
    has_missed: Cell<bool>,
    /// Its script cannot be run.
    is_broken: Cell<bool>,
}

impl Known {
    fn takes(&self) -> bool {
        self.is_ready.get() && self.ahead.get() < MOST_AHEAD
    }
}

thread_local! {
    static SHEET: RefCell<Sheet> = RefCell::default();
    /// Started with the first picture; `None` where the browser starts none.
    static PAINTER: OnceCell<Option<Painter>> = const { OnceCell::new() };
    static PICTURES: Cell<u32> = const { Cell::new(0) };
    static FORGOTTEN: Cell<u32> = const { Cell::new(0) };
    /// Measures texts; nothing is drawn on it.
    static RULER: OnceCell<Option<OffscreenCanvasRenderingContext2d>> = const { OnceCell::new() };
}

impl Painter {
    fn start() -> Option<Self> {
        let worker = Worker::new(WORKER).ok()?;
        let known = Rc::new(Known::default());
        let (drew, broke) = (Rc::clone(&known), Rc::clone(&known));
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            drew.silent_ms.set(0.0);
            let drawn = message.data().as_f64();
            drew.ahead
                .set(drew.ahead.get().saturating_sub(drawn.unwrap_or(0.0) as u32));
            if drawn.is_none() {
                drew.is_ready.set(true);
            }
            // Also where it was to be drawn anew in any case: once is enough.
            let has_missed = drew.has_missed.replace(false);
            if drawn.is_none() || has_missed {
                forget();
            }
        });
        let on_error = Closure::<dyn FnMut()>::new(move || broke.is_broken.set(true));
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Some(Self {
            worker,
            known,
            _on_message: on_message,
            _on_error: on_error,
        })
    }

    fn tell(&self, fields: &[(&str, JsValue)], transfer: &[&JsValue]) {
        let transfer: Array = transfer.iter().copied().collect();
        // Fails for pixels that were handed over before only, and each picture's are handed over once.
        let _ = self.worker.post_message_with_transfer(&object(fields), &transfer);
    }
}

/// Nothing is told to a worker that there is not.
fn with_painter(tell: impl FnOnce(&Painter)) {
    PAINTER.with(|painter| {
        if let Some(painter) = painter.get_or_init(Painter::start) {
            tell(painter);
        }
    });
}

/// Whether there are no pictures.
pub fn is_broken() -> bool {
    PAINTER.with(|painter| match painter.get() {
        Some(Some(painter)) => painter.known.is_broken.get() || painter.known.silent_ms.get() > BROKEN_MS,
        Some(None) => true,
        None => false,
    })
}

/// To be asked on each frame of the browser's, with the time since the one before: whether the worker has so much to draw that this one is
/// better left out.
pub fn leaves_out(step_ms: f64) -> bool {
    PAINTER.with(|painter| {
        let Some(Some(Painter { known, .. })) = painter.get() else {
            return false;
        };
        if known.takes() {
            known.silent_ms.set(0.0);
            return false;
        }
        known.silent_ms.set(known.silent_ms.get() + step_ms.min(MOST_STEP_MS));
        known.is_ready.get() && known.silent_ms.get() < PATIENCE_MS && !known.is_broken.get()
    })
}

/// The browser may have let go of what was drawn, or the worker draws only now: everything is drawn anew.
pub fn forget() {
    FORGOTTEN.set(FORGOTTEN.get() + 1);
}

/// How often the pictures were forgotten.
pub fn forgotten() -> u32 {
    FORGOTTEN.get()
}

/// At the end of a frame: what was drawn in it goes to the worker, for all pictures together.
pub fn hand_over() {
    SHEET.with_borrow_mut(|sheet| {
        if sheet.steps.is_empty() {
            return;
        }
        with_painter(|painter| {
            if !painter.known.takes() {
                painter.known.has_missed.set(true);
                return;
            }
            let steps = Float32Array::from(&*sheet.steps);
            let buffer = JsValue::from(steps.buffer());
            let fields = [("steps", steps.into()), ("words", (&sheet.words).into())];
            painter.known.ahead.set(painter.known.ahead.get() + 1);
            painter.tell(&fields, &[&buffer]);
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
    RULER.with(|ruler| ruler.get_or_init(made).as_ref().and_then(measure).unwrap_or(0.0))
}

/// Draws on one picture, by the rules of a canvas (HTML, "the 2D rendering context"): what was set stays set, also from frame to frame.
#[derive(Debug)]
pub struct Pen {
    /// From 1 on.
    canvas: u32,
}

impl Pen {
    /// Hands the pixels to the worker.
    pub fn new(pixels: OffscreenCanvas) -> Self {
        PICTURES.set(PICTURES.get() + 1);
        let canvas = PICTURES.get();
        let pixels = JsValue::from(pixels);
        let fields = [("canvas", canvas.into()), ("pixels", pixels.clone())];
        with_painter(|painter| painter.tell(&fields, &[&pixels]));
        Self { canvas }
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
        with_painter(|painter| painter.tell(&gone, &[]));
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;

    const SCRIPT: &str = include_str!("../../../../assets/painter.js");

    /// Nobody can be told of its end outside of a browser.
    fn pen(canvas: u32) -> ManuallyDrop<Pen> {
        ManuallyDrop::new(Pen { canvas })
    }

    /// What is on the sheet, and how many texts.
    fn taken() -> (Vec<f32>, usize) {
        SHEET.with_borrow_mut(|sheet| {
            let sheet = std::mem::take(sheet);
            (sheet.steps, sheet.words.matches(APART).count())
        })
    }

    #[test]
    fn the_worker_reads_each_step_as_it_is_written() {
        let pen = pen(1);
        let steps: [(Step, &dyn Fn()); 24] = [
            (Step::Canvas, &|| {}),
            (Step::Resize, &|| pen.resize(1.0, 1.0, 1.0)),
            (Step::Save, &|| pen.save()),
            (Step::Restore, &|| pen.restore()),
            (Step::BeginPath, &|| pen.begin_path()),
            (Step::MoveTo, &|| pen.move_to(1.0, 1.0)),
            (Step::LineTo, &|| pen.line_to(1.0, 1.0)),
            (Step::Rect, &|| pen.rect(1.0, 1.0, 1.0, 1.0)),
            (Step::Circle, &|| pen.circle(1.0, 1.0, 1.0)),
            (Step::Clip, &|| pen.clip()),
            (Step::Fill, &|| pen.fill()),
            (Step::Stroke, &|| pen.stroke()),
            (Step::FillRect, &|| pen.fill_rect(1.0, 1.0, 1.0, 1.0)),
            (Step::StrokeRect, &|| pen.stroke_rect(1.0, 1.0, 1.0, 1.0)),
            (Step::ClearRect, &|| pen.clear_rect(1.0, 1.0, 1.0, 1.0)),
            (Step::LineWidth, &|| pen.set_line_width(1.0)),
            (Step::Alpha, &|| pen.set_alpha(1.0)),
            (Step::Dash, &|| pen.set_dash(1.0, 1.0)),
            (Step::FillStyle, &|| pen.set_fill_style("a")),
            (Step::StrokeStyle, &|| pen.set_stroke_style("a")),
            (Step::LineJoin, &|| pen.set_line_join("a")),
            (Step::Font, &|| pen.set_font("a")),
            (Step::TextAlign, &|| pen.set_text_align("a")),
            (Step::FillText, &|| pen.fill_text("a", 1.0, 1.0)),
        ];
        let script: Vec<&str> = SCRIPT.split("      case ").skip(1).collect();
        assert_eq!(script.len(), steps.len());
        for (script, (step, write)) in script.into_iter().zip(steps) {
            let script = script.split("break;").next().unwrap();
            assert!(
                script.starts_with(&format!("{}: // {step:?}", step as u8)),
                "{step:?}: {script}"
            );
            write();
            let (steps, words) = taken();
            // Before it, that it is of this picture.
            let about = match step {
                Step::Canvas => 1,
                _ => steps.len() - 3,
            };
            let added = script
                .split("at += ")
                .skip(1)
                .map(|rest| rest[..1].parse::<usize>().unwrap());
            let read = added.sum::<usize>() + script.matches("at++").count();
            assert_eq!((read, script.matches("word++").count()), (about, words), "{step:?}");
        }
    }

    #[test]
    fn what_pictures_draw_in_turn_is_one_sheet() {
        let (one, other) = (pen(1), pen(2));
        one.move_to(1.5, 2.0);
        one.set_font("12px Inter");
        other.fill_text("a\0b", 3.0, 4.0);
        other.stroke();
        SHEET.with_borrow(|sheet| assert_eq!(sheet.words, "12px Inter\0ab\0"));
        let steps = [0.0, 1.0, 5.0, 1.5, 2.0, 21.0, 0.0, 2.0, 23.0, 3.0, 4.0, 11.0];
        assert_eq!(taken().0, steps);
    }
}
