//! The whole page: makes the model, starts the animation loop, places the views.

use leptos::prelude::*;

use crate::model::Handle;
use crate::route::View;
use crate::view::{Ui, compare, config_view, frame, header, leader, leader_view, limits_view, topics_view};

pub fn app() -> impl IntoView {
    let ui = Ui::new(Handle::start());
    frame::start(ui);
    // What index.html showed until now.
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
    // Made when it is wanted first, and kept from then on.
    let [topics, leaders, limits, config] = [(); 4].map(|()| RwSignal::new(false));
    Effect::new(move |_| match ui.route().with(|route| route.view) {
        View::Compare => {}
        View::Leader => frame::put(leaders, true),
        View::Topics => frame::put(topics, true),
        View::Limits => frame::put(limits, true),
        View::Config => frame::put(config, true),
    });
    view! {
        {header::header(ui)}
        {compare::compare(ui)}
        {move || leaders.get().then(|| leader_view::leader_view(ui))}
        {move || topics.get().then(|| topics_view::topics_view(ui))}
        {move || limits.get().then(|| limits_view::limits_view(ui))}
        {move || config.get().then(|| config_view::config_view(ui))}
        {leader::question(ui)}
    }
}
