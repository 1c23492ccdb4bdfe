//! Who wants less motion gets less of it, and loses nothing else.

use std::time::Duration;

use serde_json::Value;

use crate::page::Page;

/// Looks at the picture of the race on each animation frame; how often it was another one than before, and how many frames there were.
const CHANGES: &str = "
    window.__seen = null;
    const canvas = document.querySelector('.race canvas');
    const begun = performance.now();
    let last = null, changes = 0, frames = 0;
    const look = () => {
        const picture = canvas.toDataURL();
        frames += 1;
        if (last !== null && picture !== last) changes += 1;
        last = picture;
        if (performance.now() - begun < 4000) requestAnimationFrame(look);
        else window.__seen = {changes, frames};
    };
    requestAnimationFrame(look);";

async fn changes_in_four_seconds(page: &mut Page) -> (u64, u64) {
    page.browser.run(CHANGES).await;
    let seen = page
        .browser
        .wait_for("four seconds", Duration::from_secs(30), "window.__seen")
        .await;
    let number = |name: &str| seen[name].as_u64().unwrap();
    (number("changes"), number("frames"))
}

#[tokio::test]
async fn who_wants_less_motion_sees_the_race_in_steps_of_a_second_with_the_same_events() {
    let mut page = Page::open("topics=host.cpu&interval=200").await;
    page.browser.resize(900, 800).await;
    page.until(
        "events",
        "it.poll.counters.events > 20 && it.stream.counters.events > 20",
    )
    .await;
    let (changes, frames) = changes_in_four_seconds(&mut page).await;
    assert!(changes >= 20, "it flows: {changes} changes in {frames} frames");

    page.browser.prefers("prefers-reduced-motion", "reduce").await;
    // The first step ends what flowed before.
    let (_, _) = changes_in_four_seconds(&mut page).await;
    let (changes, frames) = changes_in_four_seconds(&mut page).await;
    assert!(frames >= 20, "{frames} frames");
    assert!(
        (2..=5).contains(&changes),
        "a step a second: {changes} changes in {frames} frames"
    );
    let animations = page.browser.eval("document.getAnimations().length").await;
    assert_eq!(animations, Value::from(0), "nothing else moves");
    page.is_live().await;

    // It begins so, too, where this was chosen before the page was opened.
    page.browser.reload().await;
    page.is_live().await;
    let (_, _) = changes_in_four_seconds(&mut page).await;
    let (changes, frames) = changes_in_four_seconds(&mut page).await;
    assert!(
        (2..=5).contains(&changes),
        "after a reload: {changes} changes in {frames} frames"
    );
}
