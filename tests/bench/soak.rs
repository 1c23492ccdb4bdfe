//! Minutes under load in a browser: the page stays smooth, its memory stays what it is, and nothing is lost or counted wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use freshet_tests::browser::Browser;
use freshet_wire::{Reader, Topics};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Bench;
use crate::machine::{Disturbance, Stretch, pin};
use crate::report::{Section, Table};
use crate::server::Server;

const RATE_HZ: f64 = 1000.0;
const READY: Duration = Duration::from_secs(30);
/// Until then the page starts, and the program that it is made of is compiled.
const WARM: Duration = Duration::from_secs(5);
/// Between two looks at the page; in this time fewer events come than its fingerprints reach back.
const LOOK: Duration = Duration::from_secs(60);
/// Until then the page's rings grow to what they are bounded by; from then on its memory has to stay what it is.
const FILLS: Duration = Duration::from_secs(110);
const SIZE: [u32; 2] = [1440, 900];
const LANES: [&str; 2] = ["poll", "stream"];

/// What each of the two pages counts of itself, from its beginning. Frames that a window shows; tasks of more than 50 ms, with what ran
/// in the frames that they held up; and the memory of the page's program, which Trunk's start hands over.
const COUNT: &str = "
    window.__soak = {frames: 0, long_tasks: [], long_frames: [], wasm: null};
    const count = () => { window.__soak.frames += 1; requestAnimationFrame(count); };
    requestAnimationFrame(count);
    const observe = (type, keep) => new PerformanceObserver(list => list.getEntries().forEach(keep)).observe({type, buffered: true});
    observe('longtask', it => window.__soak.long_tasks.push({at_ms: it.startTime, ms: it.duration}));
    observe('long-animation-frame', it => window.__soak.long_frames.push({at_ms: it.startTime, ms: it.duration,
        scripts: it.scripts.map(by => ({ms: by.duration, invoker: by.invoker, layout_ms: by.forcedStyleAndLayoutDuration}))}));
    addEventListener('TrunkApplicationStarted', it => { window.__soak.wasm = it.detail.wasm.memory; });";

/// Of one page, at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
struct Frames {
    frames: f64,
    at_ms: f64,
}

impl Frames {
    fn per_s(from: Self, to: Self) -> f64 {
        (to.frames - from.frames) / (to.at_ms - from.at_ms) * 1e3
    }
}

/// Memory of the page, after its garbage was collected.
#[derive(Debug, Clone, Copy, Serialize)]
struct Memory {
    at_s: f64,
    heap_bytes: f64,
    wasm_bytes: f64,
}

/// Whole ranges of offsets with the hash of what came, of each lane.
type Ranges = [BTreeMap<String, String>; 2];

#[derive(Debug, Serialize)]
struct Soak {
    seconds: f64,
    events: u64,
    frames_per_s: f64,
    blank_frames_per_s: f64,
    /// In milliseconds: when they began, counted from when the page was opened, and how long they took.
    long_tasks: Vec<Value>,
    long_frames: Vec<Value>,
    /// What looking at the page itself held up.
    of_looking: usize,
    memory: Vec<Memory>,
    ranges: usize,
    /// In one lane only, or with another hash.
    ranges_apart: usize,
    /// What must not be, and is; by lane and name.
    wrong: Vec<String>,
    #[serde(flatten)]
    disturbance: Disturbance,
}

pub fn run(bench: &Bench, soak: Duration) -> Result<Section, String> {
    let mut section = Section::new("soak", "Minutes under load", &bench.folder)?;
    for name in ["FRESHET_CHROMIUM", "FRESHET_CHROMEDRIVER"] {
        std::env::var_os(name).ok_or_else(|| format!("{name} is not set; scripts/bench.sh sets it"))?;
    }
    // A browser has many threads; the server keeps its core, but not for itself.
    pin(&[bench.cores.server, bench.cores.readers]).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let soaked = runtime.block_on(measure(bench, soak));
    pin(&[bench.cores.readers]).map_err(|error| error.to_string())?;
    let soaked = soaked?;
    section.result(&json!({"seconds": soak.as_secs()}), &soaked, true)?;
    report(&mut section, &soaked);
    Ok(section)
}

fn report(section: &mut Section, soak: &Soak) {
    let mb = |bytes: f64| format!("{:.2} MB", bytes / 1e6);
    let mut table = Table::new(&["after", "JavaScript's heap", "WebAssembly's memory"]);
    for memory in &soak.memory {
        table.row([
            format!("{:.0} s", memory.at_s),
            mb(memory.heap_bytes),
            mb(memory.wasm_bytes),
        ]);
    }
    section.table(table);
    let mut table = Table::new(&["", "frames a second"]);
    table.row(["Freshet's page".to_owned(), format!("{:.2}", soak.frames_per_s)]);
    table.row(["a blank page".to_owned(), format!("{:.2}", soak.blank_frames_per_s)]);
    section.table(table);
    let full = soak.memory.iter().filter(|memory| memory.at_s >= FILLS.as_secs_f64());
    let full: Vec<&Memory> = full.collect();
    let grown = |of: fn(&Memory) -> f64| match full[..] {
        [first, .., last] => Some((of(last) - of(first)) / 1e6),
        _ => None,
    };
    section.aim("tasks of more than 50 ms", soak.long_tasks.len() as f64, "<=", 0.0);
    section.aim(
        "frames ÷ those of a blank page",
        soak.frames_per_s / soak.blank_frames_per_s,
        ">=",
        0.98,
    );
    for (what, growth) in [
        ("growth of JavaScript's heap, in MB", grown(|it| it.heap_bytes)),
        ("growth of WebAssembly's memory, in MB", grown(|it| it.wasm_bytes)),
    ] {
        // A short run says nothing of it: the page is still taking what it may.
        if let Some(growth) = growth {
            section.aim(what, growth, "<=", 0.5);
        }
    }
    section.aim("ranges in which the lanes differ", soak.ranges_apart as f64, "<=", 0.0);
    section.aim("counts that are wrong", soak.wrong.len() as f64, "<=", 0.0);
    let worst = soak.long_tasks.iter().filter_map(|task| task["ms"].as_f64());
    section.remark(format!(
        "The page polls every second and streams `workload` at {RATE_HZ:.0} events a second; beside it a blank page is open in another \
         window of the same headless Chromium without a GPU, and both count their animation frames over the same {:.0} s, which begin \
         {} s after both lanes were live. Tasks are the browser's own `longtask` entries{}; those that looking at the page caused \
         (its garbage is collected before its memory is read) are left out: {}. Both lanes took {} events; the hashes of {} whole \
         ranges of 64 events were held against each other. Events, messages and requests of each lane were held against the server's.{}{} \
         Memory is held to staying what it is from {} s on, when the page has as many events as it keeps. \
         The host took {:.1} % of the more disturbed core's time.",
        soak.seconds,
        WARM.as_secs(),
        worst.reduce(f64::max).map_or(String::new(), |worst| format!(" (the longest took {worst:.0} ms)")),
        soak.of_looking,
        soak.events,
        soak.ranges,
        if soak.wrong.is_empty() { "" } else { " Wrong: " },
        soak.wrong.join("; "),
        FILLS.as_secs(),
        soak.disturbance.stolen * 100.0,
    ));
}

/// The browser with Freshet's page and a blank one.
#[derive(Debug)]
struct Pages {
    browser: Browser,
    windows: [String; 2],
    began: Instant,
    /// When the page was looked at, on its own clock, in milliseconds.
    looks: Vec<[f64; 2]>,
    ranges: Ranges,
    memory: Vec<Memory>,
}

impl Pages {
    async fn open(freshet: SocketAddr) -> Self {
        let mut browser = Browser::start().await;
        browser.resize(SIZE[0], SIZE[1]).await;
        browser
            .devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": COUNT}))
            .await;
        browser
            .open(&format!("http://{freshet}/#topics=workload&interval=1000"))
            .await;
        let live =
            "['poll', 'stream'].every(lane => window.__freshet()[lane].status.is === 'live') && window.__soak.wasm";
        browser
            .wait_for("both lanes to be live", READY, &format!("!!({live})"))
            .await;
        let windows = browser.new_window().await;
        browser.resize(SIZE[0], SIZE[1]).await;
        browser.open("about:blank").await;
        browser.run(COUNT).await;
        browser.go_to(&windows[0]).await;
        Self {
            browser,
            windows,
            began: Instant::now(),
            looks: Vec::new(),
            ranges: Ranges::default(),
            memory: Vec::new(),
        }
    }

    /// Of both pages, one right after the other.
    async fn frames(&mut self) -> Result<[Frames; 2], String> {
        let mut frames = Vec::new();
        for window in [1, 0] {
            self.browser.go_to(&self.windows[window]).await;
            let value = self.browser.eval("[window.__soak.frames, performance.now()]").await;
            frames.push(Frames {
                frames: number(&value[0])?,
                at_ms: number(&value[1])?,
            });
        }
        let [blank, page] = frames[..] else {
            return Err("there are two windows".to_owned());
        };
        Ok([page, blank])
    }

    async fn now_ms(&mut self) -> Result<f64, String> {
        number(&self.browser.eval("performance.now()").await)
    }

    /// Reads the page's memory, and the fingerprints before the page forgets them.
    async fn look(&mut self) -> Result<Value, String> {
        let begun_ms = self.now_ms().await?;
        self.browser.devtools("HeapProfiler.collectGarbage", json!({})).await;
        let heap = self.browser.devtools("Runtime.getHeapUsage", json!({})).await;
        let wasm = self.browser.eval("window.__soak.wasm.buffer.byteLength").await;
        self.memory.push(Memory {
            at_s: self.began.elapsed().as_secs_f64(),
            heap_bytes: number(&heap["usedSize"])?,
            wasm_bytes: number(&wasm)?,
        });
        // By the browser's own tools: a driver keeps what it hands on of a page in the page's memory.
        let ask = json!({"expression": "window.__freshet(5)", "returnByValue": true});
        let told = self.browser.devtools("Runtime.evaluate", ask).await;
        let report = told["result"]["value"].clone();
        if !report.is_object() {
            return Err(format!("no report: {told}"));
        }
        for (lane, ranges) in LANES.iter().zip(&mut self.ranges) {
            let hashes = report[lane]["ranges"]["workload"].as_array();
            for hash in hashes.into_iter().flatten() {
                let (range, hash): (String, String) =
                    serde_json::from_value(hash.clone()).map_err(|error| format!("{hash}: {error}"))?;
                ranges.insert(range, hash);
            }
        }
        let ended_ms = self.now_ms().await?;
        self.looks.push([begun_ms, ended_ms]);
        Ok(report)
    }

    /// What held the page up between two moments: of itself, and how often because it was looked at.
    async fn long(&mut self, kind: &str, from_ms: f64, to_ms: f64) -> Result<(Vec<Value>, usize), String> {
        let all = self.browser.eval(&format!("window.__soak.{kind}")).await;
        let all = all.as_array().cloned().ok_or("no list of tasks")?;
        let at = |task: &Value, name: &str| task[name].as_f64().unwrap_or(0.0);
        let span = |task: &Value| [at(task, "at_ms"), at(task, "at_ms") + at(task, "ms")];
        let within = all
            .into_iter()
            .filter(|task| span(task)[0] >= from_ms && span(task)[0] < to_ms);
        let looked = |task: &Value| {
            let [begun, ended] = span(task);
            self.looks.iter().any(|look| begun < look[1] && ended > look[0])
        };
        let (looked, own): (Vec<_>, Vec<_>) = within.partition(looked);
        Ok((own, looked.len()))
    }
}

fn number(value: &Value) -> Result<f64, String> {
    value.as_f64().ok_or_else(|| format!("no number: {value}"))
}

async fn measure(bench: &Bench, soak: Duration) -> Result<Soak, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut server = Server::freshet(bench, &[])?;
    let mut pages = Pages::open(SocketAddr::from(([127, 0, 0, 1], server.port))).await;
    server.set_rate(RATE_HZ)?;
    sleep(WARM).await;
    let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
    let before = pages.frames().await?;
    let end = Instant::now() + soak;
    let mut next = Instant::now() + LOOK.min(soak / 4);
    while next < end {
        sleep_until(next).await;
        pages.look().await?;
        next += LOOK;
    }
    sleep_until(end).await;
    let after = pages.frames().await?;
    let disturbance = stretch.end().map_err(failed)?.disturbance;
    let [from_ms, to_ms] = [before[0].at_ms, after[0].at_ms];
    let (long_tasks, of_looking) = pages.long("long_tasks", from_ms, to_ms).await?;
    let (long_frames, _) = pages.long("long_frames", from_ms, to_ms).await?;
    server.set_rate(0.0)?;
    let shown = pages.memory.len() + 1;
    let (events, mut wrong) = counts(&server, &mut pages).await?;
    pages.memory.truncate(shown);
    let [poll, stream] = &pages.ranges;
    let apart = poll
        .iter()
        .filter(|(range, hash)| stream.get(*range) != Some(hash))
        .count()
        + stream.keys().filter(|range| !poll.contains_key(*range)).count();
    // The last one may be open still.
    if (poll.len() as u64) + 1 < events / 64 {
        wrong.push(format!("only {} fingerprints of {events} events", poll.len()));
    }
    Ok(Soak {
        seconds: (to_ms - from_ms) / 1e3,
        events,
        frames_per_s: Frames::per_s(before[0], after[0]),
        blank_frames_per_s: Frames::per_s(before[1], after[1]),
        long_tasks,
        long_frames,
        of_looking,
        memory: pages.memory,
        ranges: poll.len(),
        ranges_apart: apart,
        wrong,
        disturbance,
    })
}

/// How many events there were, and which counts of the page are not the server's once nothing happens any more.
async fn counts(server: &Server, pages: &mut Pages) -> Result<(u64, Vec<String>), String> {
    let until = Instant::now() + READY;
    loop {
        let report = pages.look().await?;
        let (_, topics) = server.get("/api/v1/topics")?;
        let topics: Topics = serde_json::from_str(&topics).map_err(|error| format!("{error}: {topics}"))?;
        let workload = topics.topics.iter().find(|topic| topic.name == "workload");
        let events = workload.ok_or("no topic workload")?.partitions[0].next_offset;
        let mut wrong = Vec::new();
        for lane in LANES {
            let reader = topics
                .readers
                .iter()
                .find(|reader| report[lane]["reader"] == *reader.id);
            wrong.extend(disagreements(&report[lane]["counters"], lane, reader, events));
        }
        // What feeds the cards goes on, so the two are asked until nothing came between.
        if wrong.is_empty() || Instant::now() > until {
            return Ok((events, wrong));
        }
        sleep(Duration::from_millis(150)).await;
    }
}

fn disagreements(counters: &Value, lane: &str, reader: Option<&Reader>, events: u64) -> Vec<String> {
    let Some(reader) = reader else {
        return vec![format!("{lane}: the server knows no such reader")];
    };
    let of_page = |name: &str| {
        counters[name]
            .as_u64()
            .or_else(|| counters[name].as_f64().map(|it| it as u64))
    };
    let cards = of_page("card_events").unwrap_or(0);
    let mut pairs = vec![
        ("events", of_page("events"), events),
        ("missed", of_page("missed"), 0),
        ("unknown_gaps", of_page("unknown_gaps"), 0),
        ("duplicates", of_page("duplicates"), 0),
        ("unexplained", of_page("unexplained"), 0),
        ("errors", of_page("errors"), 0),
        ("hidden", of_page("hidden"), 0),
        (
            "missed by the server's count",
            Some(reader.missed + reader.unknown_gaps),
            0,
        ),
        ("all events", of_page("events").map(|it| it + cards), reader.events),
        ("events for the cards", Some(cards), reader.state_events),
        ("superseded", of_page("superseded"), reader.superseded),
        ("requests", of_page("requests"), reader.requests),
    ];
    pairs.push(match lane {
        "poll" => ("empty", of_page("empty"), reader.empty),
        _ => ("frames", of_page("frames"), reader.frames),
    });
    let apart = pairs.into_iter().filter(|(_, page, server)| *page != Some(*server));
    apart
        .map(|(name, page, server)| format!("{lane}: {name} {page:?} instead of {server}"))
        .collect()
}
