//! Everything that can be done on the page can be done by keys alone.

use std::collections::BTreeSet;
use std::time::Duration;

use freshet_tests::browser::key;
use serde_json::{Value, json};

use crate::page::{MOVES, Page};

/// Names each element that keys should reach in `window.__stops`, as its place there, and what is said of it here.
const MARK: &str = "
    window.__stops = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
        // What is no control of its own may be made one for scripts alone; a control may not be kept from keys.
        .filter(it => it.checkVisibility({visibilityProperty: true}) && !it.disabled
            && (it.tabIndex >= 0 || it.matches('a, button, input, select, textarea, summary')));
    // Of this the order is read: what belongs together is gone through before the next.
    const PARTS = 'header, .late, .race, .over-time, .costs, .leader, .topics, .limits, .stages, .workload, .list, .feed, .event, .publish .form, '
        + '.now, .timeline, .members, .raft, .totals, .history, .try, .own, .policies, .clients, .settings, .review, .reach, .past, .fixed';
    const box = it => { const {left, top, right, bottom} = it.getBoundingClientRect();
        return {left: left + scrollX, top: top + scrollY, right: right + scrollX, bottom: bottom + scrollY}; };
    const channels = color => color.match(/[0-9.]+/g).map(Number);
    const luminance = color => {
        const [r, g, b] = channels(color).map(it => it / 255).map(it => it <= .04045 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const contrast = (one, other) => {
        const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (light + .05) / (dark + .05);
    };
    const ground = it => {
        for (let up = it.parentElement; up; up = up.parentElement) {
            const color = getComputedStyle(up).backgroundColor, parts = channels(color);
            if (parts.length === 3 || parts[3] === 1) return color;
        }
        return 'rgb(255, 255, 255)';
    };
    window.__stop = () => {
        const it = document.activeElement;
        if (!it || it === document.body || it === document.documentElement) return null;
        const look = getComputedStyle(it), seen = it.getBoundingClientRect();
        const [x, y] = [(seen.left + seen.right) / 2, (Math.max(seen.top, 0) + Math.min(seen.bottom, innerHeight)) / 2];
        const hit = document.elementFromPoint(x, y);
        return {
            index: window.__stops.indexOf(it),
            html: it.outerHTML.slice(0, 90),
            box: box(it),
            part: box(it.closest(PARTS)), part_name: [...document.querySelectorAll(PARTS)].indexOf(it.closest(PARTS)),
            outline: look.outlineStyle === 'none' ? 0 : parseFloat(look.outlineWidth),
            contrast: contrast(look.outlineColor, ground(it)),
            // Those that are more than a window high are seen as far as they fit.
            in_sight: seen.left >= 0 && seen.right <= innerWidth + 1 && (seen.bottom - seen.top > innerHeight - 160
                || seen.top >= 0 && seen.bottom <= innerHeight),
            covered_by: hit && (it.contains(hit) || hit.contains(it)) ? null : (hit ? hit.outerHTML.slice(0, 90) : 'nothing'),
        };
    };";

/// Where the focus is now; null where it is on none of the page's elements.
async fn stop(page: &mut Page) -> Value {
    page.browser.eval("window.__stop()").await
}

fn is_before(one: &Value, other: &Value) -> bool {
    let number = |of: &Value, side: &str| of[side].as_f64().unwrap();
    let above = number(one, "bottom") <= number(other, "top") + 1.0;
    let below = number(one, "top") + 1.0 >= number(other, "bottom");
    above || !below && number(one, "right") <= number(other, "left") + 1.0
}

/// Goes by Tab from the page's beginning to its end and back, and holds each stop to what a reader without a mouse needs.
async fn walk(page: &mut Page, state: &str) {
    page.browser
        .run("scrollTo(0, 0); if (document.activeElement) document.activeElement.blur();")
        .await;
    page.browser.run(MARK).await;
    let count = page.browser.eval("window.__stops.length").await.as_u64().unwrap();
    assert!(count >= 15, "{state}: {count} controls");
    // Where Tab begins: not where the last click was.
    page.browser
        .run(
            "const start = document.createElement('span'); start.tabIndex = -1; document.body.prepend(start);
             start.focus(); start.remove();",
        )
        .await;
    let mut reached = Vec::new();
    let mut last: Option<Value> = None;
    for _ in 0..count {
        page.browser.press(&[key::TAB]).await;
        let it = stop(page).await;
        assert!(
            !it.is_null(),
            "{state}: the focus left the page after {}",
            reached.len()
        );
        let html = &it["html"];
        reached.push(it["index"].as_i64().unwrap());
        assert_ne!(it["index"], -1, "{state}: an unexpected stop: {html}");
        assert!(
            it["outline"].as_f64().unwrap() >= 2.0,
            "{state}: the focus cannot be seen: {it:#}"
        );
        assert!(
            it["contrast"].as_f64().unwrap() >= 3.0,
            "{state}: the focus can hardly be seen: {it:#}"
        );
        assert_eq!(it["in_sight"], true, "{state}: it was not scrolled to: {it:#}");
        assert_eq!(it["covered_by"], Value::Null, "{state}: it is covered: {it:#}");
        let name = page.browser.name_of_focused().await;
        assert!(!name.trim().is_empty(), "{state}: no name: {html}");
        if let Some(last) = &last {
            let same = last["part_name"] == it["part_name"];
            let what = if same { "box" } else { "part" };
            assert!(
                !is_before(&it[what], &last[what]),
                "{state}: {html} comes after {}",
                last["html"]
            );
        }
        last = Some(it);
    }
    let each: BTreeSet<i64> = reached.iter().copied().collect();
    assert_eq!(each.len() as u64, count, "{state}: each once: {reached:?}");
    // Beyond the last there is no trap, and the way back is the same.
    page.browser.press(&[key::TAB]).await;
    let beyond = stop(page).await;
    assert!(
        beyond.is_null() || beyond["index"] == reached[0],
        "{state}: after the last control comes {beyond:#}"
    );
    for index in reached.iter().rev() {
        page.browser.press_with(key::SHIFT, key::TAB).await;
        assert_eq!(stop(page).await["index"], *index, "{state}: backwards");
    }
}

/// Goes by Tab alone to the element that the selector names.
async fn tab_to(page: &mut Page, css: &str) {
    let there = format!("document.activeElement.matches({})", json!(css));
    for _ in 0..160 {
        if page.browser.eval(&there).await == true {
            return;
        }
        page.browser.press(&[key::TAB]).await;
    }
    panic!("Tab does not come to {css}");
}

/// Waits until the expression is true.
async fn comes(page: &mut Page, what: &str, expression: &str) {
    page.browser.wait_for(what, MOVES, expression).await;
}

async fn opened() -> Page {
    let mut page = Page::open("topics=host.cpu&interval=500").await;
    let ready = "document.getElementById('w-rate').value !== ''
        && [...document.querySelectorAll('details.menu li')].some(it => it.textContent.includes('host.disk'))";
    page.browser.wait_for("the forms to be filled", MOVES, ready).await;
    page
}

#[tokio::test]
async fn tab_comes_to_each_control_once_in_the_order_in_which_they_are_read_and_it_is_seen_where_it_is() {
    let mut page = opened().await;
    for (scheme, width, height) in [
        ("dark", 1440, 900),
        ("light", 1440, 900),
        ("dark", 768, 900),
        ("light", 390, 844),
    ] {
        page.browser.prefers("prefers-color-scheme", scheme).await;
        page.browser.resize(width, height).await;
        walk(&mut page, &format!("{scheme}, {width} px")).await;
    }
}

#[tokio::test]
async fn tab_comes_to_each_control_once_while_tables_and_a_notice_are_shown() {
    let mut page = opened().await;
    page.browser
        .eval("document.querySelectorAll('.tools button:first-child').forEach(it => it.click())")
        .await;
    page.program.stop().await;
    page.shows("The back end does not answer.").await;
    for (width, height) in [(1440, 900), (390, 844)] {
        page.browser.resize(width, height).await;
        walk(&mut page, &format!("tables and a notice, {width} px")).await;
    }
}

#[tokio::test]
async fn tab_comes_to_each_control_of_the_leader_view_and_of_the_limits_view_once() {
    let mut page = Page::open("view=leader&topics=host.cpu&interval=1000").await;
    page.shows("leads for").await;
    let limits = "location.hash = location.hash.replace('view=leader', 'view=limits')";
    for (view, width, height) in [
        ("Leader", 1440, 900),
        ("Leader", 390, 844),
        ("Limits", 1440, 900),
        ("Limits", 390, 844),
    ] {
        if view == "Limits" {
            page.browser.run(limits).await;
            page.shows("Nobody is near a limit now.").await;
        }
        page.browser.resize(width, height).await;
        walk(&mut page, &format!("the {view} view, {width} px")).await;
    }
}

#[tokio::test]
async fn tab_comes_to_each_control_of_the_topics_view_once() {
    let mut page = Page::open("view=topics&topic=host.cpu&topics=host.cpu&interval=500").await;
    page.until("rows", "it.feed.counters.rows > 20").await;
    page.browser.run("document.querySelector('.rows').focus()").await;
    page.browser.press(&[key::DOWN]).await;
    page.shows("delivery latency").await;
    // Nothing comes and goes while it is walked through.
    page.browser.click(".feed button.pause").await;
    page.until("the pause", "it.feed.pause === 'wanted'").await;
    for (width, height) in [(1440, 900), (1100, 800)] {
        page.browser.resize(width, height).await;
        walk(&mut page, &format!("the Topics view, {width} px")).await;
    }
}

#[tokio::test]
async fn tab_comes_to_each_control_of_the_config_view_once_also_while_a_change_waits_to_be_applied() {
    let mut page = Page::open("view=config&topics=host.cpu&interval=1000").await;
    let filled = "(document.getElementById('c-log.filter') || {}).value && document.querySelector('.past ol > li')";
    page.browser.wait_for("the settings to be shown", MOVES, filled).await;
    page.change(r#"{"source":{"memory_hz":1}}"#).await;
    comes(
        &mut page,
        "the change in the history",
        "document.querySelectorAll('.past ol > li').length === 2",
    )
    .await;
    for (width, height) in [(1440, 900), (390, 844)] {
        page.browser.resize(width, height).await;
        walk(&mut page, &format!("the Config view, {width} px")).await;
    }
    page.browser
        .run("const it = document.getElementById('c-source.cpu_hz'); it.focus(); it.select()")
        .await;
    page.browser.press(&['4']).await;
    page.shows("1 change ").await;
    for (width, height) in [(1440, 900), (390, 844)] {
        page.browser.resize(width, height).await;
        walk(&mut page, &format!("the Config view with a change, {width} px")).await;
    }
}

#[tokio::test]
async fn a_setting_is_changed_and_taken_back_by_keys_alone() {
    let mut page = Page::open("view=config&topics=host.cpu&interval=1000").await;
    let filled = "(document.getElementById('c-log.filter') || {}).value && document.querySelector('.past ol > li')";
    page.browser.wait_for("the settings to be shown", MOVES, filled).await;
    let cpu_hz = async |page: &Page| {
        let settings = freshet_tests::http::get(page.program.address, "/api/v1/settings").await;
        settings.json::<Value>()["settings"]["source"]["cpu_hz"].clone()
    };
    tab_to(&mut page, "[id='c-source.cpu_hz']").await;
    page.browser.run("document.activeElement.select()").await;
    page.browser.press(&['4']).await;
    comes(
        &mut page,
        "the change",
        "document.querySelector('.review').checkVisibility()",
    )
    .await;
    tab_to(&mut page, ".review button.go").await;
    page.browser.press(&[key::ENTER]).await;
    freshet_tests::until("it to be in force", async || cpu_hz(&page).await == 4.0).await;
    tab_to(&mut page, ".past li:last-child > button").await;
    page.browser.press(&[key::ENTER]).await;
    comes(
        &mut page,
        "the difference, and the focus on it",
        "document.activeElement.closest('.past .back')",
    )
    .await;
    tab_to(&mut page, ".past .back button.go").await;
    page.browser.press(&[key::SPACE]).await;
    freshet_tests::until("the way back", async || cpu_hz(&page).await == 10.0).await;
}

#[tokio::test]
async fn each_control_does_by_keys_what_it_does_by_a_click() {
    let mut page = opened().await;

    tab_to(&mut page, "header .buttons button").await;
    page.browser.press(&[key::SPACE]).await;
    page.until("Space to pause", "it.paused").await;
    page.browser.press(&[key::ENTER]).await;
    page.until("Enter to go on", "!it.paused").await;

    tab_to(&mut page, "header .buttons button.icon").await;
    let theme = "document.documentElement.dataset.theme || ''";
    let before = page.browser.eval(theme).await;
    page.browser.press(&[key::ENTER]).await;
    assert_ne!(page.browser.eval(theme).await, before, "the theme");

    tab_to(&mut page, "select[aria-label='How often to poll']").await;
    page.browser.press(&[key::DOWN]).await;
    page.until("the next interval", "it.interval_ms === 1000").await;

    for (words, solo) in [("polling alone", "poll"), ("streaming alone", "stream")] {
        press_word(&mut page, words, key::SPACE).await;
        page.until(words, &format!("it.solo === '{solo}'")).await;
    }
    press_word(&mut page, "both", key::ENTER).await;
    page.until("both lanes", "it.solo === null").await;

    tab_to(&mut page, "details.menu > summary").await;
    page.browser.press(&[key::ENTER]).await;
    comes(&mut page, "the menu", "document.querySelector('details.menu').open").await;
    let disk = "[...document.querySelectorAll('details.menu li')].find(it => it.textContent.includes('host.disk')).querySelector('input')";
    page.browser.run(&format!("({disk}).id = 'test-disk'")).await;
    tab_to(&mut page, "#test-disk").await;
    page.browser.press(&[key::SPACE]).await;
    page.until("a topic more", "it.topics.includes('host.disk')").await;
    page.browser.press(&[key::ESCAPE]).await;
    comes(
        &mut page,
        "the menu to be closed, and the focus where it was",
        "!document.querySelector('details.menu').open && document.activeElement.matches('details.menu > summary')",
    )
    .await;

    page.browser.press(&[key::SPACE]).await;
    comes(&mut page, "the menu", "document.querySelector('details.menu').open").await;
    tab_to(&mut page, ".race .tools button").await;
    comes(
        &mut page,
        "the menu to be closed, as it might cover where the focus is now",
        "!document.querySelector('details.menu').open",
    )
    .await;

    for (part, what) in [(".race", "the race"), (".over-time", "delivery latency")] {
        tab_to(&mut page, &format!("{part} .tools button:first-child")).await;
        page.browser.press(&[key::SPACE]).await;
        let rows = format!("document.querySelectorAll('{part} .scroll tbody tr').length > 2");
        comes(&mut page, &format!("{what} as a table"), &rows).await;
        // The table itself is a stop, so that arrow keys can scroll it.
        tab_to(&mut page, &format!("{part} .scroll")).await;
        let scrolls = format!(
            "(it => it.scrollHeight <= it.clientHeight + 20 || it.scrollTop > 0)(document.querySelector('{part} .scroll'))"
        );
        page.browser.press(&[key::DOWN, key::DOWN]).await;
        comes(&mut page, &format!("{what}: the table to scroll"), &scrolls).await;
        back_to(&mut page, &format!("{part} .tools button:first-child")).await;
        page.browser.press(&[key::ENTER]).await;
        tab_to(&mut page, &format!("{part} canvas")).await;
        let tip = format!("document.querySelector('{part} .tip').checkVisibility()");
        page.browser.press(&[key::LEFT]).await;
        comes(&mut page, &format!("{what}: what is there, in words"), &tip).await;
        page.browser.press(&[key::ESCAPE]).await;
        comes(&mut page, &format!("{what}: the box to go"), &format!("!{tip}")).await;
    }

    tab_to(&mut page, "#w-rate").await;
    page.browser.run("document.activeElement.select()").await;
    page.browser.press(&['2', '0', '0', key::TAB, key::DOWN]).await;
    tab_to(&mut page, "section.workload button.go").await;
    page.browser.press(&[key::ENTER]).await;
    page.until("the workload", "it.topics.includes('workload')").await;
    let settings = freshet_tests::http::get(page.program.address, "/api/v1/settings").await;
    let settings: Value = settings.json();
    assert_eq!(settings["settings"]["workload"]["rate_hz"], 200.0);
    assert_eq!(settings["settings"]["workload"]["shape"], "poisson");
    comes(
        &mut page,
        "Stop to be offered",
        "[...document.querySelectorAll('.workload button')].some(it => it.innerText === 'Stop' && !it.disabled)",
    )
    .await;
    tab_to(&mut page, ".workload button[type=button]").await;
    page.browser.press(&[key::SPACE]).await;
    freshet_tests::until("the workload to end", async || {
        let settings = freshet_tests::http::get(page.program.address, "/api/v1/settings").await;
        settings.json::<Value>()["settings"]["workload"]["rate_hz"] == 0.0
    })
    .await;
}

/// Goes to the button with these words by Tab, and presses the key there.
async fn press_word(page: &mut Page, words: &str, key: char) {
    let script = format!(
        "document.querySelectorAll('#test-word').forEach(it => it.removeAttribute('id'));
         [...document.querySelectorAll('.late button')].find(it => it.innerText.trim() === {}).id = 'test-word';",
        json!(words)
    );
    page.browser.run(&script).await;
    tab_to(page, "#test-word").await;
    page.browser.press(&[key]).await;
    let pressed = "document.getElementById('test-word').getAttribute('aria-pressed') === 'true'";
    page.browser.wait_for(words, Duration::from_secs(5), pressed).await;
}

/// The way back by Shift and Tab.
async fn back_to(page: &mut Page, css: &str) {
    let there = format!("document.activeElement.matches({})", json!(css));
    for _ in 0..10 {
        if page.browser.eval(&there).await == true {
            return;
        }
        page.browser.press_with(key::SHIFT, key::TAB).await;
    }
    panic!("Shift and Tab do not come back to {css}");
}
