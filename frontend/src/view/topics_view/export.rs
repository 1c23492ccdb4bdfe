//! What is shown, as a file: NDJSON, each event as it came, each gap as what is missing.

use gloo_timers::callback::Timeout;
use js_sys::Array;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, Url};

use super::super::bind::click;
use super::super::format;
use super::Shared;
use crate::feed::rows::Row;

/// How long the browser has to take it over.
const TAKEN_MS: u32 = 60_000;

pub(super) fn button(shared: Shared) -> AnyView {
    let words = super::super::bind::text("Export");
    let save = click(move || {
        let handle = shared.ui.handle();
        let feed = handle.feed();
        let lines = Array::new();
        let mut left_out = 0;
        for row in feed.rows.iter_shown() {
            match row {
                Row::Event(item) => match item.whole() {
                    Some(text) => lines.push(&text.into()),
                    None => {
                        left_out += 1;
                        continue;
                    }
                },
                Row::Gap(gap) => lines.push(&gap_line(serde_json::to_string(gap).unwrap_or_default())),
                Row::Hole(from, count) => {
                    let count = count.map_or_else(|| String::from("null"), |count| format::plain(count as f64));
                    let from = format::plain(*from as f64);
                    lines.push(&gap_line(
                        [
                            r#"{"from_offset":"#,
                            &from,
                            r#","count":"#,
                            &count,
                            r#","reason":null}"#,
                        ]
                        .concat(),
                    ))
                }
            };
            lines.push(&"\n".into());
        }
        let name = [feed.topic.as_deref().unwrap_or("feed"), ".ndjson"].concat();
        let saved = download(&lines, &name).is_some();
        let told = match (saved, left_out) {
            (false, _) => String::from("The browser saves nothing"),
            (true, 0) => String::from("Export"),
            (true, left_out) => ["Export (without ", &*format::count(left_out), " whose text was let go)"].concat(),
        };
        super::super::frame::put(words, told);
    });
    view! { <button class="export" on:click=save title="What is shown, as NDJSON">{super::super::bind::live(words)}</button> }
        .into_any()
}

fn gap_line(gap: String) -> JsValue {
    [r#"{"gap":"#, &*gap, "}"].concat().into()
}

fn download(lines: &Array, name: &str) -> Option<()> {
    let kind = BlobPropertyBag::new();
    kind.set_type("application/x-ndjson");
    let blob = Blob::new_with_str_sequence_and_options(lines, &kind).ok()?;
    let url = Url::create_object_url_with_blob(&blob).ok()?;
    let link: HtmlAnchorElement = document().create_element("a").ok()?.dyn_into().ok()?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    Timeout::new(TAKEN_MS, move || {
        let _ = Url::revoke_object_url(&url);
    })
    .forget();
    Some(())
}
