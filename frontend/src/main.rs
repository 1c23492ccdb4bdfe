//! Freshet's page: the same events by polling and by streaming, side by side.
// In a program nothing is reachable from outside: `pub` marks here what the model offers to the view.
#![allow(unreachable_pub)]

mod api;
mod app;
mod choice;
mod clock;
mod feed;
mod lane;
mod latency;
mod model;
mod object;
mod report;
mod route;
mod view;
mod wait;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(app::app);
}
