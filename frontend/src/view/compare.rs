//! The Compare view: the same events by polling and by streaming.

use leptos::prelude::*;

use super::{Ui, lateness, notice, race};

pub fn compare(ui: Ui) -> impl IntoView {
    view! {
        <main id="compare">
            {notice::notice()}
            <section class="panel hero" aria-label="The race">
                {lateness::lateness(ui)}
                {race::race(ui)}
            </section>
        </main>
    }
}
