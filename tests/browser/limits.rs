//! The Limits view: a burst is drawn, and its counts are the server's; polling that has spent its quota says so and goes on.

use std::time::Duration;

use freshet_tests::http::get;
use freshet_wire::{LimitCounts, LimitStatus, RouteClass};
use serde_json::{Value, json};

use crate::page::{MOVES, Page, count, number};

const ANSWERED: Duration = Duration::from_secs(30);

async fn tried(page: &Page) -> LimitCounts {
    let limits: LimitStatus = get(page.program.address, "/api/v1/limits").await.json();
    let of_class = limits.classes.iter().find(|it| it.class == RouteClass::Try);
    of_class.expect("the class try").counts
}

/// The text of each cell of the table of what was counted, row by row.
async fn counted(page: &mut Page) -> Value {
    page.browser
        .eval("[...document.querySelectorAll('.try .parts tbody tr')].map(row => [...row.querySelectorAll('td')].map(it => Number(it.textContent)))")
        .await
}

async fn canvas(page: &mut Page) -> Value {
    page.browser
        .eval("document.querySelector('.try canvas').toDataURL()")
        .await
}

#[tokio::test]
async fn a_burst_is_drawn_and_its_counts_are_the_servers_exactly() {
    let mut page = Page::open("view=limits&topics=host.cpu&interval=1000").await;
    page.shows("No burst yet").await;
    let pushed = "document.querySelector('.try canvas').width > 300";
    page.browser.wait_for("the empty picture", MOVES, pushed).await;
    let empty = canvas(&mut page).await;
    page.browser
        .run("document.querySelector('#t-number').value = 80; document.querySelector('#t-rate').value = 100")
        .await;
    page.browser.click(".try button.go").await;
    let agreed = "document.querySelector('.try .verdict').textContent === 'The two agree exactly.'";
    page.browser.wait_for("both counts", ANSWERED, agreed).await;
    let server = tried(&page).await;
    assert_eq!(server.allowed + server.limited, 80, "{server:?}");
    assert!(server.allowed >= 20 && server.limited > 0, "{server:?}");
    assert_eq!(
        counted(&mut page).await,
        json!([
            [server.allowed, server.allowed],
            [server.limited, server.limited],
            [0, 0]
        ])
    );
    assert_ne!(canvas(&mut page).await, empty, "it is drawn");
    page.shows("\"try-burst\";q=20;w=4").await;
    let limited = format!(
        "document.querySelector('.totals .limited dd').textContent === '{}'",
        server.limited
    );
    page.browser.wait_for("the total of the topic", MOVES, &limited).await;
}

#[tokio::test]
async fn polling_that_has_spent_its_quota_says_so_and_goes_on() {
    let mut page = Page::open("topics=host.cpu&interval=100").await;
    page.change(r#"{"limit":{"read":{"burst":{"quota":5,"window_s":10}}}}"#)
        .await;
    page.shows("Polling has spent its quota.").await;
    page.until(
        "a refusal",
        "it.poll.counters.limited > 0 && it.poll.status.is === 'limited'",
    )
    .await;
    let before = page.report(5).await;
    let events = count(&before, "poll", "events");
    page.until(
        "polling to go on",
        &format!("it.poll.counters.events > {events} && it.poll.counters.limited > 1"),
    )
    .await;
    let report = page.report(5).await;
    for lane in ["poll", "stream"] {
        assert_eq!(number(&report, &format!("/{lane}/counters/unexplained")), 0.0);
        assert_eq!(count(&report, lane, "missed"), 0, "{lane}");
    }
    page.change(r#"{"limit":{"read":{"burst":{"quota":2000,"window_s":2}}}}"#)
        .await;
    page.until("polling to be live", "it.poll.status.is === 'live'").await;
}
