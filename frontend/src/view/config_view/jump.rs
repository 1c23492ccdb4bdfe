//! The way to a section. The address names it, so the way can be kept and sent: `#view=config&section=limit`.

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use super::{Board, keys};
use crate::route::{Route, View};

/// What is no section of the settings.
const OTHERS: [(&str, &str); 3] = [
    ("reach", "How long a change takes"),
    ("history", "History"),
    ("fixed", "Fixed at the start"),
];

pub fn links(board: Board) -> AnyView {
    let route = board.ui.route();
    let wanted = Memo::new(move |_| route.with(|route| route.section.clone().filter(|_| route.view == View::Config)));
    Effect::new(move |_| {
        let sections = board.rows.with(|rows| !rows.is_empty());
        if let Some(name) = wanted.get().filter(|_| sections) {
            request_animation_frame(move || go_to(&name));
        }
    });
    let links = move || {
        let others = OTHERS.map(|(name, title)| (name.to_owned(), title.to_owned()));
        keys::titles(board)
            .into_iter()
            .chain(others)
            .map(|(name, title)| link(board, name, title))
            .collect::<Vec<_>>()
    };
    view! { <nav class="jump" aria-label="Parts of this view">{links}</nav> }.into_any()
}

fn link(board: Board, name: String, title: String) -> AnyView {
    let href = ["#view=config&section=", &*name].concat();
    let go = move |event: ev::MouseEvent| {
        if event.ctrl_key() || event.meta_key() || event.shift_key() {
            return;
        }
        event.prevent_default();
        let topic = board.ui.route().with_untracked(|route| route.topic.clone());
        let section = Some(name.clone());
        board.ui.go(Route {
            view: View::Config,
            topic,
            section,
        });
        // Also where the address says so already.
        go_to(&name);
    };
    view! { <a href=href on:click=go>{title}</a> }.into_any()
}

/// Shows a part's head and puts the focus there, so that Tab goes on from it.
fn go_to(name: &str) {
    let head = document().get_element_by_id(&["at-", name].concat());
    if let Some(head) = head.and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = head.focus();
        head.scroll_into_view();
    }
}
