//! A small box beside what is pointed at in a picture.

use leptos::html::Div;
use leptos::prelude::*;

/// What it says: a title, and rows of a label, a value and the class of the label's colour.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    pub title: String,
    pub rows: Vec<(&'static str, String, &'static str)>,
}

#[derive(Clone, Copy)]
pub struct Tip {
    text: RwSignal<Option<Text>>,
    node: NodeRef<Div>,
}

impl Tip {
    pub fn new() -> Self {
        Self {
            text: RwSignal::new(None),
            node: NodeRef::new(),
        }
    }

    pub fn hide(&self) {
        super::frame::put(self.text, None);
    }

    /// Shows it beside a point of the picture, on the side where there is room.
    pub fn show(&self, text: Text, x: f64, y: f64, width: f64) {
        super::frame::put(self.text, Some(text));
        let Some(node) = self.node.get_untracked() else { return };
        let own = f64::from(node.offset_width());
        let left = if x + 16.0 + own > width {
            (x - 16.0 - own).max(0.0)
        } else {
            x + 16.0
        };
        let px = |name: &str, value: f64| {
            let mut text = super::format::fixed(value.max(0.0), 0).replace(',', "");
            text.push_str("px");
            let _ = (*node).style().set_property(name, &text);
        };
        px("left", left);
        px("top", y - 20.0);
    }

    pub fn view(self) -> impl IntoView {
        let rows = |text: Text| -> Vec<_> {
            text.rows
                .into_iter()
                .map(|(label, value, class)| view! { <span><i class=class>{label}</i>{value}</span> })
                .collect()
        };
        view! {
            <div class="tip" node_ref=self.node role="status" hidden=move || self.text.with(Option::is_none)>
                <b>{move || self.text.with(|text| text.as_ref().map(|text| text.title.clone()))}</b>
                {move || self.text.get().map(rows)}
            </div>
        }
    }
}
