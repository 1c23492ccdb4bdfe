//! The Topics view: what was published is read there, each event once, whatever the reader of the page does in between.

use std::time::Duration;

use freshet_tests::browser::{Browser, key};
use freshet_tests::http::{request, send};
use freshet_tests::program::Program;
use http::Method;
use serde_json::{Value, json};

use crate::page::{MOVES, Page, number};

const PAUSE: &str = ".feed button.pause";

async fn opened(topic: &str) -> Page {
    Page::open(&format!("view=topics&topic={topic}&topics=host.cpu&interval=1000")).await
}

/// Publishes so many events, `{"n": FROM}` and on, in one batch.
pub(crate) async fn publish(page: &Page, topic: &str, numbers: std::ops::Range<u64>) {
    let lines: Vec<String> = numbers
        .map(|n| json!({"n": n, "parity": if n % 2 == 0 { "even" } else { "odd" }}).to_string())
        .collect();
    publish_lines(page, topic, &lines.join("\n")).await;
}

async fn publish_lines(page: &Page, topic: &str, lines: &str) {
    let path = format!("/api/v1/topics/{topic}/events");
    let headers = [("content-type", "application/x-ndjson")];
    let answer = send(page.program.address, request(Method::POST, &path, &headers, lines)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// A page that reads a topic with these events in it.
async fn reading(topic: &str, events: u64) -> Page {
    let mut page = Page::open("topics=host.cpu&interval=1000").await;
    publish(&page, topic, 0..events).await;
    read(&mut page, topic, events).await;
    page
}

/// Has the page read a topic that has these events in it.
pub(crate) async fn read(page: &mut Page, topic: &str, events: u64) {
    is_listed(page, topic).await;
    // Where it begins to read depends on what the page has been told of the topic's end.
    go(page, "view=topics&topic=host.cpu").await;
    let known = format!(
        "[...document.querySelectorAll('.list li')].some(it => it.innerText.includes('{topic}')
            && it.innerText.replaceAll(',', '').includes('0–{}'))",
        events.saturating_sub(1)
    );
    if events > 0 {
        page.browser.wait_for("the topic's end", MOVES, &known).await;
    }
    go(page, &format!("view=topics&topic={topic}")).await;
    page.until(
        "the feed to read it",
        &format!("it.feed.topic === '{topic}' && it.feed.status.is === 'live'"),
    )
    .await;
}

/// Waits until the page knows of the topic.
async fn is_listed(page: &mut Page, topic: &str) {
    let listed =
        format!("[...document.querySelectorAll('details.menu li')].some(it => it.textContent.startsWith('{topic}'))");
    page.browser
        .wait_for(&format!("{topic} to be listed"), MOVES, &listed)
        .await;
}

pub(crate) async fn go(page: &mut Page, fragment: &str) {
    page.browser.run(&format!("location.hash = {}", json!(fragment))).await;
}

/// Waits until the feed counted this.
pub(crate) async fn counts(page: &mut Page, name: &str, count: u64) {
    page.until(
        &format!("{count} {name}"),
        &format!("it.feed.counters.{name} === {count}"),
    )
    .await;
}

pub(crate) async fn has_lost_nothing(page: &mut Page) {
    let report = page.report(5).await;
    for name in ["missed", "unknown_gaps", "unexplained", "duplicates"] {
        assert_eq!(number(&report, &format!("/feed/counters/{name}")), 0.0, "{name}");
    }
}

/// The data of the rows that are in the page now, from the top.
async fn lines(page: &mut Page) -> Vec<Value> {
    let data = page
        .browser
        .eval("[...document.querySelectorAll('.rows .line:not(.gap) .data')].map(it => it.textContent)")
        .await;
    let texts = data.as_array().unwrap();
    texts
        .iter()
        .filter_map(|text| serde_json::from_str(text.as_str().unwrap()).ok())
        .collect()
}

/// Waits until the first row in view has this number in it.
async fn begins_with(page: &mut Page, n: u64) {
    let there = format!(
        "[...document.querySelectorAll('.rows .line:not(.gap) .data')]
            .some((it, at) => at === 0 && JSON.parse(it.textContent).n === {n})"
    );
    page.browser
        .wait_for(&format!("the row of {n} at the top"), MOVES, &there)
        .await;
}

/// Types over what a field holds.
pub(crate) async fn fill(page: &mut Page, css: &str, text: &str) {
    let select = "const field = document.querySelector(CSS); field.focus(); field.select()";
    page.browser.run(&select.replace("CSS", &json!(css).to_string())).await;
    page.browser.press(&text.chars().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn what_is_published_is_in_the_feed_newest_first_and_newest_last() {
    let mut page = reading("orders", 5).await;
    counts(&mut page, "events", 5).await;
    begins_with(&mut page, 4).await;
    publish(&page, "orders", 5..8).await;
    begins_with(&mut page, 7).await;
    let numbers: Vec<_> = lines(&mut page)
        .await
        .iter()
        .map(|it| it["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [7, 6, 5, 4, 3, 2, 1, 0]);
    page.browser.click(".feed .order option[value='last']").await;
    begins_with(&mut page, 0).await;
    has_lost_nothing(&mut page).await;
    let list = "[...document.querySelectorAll('#topics .list li')].find(it => it.textContent.startsWith('orders'))";
    page.browser
        .wait_for(
            "its offsets in the list",
            MOVES,
            &format!("({list}).textContent.includes('0\u{2013}7')"),
        )
        .await;
    assert!(page.errors().await.is_empty());
}

#[tokio::test]
async fn a_filter_shows_what_it_takes_of_what_was_there_and_of_what_comes() {
    let mut page = reading("orders", 10).await;
    counts(&mut page, "events", 10).await;
    fill(&mut page, ".feed .fields", "n >= 4 and parity = even").await;
    counts(&mut page, "shown", 3).await;
    publish(&page, "orders", 10..14).await;
    counts(&mut page, "shown", 5).await;
    begins_with(&mut page, 12).await;
    fill(&mut page, ".feed .find", "\"N\":6").await;
    counts(&mut page, "shown", 1).await;
    fill(&mut page, ".feed .fields", "n >").await;
    page.shows("a value is missing").await;
    counts(&mut page, "shown", 1).await;
    page.browser
        .run("document.querySelectorAll('.feed input[type=search]').forEach(it => { it.value = ''; it.dispatchEvent(new Event('input', {bubbles: true})); })")
        .await;
    counts(&mut page, "shown", 14).await;
}

#[tokio::test]
async fn a_pause_and_another_view_cost_no_event() {
    let mut page = reading("orders", 3).await;
    counts(&mut page, "events", 3).await;
    page.browser.click(PAUSE).await;
    page.until("the pause", "it.feed.pause === 'wanted' && it.feed.status.is === 'off'")
        .await;
    publish(&page, "orders", 3..40).await;
    page.shows("paused at offset 3").await;
    assert_eq!(number(&page.report(5).await, "/feed/counters/events"), 3.0);
    page.browser.click(PAUSE).await;
    counts(&mut page, "events", 40).await;

    let before = number(&page.report(5).await, "/poll/counters/events");
    page.browser.click(".tabs a[href='#view=compare']").await;
    page.until("the feed to stop", "it.feed.status.is === 'off'").await;
    assert!(page.browser.eval("document.querySelector('#topics').hidden").await == true);
    publish(&page, "orders", 40..50).await;
    page.until("Compare to go on", &format!("it.poll.counters.events > {before} + 10"))
        .await;
    page.browser.run("history.back()").await;
    counts(&mut page, "events", 50).await;
    begins_with(&mut page, 49).await;
    has_lost_nothing(&mut page).await;
    let unexplained = "it.poll.counters.unexplained + it.stream.counters.unexplained === 0";
    page.until("no hole in the lanes", unexplained).await;
}

#[tokio::test]
async fn the_page_s_own_pause_holds_for_the_feed_and_costs_no_event() {
    let mut page = reading("orders", 3).await;
    counts(&mut page, "events", 3).await;
    page.browser.click(".top .buttons button").await;
    page.until("both to pause", "it.paused && it.feed.pause === 'wanted'")
        .await;
    publish(&page, "orders", 3..9).await;
    page.shows("paused at offset 3").await;
    page.browser.click(".top .buttons button").await;
    counts(&mut page, "events", 9).await;
    begins_with(&mut page, 8).await;
    has_lost_nothing(&mut page).await;
}

#[tokio::test]
async fn the_list_marks_the_topic_that_is_read_and_brings_it_into_view() {
    let mut page = Page::open("view=topics&topics=host.cpu&interval=1000").await;
    let marked = |topic: &str| {
        format!(
            "(list => {{ const row = list.querySelector('[aria-current] b'); if (!row || row.textContent !== '{topic}') return false;
                const [a, b] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
                return a.top >= b.top && a.bottom <= b.bottom; }})(document.querySelector('.list ul'))"
        )
    };
    page.browser
        .wait_for("the first to be marked, which nobody chose", MOVES, &marked("host.cpu"))
        .await;
    for n in 0..20 {
        publish(&page, &format!("a.{n:02}"), 0..1).await;
    }
    is_listed(&mut page, "a.19").await;
    go(&mut page, "view=topics&topic=workload").await;
    page.browser
        .wait_for("the last to be in view", MOVES, &marked("workload"))
        .await;
    let order = "[...document.querySelectorAll('.list li:not([hidden]) b')].map(it => it.textContent)";
    let order = page.browser.eval(order).await;
    let at = |name: &str| order.as_array().unwrap().iter().position(|it| it == name).unwrap();
    assert!(
        at("a.19") < at("host.cpu") && at("workload") < at("cluster"),
        "logs come first: {order}"
    );
}

#[tokio::test]
async fn on_a_busy_topic_the_row_that_is_opened_stays_where_it_was_and_closing_goes_back_to_the_newest() {
    let mut page = opened("workload").await;
    page.change(r#"{"workload":{"rate_hz":1000}}"#).await;
    page.until("some rows", "it.feed.counters.rows > 500").await;
    for line in [4, 12] {
        let open = "const line = document.querySelectorAll('.rows .line')[AT]; const data = line.querySelector('.data').textContent;
            window.__opened = {data, top: line.offsetTop + line.parentElement.offsetTop}; line.click();";
        page.browser.run(&open.replace("AT", &line.to_string())).await;
        let there = "(it => it && {data: it.querySelector('.data').textContent, before: window.__opened.data,
            moved: it.offsetTop + it.parentElement.offsetTop - window.__opened.top})
            (document.querySelector('.rows [aria-selected=true]'))";
        let it = page.browser.wait_for("the row to be chosen", MOVES, there).await;
        assert_eq!(it["data"], it["before"]);
        assert_eq!(it["moved"], 0, "{it}");
        page.browser.click(".event .head button").await;
        page.until("it to follow the newest", "!it.feed.held").await;
        let top = "document.querySelector('.rows').scrollTop === 0";
        page.browser.wait_for("the newest to be in view", MOVES, top).await;
    }
    has_lost_nothing(&mut page).await;
}

#[tokio::test]
async fn a_server_that_was_away_costs_no_event() {
    let mut page = reading("orders", 3).await;
    counts(&mut page, "events", 3).await;
    page.program.stop().await;
    page.shows("disconnected").await;
    page.program.start_again().await;
    publish(&page, "orders", 3..9).await;
    counts(&mut page, "events", 9).await;
    has_lost_nothing(&mut page).await;
}

#[tokio::test]
async fn reading_begins_where_the_reader_says_and_goes_on_with_what_comes() {
    let mut page = reading("orders", 400).await;
    // It began with the newest hundred.
    counts(&mut page, "events", 100).await;
    page.browser.click("#t-from option[value='offset']").await;
    fill(&mut page, ".replay .number", "250").await;
    page.browser.click(".replay button").await;
    counts(&mut page, "events", 150).await;
    begins_with(&mut page, 250).await;
    publish(&page, "orders", 400..402).await;
    counts(&mut page, "events", 152).await;
    begins_with(&mut page, 250).await;
    page.browser.click("#t-from option[value='earliest']").await;
    page.browser.click(".replay button").await;
    counts(&mut page, "events", 402).await;
    begins_with(&mut page, 0).await;
    page.browser.click("#t-from option[value='offset']").await;
    fill(&mut page, ".replay .number", "100000").await;
    page.browser.click(".replay button").await;
    page.shows("lies beyond its end").await;
    page.browser.click("#t-from option[value='latest']").await;
    page.browser.click(".replay button").await;
    page.until("it to be live", "it.feed.status.is === 'live'").await;
    publish(&page, "orders", 402..403).await;
    counts(&mut page, "events", 1).await;
    has_lost_nothing(&mut page).await;
}

#[tokio::test]
async fn an_event_is_published_from_the_page_and_a_second_time_changes_nothing() {
    let mut page = opened("host.cpu").await;
    page.shows("host.cpu is only read here").await;
    fill(&mut page, "#p-topic", "made.here").await;
    fill(&mut page, "#p-data", r#"{"from": "the page"}"#).await;
    fill(&mut page, "#p-key", "one-and-the-same").await;
    page.browser.click(".publish button.go").await;
    page.shows("In the log at offset 0 of made.here").await;
    page.until(
        "its topic to be read",
        "it.feed.topic === 'made.here' && it.feed.counters.events === 1",
    )
    .await;
    // It is drawn on the next frame.
    page.browser
        .wait_for(
            "its row",
            MOVES,
            "document.querySelector('.rows .line .data').textContent",
        )
        .await;
    assert_eq!(lines(&mut page).await, [json!({"from": "the page"})]);
    page.browser.click(".publish button.go").await;
    page.shows("it was there already").await;
    fill(&mut page, "#p-data", r#"{"from": "#).await;
    page.browser.click(".publish button.go").await;
    page.shows("is not JSON").await;
    fill(&mut page, "#p-data", r#"{"another": 1}"#).await;
    page.browser.click(".publish button.go").await;
    page.shows("422").await;
    fill(&mut page, "#p-topic", "settings.mine").await;
    page.browser.click(".publish button.go").await;
    page.shows("are the service's own").await;
    assert_eq!(page.end_of("made.here").await, 1);
}

#[tokio::test]
async fn an_event_is_opened_by_keys_with_its_headers_and_its_way() {
    let mut page = reading("orders", 30).await;
    counts(&mut page, "events", 30).await;
    page.browser.run("document.querySelector('.rows').focus()").await;
    page.browser.press(&[key::DOWN, key::DOWN]).await;
    page.shows("Event 28").await;
    let json = page
        .browser
        .eval("document.querySelector('.event pre').textContent")
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(json.as_str().unwrap()).unwrap(),
        json!({"n": 28, "parity": "even"})
    );
    for text in ["message", "produced", "ingested", "received", "delivery latency"] {
        page.shows(text).await;
    }
    let chosen = "document.getElementById(document.querySelector('.rows').getAttribute('aria-activedescendant'))
        .getAttribute('aria-selected') === 'true'";
    page.browser.wait_for("the row to be chosen", MOVES, chosen).await;
    // What is looked at stands still.
    publish(&page, "orders", 30..35).await;
    page.shows("5 newer").await;
    begins_with(&mut page, 29).await;
    page.browser.press(&[key::ESCAPE]).await;
    begins_with(&mut page, 34).await;
}

#[tokio::test]
async fn a_busy_topic_and_large_events_stay_within_bounds_and_what_is_let_go_is_counted() {
    let mut page = opened("workload").await;
    page.change(r#"{"workload":{"rate_hz":5000,"payload_bytes":128}}"#)
        .await;
    page.until("more than it keeps", "it.feed.counters.let_go > 5000").await;
    let frames = "const begun = performance.now(); let [last, worst, frames] = [begun, 0, 0];
        const look = at => { worst = Math.max(worst, at - last); last = at; frames += 1;
            if (at - begun < 3000) requestAnimationFrame(look); else window.__seen = {worst, frames}; };
        requestAnimationFrame(look);";
    page.browser.run(frames).await;
    let seen = page.browser.wait_for("three seconds", MOVES, "window.__seen").await;
    crate::page::say(&format!("the feed at 5,000 events/s: {seen}"));
    assert!(seen["frames"].as_f64().unwrap() > 60.0, "{seen}");
    // Looked at, nothing is let go.
    page.browser
        .run("document.querySelector('.rows').scrollTop = 5000")
        .await;
    page.until("it to wait", "it.feed.held && it.feed.pause === 'full'")
        .await;
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    page.browser.click(".newer").await;
    page.until("it to read on", "!it.feed.held && it.feed.pause === null")
        .await;
    let end = page.end_of_stopped("workload").await;
    page.browser
        .wait_for(
            "the newest",
            Duration::from_secs(60),
            &format!(
                "document.querySelector('.rows .line .offset').textContent === {}",
                json!(grouped(end - 1))
            ),
        )
        .await;
    let report = page.report(5).await;
    assert_eq!(number(&report, "/feed/counters/rows"), 20_000.0);
    assert_eq!(number(&report, "/feed/counters/unexplained"), 0.0);

    let large = json!({"text": "x".repeat(1_000_000)}).to_string();
    for _ in 0..8 {
        publish_lines(&page, "large", &[large.as_str(); 5].join("\n")).await;
    }
    is_listed(&mut page, "large").await;
    go(&mut page, "view=topics&topic=large").await;
    page.until(
        "all of it",
        "it.feed.topic === 'large' && it.feed.counters.events === 40",
    )
    .await;
    let report = page.report(5).await;
    assert!(number(&report, "/feed/counters/bytes") <= 32e6, "{report:#}");
    assert!(number(&report, "/feed/counters/cut_bytes") > 6e6);
    // The oldest lost its text, and is read again from the log.
    page.browser.run("document.querySelector('.rows').focus()").await;
    page.browser.press(&[key::END]).await;
    page.shows("Its text was let go").await;
    page.browser.click(".event p button").await;
    page.shows("an export has all of it").await;
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[tokio::test]
async fn what_is_shown_is_exported_as_it_came() {
    let mut page = reading("orders", 6).await;
    counts(&mut page, "events", 6).await;
    fill(&mut page, ".feed .fields", "parity = odd").await;
    counts(&mut page, "shown", 3).await;
    page.browser
        .run(
            "window.__saved = null; const make = URL.createObjectURL;
             URL.createObjectURL = blob => { blob.text().then(text => { window.__saved = text; }); return make.call(URL, blob); };",
        )
        .await;
    page.browser.click(".feed .export").await;
    let text = page.browser.wait_for("the file", MOVES, "window.__saved").await;
    let text = text.as_str().unwrap();
    let offsets: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["offset"].clone())
        .collect();
    assert_eq!(offsets, [1, 3, 5]);
    assert!(page.errors().await.is_empty());
}

#[tokio::test]
async fn while_another_view_is_shown_compare_measures_on_and_draws_nothing() {
    let mut page = Page::open("topics=host.cpu&interval=200").await;
    // What is drawn goes to the painter's thread frame by frame; a picture has more steps than a change of its size.
    page.browser
        .run(
            "window.__drawn = 0; const say = Worker.prototype.postMessage;
             Worker.prototype.postMessage = function (...it) {
                 if (it[0].steps?.length > 40) window.__drawn += 1;
                 return say.apply(this, it);
             };",
        )
        .await;
    page.browser
        .wait_for("the race to be drawn", MOVES, "window.__drawn > 20")
        .await;
    page.browser.click(".tabs a[href='#view=topics']").await;
    page.until("the feed to be live", "it.feed.status.is === 'live'").await;
    let hidden = "document.querySelector('#compare').hidden
        && document.querySelector('.tabs [aria-current=page]').textContent === 'Topics'";
    page.browser.wait_for("Compare to be hidden", MOVES, hidden).await;
    let before = number(&page.report(5).await, "/poll/counters/events");
    page.browser.run("window.__drawn = 0").await;
    page.until(
        "Compare to measure on",
        &format!("it.poll.counters.events > {before} + 20"),
    )
    .await;
    assert_eq!(page.browser.eval("window.__drawn").await, 0);
    page.browser.click(".tabs a[href='#view=compare']").await;
    page.browser
        .wait_for("the race to be drawn again", MOVES, "window.__drawn > 20")
        .await;
}

#[tokio::test]
async fn where_publishing_takes_the_admin_token_the_page_asks_for_it_once() {
    const TOKEN: &str = "a-token-for-this-test";
    let mut page = Page {
        browser: Browser::start().await,
        program: Program::start(&["--admin-token", TOKEN]).await,
    };
    let url = format!("http://{}/#view=topics&topic=host.cpu", page.program.address);
    page.browser.open(&url).await;
    page.is_live().await;
    fill(&mut page, "#p-topic", "guarded").await;
    page.browser.click(".publish button.go").await;
    page.shows("Only with the admin token").await;
    fill(&mut page, "#p-token", "another").await;
    page.browser.click(".publish button.go").await;
    page.shows("This is not the admin token").await;
    fill(&mut page, "#p-token", TOKEN).await;
    page.browser.click(".publish button.go").await;
    page.shows("In the log at offset 0 of guarded").await;
    page.browser.click(".publish button.go").await;
    page.shows("In the log at offset 1 of guarded").await;
    assert_eq!(page.end_of("guarded").await, 2);
}
