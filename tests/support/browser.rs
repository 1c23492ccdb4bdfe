//! A real Chromium, driven through chromedriver by the few commands of WebDriver (W3C) that the tests need.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::http::{Connection, request};
use crate::process::Process;
use crate::{SOON, within};

/// Browsers beside each other would disturb each other's timing.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A browser with one window, and the only one of its program. It ends when this is dropped.
#[derive(Debug)]
pub struct Browser {
    connection: Connection,
    /// `/session/ID`.
    session: String,
    // In this order: the driver and its browser end before their folder goes.
    _driver: Process,
    _profile: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Browser {
    pub async fn start() -> Self {
        let named = |name| {
            PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; `make test` sets it")))
        };
        let alone = ALONE.lock().await;
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Process::start(Command::new(named("FRESHET_CHROMEDRIVER")).arg("--port=0"));
        let port = driver.says("started successfully on port ", SOON).await;
        let port: u16 = port.trim().trim_end_matches('.').parse().unwrap();
        let connection = Connection::open(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let mut browser = Self {
            connection,
            session: String::new(),
            _driver: driver,
            _profile: profile,
            _alone: alone,
        };
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments = [
            "--headless",
            // As root, which containers usually are, its sandbox cannot work.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
        ];
        let capabilities = json!({"alwaysMatch": {
            "goog:chromeOptions": {"binary": named("FRESHET_CHROMIUM"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60_000, "pageLoad": 30_000},
        }});
        let session = browser
            .command(Method::POST, "/session", json!({"capabilities": capabilities}))
            .await
            .unwrap();
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Sends a command; the error is the driver's.
    async fn command(&mut self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let body = if method == Method::GET {
            String::new()
        } else {
            body.to_string()
        };
        let headers = [("content-type", "application/json; charset=utf-8")];
        let sending = self.connection.try_send(request(method, path, &headers, &body));
        let answer = within(Duration::from_secs(70), &format!("the browser: {path}"), sending).await;
        let mut answer: Value = answer.map_err(|error| error.to_string())?.json();
        let value = answer["value"].take();
        match value.get("error") {
            Some(error) if value.get("message").is_some() => Err(format!("{error}: {}", value["message"])),
            _ => Ok(value),
        }
    }

    async fn post(&mut self, path: &str, body: Value) -> Value {
        let path = format!("{}{path}", self.session);
        self.command(Method::POST, &path, body)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub async fn open(&mut self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    pub async fn reload(&mut self) {
        self.post("/refresh", json!({})).await;
    }

    /// The window's size, in CSS pixels of its content.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets what the page is told of the reader's wishes, for example `prefers-color-scheme`.
    pub async fn prefers(&mut self, feature: &str, value: &str) {
        let media = json!({"features": [{"name": feature, "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Sends a command of the DevTools protocol to the window.
    pub async fn devtools(&mut self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params}))
            .await
    }

    /// Opens a window more and goes to it; the handles of the old one and of the new one.
    pub async fn new_window(&mut self) -> [String; 2] {
        let path = format!("{}/window", self.session);
        let old = self.command(Method::GET, &path, Value::Null).await.unwrap();
        let new = self.post("/window/new", json!({"type": "window"})).await;
        let handles = [&old, &new["handle"]].map(|handle| handle.as_str().unwrap().to_owned());
        self.go_to(&handles[1]).await;
        handles
    }

    /// The window that commands are for from now on.
    pub async fn go_to(&mut self, window: &str) {
        self.post("/window", json!({"handle": window})).await;
    }

    /// Runs a script in the page, also where its content security policy allows none of others.
    pub async fn run(&mut self, script: &str) {
        self.post("/execute/sync", json!({"script": script, "args": []})).await;
    }

    /// The value of a JavaScript expression.
    pub async fn eval(&mut self, expression: &str) -> Value {
        self.post(
            "/execute/sync",
            json!({"script": format!("return ({expression})"), "args": []}),
        )
        .await
    }

    /// Waits in the page until the expression is true (what it throws counts as not yet); its value then.
    pub async fn wait_for(&mut self, what: &str, limit: Duration, expression: &str) -> Value {
        let script = format!(
            "const [limit, done] = arguments; const begun = performance.now();
             const look = () => {{
               let value = null, error = null;
               try {{ value = ({expression}); }} catch (e) {{ error = String(e); }}
               if (value) done({{value}});
               else if (performance.now() - begun > limit) done({{late: true, error}});
               else setTimeout(look, 25);
             }};
             look();"
        );
        let body = json!({"script": script, "args": [limit.as_millis() as u64]});
        let mut answer = self.post("/execute/async", body).await;
        if answer["late"] == true {
            let text = self.eval("document.body.innerText").await;
            panic!(
                "waited {limit:?} for {what} ({}); the page says:\n{}",
                answer["error"],
                text.as_str().unwrap_or("")
            );
        }
        answer["value"].take()
    }

    async fn find(&mut self, css: &str) -> String {
        let found = self
            .post("/element", json!({"using": "css selector", "value": css}))
            .await;
        id_of(&found)
    }

    /// Clicks on the element as a person would: it must be there to be seen and hit.
    pub async fn click(&mut self, css: &str) {
        assert!(self.try_click(css).await, "{css} is there and cannot be hit");
    }

    /// The same, of one that may be moved or hidden in this very moment: whether it was hit.
    pub async fn try_click(&mut self, css: &str) -> bool {
        let element = self.find(css).await;
        let path = format!("{}/element/{element}/click", self.session);
        match self.command(Method::POST, &path, json!({})).await {
            Ok(_) => true,
            Err(error) if error.contains("not interactable") => false,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Types into the element.
    pub async fn keys(&mut self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/value"), json!({"text": text}))
            .await;
    }

    /// Presses and lets go of keys, one after the other, wherever the focus is.
    pub async fn press(&mut self, keys: &[char]) {
        let key = |kind: &str, key: &char| json!({"type": kind, "value": key});
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|it| [key("keyDown", it), key("keyUp", it)])
            .collect();
        self.perform(actions).await;
    }

    /// Presses a key while another is held.
    pub async fn press_with(&mut self, held: char, key: char) {
        let action = |kind: &str, key: char| json!({"type": kind, "value": key});
        let actions = vec![
            action("keyDown", held),
            action("keyDown", key),
            action("keyUp", key),
            action("keyUp", held),
        ];
        self.perform(actions).await;
    }

    async fn perform(&mut self, actions: Vec<Value>) {
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.post("/actions", body).await;
    }

    /// The name by which assistive technology knows the element that has the focus.
    pub async fn name_of_focused(&mut self) -> String {
        let path = format!("{}/element/active", self.session);
        let found = self.command(Method::GET, &path, Value::Null).await.unwrap();
        let path = format!("{}/element/{}/computedlabel", self.session, id_of(&found));
        let name = self.command(Method::GET, &path, Value::Null).await.unwrap();
        name.as_str().unwrap().to_owned()
    }

    /// What the console has got since it was last asked: `LEVEL message`.
    pub async fn console(&mut self) -> Vec<String> {
        let entries = self.post("/se/log", json!({"type": "browser"})).await;
        let text = |entry: &Value| {
            format!(
                "{} {}",
                entry["level"].as_str().unwrap(),
                entry["message"].as_str().unwrap()
            )
        };
        entries.as_array().unwrap().iter().map(text).collect()
    }

    pub async fn screenshot(&mut self, path: &Path) {
        let path_of = format!("{}/screenshot", self.session);
        let png = self.command(Method::GET, &path_of, Value::Null).await.unwrap();
        let png = base64::engine::general_purpose::STANDARD
            .decode(png.as_str().unwrap())
            .unwrap();
        std::fs::write(path, png).unwrap();
    }
}

/// An element's name in further commands. The one member is named by the standard's identifier of an element.
fn id_of(found: &Value) -> String {
    let id = found.as_object().and_then(|object| object.values().next());
    id.and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{found}"))
        .to_owned()
}

/// Keys that are no letters, as WebDriver names them (section 17.4.2).
pub mod key {
    pub const ENTER: char = '\u{e007}';
    pub const ESCAPE: char = '\u{e00c}';
    pub const TAB: char = '\u{e004}';
    pub const SHIFT: char = '\u{e008}';
    pub const SPACE: char = ' ';
    pub const LEFT: char = '\u{e012}';
    pub const DOWN: char = '\u{e015}';
    pub const END: char = '\u{e010}';
}
