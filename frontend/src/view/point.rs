//! Pointing into a picture, by mouse, finger or arrow keys; and a small box that says what is there.

use std::rc::Rc;

use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::{Canvas, Div};
use leptos::prelude::*;

use super::bind::{Class, Text, class, if_empty, live};
use super::format;
use super::frame::put;

/// What a reader does on a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gesture {
    /// Points at it, in CSS pixels.
    At(f64, f64),
    /// One to the left (−1) or to the right (1), by keys.
    Step(i32),
    Away,
}

/// A canvas that tells what is done on it. `label` says what it shows.
pub fn canvas(node: NodeRef<Canvas>, label: &'static str, tell: Rc<dyn Fn(Gesture)>) -> AnyView {
    let (key, left, blurred) = (Rc::clone(&tell), Rc::clone(&tell), Rc::clone(&tell));
    let at = move |event: PointerEvent| tell(Gesture::At(event.offset_x().into(), event.offset_y().into()));
    let key = move |event: KeyboardEvent| {
        let gesture = match event.key().as_str() {
            "ArrowLeft" => Gesture::Step(-1),
            "ArrowRight" => Gesture::Step(1),
            "Escape" => Gesture::Away,
            _ => return,
        };
        event.prevent_default();
        key(gesture);
    };
    view! {
        <canvas
            node_ref=node
            tabindex="0"
            role="img"
            aria-label=label
            on:pointermove=at
            on:pointerleave=move |_| left(Gesture::Away)
            on:keydown=key
            on:blur=move |_| blurred(Gesture::Away)
        ></canvas>
    }
    .into_any()
}

/// A canvas whose picture is told in words elsewhere.
pub fn picture(node: NodeRef<Canvas>) -> AnyView {
    view! { <canvas node_ref=node aria-hidden="true"></canvas> }.into_any()
}

/// A line of the box: a label in a lane's colour or none, and a value.
pub type Line = (&'static str, String, &'static str);

/// The most lines that the box has.
const LINES: usize = 8;

/// A small box beside what is pointed at.
#[derive(Clone, Copy)]
pub struct Tip {
    title: Text,
    lines: [(Class, Text, Class); LINES],
    node: NodeRef<Div>,
}

impl Tip {
    pub fn new() -> Self {
        let line = |_| (Class::new(""), Text::default(), Class::new(""));
        Self {
            title: Text::default(),
            lines: std::array::from_fn(line),
            node: NodeRef::new(),
        }
    }

    pub fn hide(&self) {
        put(self.title, String::new());
    }

    /// Shows it beside a point of the picture, on the side where there is room.
    pub fn show(&self, title: String, lines: Vec<Line>, x: f64, y: f64, width: f64) {
        put(self.title, title);
        let mut lines = lines.into_iter();
        for (label, value, colour) in self.lines {
            let line = lines.next().unwrap_or_default();
            put(label, line.0);
            put(value, line.1);
            put(colour, line.2);
        }
        let Some(node) = self.node.get_untracked() else { return };
        let own = f64::from(node.offset_width());
        let left = if x + 16.0 + own > width {
            (x - 16.0 - own).max(0.0)
        } else {
            x + 16.0
        };
        let px = |name: &str, value: f64| {
            let mut text = format::plain(value.max(0.0));
            text.push_str("px");
            let _ = (*node).style().set_property(name, &text);
        };
        px("left", left.round());
        px("top", (y - 20.0).round());
    }

    pub fn view(self) -> AnyView {
        let line = |(label, value, colour): (Class, Text, Class)| {
            view! { <span hidden=if_empty(value)><i class=class(colour)>{class(label)}</i>{live(value)}</span> }
        };
        let lines: Vec<_> = self.lines.into_iter().map(line).collect();
        view! {
            <div class="tip" node_ref=self.node role="status" hidden=if_empty(self.title)>
                <b>{live(self.title)}</b>
                {lines}
            </div>
        }
        .into_any()
    }
}
