//! The whole page: makes the model, starts the animation loop, places the views.

use leptos::prelude::*;

use crate::model::Handle;
use crate::view::{Ui, compare, frame, header};

pub fn app() -> impl IntoView {
    let ui = Ui::new(Handle::start());
    frame::start(ui);
    // What index.html showed until now.
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
    view! {
        {header::header(ui)}
        {compare::compare(ui)}
    }
}
