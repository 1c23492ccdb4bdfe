//! The Compare view: the same events by polling and by streaming. It goes on measuring while another view is shown; its canvases have
//! no size then, and are not drawn.

use leptos::prelude::*;

use super::tabs::hidden_unless;
use super::{Ui, costs, lateness, leader, limits, over_time, race, stages, topics, workload};
use crate::route::View;

pub fn compare(ui: Ui) -> AnyView {
    view! {
        <main id="compare" hidden=hidden_unless(ui, View::Compare)>
            <section class="panel hero" aria-label="The race">
                {lateness::lateness(ui)}
                {race::race(ui)}
            </section>
            {over_time::over_time()}
            {costs::costs()}
            {leader::leader(ui)}
            {topics::topics(ui)}
            {limits::limits(ui)}
            {stages::stages()}
            {workload::workload(ui)}
        </main>
    }
    .into_any()
}
