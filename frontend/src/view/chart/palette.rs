//! The colours of the canvases: read from the style sheet's variables when the theme changes, never each frame.

use leptos::prelude::{document, window};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Palette {
    pub rule: String,
    pub edge: String,
    pub ink: String,
    pub dim: String,
    pub faint: String,
    pub panel: String,
    pub dot: String,
    /// By lane: polling, streaming.
    pub lanes: [String; 2],
    /// For text in a lane's colour.
    pub lanes_ink: [String; 2],
    pub bands: [String; 2],
    pub lost: String,
    pub lost_band: String,
    /// Who leads.
    pub well: String,
}

impl Palette {
    pub fn read() -> Self {
        let style = document()
            .document_element()
            .and_then(|root| window().get_computed_style(&root).ok().flatten());
        let colour = |name: &str| {
            let value = style.as_ref().and_then(|style| style.get_property_value(name).ok());
            value.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        Self {
            rule: colour("--rule"),
            edge: colour("--edge"),
            ink: colour("--ink"),
            dim: colour("--dim"),
            faint: colour("--faint"),
            panel: colour("--panel"),
            dot: colour("--dot"),
            lanes: [colour("--poll"), colour("--stream")],
            lanes_ink: [colour("--poll-ink"), colour("--stream-ink")],
            bands: [colour("--poll-band"), colour("--stream-band")],
            lost: colour("--lost"),
            lost_band: colour("--lost-band"),
            well: colour("--well"),
        }
    }
}
