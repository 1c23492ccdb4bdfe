//! The Compare view: the same events by polling and by streaming.

use leptos::prelude::*;

use super::{Ui, costs, lateness, over_time, race, stages, topics, workload};

pub fn compare(ui: Ui) -> AnyView {
    view! {
        <main id="compare">
            <section class="panel hero" aria-label="The race">
                {lateness::lateness(ui)}
                {race::race(ui)}
            </section>
            {over_time::over_time()}
            {costs::costs()}
            {stages::stages()}
            {topics::topics(ui)}
            {workload::workload(ui)}
        </main>
    }
    .into_any()
}
