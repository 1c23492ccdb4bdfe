//! The sentence under the figures: only when each of its terms was measured, in the window that it names.

use leptos::prelude::*;

use super::super::bind::{Text, if_empty, live};
use super::super::format;
use super::super::frame::put;
use super::seconds;
use super::window::{Cost, Window};

/// The least time that differences must cover to be worth a sentence, and the least polls that brought an event.
const LEAST_US: f64 = 10e6;
const LEAST_POLLS: u64 = 3;

/// What differs by less is as much.
const ALIKE: f64 = 0.03;

/// The terms of the sentence.
#[derive(Clone, Copy)]
pub struct Sentence {
    span: Text,
    rate: Text,
    interval: Text,
    sooner: Text,
    cpu: Text,
    bytes: Text,
    lost: Text,
}

impl Sentence {
    pub fn new() -> Self {
        Self {
            span: Text::default(),
            rate: Text::default(),
            interval: Text::default(),
            sooner: Text::default(),
            cpu: Text::default(),
            bytes: Text::default(),
            lost: Text::default(),
        }
    }

    /// Says it, or nothing as long as a term is missing. `bound_us`: what the clocks are off at most.
    pub fn put(&self, window: &Window, costs: &[Cost; 2], bound_us: Option<f64>) {
        let interval_us = f64::from(window.interval_ms()) * 1e3;
        let terms = bound_us.and_then(|bound_us| terms(costs, window.span_us(), interval_us, bound_us));
        let said = terms.is_some();
        let [rate, sooner, cpu, bytes, lost] = terms.unwrap_or_default();
        let or_nothing = |text: String| if said { text } else { String::new() };
        put(self.span, or_nothing(seconds(window.span_us())));
        put(self.interval, or_nothing(format::interval(window.interval_ms())));
        put(self.rate, rate);
        put(self.sooner, sooner);
        put(self.cpu, cpu);
        put(self.bytes, bytes);
        put(self.lost, lost);
    }

    pub fn view(self) -> AnyView {
        view! {
            <p class="verdict" hidden=if_empty(self.rate)>
                "Over the last "<b>{live(self.span)}</b>", at "<b>{live(self.rate)}</b>" polled every "
                <b>{live(self.interval)}</b>", streaming was "<b>{live(self.sooner)}</b>
                " and cost the server "<b>{live(self.cpu)}</b>" CPU and "<b>{live(self.bytes)}</b>
                " bytes for each event. "<b class="lost">{live(self.lost)}</b>
            </p>
        }
        .into_any()
    }
}

fn terms(costs: &[Cost; 2], span_us: f64, interval_us: f64, bound_us: f64) -> Option<[String; 5]> {
    let [poll, stream] = costs;
    if span_us < LEAST_US || poll.batches < LEAST_POLLS {
        return None;
    }
    let rate = happened(poll, stream, interval_us / span_us) * 1e6 / span_us;
    Some([
        format::events_per_s(rate),
        sooner(poll.mean_us?, stream.mean_us?, bound_us),
        against(poll.cpu_us_per_event?, stream.cpu_us_per_event?, ["less", "much"])?,
        against(poll.bytes_per_event?, stream.bytes_per_event?, ["fewer", "many"])?,
        lost(poll, stream),
    ])
}

/// How many events happened in the window, of which an interval is this share. Streaming counts them as they happen; the window's first
/// poll brings what happened up to an interval before it. Where polling has more than that, streaming lacks it, and it has happened
/// all the same.
fn happened(poll: &Cost, stream: &Cost, interval: f64) -> f64 {
    let [polled, streamed] = [poll, stream].map(|cost| (cost.events + cost.missed) as f64);
    // A round trip comes to the interval.
    match polled > streamed * (1.0 + 1.5 * interval) {
        true => polled,
        false => streamed,
    }
}

/// How streaming compares. The clocks' error is the same in both, so it hides a ratio but no difference.
fn sooner(poll_us: f64, stream_us: f64, bound_us: f64) -> String {
    let apart_us = (poll_us - stream_us).abs();
    let (first_us, word) = if stream_us < poll_us {
        (stream_us, " sooner")
    } else {
        (poll_us, " later")
    };
    if apart_us <= ALIKE * poll_us.abs().max(stream_us.abs()) {
        return String::from("no sooner");
    }
    if first_us <= bound_us {
        return [&*format::latency_text(apart_us), word].concat();
    }
    [&*times((first_us + apart_us) / first_us), word].concat()
}

/// How the second compares with the first: "48 % less", "30 % more", "2.5 times as much", "about as many".
fn against(first: f64, second: f64, [less, much]: [&str; 2]) -> Option<String> {
    if first <= 0.0 || second <= 0.0 {
        return None;
    }
    let ratio = second / first;
    Some(match ratio {
        r if (r - 1.0).abs() < ALIKE => ["about as ", much].concat(),
        r if r < 1.0 => [&*format::percent(1.0 - r), " ", less].concat(),
        r if r < 2.0 => [&*format::percent(r - 1.0), " more"].concat(),
        r => [&*times(r), " as ", much].concat(),
    })
}

fn times(ratio: f64) -> String {
    let text = format::times(ratio);
    [text.trim_start_matches('×'), "\u{a0}times"].concat()
}

/// What the comparison leaves out: figures are of what arrived.
fn lost(poll: &Cost, stream: &Cost) -> String {
    let one = |name: &str, cost: &Cost| match (cost.missed, cost.unknown_gaps) {
        (0, 0) => String::new(),
        (0, _) => [name, " missed events, their number unknown. "].concat(),
        (missed, _) => [name, " missed ", &format::count(missed), " events. "].concat(),
    };
    [one("Polling", poll), one("Streaming", stream)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace('\u{a0}', " ")
    }

    fn cost(mean_us: f64, missed: u64) -> Cost {
        Cost {
            measured: true,
            bytes_per_event: Some(100.0),
            cpu_us_per_event: Some(4.0),
            mean_us: Some(mean_us),
            batches: 3,
            events: 300,
            missed,
            ..Cost::default()
        }
    }

    #[test]
    fn comparisons_are_said_the_way_round_that_was_measured() {
        let said = |first, second| against(first, second, ["fewer", "many"]).map(|text| plain(&text));
        assert_eq!(said(100.0, 52.0).as_deref(), Some("48 % fewer"));
        assert_eq!(said(100.0, 130.0).as_deref(), Some("30 % more"));
        assert_eq!(said(100.0, 250.0).as_deref(), Some("2.5 times as many"));
        assert_eq!(said(100.0, 101.0).as_deref(), Some("about as many"));
        assert_eq!(said(0.0, 1.0), None, "nothing is compared with what was not measured");
    }

    #[test]
    fn whichever_lane_was_sooner_is_said_to_be_and_no_ratio_finer_than_the_clocks() {
        let said = |poll_us, stream_us| plain(&sooner(poll_us, stream_us, 100.0));
        assert_eq!(said(500e3, 1e3), "500 times sooner");
        assert_eq!(said(1e3, 8e3), "8.0 times later");
        assert_eq!(said(1_000.0, 1_010.0), "no sooner");
        assert_eq!(said(500_050.0, 50.0), "500 ms sooner");
        assert_eq!(said(500_000.0, -50.0), "500 ms sooner");
    }

    #[test]
    fn nothing_is_said_of_too_little() {
        let costs = [cost(500e3, 0), cost(1e3, 0)];
        assert!(terms(&costs, 10e6, 1e6, 100.0).is_some());
        assert!(terms(&costs, 9e6, 1e6, 100.0).is_none(), "too short");
        let mut few = costs.clone();
        few[0].batches = 2;
        assert!(terms(&few, 60e6, 1e6, 100.0).is_none(), "too few polls");
        let mut none = costs;
        none[1].cpu_us_per_event = None;
        assert!(terms(&none, 60e6, 1e6, 100.0).is_none(), "a term is missing");
    }

    #[test]
    fn the_rate_is_that_of_the_window_and_not_of_what_its_first_poll_brought_from_before() {
        let rate = |polled, streamed| {
            let mut costs = [cost(500e3, 0), cost(1e3, 0)];
            (costs[0].events, costs[1].events) = (polled, streamed);
            plain(&terms(&costs, 10e6, 1e6, 100.0).unwrap()[0])
        };
        assert_eq!(rate(10_900, 10_000), "1,000 events/s");
        assert_eq!(
            rate(9_100, 10_000),
            "1,000 events/s",
            "what polling still lacks has happened"
        );
        assert_eq!(
            rate(20_000, 10_000),
            "2,000 events/s",
            "and so has what streaming lacks"
        );
    }

    #[test]
    fn what_was_missed_counts_as_having_happened_and_is_said() {
        let terms = terms(&[cost(500e3, 42_188), cost(1e3, 0)], 10e6, 1e6, 100.0).unwrap();
        assert_eq!(plain(&terms[0]), "4,249 events/s");
        assert_eq!(terms[4], "Polling missed 42,188 events. ");
    }
}
