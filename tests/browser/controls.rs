//! What the reader of the page can do: choose, pause, load, and read it on a telephone.

use std::time::Duration;

use freshet_tests::http::{get, request, send};
use freshet_wire::{SettingsVersion, Shape};
use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::page::{Page, count};

const PAUSE: &str = "header .buttons button";
const INTERVAL: &str = "select[aria-label='How often to poll']";
const MENU: &str = "details.menu > summary";

#[tokio::test]
async fn the_interval_of_polling_takes_effect_at_once_and_is_remembered() {
    let mut page = Page::open("").await;
    assert_eq!(page.report(5).await["interval_ms"], 1000);
    page.browser.click(&format!("{INTERVAL} option[value='30000']")).await;
    page.until("the interval to be set", "it.interval_ms === 30000").await;
    sleep(Duration::from_millis(500)).await;
    let before = count(&page.report(5).await, "poll", "requests");
    sleep(Duration::from_secs(2)).await;
    assert!(count(&page.report(5).await, "poll", "requests") <= before + 1);
    // It does not first wait for the end of the thirty seconds.
    page.browser.click(&format!("{INTERVAL} option[value='100']")).await;
    let fast = format!("it.poll.counters.requests > {before} + 15");
    page.until("polls ten times a second", &fast).await;
    page.browser.reload().await;
    page.is_live().await;
    assert_eq!(page.report(5).await["interval_ms"], 100);
    let shown = page
        .browser
        .eval(&format!("document.querySelector(\"{INTERVAL}\").value"))
        .await;
    assert_eq!(shown, "100");
}

#[tokio::test]
async fn an_address_that_says_a_choice_does_not_bring_it_back_after_another_was_made() {
    let mut page = Page::open("topics=host.cpu&interval=1000").await;
    let entries = page.browser.eval("history.length").await;
    page.browser.click(&format!("{INTERVAL} option[value='200']")).await;
    page.until("the interval to be set", "it.interval_ms === 200").await;
    page.browser.reload().await;
    page.is_live().await;
    let report = page.report(5).await;
    assert_eq!(
        (&report["topics"], &report["interval_ms"]),
        (&json!(["host.cpu"]), &json!(200))
    );
    assert_eq!(
        page.browser.eval("history.length").await,
        entries,
        "Back leads to where it led"
    );
}

#[tokio::test]
async fn a_page_begins_as_the_settings_say_until_its_reader_chooses() {
    let mut page = Page::open("").await;
    let patch = json!({"lane": {"poll_interval_ms": 500, "cards": "poll"}}).to_string();
    let answer = send(
        page.program.address,
        request(Method::PATCH, "/api/v1/settings", &[], &patch),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    page.browser.reload().await;
    page.until("the interval of the settings", "it.interval_ms === 500")
        .await;
    let pressed = "[...document.querySelectorAll('.foot [aria-label=\"The lane that feeds the cards below\"] [aria-pressed=true]')].map(it => it.textContent).join()";
    let fed = format!("{pressed} === 'polling'");
    page.browser
        .wait_for("cards by polling", Duration::from_secs(10), &fed)
        .await;
    let shown = format!("document.querySelector(\"{INTERVAL}\").value === '500'");
    page.browser
        .wait_for("the interval to be shown", Duration::from_secs(10), &shown)
        .await;
    page.browser.click(&format!("{INTERVAL} option[value='200']")).await;
    page.browser.reload().await;
    page.is_live().await;
    page.until("the settings", "it.stream.counters.card_events > 0").await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(
        page.report(5).await["interval_ms"],
        200,
        "the reader's own choice stays"
    );
}

#[tokio::test]
async fn topics_are_chosen_and_left_by_hand() {
    let mut page = Page::open("topics=host.cpu&interval=200").await;
    page.until("events", "it.poll.counters.events > 3 && it.stream.counters.events > 3")
        .await;
    assert_eq!(page.topic("host.disk").await.readers, 0);
    page.browser.click(MENU).await;
    let row = "[...document.querySelectorAll('details.menu li')].find(it => it.innerText.includes('host.disk'))";
    page.browser
        .wait_for("the topics to be offered", Duration::from_secs(10), row)
        .await;
    page.browser
        .eval(&format!("({row}).querySelector('input').id = 'test-disk'"))
        .await;
    page.browser.click("#test-disk").await;
    page.until(
        "the topic to be chosen",
        "it.topics.includes('host.disk') && it.topics.includes('host.cpu')",
    )
    .await;
    freshet_tests::until("the stream to read it", async || {
        page.topic("host.disk").await.readers >= 1
    })
    .await;
    page.browser.click("#test-disk").await;
    page.until("the topic to be left", "!it.topics.includes('host.disk')")
        .await;
    let cpu = row.replace("host.disk", "host.cpu");
    page.browser
        .eval(&format!("({cpu}).querySelector('input').id = 'test-cpu'"))
        .await;
    page.browser.click("#test-cpu").await;
    page.until("no topic to be left", "it.topics.length === 0").await;
    page.shows("No topic is chosen").await;
    freshet_tests::until("the stream to leave it", async || {
        page.topic("host.disk").await.readers == 0
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_refused_in_words_and_costs_neither_lane_the_others() {
    let mut page = Page::start("topics=nothing.of.the.kind,host.cpu").await;
    page.until(
        "it to be refused",
        "it.problem !== null && it.problem.includes('nothing.of.the.kind')",
    )
    .await;
    page.until(
        "both lanes to go on without it",
        "it.poll.counters.events > 10 && it.stream.counters.events > 10",
    )
    .await;
    page.shows("nothing.of.the.kind").await;
}

#[tokio::test]
async fn a_pause_stops_the_picture_but_not_the_lanes() {
    let mut page = Page::open("interval=200").await;
    page.until(
        "events",
        "it.poll.counters.events > 10 && it.stream.counters.events > 10",
    )
    .await;
    page.browser.click(PAUSE).await;
    page.until("the pause", "it.paused").await;
    page.shows("paused").await;
    // One frame may have been on its way.
    sleep(Duration::from_millis(200)).await;
    let (picture, before) = (page.picture().await, page.report(5).await);
    let more = format!(
        "it.stream.counters.events > {} + 10",
        count(&before, "stream", "events")
    );
    page.until("the lanes to go on", &more).await;
    assert_eq!(page.picture().await, picture, "the picture stands still");
    page.browser.click(PAUSE).await;
    page.until("the end of the pause", "!it.paused").await;
    sleep(Duration::from_millis(500)).await;
    assert_ne!(page.picture().await, picture);
    assert_eq!(count(&page.report(5).await, "stream", "unexplained"), 0);
}

#[tokio::test]
async fn one_lane_runs_alone_where_that_is_wanted() {
    let mut page = Page::open("interval=200").await;
    page.until("events", "it.poll.counters.events > 3 && it.stream.counters.events > 3")
        .await;
    for (words, runs, rests) in [
        ("polling alone", "poll", "stream"),
        ("streaming alone", "stream", "poll"),
    ] {
        press(&mut page, words).await;
        page.until(
            "the other lane to rest",
            &format!("it.{rests}.status.is === 'off' && it.{runs}.status.is === 'live'"),
        )
        .await;
        sleep(Duration::from_millis(500)).await;
        let before = page.report(5).await;
        let more = format!("it.{runs}.counters.events > {} + 10", count(&before, runs, "events"));
        page.until("the lane to move", &more).await;
        assert_eq!(
            count(&page.report(5).await, rests, "events"),
            count(&before, rests, "events"),
            "{words}"
        );
    }
    press(&mut page, "both").await;
    page.is_live().await;
    let report = page.report(5).await;
    assert_eq!(
        (
            count(&report, "poll", "unexplained"),
            count(&report, "stream", "unexplained")
        ),
        (0, 0)
    );
}

/// Presses the button with these words.
async fn press(page: &mut Page, words: &str) {
    let script = format!(
        "(() => {{ const it = [...document.querySelectorAll('button')].find(it => it.innerText.trim() === {}); it.id = 'test-press'; return !!it; }})()",
        json!(words)
    );
    assert_eq!(page.browser.eval(&script).await, true, "{words}");
    page.browser.click("#test-press").await;
    page.browser
        .eval("void (document.getElementById('test-press').id = '')")
        .await;
}

#[tokio::test]
async fn the_workload_is_started_and_stopped_from_the_page() {
    let mut page = Page::open("topics=host.cpu&interval=200").await;
    page.shows("Workload").await;
    page.browser
        .wait_for(
            "the settings to be there",
            Duration::from_secs(10),
            "document.getElementById('w-rate').value !== ''",
        )
        .await;
    page.browser
        .eval("void (document.getElementById('w-rate').value = '')")
        .await;
    page.browser.keys("#w-rate", "300").await;
    page.browser.click("#w-shape option[value='poisson']").await;
    page.browser.click("section.workload button[type=submit]").await;
    page.until("the workload to be in the race", "it.topics.includes('workload')")
        .await;
    page.shows("running").await;
    freshet_tests::until("events of it", async || page.end_of("workload").await > 300).await;
    let settings: SettingsVersion = get(page.program.address, "/api/v1/settings").await.json();
    let workload = settings.settings.workload;
    assert_eq!((workload.rate_hz, workload.shape), (300.0, Shape::Poisson));
    page.browser
        .click("section.workload button[type=button]:not(.tool)")
        .await;
    page.end_of_stopped("workload").await;
}

#[tokio::test]
async fn on_a_telephone_nothing_has_to_be_scrolled_sideways() {
    let mut page = Page::open("").await;
    page.change(r#"{"workload":{"rate_hz":50}}"#).await;
    page.until(
        "events",
        "it.poll.counters.events > 30 && it.stream.counters.events > 30",
    )
    .await;
    for scheme in ["dark", "light"] {
        page.browser.prefers("prefers-color-scheme", scheme).await;
        for width in [390, 768, 1440] {
            page.browser.resize(width, 844).await;
            sleep(Duration::from_millis(300)).await;
            let sideways = page
                .browser
                .eval("[document.documentElement, document.body].some(it => it.scrollWidth > document.documentElement.clientWidth)")
                .await;
            assert_eq!(sideways, false, "{scheme} {width}");
            let beyond = page
                .browser
                .eval(
                    "[...document.querySelectorAll('main *, header *')]
                        .filter(it => it.getClientRects().length && it.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                        .filter(it => { for (let up = it.parentElement; up; up = up.parentElement) if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(up).overflowX)) return false; return true; })
                        .map(it => it.outerHTML.slice(0, 80))",
                )
                .await;
            assert_eq!(beyond, Value::Array(Vec::new()), "{scheme} {width}");
            let canvas = page
                .browser
                .eval("document.querySelector('.race canvas').getBoundingClientRect().width")
                .await;
            assert!(
                canvas.as_f64().unwrap() > 300.0,
                "{scheme} {width}: the race is {canvas} px wide"
            );
        }
    }
}

#[tokio::test]
async fn a_link_can_choose_and_what_is_wrong_in_it_is_passed_over() {
    let mut page = Page::open("topics=host.memory,a%20b,,host.memory&interval=1&nonsense").await;
    let report = page.report(5).await;
    assert_eq!(
        (&report["topics"], &report["interval_ms"]),
        (&json!(["host.memory"]), &json!(100))
    );
}
