//! Latency is honest: what the page measures is what arithmetic and injected delay say it must be.

use std::time::Duration;

use freshet_tests::browser::Browser;
use freshet_tests::program::Program;
use freshet_tests::proxy::Proxy;
use tokio::time::sleep;

use crate::page::{Page, number, say};

/// For so long the latency is measured.
const SECONDS: u32 = 20;

/// Polls every second for twenty and returns the means of both lanes and of the polls' round trips, in milliseconds.
async fn measure(page: &mut Page) -> (f64, f64, f64) {
    // Independent arrivals, so that no phase of the polling is favoured.
    page.change(r#"{"workload":{"rate_hz":200,"shape":"poisson"}}"#).await;
    page.until(
        "events in both lanes",
        "it.poll.counters.events > 0 && it.stream.counters.events > 0",
    )
    .await;
    sleep(Duration::from_secs(u64::from(SECONDS) + 2)).await;
    let report = page.report(SECONDS).await;
    let polled = number(&report, "/poll/latency/count");
    assert!(
        polled > 0.9 * 200.0 * f64::from(SECONDS - 2),
        "{polled} events are too few to tell"
    );
    for lane in ["poll", "stream"] {
        assert_eq!(
            number(&report, &format!("/{lane}/counters/hidden")),
            0.0,
            "the tab was to be seen all the time"
        );
        assert_eq!(number(&report, &format!("/{lane}/counters/errors")), 0.0, "{lane}");
    }
    let ms = |pointer: &str| number(&report, pointer) / 1e3;
    let means = (
        ms("/poll/latency/mean_us"),
        ms("/stream/latency/mean_us"),
        ms("/poll/round_trip/mean_us"),
    );
    say(&format!(
        "polling {:.1} ms, streaming {:.2} ms, round trip {:.1} ms",
        means.0, means.1, means.2
    ));
    means
}

fn assert_predicted(poll_ms: f64, round_trip_ms: f64) {
    let predicted_ms = 1000.0 / 2.0 + round_trip_ms;
    let off = (poll_ms / predicted_ms - 1.0).abs();
    assert!(off < 0.1, "measured {poll_ms} ms, predicted {predicted_ms} ms");
}

#[tokio::test]
async fn polling_takes_half_its_interval_and_a_round_trip_and_streaming_next_to_nothing() {
    let mut page = Page::open("topics=workload&interval=1000").await;
    let (poll, stream, round_trip) = measure(&mut page).await;
    assert_predicted(poll, round_trip);
    // On an idle machine it is smaller than what the clocks are off, so it may even be negative.
    assert!(stream.abs() < 50.0, "{stream} ms");
    // What is to be seen is what was measured.
    let shown = page
        .browser
        .eval("[...document.querySelectorAll('.lane')].map(it => it.querySelector('.figure').innerText)")
        .await;
    let shown: Vec<f64> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|text| milliseconds(text.as_str().unwrap()))
        .collect();
    assert!((shown[0] / poll - 1.0).abs() < 0.25, "{shown:?}");
    assert!(shown[1].abs() < 50.0, "{shown:?}");
}

/// The figure at the beginning of the text, such as `507 ms` or `1.02 s`.
fn milliseconds(text: &str) -> f64 {
    let mut words = text.split_whitespace();
    let number: f64 = words
        .next()
        .unwrap()
        .replace(',', "")
        .replace('\u{2212}', "-")
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text:?}"));
    match words.next().unwrap() {
        "µs" => number / 1e3,
        "ms" => number,
        "s" => number * 1e3,
        other => panic!("{other:?} in {text:?}"),
    }
}

#[tokio::test]
async fn three_tenths_of_a_second_more_of_round_trip_are_three_tenths_more_for_polling_and_half_for_streaming() {
    let browser = Browser::start().await;
    let program = Program::start(&[]).await;
    let one_way = Duration::from_millis(150);
    let proxy = Proxy::start(program.address, one_way, one_way).await;
    let mut page = Page { browser, program };
    page.browser
        .open(&format!("http://{}/#topics=workload&interval=1000", proxy.address))
        .await;
    page.is_live().await;
    let (poll, stream, round_trip) = measure(&mut page).await;
    assert!(round_trip > 298.0, "{round_trip} ms");
    assert_predicted(poll, round_trip);
    // It takes the way there alone; a busy machine adds to both ways alike.
    assert!(
        stream > 145.0 && stream < 1.15 * round_trip / 2.0 + 10.0,
        "{stream} ms of {round_trip} ms"
    );
    page.shows("Through a proxy").await;
}
