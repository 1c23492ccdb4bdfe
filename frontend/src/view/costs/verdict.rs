//! The sentence under the figures: only when each of its terms was measured.

use leptos::prelude::*;

use super::super::bind::{Text, if_empty, live};
use super::super::format;
use super::super::frame::put;
use super::window::Cost;
use crate::lane::{Lane, Status};
use crate::model::Model;

/// The least time that differences must cover to be worth a sentence.
const LEAST_US: f64 = 10e6;

/// The terms of the sentence.
#[derive(Clone, Copy)]
pub struct Sentence {
    rate: Text,
    interval: Text,
    sooner: Text,
    cpu: Text,
    bytes: Text,
}

impl Sentence {
    pub fn new() -> Self {
        Self {
            rate: Text::default(),
            interval: Text::default(),
            sooner: Text::default(),
            cpu: Text::default(),
            bytes: Text::default(),
        }
    }

    /// Says it, or nothing as long as a term is missing.
    pub fn put(&self, model: &Model, costs: &[Cost; 2], span_us: f64, now_us: f64) {
        let [rate, interval, sooner, cpu, bytes] = terms(model, costs, span_us, now_us).unwrap_or_default();
        put(self.rate, rate);
        put(self.interval, interval);
        put(self.sooner, sooner);
        put(self.cpu, cpu);
        put(self.bytes, bytes);
    }

    pub fn view(self) -> AnyView {
        view! {
            <p class="verdict" hidden=if_empty(self.rate)>
                "At "<b>{live(self.rate)}</b>", polled every "<b>{live(self.interval)}</b>", streaming is "
                <b>{live(self.sooner)}</b>" and costs the server "<b>{live(self.cpu)}</b>" CPU and "
                <b>{live(self.bytes)}</b>" bytes for each event."
            </p>
        }
        .into_any()
    }
}

fn terms(model: &Model, costs: &[Cost; 2], span_us: f64, now_us: f64) -> Option<[String; 5]> {
    let [poll, stream] = costs;
    if span_us < LEAST_US || model.poll.status != Status::Live || model.stream.status != Status::Live {
        return None;
    }
    let mean = |lane: &Lane| lane.summary(now_us - span_us).map(|summary| summary.mean_us);
    let (poll_us, stream_us) = (mean(&model.poll)?, mean(&model.stream)?);
    let bound_us = model.offset()?.bound_us;
    if stream_us <= bound_us || poll_us <= stream_us {
        return None;
    }
    let rate = stream.events as f64 / span_us * 1e6;
    Some([
        [&*format::fixed(rate, if rate < 9.95 { 1 } else { 0 }), " events/s"].concat(),
        format::interval(model.interval_ms),
        [&*format::times(poll_us / stream_us), " sooner"].concat(),
        against(poll.cpu_us_per_event?, stream.cpu_us_per_event?)?,
        against(poll.bytes_per_event?, stream.bytes_per_event?)?,
    ])
}

/// How the second compares with the first: "48 % less", "×2.1 more", "as much".
fn against(first: f64, second: f64) -> Option<String> {
    if first <= 0.0 || second <= 0.0 {
        return None;
    }
    let ratio = second / first;
    Some(match ratio {
        r if (r - 1.0).abs() < 0.03 => String::from("about as much"),
        r if r < 1.0 => [&*format::percent(1.0 - r), " less"].concat(),
        r if r < 2.0 => [&*format::percent(r - 1.0), " more"].concat(),
        r => [&*format::times(r), " as much"].concat(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_said_the_way_round_that_was_measured() {
        let said = |first, second| against(first, second).map(|text| text.replace('\u{a0}', " "));
        assert_eq!(said(100.0, 52.0).as_deref(), Some("48 % less"));
        assert_eq!(said(100.0, 130.0).as_deref(), Some("30 % more"));
        assert_eq!(said(100.0, 250.0).as_deref(), Some("×2.5 as much"));
        assert_eq!(said(100.0, 101.0).as_deref(), Some("about as much"));
        assert_eq!(said(0.0, 1.0), None, "nothing is compared with what was not measured");
    }
}
