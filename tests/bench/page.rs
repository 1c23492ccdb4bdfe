//! The page's frame work beside uPlot's, in one browser.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use freshet_tests::browser::Browser;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Bench;
use crate::machine::{Disturbance, Stretch, pin};
use crate::opponent::uplot;
use crate::report::{Section, Table, median, ratio};
use crate::rounds::{Measured, too_few};
use crate::server::Server;

const RATE_HZ: f64 = 1000.0;
const POINTS: u64 = 100_000;
/// As long as the page remembers.
const HISTORY_S: u64 = 300;
const FILL: Duration = Duration::from_secs(HISTORY_S + 60);
const READY: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(10);
const SIZE: [u32; 2] = [1280, 900];
const NAMES: [&str; 2] = ["Freshet's page", "uPlot"];

/// Of one page.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    frames_per_s: f64,
    /// CPU time of the main thread a frame: all of its tasks, and scripts alone (WebAssembly among them).
    tasks_ms: f64,
    scripts_ms: f64,
    /// CPU time of the page's whole process a frame.
    process_ms: f64,
}

/// Of both, over the same time.
#[derive(Debug, Clone, Copy, Serialize)]
struct Both {
    freshet: Figures,
    uplot: Figures,
    #[serde(flatten)]
    disturbance: Disturbance,
}

impl Both {
    fn of(&self, index: usize) -> &Figures {
        [&self.freshet, &self.uplot][index]
    }
}

impl Measured for Both {
    fn disturbance(&self) -> Disturbance {
        self.disturbance
    }
}

/// Both pages in windows of one browser, at the same time.
pub fn run(bench: &Bench) -> Result<Section, String> {
    let mut section = Section::new("page", "The page's frame work", &bench.folder)?;
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
    let rounds = runtime.block_on(measure(bench, &mut section));
    pin(&[bench.cores.readers]).map_err(|error| error.to_string())?;
    report(&mut section, &rounds?, &uplot::version(&bench.uplot)?);
    Ok(section)
}

fn report(section: &mut Section, rounds: &[Both], version: &str) {
    let mut table = Table::new(&[
        "page",
        "frames/s",
        "main thread a frame",
        "÷ uPlot",
        "scripts a frame",
        "÷ uPlot",
        "process a frame",
        "÷ uPlot",
    ]);
    type Figure = fn(&Figures) -> f64;
    let [tasks, scripts, process]: [Figure; 3] = [|f| f.tasks_ms, |f| f.scripts_ms, |f| f.process_ms];
    let ratios = |figure: Figure| {
        rounds
            .iter()
            .map(move |round| figure(&round.freshet) / figure(&round.uplot))
    };
    for (index, name) in NAMES.into_iter().enumerate() {
        let of = |figure: Figure| median(rounds.iter().map(|round| figure(round.of(index))));
        let mut cells = vec![name.to_owned(), format!("{:.1}", of(|f| f.frames_per_s))];
        for figure in [tasks, scripts, process] {
            cells.push(format!("{:.2} ms", of(figure)));
            cells.push(if index == 0 {
                ratio(ratios(figure))
            } else {
                "1".to_owned()
            });
        }
        table.row(cells);
    }
    section.table(table);
    section.aim("main thread a frame ÷ uPlot", median(ratios(tasks)), "<=", 0.5);
    section.aim("scripts a frame ÷ uPlot", median(ratios(scripts)), "<=", 0.5);
    section.remark(format!(
        "Both pages run in windows of one headless Chromium without a GPU, at the same time, at {RATE_HZ:.0} events a second. Figures \
         are CPU time (DevTools `Performance.getMetrics`, by the threads' clocks) divided by animation frames: of the main \
         thread's tasks; of its scripts, WebAssembly among them; and of the page's whole process, all its threads together. Freshet's \
         pictures are drawn by a worker, on a thread that is a part of the process and not of the main thread; uPlot draws on the main thread. \
         *Freshet's page* is all of it, as a user has it after {HISTORY_S} s: it polls and streams the same topic, takes every event \
         twice, keeps the newest arrivals of each lane and the percentiles of each second, and draws the race on every frame, the \
         other pictures and figures when they change. *uPlot* {version} is one chart of one series, as large as the race, of the stream's \
         newest {POINTS} latencies; its page takes every event once, from the same server, appends it to arrays that are ready for \
         uPlot, and calls `setData` on every frame. So uPlot has less to show and less to take in; what is compared is what a \
         frame costs while everything that came stays in the picture."
    ));
}

/// The browser with its two windows.
#[derive(Debug)]
struct Pages {
    browser: Browser,
    windows: [String; 2],
}

/// What a page counted until now.
#[derive(Debug, Clone, Copy)]
struct Counted {
    frames: f64,
    at_s: f64,
    tasks_s: f64,
    scripts_s: f64,
    process_s: f64,
}

impl Pages {
    async fn open(freshet: SocketAddr, opponent: SocketAddr) -> Self {
        let mut browser = Browser::start().await;
        let url = format!("http://{freshet}/#topics=workload&interval=1000");
        let live = "['poll', 'stream'].every(lane => window.__freshet()[lane].status.is === 'live')";
        open(&mut browser, &url, live).await;
        let size = "(it => [it.width, it.height])(document.querySelector('.race canvas').getBoundingClientRect())";
        let size = browser.eval(size).await;
        let windows = browser.new_window().await;
        let (width, height) = (&size[0], &size[1]);
        let url = format!("http://{opponent}/?stream=ws://{freshet}/api/v1/stream&width={width}&height={height}");
        open(&mut browser, &url, "window.connected()").await;
        Self { browser, windows }
    }

    /// Of both, one right after the other.
    async fn counted(&mut self) -> Result<[Counted; 2], String> {
        let mut counted = Vec::new();
        for window in &self.windows {
            self.browser.go_to(window).await;
            let metrics = self.browser.devtools("Performance.getMetrics", json!({})).await;
            let page = self.browser.eval("[window.__frames, performance.now()]").await;
            let number = |value: &Value| value.as_f64().ok_or_else(|| format!("no number: {metrics} {page}"));
            let metric = |name: &str| {
                let all = metrics["metrics"].as_array();
                let found = all.and_then(|all| all.iter().find(|metric| metric["name"] == name));
                number(found.map_or(&Value::Null, |metric| &metric["value"]))
            };
            counted.push(Counted {
                frames: number(&page[0])?,
                at_s: number(&page[1])? / 1e3,
                tasks_s: metric("TaskDuration")?,
                scripts_s: metric("ScriptDuration")?,
                process_s: metric("ProcessTime")?,
            });
        }
        counted.try_into().map_err(|_| "there are two windows".to_owned())
    }

    /// Waits until both show all that they can: a lane keeps the seconds in which something came, and a poll now and then passes one over.
    async fn fill(&mut self) -> Result<(), String> {
        let until = Instant::now() + FILL;
        loop {
            match self.are_full().await {
                Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_secs(1)).await,
                full => return full,
            }
        }
    }

    async fn are_full(&mut self) -> Result<(), String> {
        self.browser.go_to(&self.windows[0]).await;
        let seconds = "['poll', 'stream'].map(lane => window.__freshet()[lane].history_seconds)";
        let seconds = self.browser.eval(seconds).await;
        self.browser.go_to(&self.windows[1]).await;
        let points = self.browser.eval("window.points()").await;
        let full = |lane: usize| seconds[lane].as_u64() >= Some(HISTORY_S - 2);
        if full(0) && full(1) && points.as_u64() == Some(POINTS) {
            Ok(())
        } else {
            Err(format!(
                "the pages are not full: {seconds} seconds in Freshet's, {points} points in uPlot's"
            ))
        }
    }
}

/// Opens the page in the browser's window, and counts its frames once it is ready.
async fn open(browser: &mut Browser, url: &str, ready: &str) {
    browser.resize(SIZE[0], SIZE[1]).await;
    browser.open(url).await;
    browser.wait_for(url, READY, ready).await;
    let count = "(() => { window.__frames = 0; const count = () => { window.__frames += 1; requestAnimationFrame(count); }; count(); })()";
    browser.eval(count).await;
    browser
        .devtools("Performance.enable", json!({"timeDomain": "threadTicks"}))
        .await;
}

async fn measure(bench: &Bench, section: &mut Section) -> Result<Vec<Both>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let opponent = listener.local_addr().map_err(failed)?;
    tokio::spawn(axum::serve(listener, uplot::files(&bench.uplot)?).into_future());
    let mut server = Server::freshet(bench, &["--allow-origin", &format!("http://{opponent}")])?;
    let mut pages = Pages::open(SocketAddr::from(([127, 0, 0, 1], server.port)), opponent).await;
    server.set_rate(RATE_HZ)?;
    let quick = bench.keep_all;
    if quick {
        tokio::time::sleep(Duration::from_secs(20)).await;
    } else {
        pages.fill().await?;
    }
    let mut rounds = Vec::new();
    for round in 0..4 * bench.rounds {
        if !quick {
            pages.are_full().await?;
        }
        let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
        let before = pages.counted().await?;
        tokio::time::sleep(WINDOW).await;
        let after = pages.counted().await?;
        // The browser may use either core, so only what the host took is known of others.
        let disturbance = Disturbance {
            others: 0.0,
            ..stretch.end().map_err(failed)?.disturbance
        };
        let [freshet, uplot] = [0, 1].map(|index| Figures::between(before[index], after[index]));
        let both = Both {
            freshet,
            uplot,
            disturbance,
        };
        let kept = bench.keeps(disturbance);
        section.result(&json!({"round": round}), both, kept)?;
        if kept {
            rounds.push(both);
        }
        if rounds.len() == bench.rounds {
            return Ok(rounds);
        }
    }
    Err(too_few("the page"))
}

impl Figures {
    fn between(before: Counted, after: Counted) -> Self {
        let frames = after.frames - before.frames;
        Self {
            frames_per_s: frames / (after.at_s - before.at_s),
            tasks_ms: (after.tasks_s - before.tasks_s) * 1e3 / frames,
            scripts_ms: (after.scripts_s - before.scripts_s) * 1e3 / frames,
            process_ms: (after.process_s - before.process_s) * 1e3 / frames,
        }
    }
}
