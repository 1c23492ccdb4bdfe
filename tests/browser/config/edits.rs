//! A change that is made here: held against its bounds as it is typed, seen before it is applied, taken back.

use std::time::Instant;

use serde_json::json;

use super::{
    a_moment, apply, can_apply, field, field_is, fill, history, in_force, newest_is, opened, opened_with, pending,
    press, row, send, value, version,
};
use crate::page::{MOVES, Page};

#[tokio::test]
async fn what_is_typed_is_held_against_its_bounds_beside_the_field_and_cannot_be_applied() {
    let mut page = opened().await;
    let before = in_force(&page).await;
    for (typed, why) in [("21", "0.01 to 20"), ("often", "a number"), ("-1", "0.01 to 20")] {
        fill(&mut page, "source.cpu_hz", typed).await;
        let wrong = format!("{}.querySelector('.wrong')", row("source.cpu_hz"));
        let says = format!(
            "{wrong}.checkVisibility() && {wrong}.innerText.includes({})",
            json!(why)
        );
        page.browser
            .wait_for(&format!("{typed} to be refused"), MOVES, &says)
            .await;
        let marked = format!("{}.getAttribute('aria-invalid')", field("source.cpu_hz"));
        assert_eq!(page.browser.eval(&marked).await, "true", "{typed}");
        assert!(!can_apply(&mut page).await, "{typed}");
    }
    // By Enter it is not applied either.
    page.browser.press(&[freshet_tests::browser::key::ENTER]).await;
    fill(&mut page, "source.cpu_hz", "20").await;
    let fine = format!("!{}.querySelector('.wrong').checkVisibility()", row("source.cpu_hz"));
    page.browser.wait_for("20 to be taken", MOVES, &fine).await;
    assert!(can_apply(&mut page).await);
    assert_eq!(
        in_force(&page).await.in_force,
        before.in_force,
        "nothing is changed by typing"
    );
}

#[tokio::test]
async fn changes_are_seen_before_they_are_applied_and_then_applied_as_one_and_timed_on_both_lanes() {
    let mut page = opened().await;
    assert_eq!(version(&page).await, 1);
    fill(&mut page, "source.cpu_hz", "4").await;
    fill(&mut page, "workload.payload_bytes", "256").await;
    page.browser
        .click("[id='c-workload.shape'] option[value='bursts']")
        .await;
    pending(
        &mut page,
        json!([
            ["source.cpu_hz", "10", "4 samples a second"],
            ["workload.shape", "steady", "bursts"],
            ["workload.payload_bytes", "128", "256 bytes"],
        ]),
    )
    .await;
    page.shows("3 changes").await;
    assert_eq!(version(&page).await, 1, "nothing is changed yet");

    let begun = Instant::now();
    apply(&mut page, 2).await;
    let status = in_force(&page).await;
    let keys: Vec<_> = status.in_force.changes.iter().map(|it| &*it.key).collect();
    assert_eq!(keys, ["source.cpu_hz", "workload.shape", "workload.payload_bytes"]);
    assert_eq!(value(&page, "source.cpu_hz").await, json!(4.0));
    let newest = newest_is(&mut page, 2).await;
    for word in ["source.cpu_hz", "workload.shape", "workload.payload_bytes", "API"] {
        assert!(newest.contains(word), "{word} in {newest:?}");
    }

    // In milliseconds: by polling, by streaming.
    let took = "[...document.querySelectorAll('.reach .lane')].slice(0, 2)
        .map(it => /^(-|\u{2212})?([\\d,.]+)\\s*(ms|s)/.exec(it.innerText.trim()))
        .map(it => (it[1] ? -1 : 1) * Number(it[2].replace(',', '')) * (it[3] === 's' ? 1000 : 1))";
    let times = page.browser.wait_for("the time of each lane", MOVES, took).await;
    let most = begun.elapsed().as_secs_f64() * 1e3;
    for (lane, at) in [("polling", 0), ("streaming", 1)] {
        let took = times[at].as_f64().unwrap();
        assert!(took > 0.0 && took < most, "{lane}: {took} ms of {most}");
    }
    // They are drawn to one scale.
    let drawn = page
        .browser
        .eval("[...document.querySelectorAll('.reach .lane > i')].slice(0, 2).map(it => it.firstElementChild.getBoundingClientRect().width / it.getBoundingClientRect().width)")
        .await;
    let [polling, streaming] = [0, 1].map(|at| times[at].as_f64().unwrap());
    for (at, took) in [(0, polling), (1, streaming)] {
        let (share, drawn) = (took / polling.max(streaming), drawn[at].as_f64().unwrap());
        assert!(
            (share - drawn).abs() < 0.02,
            "{drawn} of the width for {share} of the time"
        );
    }
    // The process that answered says itself how long it took.
    let own = &status.applied[0];
    let said = format!(
        "[...document.querySelectorAll('.reach tbody tr')].some(it => it.innerText.includes({}) && it.innerText.includes('version 2') && /\\sms/.test(it.innerText))",
        json!(own.node)
    );
    page.browser.wait_for("the time to apply it", MOVES, &said).await;
}

#[tokio::test]
async fn what_is_typed_back_is_no_change_and_what_is_thrown_away_is_asked_about_first() {
    let mut page = opened().await;
    fill(&mut page, "source.cpu_hz", "4").await;
    pending(&mut page, json!([["source.cpu_hz", "10", "4 samples a second"]])).await;
    fill(&mut page, "source.cpu_hz", "10").await;
    pending(&mut page, json!([])).await;

    fill(&mut page, "source.cpu_hz", "4").await;
    fill(&mut page, "source.disk_hz", "2").await;
    let both = json!([
        ["source.cpu_hz", "10", "4 samples a second"],
        ["source.disk_hz", "1", "2 samples a second"]
    ]);
    pending(&mut page, both.clone()).await;

    // Another view, and back.
    for view in ["limits", "compare", "config"] {
        page.browser.click(&format!(".tabs a[href='#view={view}']")).await;
    }
    pending(&mut page, both.clone()).await;
    field_is(&mut page, "source.disk_hz", "2").await;
    // Whoever closes the page is asked.
    let leaves = "window.dispatchEvent(new Event('beforeunload', {cancelable: true}))";
    assert_eq!(page.browser.eval(leaves).await, false);

    press(&mut page, ".review", "Discard").await;
    pending(&mut page, both).await;
    press(&mut page, ".review", "Discard all 2?").await;
    pending(&mut page, json!([])).await;
    field_is(&mut page, "source.cpu_hz", "10").await;
    assert_eq!(page.browser.eval(leaves).await, true);
    assert_eq!(version(&page).await, 1);
}

#[tokio::test]
async fn what_only_the_server_knows_to_be_wrong_is_said_at_the_field_and_what_was_typed_stays() {
    let mut page = opened().await;
    fill(&mut page, "limit.denied", "127.0.0.0/8").await;
    fill(&mut page, "source.cpu_hz", "4").await;
    send(&mut page).await;
    let wrong = format!(
        "{}.querySelector('.wrong').innerText.includes('loopback')",
        row("limit.denied")
    );
    page.browser.wait_for("the server's reason", MOVES, &wrong).await;
    page.shows("Nothing was changed").await;
    field_is(&mut page, "limit.denied", "127.0.0.0/8").await;
    assert_eq!(version(&page).await, 1, "whole or not at all");
    fill(&mut page, "limit.denied", "192.0.2.0/24").await;
    apply(&mut page, 2).await;
    assert_eq!(value(&page, "limit.denied").await, json!(["192.0.2.0/24"]));
}

#[tokio::test]
async fn a_way_back_is_shown_before_it_is_gone_and_is_a_change_like_any_other() {
    let mut page = opened().await;
    let seed = in_force(&page).await.in_force.settings;
    page.change(r#"{"source":{"cpu_hz":4,"disk_hz":2}}"#).await;
    page.change(r#"{"source":{"cpu_hz":5}}"#).await;
    page.change(r#"{"source":{"memory_hz":1}}"#).await;
    newest_is(&mut page, 4).await;
    press(&mut page, ".past", "Roll back to version 1").await;
    let shown = "[...document.querySelectorAll('.past .back')].filter(it => it.checkVisibility()).map(it => [...it.querySelectorAll('li')]
        .map(it => [it.querySelector('code').innerText, it.querySelector('del').innerText, it.querySelector('ins').innerText]))[0]";
    let back = page.browser.wait_for("what it would change", MOVES, shown).await;
    assert_eq!(
        back,
        json!([
            ["source.cpu_hz", "5", "10"],
            ["source.disk_hz", "2", "1"],
            ["source.memory_hz", "1", "2"]
        ])
    );
    assert_eq!(version(&page).await, 4, "nothing is changed yet");
    press(&mut page, ".past", "Leave it").await;
    a_moment().await;
    assert_eq!(version(&page).await, 4);

    press(&mut page, ".past", "Roll back to version 1").await;
    press(&mut page, ".past", "Roll back").await;
    let newest = newest_is(&mut page, 5).await;
    assert!(newest.contains("rollback to 1"), "{newest:?}");
    assert_eq!(in_force(&page).await.in_force.settings, seed);
    field_is(&mut page, "source.cpu_hz", "10").await;
    assert_eq!(
        history(&page).await.changes.len(),
        5,
        "what came between is not forgotten"
    );
}

const TOKEN: &str = "a-token-for-this-test";

async fn token(page: &mut Page, typed: &str) {
    page.browser
        .run("document.getElementById('config-token').select()")
        .await;
    page.browser.keys("#config-token", typed).await;
    send(page).await;
}

#[tokio::test]
async fn where_changes_take_the_admin_token_the_page_asks_for_it_once() {
    let mut page = opened_with(&["--admin-token", TOKEN]).await;
    fill(&mut page, "source.cpu_hz", "4").await;
    send(&mut page).await;
    page.shows("Only with the admin token").await;
    token(&mut page, "another").await;
    page.shows("This is not the admin token").await;
    field_is(&mut page, "source.cpu_hz", "4").await;
    assert_eq!(version(&page).await, 1);
    token(&mut page, TOKEN).await;
    freshet_tests::until("the change", async || version(&page).await == 2).await;
    pending(&mut page, json!([])).await;
    // From now on the tab has it, for ways back, too.
    fill(&mut page, "source.cpu_hz", "5").await;
    apply(&mut page, 3).await;
    press(&mut page, ".past", "Roll back to version 1").await;
    press(&mut page, ".past", "Roll back").await;
    newest_is(&mut page, 4).await;
    assert_eq!(value(&page, "source.cpu_hz").await, json!(10.0));
}

#[tokio::test]
async fn a_way_back_asks_for_the_admin_token_itself() {
    let mut page = opened_with(&["--admin-token", TOKEN]).await;
    let file = page.program.data.path().join("settings.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("cpu_hz = 10.0", "cpu_hz = 8.0")).unwrap();
    newest_is(&mut page, 2).await;
    press(&mut page, ".past", "Roll back to version 1").await;
    press(&mut page, ".past", "Roll back").await;
    page.shows("Only with the admin token").await;
    assert_eq!(version(&page).await, 2);
    page.browser.keys("#history-token", TOKEN).await;
    press(&mut page, ".past", "Roll back").await;
    newest_is(&mut page, 3).await;
    assert_eq!(value(&page, "source.cpu_hz").await, json!(10.0));
}
