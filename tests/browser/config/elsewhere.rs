//! A change that is made elsewhere: by another client, in the store itself, in another view; and a server that is away.

use std::time::Duration;

use freshet_tests::http::get;
use serde_json::{Value, json};

use super::{
    a_moment, apply, can_apply, field_is, fill, in_force, newest_is, opened, pending, press, row, send, value, version,
};
use crate::page::{MOVES, count};

#[tokio::test]
async fn a_key_that_another_client_changed_meanwhile_is_decided_before_anything_is_applied() {
    let mut page = opened().await;
    fill(&mut page, "source.cpu_hz", "4").await;
    fill(&mut page, "source.disk_hz", "2").await;
    fill(&mut page, "source.network_hz", "3").await;
    pending(
        &mut page,
        json!([
            ["source.cpu_hz", "10", "4 samples a second"],
            ["source.network_hz", "5", "3 samples a second"],
            ["source.disk_hz", "1", "2 samples a second"]
        ]),
    )
    .await;
    page.change(r#"{"source":{"cpu_hz":7,"disk_hz":5,"memory_hz":1}}"#)
        .await;
    // What they made of it stands where "before" was.
    pending(
        &mut page,
        json!([
            ["source.cpu_hz", "7", "4 samples a second"],
            ["source.network_hz", "5", "3 samples a second"],
            ["source.disk_hz", "5", "2 samples a second"]
        ]),
    )
    .await;
    field_is(&mut page, "source.memory_hz", "1").await;
    for (key, collides) in [
        ("source.cpu_hz", true),
        ("source.network_hz", false),
        ("source.disk_hz", true),
    ] {
        let marked = page
            .browser
            .eval(&format!("{}.classList.contains('conflict')", row(key)))
            .await;
        assert_eq!(marked, collides, "{key}");
    }
    page.shows("API, 127.0.0.1 changed it meanwhile, from 10 to 7 (version 2).")
        .await;
    assert!(!can_apply(&mut page).await);

    press(&mut page, ".review", "Take theirs: source.disk_hz").await;
    field_is(&mut page, "source.disk_hz", "5").await;
    assert!(!can_apply(&mut page).await, "one is not decided yet");
    press(&mut page, ".review", "Keep mine").await;
    apply(&mut page, 3).await;
    for (key, expected) in [("cpu", 4.0), ("disk", 5.0), ("network", 3.0), ("memory", 1.0)] {
        let key = format!("source.{key}_hz");
        assert_eq!(value(&page, &key).await, json!(expected), "{key}");
    }
}

#[tokio::test]
async fn a_change_that_no_lane_has_brought_yet_is_not_written_over() {
    let mut page = opened().await;
    // The page hears of nothing for half a minute.
    page.browser.click(".tabs a[href='#view=compare']").await;
    page.browser
        .click("select[aria-label='How often to poll'] option[value='30000']")
        .await;
    page.browser
        .run("[...document.querySelectorAll('.late button')].find(it => it.innerText.trim() === 'polling alone').id = 'test-alone'")
        .await;
    page.browser.click("#test-alone").await;
    page.until(
        "streaming to rest",
        "it.stream.status.is === 'off' && it.poll.status.is === 'live'",
    )
    .await;
    let mut polls = count(&page.report(5).await, "poll", "requests");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = count(&page.report(5).await, "poll", "requests");
        if std::mem::replace(&mut polls, now) == now {
            break;
        }
    }
    // Fed by another lane, the view asks once more for what no lane brings.
    let asked = "performance.getEntriesByType('resource').filter(it => it.name.endsWith('/settings/history')).length";
    let before = page.browser.eval(asked).await;
    page.browser.click(".tabs a[href='#view=config']").await;
    page.browser
        .wait_for("the view to ask", MOVES, &format!("{asked} > {before}"))
        .await;
    fill(&mut page, "source.cpu_hz", "4").await;
    pending(&mut page, json!([["source.cpu_hz", "10", "4 samples a second"]])).await;
    page.change(r#"{"source":{"cpu_hz":7}}"#).await;
    send(&mut page).await;
    page.shows("version 2 came meanwhile, by API").await;
    assert_eq!(value(&page, "source.cpu_hz").await, json!(7.0), "theirs stands");
    pending(&mut page, json!([["source.cpu_hz", "7", "4 samples a second"]])).await;
    assert!(!can_apply(&mut page).await);
    press(&mut page, ".review", "Keep mine").await;
    apply(&mut page, 3).await;
    assert_eq!(value(&page, "source.cpu_hz").await, json!(4.0));
}

#[tokio::test]
async fn what_is_not_valid_in_the_store_is_refused_with_a_reason_until_it_is_put_right() {
    let mut page = opened().await;
    let file = page.program.data.path().join("settings.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("cpu_hz = 10.0"), "{text}");
    let write =
        |cpu_hz: &str| std::fs::write(&file, text.replace("cpu_hz = 10.0", &format!("cpu_hz = {cpu_hz}"))).unwrap();
    write("500.0");
    let notice = "(it => it && it.checkVisibility() && it.innerText)(document.querySelector('.settings .refused'))";
    let said = page.browser.wait_for("the notice", MOVES, notice).await;
    let refused = in_force(&page).await.refused.expect("the server refuses it");
    assert_eq!(refused.key, "source.cpu_hz");
    for words in ["not valid", &*refused.key, &*refused.reason, "version 1 stays in force"] {
        assert!(said.as_str().unwrap().contains(words), "{words:?} in {said}");
    }
    field_is(&mut page, "source.cpu_hz", "10").await;

    write("8.0");
    page.browser
        .wait_for("the notice to go", MOVES, &format!("!{notice}"))
        .await;
    field_is(&mut page, "source.cpu_hz", "8").await;
    let newest = newest_is(&mut page, 2).await;
    let by = in_force(&page).await.in_force.changed_by;
    assert!(!by.contains("API") && newest.contains(&by), "{by:?} in {newest:?}");
}

#[tokio::test]
async fn a_change_that_another_view_makes_is_in_the_history_at_once() {
    let mut page = opened().await;
    page.browser.click(".tabs a[href='#view=compare']").await;
    page.browser
        .wait_for("the form", MOVES, "document.getElementById('w-rate').value !== ''")
        .await;
    page.browser
        .run("const it = document.getElementById('w-rate'); it.focus(); it.select()")
        .await;
    page.browser.press(&['3', '0', '0']).await;
    page.browser.click("section.workload button[type=submit]").await;
    page.until("the workload", "it.topics.includes('workload')").await;
    page.browser.click(".tabs a[href='#view=config']").await;
    let expected = version(&page).await;
    let newest = newest_is(&mut page, expected).await;
    assert!(newest.contains("workload.rate_hz"), "{newest:?}");
    field_is(&mut page, "workload.rate_hz", "300").await;
}

#[tokio::test]
async fn without_a_server_the_view_says_how_old_it_is_and_comes_back_with_what_was_typed() {
    let mut page = opened().await;
    fill(&mut page, "source.cpu_hz", "4").await;
    let typed = json!([["source.cpu_hz", "10", "4 samples a second"]]);
    pending(&mut page, typed.clone()).await;
    page.program.stop().await;
    let old = "(it => /as of \\d+\\s*s ago/.test(it.innerText) && it.classList.contains('stale'))(document.querySelector('.settings'))";
    page.browser.wait_for("how old it is", MOVES, old).await;
    send(&mut page).await;
    let said =
        "document.querySelector('.outcome').checkVisibility() && document.querySelector('.outcome').innerText.trim()";
    page.browser.wait_for("that it was not applied", MOVES, said).await;
    pending(&mut page, typed.clone()).await;

    page.program.start_again().await;
    page.is_live().await;
    let fresh = "!document.querySelector('.settings').classList.contains('stale')";
    page.browser.wait_for("the view to be fresh", MOVES, fresh).await;
    pending(&mut page, typed).await;
    let before = version(&page).await;
    apply(&mut page, before + 1).await;
    let status: Value = get(page.program.address, "/api/v1/settings").await.json();
    assert_eq!(status["settings"]["source"]["cpu_hz"], 4.0);
    a_moment().await;
    assert_eq!(version(&page).await, before + 1, "it was sent once");
}
