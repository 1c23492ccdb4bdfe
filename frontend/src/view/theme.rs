//! Dark and light: the system's choice, or the reader's own, which is remembered.

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

use super::bind::click;
use super::frame::repaint;
use super::panel::icon;

const KEY: &str = "freshet.theme";

/// The button in the header. `assets/start.js` sets what was remembered before anything is drawn.
pub fn toggle() -> AnyView {
    let toggle = click(|| {
        let theme = if is_light() { "dark" } else { "light" };
        if let Some(root) = document().document_element() {
            let _ = root.set_attribute("data-theme", theme);
        }
        if let Ok(Some(storage)) = window().local_storage() {
            let _ = storage.set_item(KEY, theme);
        }
        repaint();
    });
    follow_system();
    view! {
        <button class="icon" on:click=toggle aria-label="Dark or light" title="Dark or light">
            {icon("M8 1.5a6.5 6.5 0 1 0 0 13zM8 1.5a6.5 6.5 0 0 1 0 13")}
        </button>
    }
    .into_any()
}

fn is_light() -> bool {
    match document()
        .document_element()
        .and_then(|root| root.get_attribute("data-theme"))
        .as_deref()
    {
        Some("light") => true,
        Some("dark") => false,
        _ => system().is_some_and(|query| query.matches()),
    }
}

fn system() -> Option<web_sys::MediaQueryList> {
    window().match_media("(prefers-color-scheme: light)").ok().flatten()
}

fn follow_system() {
    if let Some(query) = system() {
        let changed = Closure::<dyn FnMut()>::new(repaint);
        let _ = query.add_event_listener_with_callback("change", changed.as_ref().unchecked_ref());
        // Both live as long as the page.
        changed.forget();
        std::mem::forget(query);
    }
}
