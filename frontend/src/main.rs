//! Freshet's page: the same events by polling and by streaming, side by side.

mod latency;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(|| leptos::prelude::view! { <main>"Freshet"</main> });
}
