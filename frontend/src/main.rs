//! Freshet's page: the same events by polling and by streaming, side by side.

mod api;
mod app;
mod clock;
mod lane;
mod latency;
mod model;
mod view;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(app::app);
}
