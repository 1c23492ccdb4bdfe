//! The whole page: makes the model, starts the animation loop, places the views.

use leptos::prelude::*;

use crate::model::Handle;
use crate::view::{Ui, compare, frame, header};

pub fn app() -> impl IntoView {
    let handle = Handle::start();
    let ui = Ui::new(handle.clone());
    frame::start(handle, ui.feed);
    // What index.html showed until now.
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
    view! {
        {header::header(ui)}
        {compare::compare(ui)}
    }
}
