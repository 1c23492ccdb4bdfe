//! The Config view: it shows what the server says and no more, a change is seen before it is made, and nobody's change is lost.

mod edits;
mod elsewhere;
mod shown;

use std::time::Duration;

use freshet_tests::browser::Browser;
use freshet_tests::http::get;
use freshet_tests::program::Program;
use freshet_tests::within;
use freshet_wire::{SettingKey, SettingsHistory, SettingsSchema, SettingsStatus};
use serde_json::{Value, json};

use crate::page::{MOVES, Page};

/// The view with its fields filled; both lanes bring the settings.
async fn opened() -> Page {
    let mut page = Page::open("view=config&topics=host.cpu&interval=500").await;
    is_filled(&mut page).await;
    page
}

async fn opened_with(arguments: &[&str]) -> Page {
    let mut page = Page {
        browser: Browser::start().await,
        program: Program::start(arguments).await,
    };
    let url = format!(
        "http://{}/#view=config&topics=host.cpu&interval=500",
        page.program.address
    );
    page.browser.open(&url).await;
    page.is_live().await;
    is_filled(&mut page).await;
    page
}

/// Waits until the fields have values, it is said where these came from, and the history has come.
async fn is_filled(page: &mut Page) {
    let filled = "(document.getElementById('c-log.filter') || {}).value && document.querySelector('.past ol > li')
        && [...document.querySelectorAll('.settings .key .from')].every(it => it.textContent)";
    page.browser.wait_for("the settings to be shown", MOVES, filled).await;
}

/// What is in force, by the server.
async fn in_force(page: &Page) -> SettingsStatus {
    get(page.program.address, "/api/v1/settings").await.json()
}

async fn version(page: &Page) -> u64 {
    in_force(page).await.in_force.version
}

async fn history(page: &Page) -> SettingsHistory {
    get(page.program.address, "/api/v1/settings/history").await.json()
}

async fn schema(page: &Page) -> Vec<SettingKey> {
    let schema: SettingsSchema = get(page.program.address, "/api/v1/settings/schema").await.json();
    schema.keys
}

/// The value of a key that is in force, by the server.
async fn value(page: &Page, key: &str) -> Value {
    let settings = serde_json::to_value(in_force(page).await.in_force.settings).unwrap();
    at(&settings, key).clone()
}

fn at<'a>(settings: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(settings, |value, name| &value[name])
}

fn field(key: &str) -> String {
    format!("document.getElementById('c-{key}')")
}

/// The row of a key.
fn row(key: &str) -> String {
    format!("{}.closest('.key')", field(key))
}

/// Types into the field of a key, in the place of what stands there.
async fn fill(page: &mut Page, key: &str, text: &str) {
    let field = field(key);
    page.browser
        .run(&format!(
            "{field}.scrollIntoView({{block: 'center'}}); {field}.focus(); {field}.select()"
        ))
        .await;
    page.browser.press(&text.chars().collect::<Vec<_>>()).await;
}

/// Presses the button that assistive technology knows by this name, in this part of the page.
async fn press(page: &mut Page, part: &str, name: &str) {
    let find = format!(
        "[...document.querySelectorAll('{part} button')].find(it => it.checkVisibility() && !it.disabled
            && (it.getAttribute('aria-label') || it.innerText).trim() === {})",
        json!(name)
    );
    // A list that is just being written anew has it elsewhere a moment later.
    let pressing = async {
        let mut is_pressed = false;
        while !is_pressed {
            page.browser.wait_for(name, MOVES, &find).await;
            page.browser.run(&format!("({find}).id = 'test-press'")).await;
            is_pressed = page.browser.try_click("#test-press").await;
            page.browser
                .run("const it = document.getElementById('test-press'); if (it) it.removeAttribute('id')")
                .await;
        }
    };
    within(MOVES, name, pressing).await;
}

/// Each change that waits to be applied: its key, what is in force, and what it is to be.
const PENDING: &str = "[...document.querySelectorAll('.review li')].map(it =>
    [it.querySelector('code').innerText, it.querySelector('del').innerText, it.querySelector('ins').innerText])";

/// Waits until exactly these changes are shown, as key, before and after.
async fn pending(page: &mut Page, expected: Value) {
    let shown = format!("JSON.stringify({PENDING}) === {}", json!(expected.to_string()));
    page.browser
        .wait_for(&format!("the changes {expected}"), MOVES, &shown)
        .await;
    let seen = page
        .browser
        .eval("document.querySelector('.review').checkVisibility()")
        .await;
    assert_eq!(
        seen,
        expected != json!([]),
        "the bar is there while there is something to apply"
    );
}

/// Whether Apply can be pressed.
async fn can_apply(page: &mut Page) -> bool {
    page.browser
        .eval("!document.querySelector('.review button.go').disabled")
        .await
        == true
}

/// Presses Apply, once it can be pressed.
async fn send(page: &mut Page) {
    let can = "(it => it.checkVisibility() && !it.disabled)(document.querySelector('.review button.go'))";
    page.browser.wait_for("Apply to be offered", MOVES, can).await;
    page.browser.click(".review button.go").await;
}

/// Presses Apply and waits until the server has that version.
async fn apply(page: &mut Page, expected: u64) {
    send(page).await;
    freshet_tests::until("the change to be in force", async || version(page).await == expected).await;
    pending(page, json!([])).await;
}

/// Waits until the field of a key has this text.
async fn field_is(page: &mut Page, key: &str, text: &str) {
    let is = format!("{}.value === {}", field(key), json!(text));
    page.browser.wait_for(&format!("{key} to be {text}"), MOVES, &is).await;
}

/// The newest change that the history shows: its words.
async fn newest_is(page: &mut Page, version: u64) -> String {
    let top = "document.querySelector('.past ol > li')";
    let is = format!("{top}.querySelector('b').innerText === 'version {version}'");
    page.browser
        .wait_for(&format!("version {version} in the history"), MOVES, &is)
        .await;
    let words = page.browser.eval(&format!("{top}.innerText")).await;
    words.as_str().unwrap().to_owned()
}

/// The keys whose rows are to be seen.
async fn visible(page: &mut Page) -> Value {
    page.browser
        .eval(
            "[...document.querySelectorAll('.settings .key')].filter(it => it.checkVisibility())
                .map(it => it.querySelector('[id^=\"c-\"]').id).map(it => it.replace('c-what-', '').replace('c-', ''))",
        )
        .await
}

/// Something that the page must not do: it is given the time in which it would have done it.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(700)).await;
}
