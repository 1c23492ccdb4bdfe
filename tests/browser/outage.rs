//! A back end that is gone: each lane says so, and how old what it shows is, and comes back by itself.

use std::time::Duration;

use serde_json::Value;

use crate::page::{MOVES, Page};

/// In each lane's block: what it does in words, the age of its figures in seconds, and whether they are marked as old.
const LANES: &str = r"[...document.querySelectorAll('.late .lane')].map(lane => ({
    says: lane.querySelector('.state').innerText,
    age: Number((/figures of (\d+)\s*s ago/.exec(lane.innerText) || [])[1]),
    is_old: lane.classList.contains('stale'),
    grey: getComputedStyle(lane.querySelector('.value')).color !== getComputedStyle(lane).color,
}))";

async fn lanes(page: &mut Page) -> Vec<Value> {
    page.browser.eval(LANES).await.as_array().unwrap().clone()
}

#[tokio::test]
async fn without_a_back_end_each_lane_says_so_and_how_old_its_figures_are_and_comes_back_by_itself() {
    let mut page = Page::open("topics=host.cpu&interval=200").await;
    let figures = "[...document.querySelectorAll('.lane:not(.stale) .value')].filter(it => /[0-9]/.test(it.innerText)).length === 2";
    page.browser.wait_for("figures of both lanes", MOVES, figures).await;
    page.browser.eval("void (window.stays = true)").await;

    page.program.stop().await;
    page.shows("disconnected").await;
    let aged = |seconds: u32| format!("({LANES}).every(lane => lane.age >= {seconds})");
    page.browser
        .wait_for("both lanes to give an age", MOVES, &aged(1))
        .await;
    for lane in lanes(&mut page).await {
        let says = lane["says"].as_str().unwrap();
        assert!(says.contains("cannot be reached") || says.contains("lost"), "{says:?}");
        assert!(says.contains("trying"), "{says:?}");
        assert_eq!(
            (&lane["is_old"], &lane["grey"]),
            (&Value::Bool(true), &Value::Bool(true)),
            "{says:?}"
        );
    }
    page.browser
        .wait_for("the ages to grow", Duration::from_secs(15), &aged(5))
        .await;
    // What is fed by a lane says it, too.
    let topics = "/is down · \\d+\\s*s old/.test(document.querySelector('.topics .head').innerText)";
    page.browser.wait_for("the topics to be old", MOVES, topics).await;

    page.program.start_again().await;
    page.is_live().await;
    let back = format!("({LANES}).every(lane => !lane.is_old && !lane.grey && !lane.says.includes('trying'))");
    page.browser
        .wait_for("both lanes to have new figures", MOVES, &back)
        .await;
    assert_eq!(page.browser.eval("window.stays").await, true, "nobody had to reload it");
}
