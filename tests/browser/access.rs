//! axe-core finds nothing to object to, in any state that the page can be in.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::page::{MOVES, Page};

const PAUSE: &str = "header .buttons button";
const WIDE: [u32; 2] = [1440, 1000];
const TELEPHONE: [u32; 2] = [390, 844];

/// axe-core, as `scripts/setup.sh browser` fetches it; without it this cannot be tested, and that is a failure.
fn axe_core() -> String {
    let path = std::env::var_os("FRESHET_AXE")
        .map(PathBuf::from)
        .expect("FRESHET_AXE names axe-core's axe.min.js; scripts/setup.sh browser fetches it, make test sets it");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs all rules of axe-core over the page as it is now; what they object to, a line each.
async fn objections(page: &mut Page) -> Vec<String> {
    if page.browser.eval("typeof window.axe").await == "undefined" {
        page.browser.run(&axe_core()).await;
    }
    page.browser
        .run(
            "window.__axe = null;
             axe.run(document, {resultTypes: ['violations']})
                .then(it => { window.__axe = it; }, error => { window.__axe = {error: String(error)}; });",
        )
        .await;
    let result = page
        .browser
        .wait_for("axe-core", Duration::from_secs(30), "window.__axe")
        .await;
    let rules = result["passes"].as_array().map_or(0, Vec::len);
    assert!(
        rules > 15,
        "its rules found something to check, as many as {rules}: {}",
        result["error"]
    );
    let violations = result["violations"].as_array().unwrap();
    let of_rule = |rule: &Value| {
        let nodes = rule["nodes"].as_array().unwrap();
        let place = |node: &Value| format!("{} {}", node["target"], node["failureSummary"]);
        let places: Vec<String> = nodes.iter().map(place).collect();
        format!("{} {}: {}", rule["impact"], rule["id"], places.join("; "))
    };
    violations.iter().map(of_rule).collect()
}

/// Holds the page to having nothing to object to, dark and light, on a desk and on a telephone.
async fn is_fit_for_all(page: &mut Page, state: &str) {
    for scheme in ["dark", "light"] {
        for [width, height] in [WIDE, TELEPHONE] {
            page.browser.prefers("prefers-color-scheme", scheme).await;
            page.browser.resize(width, height).await;
            // It is drawn anew, in these colours and at this width, on the next frames.
            settle(page).await;
            let objections = objections(page).await;
            assert!(objections.is_empty(), "{state}, {scheme}, {width} px: {objections:#?}");
        }
    }
}

async fn settle(page: &mut Page) {
    page.browser
        .run("window.__frames = 0; const count = () => { window.__frames += 1; requestAnimationFrame(count); }; count();")
        .await;
    page.browser
        .wait_for("some frames", Duration::from_secs(10), "window.__frames > 5")
        .await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_the_live_page_nor_of_its_tables_and_its_menu() {
    let mut page = Page::open("topics=host.cpu,host.memory,workload&interval=500").await;
    page.change(r#"{"workload":{"rate_hz":100}}"#).await;
    page.until(
        "figures of both lanes",
        "it.poll.counters.events > 200 && it.stream.counters.events > 200",
    )
    .await;
    is_fit_for_all(&mut page, "live").await;

    page.browser
        .eval("document.querySelectorAll('.tools button:first-child').forEach(it => it.click())")
        .await;
    let rows = "[...document.querySelectorAll('.scroll')].every(it => it.querySelectorAll('tbody tr').length > 5)";
    page.browser
        .wait_for("both pictures as tables", Duration::from_secs(10), rows)
        .await;
    is_fit_for_all(&mut page, "tables").await;

    page.browser.click("details.menu > summary").await;
    is_fit_for_all(&mut page, "menu").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_a_paused_page() {
    let mut page = Page::open("topics=host.cpu&interval=200").await;
    page.until(
        "events",
        "it.poll.counters.events > 10 && it.stream.counters.events > 10",
    )
    .await;
    page.browser.click(PAUSE).await;
    page.shows("paused").await;
    is_fit_for_all(&mut page, "paused").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_a_page_that_has_nothing_to_show() {
    let mut page = Page::open("topics=&interval=200").await;
    page.shows("No topic is chosen").await;
    is_fit_for_all(&mut page, "empty").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_a_page_that_polls_too_rarely() {
    let mut page = Page::open_on_memory("topics=workload&interval=2000").await;
    page.change(r#"{"workload":{"rate_hz":500,"payload_bytes":16384}}"#)
        .await;
    page.shows("is too slow for workload").await;
    page.shows("of those that arrived").await;
    is_fit_for_all(&mut page, "polling misses events").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_a_page_whose_back_end_is_gone() {
    let mut page = Page::open("topics=host.cpu,host.memory&interval=200").await;
    page.until(
        "events",
        "it.poll.counters.events > 10 && it.stream.counters.events > 10",
    )
    .await;
    page.program.stop().await;
    page.shows("The back end does not answer.").await;
    page.shows("figures of").await;
    is_fit_for_all(&mut page, "disconnected").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_the_topics_view() {
    let mut page = Page::open("view=topics&topic=host.cpu&topics=host.cpu&interval=1000").await;
    page.until("rows", "it.feed.counters.rows > 20").await;
    page.browser.run("document.querySelector('.rows').focus()").await;
    page.browser.press(&[freshet_tests::browser::key::DOWN]).await;
    page.shows("delivery latency").await;
    is_fit_for_all(&mut page, "an event opened").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_a_feed_that_is_refused() {
    let mut page = Page::start("view=topics&topic=nothing.here&topics=host.cpu&interval=1000").await;
    page.shows("there is no topic").await;
    page.browser.keys(".feed .fields", "x >").await;
    page.shows("a value is missing").await;
    is_fit_for_all(&mut page, "no such topic").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_the_leader_view_nor_of_its_question_nor_while_nobody_leads() {
    let mut page = Page::open("view=leader&topics=host.cpu&interval=1000").await;
    page.shows("leads for").await;
    is_fit_for_all(&mut page, "led").await;
    page.browser.click(".timeline .tools button:first-child").await;
    is_fit_for_all(&mut page, "timeline as a table").await;
    for stopped in 1..=2 {
        page.browser
            .click(".members button[aria-label^='Stop']:not([hidden])")
            .await;
        page.browser
            .wait_for("the question", MOVES, "document.querySelector('dialog').open")
            .await;
        is_fit_for_all(&mut page, "the question").await;
        page.browser.click("dialog button.go").await;
        page.browser
            .wait_for("an answer", MOVES, "!document.querySelector('dialog').open")
            .await;
        // Until the page has heard of it, the node that was stopped still offers to be.
        let told = format!(
            "document.querySelectorAll(\".members button[aria-label^='Start']:not([hidden])\").length === {stopped}"
        );
        page.browser.wait_for("the node to be stopped", MOVES, &told).await;
    }
    page.shows("No leader").await;
    is_fit_for_all(&mut page, "leaderless").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_the_limits_view() {
    let mut page = Page::open("view=limits&topics=host.cpu&interval=1000").await;
    page.browser.click(".try button.go").await;
    page.shows("The two agree exactly.").await;
    is_fit_for_all(&mut page, "after a burst").await;

    page.program.stop().await;
    page.shows("figures of").await;
    is_fit_for_all(&mut page, "limits, disconnected").await;
}

#[tokio::test]
async fn nobody_is_shut_out_of_the_config_view_in_any_of_its_states() {
    let mut page = Page::open("view=config&topics=host.cpu&interval=1000").await;
    page.shows("source.cpu_hz").await;
    page.change(r#"{"source":{"disk_hz":2}}"#).await;
    page.browser
        .wait_for(
            "the history",
            MOVES,
            "document.querySelectorAll('.past ol > li').length === 2",
        )
        .await;
    is_fit_for_all(&mut page, "settings").await;

    // Three changes wait: one as it should be, one that is not valid, one that collides with another client's.
    for (key, typed) in [("cpu", '4'), ("network", 'x'), ("memory", '1')] {
        let field = format!("document.getElementById('c-source.{key}_hz')");
        page.browser.run(&format!("{field}.focus(); {field}.select()")).await;
        page.browser.press(&[typed]).await;
    }
    page.change(r#"{"source":{"memory_hz":3}}"#).await;
    page.browser
        .wait_for("the conflict", MOVES, "document.querySelector('.key.conflict')")
        .await;
    page.browser
        .run("[...document.querySelectorAll('.past button')].find(it => it.checkVisibility()).click()")
        .await;
    let file = page.program.data.path().join("settings.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("disk_hz = 2.0", "disk_hz = 200.0")).unwrap();
    page.browser
        .wait_for(
            "the notice",
            MOVES,
            "document.querySelector('.settings .refused').checkVisibility()",
        )
        .await;
    is_fit_for_all(&mut page, "changes, a conflict, a way back and a refusal").await;

    page.program.stop().await;
    page.browser
        .wait_for("how old it is", MOVES, "document.querySelector('.settings.stale')")
        .await;
    is_fit_for_all(&mut page, "settings, disconnected").await;
}
