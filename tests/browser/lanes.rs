//! Both lanes bring the same events, the page's numbers are the server's, and a restart is survived and told.

use std::collections::BTreeMap;
use std::time::Duration;

use freshet_tests::Follower;
use freshet_tests::browser::Browser;
use freshet_tests::http::get;
use freshet_tests::program::Program;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::page::{MOVES, Page, count, seen};

#[tokio::test]
async fn both_lanes_move_on_an_isolated_page_without_a_complaint() {
    let mut page = Page::open("").await;
    page.until(
        "both lanes to bring events",
        "it.poll.counters.events > 30 && it.stream.counters.events > 30",
    )
    .await;
    assert_eq!(page.browser.eval("window.crossOriginIsolated").await, true);
    let report = page.report(5).await;
    assert_eq!(report["cross_origin_isolated"], true);
    assert_eq!(report["hello"]["proxied"], false);
    assert_eq!(report["problem"], Value::Null);
    for lane in ["poll", "stream"] {
        for bad in ["errors", "unexplained", "duplicates", "missed", "unknown_gaps"] {
            assert_eq!(count(&report, lane, bad), 0, "{lane} {bad}");
        }
    }
    let clock = &report["clock"];
    let (offset_us, bound_us) = (
        clock["offset_us"].as_f64().unwrap(),
        clock["bound_us"].as_f64().unwrap(),
    );
    assert!(offset_us.abs() <= bound_us, "it is one machine with one clock: {clock}");
    assert!(bound_us < 20_000.0, "{clock}");
    page.shows("live").await;
    let figures = "[...document.querySelectorAll('.lane:not(.stale) .value')].filter(it => /[0-9]/.test(it.innerText)).length === 2";
    page.browser
        .wait_for("each lane to have a figure", MOVES, figures)
        .await;
    let before = page.picture().await;
    sleep(Duration::from_millis(500)).await;
    assert_ne!(page.picture().await, before, "the picture moves");
    let complaints = page.errors().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test]
async fn the_numbers_of_the_page_are_those_of_the_server() {
    let mut page = Page::open("topics=workload&interval=500").await;
    page.change(r#"{"workload":{"rate_hz":1000,"shape":"poisson"}}"#).await;
    sleep(Duration::from_secs(4)).await;
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    let all = page.has_all_of_workload().await;
    assert!(all > 3000, "{all}");
    // What feeds the cards goes on, so the two are asked until nothing came between.
    let mut agreed = false;
    for _ in 0..50 {
        let report = page.report(5).await;
        let mut agree = true;
        for lane in ["poll", "stream"] {
            let server = page.reader(&report[lane]["reader"]).await;
            let of_page = |name| count(&report, lane, name);
            assert_eq!(of_page("events"), all, "{lane}");
            assert_eq!(
                (of_page("missed"), of_page("duplicates"), of_page("unexplained")),
                (0, 0, 0),
                "{lane}"
            );
            assert_eq!((server.missed, server.unknown_gaps), (0, 0), "{lane}");
            agree &= server.events == of_page("events") + of_page("card_events");
            agree &= server.state_events == of_page("card_events");
            agree &= server.requests == of_page("requests");
            agree &= server.superseded == of_page("superseded");
            agree &= match lane {
                "poll" => server.empty == of_page("empty"),
                _ => server.frames == of_page("frames"),
            };
        }
        if agree {
            agreed = true;
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let report = page.report(5).await;
    assert!(agreed, "page: {report:#}\nserver: {:#?}", page.topics().await.readers);
}

#[tokio::test]
async fn without_the_thread_that_draws_the_page_says_so_and_its_figures_go_on() {
    let mut page = Page {
        browser: Browser::start().await,
        program: Program::start(&[]).await,
    };
    let no_painter = "window.Worker = class extends Worker {
        constructor(url) { super(url === '/painter.js' ? '/there-is-none.js' : url); }
    };";
    page.browser
        .devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": no_painter}))
        .await;
    let url = format!("http://{}/", page.program.address);
    page.browser.open(&url).await;
    page.is_live().await;
    page.shows("The pictures cannot be drawn.").await;
    let report = page.report(5).await;
    let more = format!(
        "it.stream.counters.events > {} + 20 && !it.paused",
        count(&report, "stream", "events")
    );
    page.until("the lanes to go on", &more).await;
    let figures = "[...document.querySelectorAll('.lane:not(.stale) .value')].filter(it => /[0-9]/.test(it.innerText)).length === 2";
    page.browser
        .wait_for("each lane to have a figure", MOVES, figures)
        .await;
    page.browser.click(".race .tools button:first-child").await;
    let table = "document.querySelectorAll('.race .scroll tbody tr').length > 5";
    page.browser
        .wait_for("the race's table to have its rows", MOVES, table)
        .await;
}

/// What waits for a page that takes nothing is bounded: the stream is let go, and read on from where the page was.
#[tokio::test]
async fn a_page_that_stood_still_under_load_reads_on_where_it_was() {
    let mut page = Page::open("topics=workload&interval=500").await;
    page.change(r#"{"workload":{"rate_hz":2000,"payload_bytes":8192}}"#)
        .await;
    page.until("the stream to bring them", "it.stream.counters.events > 1000")
        .await;
    page.browser
        .eval("(() => { const until = performance.now() + 3000; while (performance.now() < until); })()")
        .await;
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    page.until(
        "another connection",
        "it.stream.counters.requests > 1 && it.stream.status.is === 'live'",
    )
    .await;
    let all = page.has_all_of_workload().await;
    let report = page.report(5).await;
    for lane in ["poll", "stream"] {
        let counts = ["events", "missed", "duplicates", "unexplained"].map(|name| count(&report, lane, name));
        assert_eq!(counts, [all, 0, 0, 0], "{lane}");
    }
}

/// FNV-1a (64 bit) over the events' JSON texts, for each whole range of 64 offsets, as the page has it.
fn fingerprints(events: &Follower) -> BTreeMap<String, String> {
    let mut ranges: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
    for event in events.events.values() {
        let (count, hash) = ranges
            .entry(event.offset / 64 * 64)
            .or_insert((0, 0xcbf2_9ce4_8422_2325));
        *count += 1;
        *hash = event.raw.bytes().fold(*hash, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    }
    let epoch = &events.events[&0].epoch;
    let whole = ranges.into_iter().filter(|(_, (count, _))| *count == 64);
    whole
        .map(|(from, (_, hash))| (format!("{epoch}/0/{from}"), format!("{hash:016x}")))
        .collect()
}

#[tokio::test]
async fn both_lanes_saw_the_bytes_that_the_server_has() {
    let mut page = Page::open("topics=workload,host.cpu&interval=200").await;
    page.change(r#"{"workload":{"rate_hz":500},"source":{"cpu_hz":20}}"#)
        .await;
    sleep(Duration::from_secs(4)).await;
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    let end = page.end_of_stopped("workload").await;
    page.until(
        "both lanes to have it all",
        "it.poll.counters.events > 1000 && it.stream.counters.events > 1000",
    )
    .await;
    let mut polled = Follower::new("workload");
    while polled.next.is_none_or(|next| next < end) {
        let path = format!("/api/v1/events?limit=5000&from={}", polled.position("offset:0:0"));
        polled.page(&get(page.program.address, &path).await.page());
    }
    assert_eq!(polled.missed, 0, "the window holds all of them");
    let server = fingerprints(&polled);
    assert!(
        server.len() as u64 >= end / 64 && server.len() >= 15,
        "{}",
        server.len()
    );
    // A range is closed by the first event after it, so the last one may be missing.
    let closed = server.len() - 1;
    let both = format!("['poll', 'stream'].every(lane => (it[lane].ranges.workload || []).length >= {closed})");
    page.until("both lanes to have their fingerprints", &both).await;
    let report = page.report(5).await;
    for lane in ["poll", "stream"] {
        for (range, hash) in seen(&report, lane, "workload") {
            assert_eq!(server.get(&range), Some(&hash), "{lane} {range}");
        }
    }
    let cpu = "['poll', 'stream'].every(lane => (it[lane].ranges['host.cpu'] || []).length > 0)";
    page.until("both lanes to have a fingerprint of host.cpu", cpu).await;
    let report = page.report(5).await;
    let (poll, stream) = (seen(&report, "poll", "host.cpu"), seen(&report, "stream", "host.cpu"));
    let both = poll.keys().filter(|range| stream.contains_key(*range)).count();
    assert!(
        both > 0,
        "no whole range of host.cpu in both lanes: {poll:?} {stream:?}"
    );
    assert!(
        poll.iter()
            .all(|(range, hash)| stream.get(range).is_none_or(|other| other == hash))
    );
}

#[tokio::test]
async fn what_polling_misses_is_told_counted_and_shown() {
    let mut page = Page::open_on_memory("topics=workload&interval=2000").await;
    // 4 MiB hold about 250 of these events: half a second.
    page.change(r#"{"workload":{"rate_hz":500,"payload_bytes":16384}}"#)
        .await;
    sleep(Duration::from_secs(5)).await;
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    let all = page.has_all_of_workload().await;
    let report = page.report(5).await;
    let (events, missed) = (count(&report, "poll", "events"), count(&report, "poll", "missed"));
    assert!(missed > 100, "{missed} of {all}");
    assert_eq!(events + missed, all, "each event once, or told once");
    assert_eq!(page.reader(&report["poll"]["reader"]).await.missed, missed);
    let told: f64 = report["poll"]["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| gap["count"].as_f64().unwrap())
        .sum();
    assert_eq!(told as u64, missed);
    for lane in ["poll", "stream"] {
        assert_eq!(
            (count(&report, lane, "unexplained"), count(&report, lane, "duplicates")),
            (0, 0),
            "{lane}"
        );
    }
    assert_eq!(
        count(&report, "stream", "events") + count(&report, "stream", "missed"),
        all
    );
}

#[tokio::test]
async fn slow_polling_misses_nothing_of_what_the_log_keeps() {
    let mut page = Page::open("topics=workload&interval=2000").await;
    page.change(r#"{"workload":{"rate_hz":500,"payload_bytes":16384}}"#)
        .await;
    sleep(Duration::from_secs(5)).await;
    let warned = page
        .browser
        .eval("document.body.innerText.includes('is too slow for')")
        .await;
    assert_eq!(warned, false, "the log reaches further back than the window");
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    let all = page.has_all_of_workload().await;
    assert!(all > 500, "more than the window holds: {all}");
    let report = page.report(5).await;
    assert_eq!(
        (count(&report, "poll", "events"), count(&report, "poll", "missed")),
        (all, 0)
    );
    for lane in ["poll", "stream"] {
        assert_eq!(
            (count(&report, lane, "unexplained"), count(&report, lane, "duplicates")),
            (0, 0),
            "{lane}"
        );
    }
}

/// Both lanes move; then the back end goes and comes back, which the page says. Its account before and after.
async fn over_a_restart(page: &mut Page) -> (Value, Value) {
    page.until(
        "both lanes to move",
        "it.poll.counters.events > 10 && it.stream.counters.events > 10",
    )
    .await;
    let before = page.report(5).await;
    page.program.stop().await;
    page.shows("disconnected").await;
    page.shows("The back end does not answer.").await;
    page.until(
        "both lanes to know",
        "it.poll.status.is === 'reconnecting' && it.stream.status.is === 'reconnecting'",
    )
    .await;
    let stale = "document.querySelectorAll('.lane.stale').length === 2";
    page.browser
        .wait_for(
            "old figures not to be shown as live ones",
            Duration::from_secs(5),
            stale,
        )
        .await;

    page.program.start_again().await;
    page.is_live().await;
    let more = format!(
        "['poll', 'stream'].every(lane => it[lane].counters.events > {} + 20)",
        count(&before, "poll", "events").max(count(&before, "stream", "events"))
    );
    page.until("both lanes to move again", &more).await;
    page.shows("live").await;
    let gone = "!document.body.innerText.includes('The back end does not answer.')";
    page.browser
        .wait_for("the notice to go", Duration::from_secs(5), gone)
        .await;
    let after = page.report(5).await;
    assert_eq!(after["hello"]["node"], before["hello"]["node"]);
    (before, after)
}

#[tokio::test]
async fn a_restart_of_the_back_end_is_said_and_survived_without_a_gap() {
    let mut page = Page::open("topics=host.cpu,host.memory&interval=200").await;
    let (_, after) = over_a_restart(&mut page).await;
    for lane in ["poll", "stream"] {
        assert_eq!(after[lane]["gaps"], Value::Array(Vec::new()), "{lane}");
        for count_of in ["missed", "unknown_gaps", "unexplained", "duplicates"] {
            assert_eq!(count(&after, lane, count_of), 0, "{lane} {count_of}");
        }
    }
}

#[tokio::test]
async fn a_restart_that_loses_what_was_kept_is_told_as_a_gap() {
    let mut page = Page::open_on_memory("topics=host.cpu,host.memory&interval=200").await;
    let (_, after) = over_a_restart(&mut page).await;
    for lane in ["poll", "stream"] {
        let gaps = after[lane]["gaps"].as_array().unwrap();
        for topic in ["host.cpu", "host.memory"] {
            let told: Vec<_> = gaps.iter().filter(|gap| gap["topic"] == topic).collect();
            assert_eq!(told.len(), 1, "{lane} {topic}: {gaps:?}");
            assert_eq!(
                (&told[0]["reason"], &told[0]["count"]),
                (&"epoch".into(), &Value::Null),
                "{lane} {topic}"
            );
        }
        assert_eq!(count(&after, lane, "unknown_gaps"), 2, "{lane}");
        assert_eq!(count(&after, lane, "unexplained"), 0, "{lane}");
        assert_eq!(count(&after, lane, "duplicates"), 0, "{lane}");
    }
}

#[tokio::test]
async fn a_page_without_a_back_end_from_the_start_says_so_and_begins_when_there_is_one() {
    let mut page = Page::open("").await;
    // The page is in the browser already; what it needs is not there.
    page.program.stop().await;
    page.browser.eval("void (window.stays = true)").await;
    page.shows("The back end does not answer.").await;
    sleep(Duration::from_secs(2)).await;
    page.program.start_again().await;
    page.is_live().await;
    assert_eq!(page.browser.eval("window.stays").await, true, "nobody had to reload it");
}
