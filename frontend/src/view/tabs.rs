//! The tabs in the header: links to the views. Which one is shown stands in the address, so the browser's Back goes back.

use leptos::ev;
use leptos::prelude::*;

use super::Ui;
use super::frame::put;
use crate::route::{Route, View};

pub fn tabs(ui: Ui) -> AnyView {
    let moved = window_event_listener(ev::hashchange, move |_| put(ui.route(), Route::current()));
    on_cleanup(move || moved.remove());
    view! { <nav class="tabs" aria-label="Views">{View::ALL.map(|view| tab(ui, view)).into_iter().collect::<Vec<_>>()}</nav> }
        .into_any()
}

fn tab(ui: Ui, view: View) -> AnyView {
    let route = ui.route();
    let current = move || route.with(|route| route.view == view).then_some("page");
    let go = move |event: ev::MouseEvent| {
        // With a key held the browser opens a window of its own.
        if !(event.ctrl_key() || event.meta_key() || event.shift_key()) {
            event.prevent_default();
            let topic = route.with_untracked(|route| route.topic.clone());
            ui.go(Route {
                view,
                topic,
                section: None,
            });
        }
    };
    view! { <a href=["#view=", view.name()].concat() aria-current=current on:click=go>{view.title()}</a> }.into_any()
}

/// For `hidden` of a view's root.
pub fn hidden_unless(ui: Ui, view: View) -> impl Fn() -> bool + Copy + Send + Sync {
    let route = ui.route();
    move || route.with(|route| route.view != view)
}
