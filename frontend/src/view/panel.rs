//! What panels have in common: icons, the buttons at their head, a picture that is also there as a table.

use leptos::ev::MouseEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use super::bind::{Click, Flag, Text, click, if_empty, is, live, pressed};

/// An icon of one path, 16 by 16.
pub fn icon(path: &'static str) -> AnyView {
    view! { <svg viewBox="0 0 16 16" aria-hidden="true"><path d=path/></svg> }.into_any()
}

/// Buttons of a panel: its picture as a table, and the whole screen.
pub fn tools(what: &'static str, as_table: Flag) -> AnyView {
    let table = click(move || as_table.update(|on| *on = !*on));
    let table = button(
        [what, " as a table"].concat(),
        "M2 3h12v10H2zM2 6.5h12M2 9.8h12M6.5 3v10",
        as_table,
        table,
    );
    let screen = "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10";
    let screen = button(
        [what, " on the whole screen"].concat(),
        screen,
        Flag::new(false),
        Box::new(whole_screen),
    );
    view! { <span class="tools">{table}{screen}</span> }.into_any()
}

fn button(name: String, path: &'static str, on: Flag, on_click: Click) -> AnyView {
    view! {
        <button class="icon" aria-label=name.clone() title=name aria-pressed=pressed(on) on:click=on_click>
            {icon(path)}
        </button>
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

/// Why a picture shows nothing: a title and a sentence.
#[derive(Clone, Copy)]
pub struct Empty {
    pub title: Text,
    pub text: Text,
}

impl Empty {
    pub fn view(self) -> AnyView {
        view! {
            <div class="empty" hidden=if_empty(self.title)>
                <p><b>{live(self.title)}</b></p>
                <p class="dim">{live(self.text)}</p>
            </div>
        }
        .into_any()
    }
}

pub type Rows = RwSignal<Vec<Vec<String>>>;

/// A picture, or its table for readers who cannot see it.
pub fn picture(
    layers: Vec<AnyView>,
    as_table: Flag,
    caption: &'static str,
    heads: &'static [&'static str],
    rows: Rows,
) -> AnyView {
    let not_table = Flag::new(true);
    Effect::new(move |_| not_table.set(!as_table.get()));
    view! {
        <div class="canvas" hidden=is(as_table)>{layers}</div>
        {table(not_table, caption, heads, rows)}
    }
    .into_any()
}

/// A table of rows of cells; the first cell heads its row.
pub fn table(hidden: Flag, caption: &'static str, heads: &'static [&'static str], rows: Rows) -> AnyView {
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
        <div class="scroll" tabindex="0" role="region" aria-label=caption hidden=is(hidden)>
            <table>
                <caption class="unseen">{caption}</caption>
                <thead><tr>{heads}</tr></thead>
                <tbody>{move || rows.get().into_iter().map(cells).collect::<Vec<_>>()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// A table with a column for each lane.
pub fn lanes_table(rows: Vec<AnyView>) -> AnyView {
    view! {
        <table>
            <thead><tr>
                <td></td>
                <th scope="col" class="poll">"polling"</th>
                <th scope="col" class="stream">"streaming"</th>
            </tr></thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}
