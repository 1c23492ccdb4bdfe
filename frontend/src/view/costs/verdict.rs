//! The sentence under the figures: only when each of its terms was measured.

use super::window::Cost;
use crate::lane::Status;
use crate::model::Model;
use crate::view::format;

/// The least time that differences must cover to be worth a sentence.
const LEAST_US: f64 = 10e6;

/// Parts of the sentence, each strong or not; none as long as a term is missing.
pub fn sentence(model: &Model, costs: &[Cost; 2], span_us: f64, now_us: f64) -> Vec<(bool, String)> {
    build(model, costs, span_us, now_us).unwrap_or_default()
}

fn build(model: &Model, costs: &[Cost; 2], span_us: f64, now_us: f64) -> Option<Vec<(bool, String)>> {
    let [poll, stream] = costs;
    if span_us < LEAST_US || model.poll.status != Status::Live || model.stream.status != Status::Live {
        return None;
    }
    let mean = |lane: &crate::lane::Lane| lane.summary(now_us - span_us).map(|summary| summary.mean_us);
    let (poll_us, stream_us) = (mean(&model.poll)?, mean(&model.stream)?);
    let bound_us = model.offset()?.bound_us;
    if stream_us <= bound_us || poll_us <= stream_us {
        return None;
    }
    let rate = stream.events as f64 / span_us * 1e6;
    let mut text = format::fixed(rate, if rate < 9.95 { 1 } else { 0 });
    text.push_str(" events/s");
    let plain = |text: &str| (false, text.to_owned());
    let sooner = [&*format::times(poll_us / stream_us), " sooner"].concat();
    Some(vec![
        plain("At "),
        (true, text),
        plain(", polled every "),
        (true, format::interval(model.interval_ms)),
        plain(", streaming is "),
        (true, sooner),
        plain(" and costs the server "),
        (true, against(poll.cpu_us_per_event?, stream.cpu_us_per_event?)?),
        plain(" CPU and "),
        (true, against(poll.bytes_per_event?, stream.bytes_per_event?)?),
        plain(" bytes for each event."),
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
