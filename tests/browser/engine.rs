//! An engine that goes away beneath the page: the page says so in words, for as long as it is away, and goes on by itself.
//!
//! These need the engine's server beside the browser: `make test` runs them by the engine's name.

#[cfg(feature = "cloud-pubsub")]
mod cloud;
#[cfg(feature = "kafka")]
mod kafka;

use crate::page::{MOVES, Page};
use crate::topics::{counts, go, has_lost_nothing, publish, read};

/// What is to be seen of the engine: the notice and the state in the head, and the words in the list of topics.
const SEEN: &str = "(of => ({
    notice: of('.notice'),
    state: of('.top .facts .live'),
    lost: !!document.querySelector('.top .facts .live.lost'),
    list: of('#topics .list .state.lost'),
}))(css => {
    const it = document.querySelector(css);
    return it && it.checkVisibility() ? it.innerText : '';
})";

/// A page that reads a topic with three events, on the engine of this configuration.
async fn reading(config: &str) -> Page {
    let mut page = Page::open_on(config, "topics=host.cpu&interval=200").await;
    publish(&page, "orders", 0..3).await;
    read(&mut page, "orders", 3).await;
    counts(&mut page, "events", 3).await;
    page.browser.run("window.stays = true").await;
    page
}

/// Waits until the page says that the engine is down, with these words of the engine's own, in each view where they are to be.
async fn says_that_it_is_down(page: &mut Page, name: &str, words: &[&str]) {
    let of_list = words.iter().map(|words| format!("seen.list.includes({words:?})"));
    let of_notice = words.iter().map(|words| format!("seen.notice.includes({words:?})"));
    let said: Vec<String> = of_notice.clone().chain(of_list).collect();
    let head = format!("seen.notice.startsWith('{name} is down.') && seen.state === '{name} is down' && seen.lost");
    let all = format!("(seen => {head} && {})({SEEN})", said.join(" && "));
    let what = format!("the page to say that {name} is down");
    page.browser.wait_for(&what, MOVES, &all).await;
    // What the server has to say of it is on the page, all of it.
    let detail = page.topics().await.pubsub.detail;
    let whole = format!("{name} is down: {detail}.");
    let whole = format!("({SEEN}).list === {}", serde_json::json!(whole));
    page.browser.wait_for("all that the server says", MOVES, &whole).await;
    go(page, "view=compare").await;
    let said: Vec<String> = of_notice.collect();
    let all = format!("(seen => {head} && seen.list === '' && {})({SEEN})", said.join(" && "));
    page.browser.wait_for("Compare to say it as well", MOVES, &all).await;
    // They are connected, and say nothing else.
    page.until(
        "both lanes to be live",
        "it.poll.status.is === 'live' && it.stream.status.is === 'live'",
    )
    .await;
}

/// Waits until the page has taken it back, and holds it to having missed nothing.
async fn goes_on_by_itself(page: &mut Page) {
    let back = format!("(seen => seen.notice === '' && seen.state === 'live' && !seen.lost)({SEEN})");
    page.browser.wait_for("the page to take it back", MOVES, &back).await;
    let before = page.report(5).await;
    let before = ["poll", "stream"].map(|lane| crate::page::count(&before, lane, "events"));
    let moves = format!(
        "it.poll.counters.events > {} + 10 && it.stream.counters.events > {} + 10",
        before[0], before[1]
    );
    page.until("both lanes to bring events", &moves).await;
    go(page, "view=topics&topic=orders").await;
    publish(page, "orders", 3..9).await;
    counts(page, "events", 9).await;
    let nothing = format!("({SEEN}).list === ''");
    page.browser.wait_for("the list to take it back", MOVES, &nothing).await;
    has_lost_nothing(page).await;
    assert_eq!(page.browser.eval("window.stays").await, true, "nobody had to reload it");
}
