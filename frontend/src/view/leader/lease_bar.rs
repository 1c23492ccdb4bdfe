//! The bar of a lease. It moves ten times a second and not on every frame: each step makes the browser lay out and paint anew,
//! which costs more than the step itself.

use leptos::html::I;
use leptos::prelude::*;

use super::super::format;
use super::super::frame::Frame;
use super::words::News;

const STEP_US: f64 = 100e3;

/// A bar, empty as long as there is no lease.
#[derive(Clone, Copy)]
pub struct LeaseBar {
    pub node: NodeRef<I>,
    /// The share that it shows, and when it was written.
    shown: StoredValue<(f64, f64)>,
}

impl LeaseBar {
    pub fn new() -> Self {
        Self {
            node: NodeRef::new(),
            shown: StoredValue::new((0.0, 0.0)),
        }
    }

    /// Called on every frame. It stands still while the page is paused, and for who wants less motion it is as it was when it was told.
    pub fn show(self, frame: &Frame<'_>, news: &News<'_>) {
        let (shown, at_us) = self.shown.get_value();
        if frame.model.paused || (news.now_us - at_us).abs() < STEP_US {
            return;
        }
        let now_us = match (news.cluster, frame.calm) {
            (Some(cluster), true) => cluster.now_us as f64,
            _ => news.now_us,
        };
        let share = News { now_us, ..*news }.lease_share().unwrap_or_default();
        if let Some(bar) = self.node.get_untracked() {
            self.shown.set_value((share, news.now_us));
            if share != shown {
                fill(&bar, share);
            }
        }
    }
}

/// Sets how much of a bar is full.
pub fn fill(bar: &web_sys::HtmlElement, share: f64) {
    let scale = ["scaleX(", &format::plain(share), ")"].concat();
    let _ = bar.style().set_property("transform", &scale);
}
