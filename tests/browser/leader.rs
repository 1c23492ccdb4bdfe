//! The Leader card and view: what is done to a node from the page comes about, and the page shows what came of it.

use std::time::Duration;

use freshet_tests::browser::key;
use freshet_tests::http::{get, request, send};
use freshet_wire::{Cluster, LeaderState, NodeRole};
use http::Method;
use serde_json::json;

use crate::page::{MOVES, Page, say};

async fn cluster(page: &Page) -> Cluster {
    get(page.program.address, "/api/v1/cluster").await.json()
}

/// The page with a view of the leadership, once somebody leads and that is shown; who it is, and its token.
async fn led(fragment: &str) -> (Page, String, u64) {
    let mut page = Page::open(fragment).await;
    page.shows("leads for").await;
    let leader = cluster(&page).await.leader.expect("somebody leads");
    shows_leader(&mut page, &leader.node).await;
    (page, leader.node, leader.token.number)
}

/// Waits until the view that is open says so.
async fn shows_leader(page: &mut Page, node: &str) {
    let shown = format!(
        "[...document.querySelectorAll('main:not([hidden]) .who')]
            .some(it => it.innerText.startsWith({} + ' leads for'))",
        json!(node)
    );
    let what = format!("the page to show that {node} leads");
    page.browser.wait_for(&what, MOVES, &shown).await;
}

/// Presses a node's button in the view that is open, and says yes to the question.
async fn does(page: &mut Page, action: &str, node: &str) {
    let button = format!("main:not([hidden]) button[aria-label='{action} {node}']:not([hidden])");
    let there = format!("document.querySelector({})", json!(button));
    page.browser.wait_for(&button, MOVES, &format!("!!{there}")).await;
    page.browser.click(&button).await;
    page.browser
        .wait_for("the question", MOVES, "document.querySelector('dialog').open")
        .await;
    page.browser.click("dialog button.go").await;
    page.browser
        .wait_for("an answer", MOVES, "!document.querySelector('dialog').open")
        .await;
}

/// The number that stands under this name among the figures.
async fn token(page: &mut Page) -> u64 {
    let shown = page
        .browser
        .eval("document.querySelector('.now dd').textContent.replace(/\\s/g, '')")
        .await;
    shown.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_leader_stopped_from_the_page_is_followed_by_another_with_a_gap_on_the_timeline_and_a_greater_token() {
    let (mut page, first, before) = led("view=leader&topics=host.cpu&interval=1000").await;
    // All that the page says while it changes, so that nothing is missed that is there for a moment only.
    page.browser
        .run(
            "window.__said = new Set();
             new MutationObserver(() => window.__said.add(document.querySelector('.now .who').innerText))
                .observe(document.querySelector('.now'), {subtree: true, childList: true, characterData: true});",
        )
        .await;
    does(&mut page, "Stop", &first).await;
    page.shows(&format!("{first} is stopped.")).await;
    let changed = format!(
        "(it => it.includes(' leads for') && !it.startsWith({}))(document.querySelector('.now .who').innerText)",
        json!(first)
    );
    page.browser.wait_for("another leader", MOVES, &changed).await;

    let now = cluster(&page).await;
    let leader = now.leader.expect("another leads");
    assert_ne!(leader.node, first);
    shows_leader(&mut page, &leader.node).await;
    let after = token(&mut page).await;
    assert!(after > before && after == leader.token.number, "{before} {after}");
    let clocks = page
        .browser
        .eval("[...window.__said].filter(it => it.startsWith('No leader for')).length")
        .await;
    assert!(clocks.as_u64().unwrap() > 1, "a clock ran while nobody led: {clocks}");

    // The gap is on the timeline, as long as the server saw it.
    page.browser.click(".timeline .tools button:first-child").await;
    let gap = now.timeline.iter().rfind(|span| span.state == LeaderState::Leaderless);
    let gap_us = gap.and_then(|span| span.duration_us).expect("a gap that is over");
    let rows = "[...document.querySelectorAll('.timeline tbody tr')].map(it => it.innerText.replace(/\\s+/g, ' '))";
    let wanted = format!(
        "{rows}.some(it => it.startsWith('no leader') && it.endsWith(' {} ms'))",
        (gap_us + 500) / 1000
    );
    page.browser.wait_for("the gap in the table", MOVES, &wanted).await;
    let heads = page
        .browser
        .eval(&format!(
            "{rows}.slice(0, 3).map(it => it.split(' – ')[0].split(' ')[0])"
        ))
        .await;
    assert_eq!(heads, json!([leader.node, "no", first]), "newest first");
    say(&format!(
        "a leader stopped from the page: {} ms without one",
        gap_us / 1000
    ));

    // It can be started again, and nothing else can be done with it as long as it is stopped.
    let offered = format!(
        "[...document.querySelectorAll('.members button:not([hidden])')].map(it => it.getAttribute('aria-label'))
            .filter(it => it.endsWith({}))",
        json!(first)
    );
    assert_eq!(page.browser.eval(&offered).await, json!([format!("Start {first}")]));
    does(&mut page, "Start", &first).await;
    let follows = format!(
        "[...document.querySelectorAll('.members .node')].some(it => it.innerText.startsWith({} + ' follower'))",
        json!(first)
    );
    page.browser.wait_for("it to follow", MOVES, &follows).await;
    assert_eq!(page.errors().await, [""; 0]);
}

#[tokio::test]
async fn a_question_is_asked_first_and_no_is_no() {
    let (mut page, first, before) = led("view=leader&topics=host.cpu&interval=1000").await;
    page.browser
        .run(&format!(
            "document.querySelector(\".members button[aria-label='Stop {first}']\").focus()"
        ))
        .await;
    page.browser.press(&[key::ENTER]).await;
    page.browser
        .wait_for("the question", MOVES, "document.querySelector('dialog').open")
        .await;
    page.shows(&format!("Stop {first}?")).await;
    page.shows("nothing is sampled until the others have elected another")
        .await;
    page.browser.press(&[key::ESCAPE]).await;
    page.browser
        .wait_for("no question", MOVES, "!document.querySelector('dialog').open")
        .await;
    let now = cluster(&page).await;
    assert_eq!(now.leader.map(|it| it.token.number), Some(before));
    assert!(now.nodes.iter().all(|node| node.role != NodeRole::Stopped));
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_words() {
    let (mut page, first, _) = led("view=leader&topics=host.cpu&interval=1000").await;
    let other = cluster(&page)
        .await
        .nodes
        .into_iter()
        .find(|node| node.id != first)
        .unwrap()
        .id;
    let button = format!(".members button[aria-label='Stop {other}']");
    page.browser
        .wait_for(&button, MOVES, &format!("!!document.querySelector({})", json!(button)))
        .await;
    page.browser.click(&button).await;
    page.browser
        .wait_for("the question", MOVES, "document.querySelector('dialog').open")
        .await;
    // Somebody else is faster.
    let path = format!("/api/v1/cluster/nodes/{other}/stop");
    assert_eq!(
        send(page.program.address, request(Method::POST, &path, &[], ""))
            .await
            .status,
        200
    );
    let refused = send(page.program.address, request(Method::POST, &path, &[], "")).await;
    assert_eq!(refused.status, 409);
    let problem: serde_json::Value = refused.json();
    page.browser.click("dialog button.go").await;
    page.shows(problem["detail"].as_str().unwrap()).await;
    assert_eq!(
        page.browser.eval("document.querySelector('dialog').open").await,
        json!(true)
    );
}

#[tokio::test]
async fn no_leader_and_no_news_are_both_said_and_are_not_the_same() {
    let (mut page, first, _) = led("topics=host.cpu&interval=1000").await;
    // From the card: two of three are gone, so nobody can be elected.
    does(&mut page, "Stop", &first).await;
    let next = cluster(&page)
        .await
        .nodes
        .into_iter()
        .find(|node| node.id != first)
        .unwrap()
        .id;
    does(&mut page, "Stop", &next).await;
    page.shows("No leader for").await;
    tokio::time::timeout(Duration::from_secs(30), page.program.stop())
        .await
        .unwrap();
    page.shows("no news by streaming for").await;
    let who = page
        .browser
        .eval("document.querySelector('.leader .who b').textContent")
        .await;
    assert_eq!(who, "Unknown");
    let offered = page
        .browser
        .eval("document.querySelectorAll('.nodes button:not([hidden])').length")
        .await;
    assert_eq!(offered, json!(0), "nothing can be done to what is not known");
}
