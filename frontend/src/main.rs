//! Freshet's page: the same events by polling and by streaming, side by side.

mod api;
mod clock;
mod lane;
mod latency;
mod model;

use leptos::prelude::*;

fn main() {
    console_error_panic_hook::set_once();
    let handle = StoredValue::new_local(model::Handle::start());
    mount_to_body(move || {
        let _ = handle;
        view! { <main>"Freshet"</main> }
    });
}
