//! What panels have in common: icons, the buttons at their head, text that follows a signal.

use leptos::ev::MouseEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// An icon of one path, 16 by 16.
pub fn icon(path: &'static str) -> impl IntoView {
    view! { <svg viewBox="0 0 16 16" aria-hidden="true"><path d=path/></svg> }
}

/// Text that follows a signal.
pub fn live(text: RwSignal<String>) -> impl IntoView {
    move || text.get()
}

/// Buttons of a panel: its picture as a table, and the whole screen.
pub fn tools(what: &'static str, as_table: RwSignal<bool>) -> impl IntoView {
    let table_name = [what, " as a table"].concat();
    let screen_name = [what, " on the whole screen"].concat();
    view! {
        <span class="tools">
            <button
                class="icon"
                aria-label=table_name.clone()
                title=table_name
                aria-pressed=move || if as_table.get() { "true" } else { "false" }
                on:click=move |_| as_table.update(|on| *on = !*on)
            >
                {icon("M2 3h12v10H2zM2 6.5h12M2 9.8h12M6.5 3v10")}
            </button>
            <button class="icon" aria-label=screen_name.clone() title=screen_name on:click=whole_screen>
                {icon("M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10")}
            </button>
        </span>
    }
    .into_any()
}

fn whole_screen(event: MouseEvent) {
    if document().fullscreen_element().is_some() {
        document().exit_fullscreen();
        return;
    }
    let button = event
        .current_target()
        .and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    if let Some(panel) = button.and_then(|button| button.closest(".panel").ok().flatten()) {
        // Refused where the browser has no such mode: then nothing happens.
        let _ = panel.request_fullscreen();
    }
}

/// A table for readers who cannot see the picture. Rows of cells; the first cell heads its row.
pub fn table(caption: &'static str, heads: &'static [&'static str], rows: RwSignal<Vec<Vec<String>>>) -> impl IntoView {
    let cells = |cells: Vec<String>| {
        let mut cells = cells.into_iter();
        let head = cells.next().unwrap_or_default();
        let rest: Vec<_> = cells.map(|cell| view! { <td>{cell}</td> }).collect();
        view! { <tr><th scope="row">{head}</th>{rest}</tr> }
    };
    let heads: Vec<_> = heads
        .iter()
        .map(|head| view! { <th scope="col">{*head}</th> })
        .collect();
    view! {
        <div class="scroll" tabindex="0" role="region" aria-label=caption>
            <table>
                <caption class="unseen">{caption}</caption>
                <thead><tr>{heads}</tr></thead>
                <tbody>{move || rows.get().into_iter().map(cells).collect::<Vec<_>>()}</tbody>
            </table>
        </div>
    }
    .into_any()
}
