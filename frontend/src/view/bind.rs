//! What of the page follows a signal: a text, whether something is hidden or pressed, a class.
//!
//! All views bind through these few functions. Each closure of its own in a view is some two kilobytes of the page's weight, a
//! closure that comes from here weighs nothing more.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::frame::put;

pub type Text = RwSignal<String>;
pub type Flag = RwSignal<bool>;
/// A class of the style sheet.
pub type Class = RwSignal<&'static str>;
pub type Click = Box<dyn FnMut(MouseEvent)>;

pub fn text(initial: &str) -> Text {
    RwSignal::new(initial.to_owned())
}

/// Text that follows a signal.
pub fn live(text: Text) -> impl Fn() -> String + Copy + Send + Sync {
    move || text.get()
}

/// For `hidden`: as long as there is nothing to say.
pub fn if_empty(text: Text) -> impl Fn() -> bool + Copy + Send + Sync {
    move || text.with(String::is_empty)
}

/// For `hidden`, `disabled` and the like.
pub fn is(flag: Flag) -> impl Fn() -> bool + Copy + Send + Sync {
    move || flag.get()
}

/// For `aria-pressed`, which wants a word.
pub fn pressed(flag: Flag) -> impl Fn() -> &'static str + Copy + Send + Sync {
    move || if flag.get() { "true" } else { "false" }
}

pub fn class(class: Class) -> impl Fn() -> &'static str + Copy + Send + Sync {
    move || class.get()
}

pub fn click(on_click: impl FnMut() + 'static) -> Click {
    let mut on_click = on_click;
    Box::new(move |_| on_click())
}

/// Whether what is typed goes there.
pub fn is_focused(element: &web_sys::Element) -> bool {
    document().active_element().as_ref() == Some(element)
}

/// Writes a text made of parts, if it is another one than before.
pub fn say(text: Text, parts: &[&str]) {
    put(text, parts.concat());
}

/// A word of a sentence that can be pressed: one of a choice.
pub fn word(name: &'static str, class: &'static str, on: Flag, on_click: Click) -> AnyView {
    view! {
        <button class=["plain ", class].concat() aria-pressed=pressed(on) on:click=on_click>{name}</button>
    }
    .into_any()
}
