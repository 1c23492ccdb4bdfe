//! A page that is open in a browser, and the program behind it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use freshet_tests::browser::Browser;
use freshet_tests::http::{get, request, send};
use freshet_tests::program::Program;
use freshet_wire::{Reader, Topic, Topics};
use http::Method;
use serde_json::Value;

/// A lane moves within this time, also on a machine that has other work.
pub(crate) const MOVES: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) browser: Browser,
    pub(crate) program: Program,
}

impl Page {
    /// The page as the program serves it, with this choice, such as `topics=workload&interval=1000`; both lanes are live.
    pub(crate) async fn open(choice: &str) -> Self {
        let mut page = Self::start(choice).await;
        page.is_live().await;
        page
    }

    /// The same, from a program that keeps nothing but its windows: what they lose, a slow reader misses.
    pub(crate) async fn open_on_memory(choice: &str) -> Self {
        Self::open_on("[pubsub]\nengine = 'memory'", choice).await
    }

    /// The same, from a program with this configuration.
    pub(crate) async fn open_on(config: &str, choice: &str) -> Self {
        let mut page = Self::of(Program::configured(config).await, choice).await;
        page.is_live().await;
        page
    }

    /// The same, however its lanes fare.
    pub(crate) async fn start(choice: &str) -> Self {
        Self::of(Program::start(&[]).await, choice).await
    }

    async fn of(program: Program, choice: &str) -> Self {
        let browser = Browser::start().await;
        let mut page = Self { browser, program };
        let url = format!("http://{}/#{choice}", page.program.address);
        page.browser.open(&url).await;
        page
    }

    /// What the console has got that is an error.
    pub(crate) async fn errors(&mut self) -> Vec<String> {
        let mut said = self.browser.console().await;
        said.retain(|line| line.starts_with("SEVERE"));
        said
    }

    /// Waits until both lanes are live and have brought something, if only what feeds the cards.
    pub(crate) async fn is_live(&mut self) {
        let live = "['poll', 'stream'].every(lane => {
            const it = window.__freshet()[lane];
            return it.status.is === 'live' && it.counters.card_events > 0;
        })";
        self.browser.wait_for("both lanes to be live", MOVES, live).await;
    }

    /// The page's account of the last seconds.
    pub(crate) async fn report(&mut self, seconds: u32) -> Value {
        self.browser.eval(&format!("window.__freshet({seconds})")).await
    }

    /// Waits until the expression is true, with the page's account of itself in `it`.
    pub(crate) async fn until(&mut self, what: &str, expression: &str) {
        let expression = format!("(it => {expression})(window.__freshet())");
        self.browser.wait_for(what, MOVES, &expression).await;
    }

    /// Waits until this text is to be seen on the page.
    pub(crate) async fn shows(&mut self, text: &str) {
        let expression = format!("document.body.innerText.includes({})", serde_json::json!(text));
        self.browser
            .wait_for(&format!("the words {text:?}"), MOVES, &expression)
            .await;
    }

    /// Patches the server's settings.
    pub(crate) async fn change(&self, patch: &str) {
        let answer = send(
            self.program.address,
            request(Method::PATCH, "/api/v1/settings", &[], patch),
        )
        .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub(crate) async fn topics(&self) -> Topics {
        get(self.program.address, "/api/v1/topics").await.json()
    }

    pub(crate) async fn topic(&self, name: &str) -> Topic {
        let topics = self.topics().await.topics;
        topics.into_iter().find(|topic| topic.name == name).expect(name)
    }

    pub(crate) async fn end_of(&self, topic: &str) -> u64 {
        self.topic(topic).await.partitions[0].next_offset
    }

    /// The same, of a topic that is about to stand still.
    pub(crate) async fn end_of_stopped(&self, topic: &str) -> u64 {
        let mut end = self.end_of(topic).await;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let before = std::mem::replace(&mut end, self.end_of(topic).await);
            if before == end {
                return end;
            }
        }
        panic!("{topic} does not stand still");
    }

    /// What the server counted for this reader.
    pub(crate) async fn reader(&self, id: &Value) -> Reader {
        let readers = self.topics().await.readers;
        let reader = readers.into_iter().find(|reader| reader.id == *id);
        reader.unwrap_or_else(|| panic!("no reader {id}"))
    }

    /// Waits until both lanes have applied everything that `workload` ever had; how much that was.
    pub(crate) async fn has_all_of_workload(&mut self) -> u64 {
        for _ in 0..20 {
            let end = self.end_of("workload").await;
            let all = format!(
                "['poll', 'stream'].every(lane => it[lane].counters.events + it[lane].counters.missed >= {end})"
            );
            self.until("both lanes to have everything", &all).await;
            if self.end_of("workload").await == end {
                return end;
            }
        }
        panic!("the workload does not stop");
    }

    /// What the picture of the race shows now.
    pub(crate) async fn picture(&mut self) -> String {
        let url = self
            .browser
            .eval("document.querySelector('.race canvas').toDataURL()")
            .await;
        url.as_str().unwrap().to_owned()
    }
}

/// A number of the page's account, by its JSON pointer.
pub(crate) fn number(report: &Value, pointer: &str) -> f64 {
    let value = report.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {report:#}"))
}

/// A count of a lane.
pub(crate) fn count(report: &Value, lane: &str, name: &str) -> u64 {
    number(report, &format!("/{lane}/counters/{name}")) as u64
}

/// The fingerprints that one of the page's lanes has.
pub(crate) fn seen(report: &Value, lane: &str, topic: &str) -> BTreeMap<String, String> {
    serde_json::from_value::<Vec<(String, String)>>(report[lane]["ranges"][topic].clone())
        .unwrap()
        .into_iter()
        .collect()
}

/// A figure worth having in the log also of a run in which nothing failed.
pub(crate) fn say(figure: &str) {
    // Past the capture of `cargo test`, which shows only what failed.
    _ = writeln!(std::io::stderr(), "{figure}");
}
