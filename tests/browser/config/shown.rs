//! What is shown: every key, what it takes, and where its value came from.

use freshet_tests::http::get;
use freshet_wire::{SettingKey, SettingKind, StaticConfig};
use serde_json::{Value, json};

use super::{at, in_force, opened, row, schema, visible};
use crate::page::{MOVES, Page};

/// Of each row: the key, what stands in the field, and all its words.
const ROWS: &str = "[...document.querySelectorAll('.settings .key')].map(it => {
    const field = it.querySelector('input, select');
    return {key: field.id.slice(2), value: field.value, words: it.textContent, label: field.labels[0].innerText,
        described: !!document.getElementById(field.getAttribute('aria-describedby'))};
})";

/// A number as it may be typed.
fn number(value: f64) -> String {
    format!("{value}")
}

fn expected(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(expected).collect::<Vec<_>>().join(", "),
        Value::Number(it) => number(it.as_f64().unwrap()),
        value => value.to_string(),
    }
}

#[tokio::test]
async fn each_setting_is_shown_with_its_value_its_unit_its_bounds_and_its_default() {
    let mut page = opened().await;
    let settings = serde_json::to_value(in_force(&page).await.in_force.settings).unwrap();
    let schema = schema(&page).await;
    let rows = page.browser.eval(ROWS).await;
    let rows = rows.as_array().unwrap();
    assert!(schema.len() > 20 && rows.len() == schema.len(), "{} rows", rows.len());
    for (row, key) in rows.iter().zip(&schema) {
        let name = &key.key;
        assert_eq!(row["key"], **name);
        assert_eq!(row["label"], **name, "a screen reader says what the field is");
        assert_eq!(row["described"], true, "{name}");
        assert_eq!(row["value"], expected(at(&settings, name)), "{name}");
        // Digits may be grouped for reading.
        let words = row["words"].as_str().unwrap().replace([',', '\u{a0}', '\u{202f}'], "");
        let has = |what: &str| assert!(words.contains(&what.replace(',', "")), "{name}: {what:?} in {words:?}");
        has(&key.what);
        has(&key.unit);
        if let SettingKind::Number | SettingKind::Integer = key.kind {
            [key.least, key.most]
                .into_iter()
                .flatten()
                .for_each(|bound| has(&number(bound)));
            has(&expected(&key.default));
        }
        if let Some(zero) = &key.zero {
            has(zero);
        }
        assert!(
            words.trim_end().ends_with("default"),
            "{name}: nothing was changed yet: {words:?}"
        );
    }
}

#[tokio::test]
async fn where_a_value_came_from_is_said_with_when_and_by_whom() {
    let mut page = opened().await;
    page.change(r#"{"source":{"cpu_hz":4}}"#).await;
    let from = format!("{}.querySelector('.from').innerText", row("source.cpu_hz"));
    let said = format!("/^file[^]*ago by API[^]*version 2/.test({from})");
    page.browser.wait_for("where it came from", MOVES, &said).await;
    let other = format!("{}.querySelector('.from').innerText", row("source.disk_hz"));
    assert_eq!(page.browser.eval(&other).await.as_str().unwrap().trim(), "default");
    let status = in_force(&page).await;
    let place = "document.querySelector('.settings .head').innerText";
    page.browser
        .wait_for(
            "the store's place",
            MOVES,
            &format!("{place}.includes({})", json!(status.place)),
        )
        .await;
}

#[tokio::test]
async fn a_key_is_found_by_its_name_or_by_what_it_is_and_only_what_is_changed_if_that_is_wanted() {
    let mut page = opened().await;
    let schema = schema(&page).await;
    let all: Vec<_> = schema.iter().map(|it| &*it.key).collect();
    assert_eq!(visible(&mut page).await, json!(all));

    search(&mut page, "Disk").await;
    let is_like = |it: &&SettingKey| it.key.contains("disk") || it.what.to_lowercase().contains("disk");
    let like: Vec<_> = schema.iter().filter(is_like).map(|it| &*it.key).collect();
    assert!(!like.is_empty() && like.len() < all.len());
    assert_eq!(visible(&mut page).await, json!(like));
    // A section of which nothing is left is not shown either.
    let heads = page
        .browser
        .eval("[...document.querySelectorAll('.section h3')].filter(it => it.checkVisibility()).length")
        .await;
    let sections: std::collections::BTreeSet<_> = like.iter().map(|it| it.split('.').next()).collect();
    assert_eq!(heads, sections.len());

    search(&mut page, "no such key").await;
    page.shows("No setting is like that").await;
    search(&mut page, "").await;
    assert_eq!(visible(&mut page).await, json!(all));

    page.browser.click(".settings .bar input[type=checkbox]").await;
    assert_eq!(visible(&mut page).await, json!([]), "nothing was changed yet");
    page.change(r#"{"limit":{"mask":true},"source":{"disk_hz":2}}"#).await;
    let two = "[...document.querySelectorAll('.settings .key')].filter(it => it.checkVisibility()).length === 2";
    page.browser.wait_for("what is changed now", MOVES, two).await;
    assert_eq!(visible(&mut page).await, json!(["source.disk_hz", "limit.mask"]));
    page.browser.click(".settings .bar input[type=checkbox]").await;
    assert_eq!(visible(&mut page).await, json!(all));
}

#[tokio::test]
async fn a_link_to_a_part_shows_it_and_can_be_kept() {
    let mut page = opened().await;
    let is_there = "(it => { const {top} = it.getBoundingClientRect(); return top > 0 && top < innerHeight / 2; })(document.getElementById('at-limit'))
        && document.activeElement.id === 'at-limit'";
    let seen = page.browser.eval(is_there).await;
    assert_eq!(seen, false, "it is further down");
    page.browser.click(".jump a[href='#view=config&section=limit']").await;
    page.browser.wait_for("the section", MOVES, is_there).await;
    let kept = "location.hash.includes('section=limit') && location.hash.includes('topics=host.cpu')";
    assert_eq!(page.browser.eval(kept).await, true);
    page.browser.reload().await;
    page.is_live().await;
    super::is_filled(&mut page).await;
    page.browser.wait_for("the section again", MOVES, is_there).await;
    // Every part has a link, and every link a part.
    let each = "[...document.querySelectorAll('.jump a')].map(it => it.hash.split('section=')[1]).filter(it => !document.getElementById('at-' + it))";
    assert_eq!(page.browser.eval(each).await, json!([]));
    let parts = page
        .browser
        .eval("[...document.querySelectorAll('[id^=at-]')].length")
        .await;
    let links = page.browser.eval("document.querySelectorAll('.jump a').length").await;
    assert_eq!(parts, links);
}

async fn search(page: &mut Page, text: &str) {
    page.browser.run("document.querySelector('.find').select()").await;
    page.browser.run("document.querySelector('.find').focus()").await;
    match text {
        "" => page.browser.keys(".find", "\u{e003}").await,
        text => page.browser.press(&text.chars().collect::<Vec<_>>()).await,
    }
}

#[tokio::test]
async fn the_fixed_configuration_is_shown_as_the_server_tells_it_or_that_it_does_not() {
    let mut page = opened().await;
    let answer = get(page.program.address, "/api/v1/config").await;
    if answer.status == 404 {
        page.shows("does not tell of its fixed configuration").await;
        return;
    }
    let config: StaticConfig = answer.json();
    let keys: Vec<_> = config.keys.iter().map(|it| &*it.key).collect();
    let shown = "[...document.querySelectorAll('.fixed .key code')].map(it => it.innerText)";
    let is = format!("JSON.stringify({shown}) === {}", json!(json!(keys).to_string()));
    page.browser.wait_for("each key", MOVES, &is).await;
    // The program was started with these.
    for flag in ["--listen", "--data"] {
        let named =
            format!("[...document.querySelectorAll('.fixed .key .from')].some(it => it.innerText.includes('{flag}'))");
        assert_eq!(page.browser.eval(&named).await, true, "{flag}");
    }
    page.shows("needs a restart").await;
}

#[tokio::test]
async fn what_is_copied_is_what_is_in_force_and_the_store_takes_it_back() {
    let mut page = opened().await;
    let permissions = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    page.browser.devtools("Browser.grantPermissions", permissions).await;
    page.change(
        r#"{"source":{"cpu_hz":4},"limit":{"exempt":["192.0.2.0/24"]},"log":{"filter":"info,freshet[a=\"b\"]=debug"}}"#,
    )
    .await;
    super::field_is(&mut page, "source.cpu_hz", "4").await;

    let json = copied(&mut page, "JSON").await;
    let json: Value = serde_json::from_str(&json).unwrap();
    let before = serde_json::to_value(in_force(&page).await.in_force.settings).unwrap();
    assert_eq!(json, before);
    let yaml = copied(&mut page, "YAML").await;
    assert!(yaml.contains("  cpu_hz: 4.0\n"), "{yaml}");

    // As TOML it is what `settings.toml` takes.
    let toml = copied(&mut page, "TOML").await;
    assert!(toml.contains("disk_hz = 1.0\n"), "{toml}");
    let toml = toml.replace("disk_hz = 1.0\n", "disk_hz = 3.0\n");
    std::fs::write(page.program.data.path().join("settings.toml"), toml).unwrap();
    super::field_is(&mut page, "source.disk_hz", "3").await;
    let mut expected = before;
    expected["source"]["disk_hz"] = json!(3.0);
    let status = in_force(&page).await;
    assert_eq!(
        (serde_json::to_value(&status.in_force.settings).unwrap(), status.refused),
        (expected, None)
    );
}

async fn copied(page: &mut Page, format: &str) -> String {
    page.browser
        .click(&format!(".copy select option[value='{format}']"))
        .await;
    page.browser.click(".copy button").await;
    page.shows(&format!("Copied as {format}")).await;
    page.browser
        .run("window.__copied = null; navigator.clipboard.readText().then(it => { window.__copied = it; })")
        .await;
    let text = page.browser.wait_for("the clipboard", MOVES, "window.__copied").await;
    text.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn on_a_telephone_the_view_has_not_to_be_scrolled_sideways() {
    let mut page = opened().await;
    super::fill(&mut page, "source.cpu_hz", "4").await;
    super::pending(&mut page, json!([["source.cpu_hz", "10", "4 samples a second"]])).await;
    for width in [390, 768, 1440] {
        page.browser.resize(width, 844).await;
        let beyond = page
            .browser
            .eval(
                "[...document.querySelectorAll('main:not([hidden]) *')]
                    .filter(it => it.checkVisibility() && !it.closest('.unseen, thead') && it.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                    .map(it => it.outerHTML.slice(0, 80))",
            )
            .await;
        assert_eq!(beyond, json!([]), "{width} px");
    }
}
