//! `make bench`: measures Freshet beside its opponents, interleaved, and writes the document.
// In a program `pub` says what other modules use; there is nobody outside to reach it.
#![allow(unreachable_pub)]
#![expect(clippy::print_stdout, reason = "the results are its output")]

mod count;
mod document;
mod fanout;
mod frame;
mod limits;
mod load;
mod log;
mod machine;
mod memory;
mod opponent;
mod page;
mod poll;
mod readers;
mod report;
mod requests;
mod rounds;
mod server;
mod soak;
mod stuck;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use crate::load::Load;
use crate::machine::{Cores, Disturbance};
use crate::report::Section;
use crate::server::Program;

/// The size of an event's `data`, in bytes.
pub const PAYLOAD: usize = 128;
/// The most that the workload generates, in events a second.
pub const MOST_HZ: f64 = 10_000.0;
/// Shares of a measurement's time beyond which it is thrown away: taken by the host, used by others.
pub const MOST_STOLEN: f64 = 0.01;
pub const MOST_OTHERS: f64 = 0.05;
/// In the order in which they stand in the document.
pub const PARTS: [&str; 8] = ["fanout", "stuck", "poll", "log", "limits", "memory", "page", "soak"];

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Measure and write down.
    Run(Run),
    /// Keep one program under a steady load, to look into it with other tools; prints its process and figures.
    Hold(Hold),
    /// Be the opponent that only sends.
    Floor { readers: usize, message: PathBuf },
    /// Be the opponent that is written the plain way.
    Plain,
    /// Be axum's hello world.
    Hello,
}

#[derive(Debug, Args)]
struct Run {
    /// The parts to measure, with commas between them; all by default.
    #[arg(long, value_delimiter = ',')]
    part: Vec<String>,
    /// Few and short rounds, disturbed ones too, and no document: to see whether it works.
    #[arg(long)]
    quick: bool,
    #[arg(long)]
    rounds: Option<usize>,
    /// How long the page is held under load.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Numbers of readers for the fan-out, with commas between them.
    #[arg(long, value_delimiter = ',')]
    readers: Option<Vec<usize>>,
    #[command(flatten)]
    place: Place,
    #[arg(long, default_value = "docs/benchmarks.md")]
    document: PathBuf,
}

#[derive(Debug, Args)]
struct Hold {
    #[arg(value_enum)]
    program: Program,
    #[arg(long, default_value_t = 500)]
    readers: usize,
    /// Events a second; as many as there can be by default.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    #[arg(long, default_value = "target/release/freshet")]
    freshet: PathBuf,
    /// The package uPlot, unpacked.
    #[arg(long, default_value = "target/bench/uplot")]
    uplot: PathBuf,
    /// For raw results and logs.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Let the readers sleep when nothing is ready, so that the server pays for waking them.
    #[arg(long)]
    sleep: bool,
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Bench {
    pub cores: Cores,
    pub freshet: PathBuf,
    pub uplot: PathBuf,
    pub folder: PathBuf,
    pub rounds: usize,
    pub readers: Option<Vec<usize>>,
    pub warm: Duration,
    pub window: Duration,
    pub spin: bool,
    pub keep_all: bool,
}

impl Bench {
    fn new(place: &Place, folder: PathBuf) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let cores = Cores::find()?;
        machine::pin(&[cores.readers]).map_err(failed)?;
        fs::create_dir_all(&folder).map_err(failed)?;
        Ok(Self {
            cores,
            freshet: place.freshet.clone(),
            uplot: place.uplot.clone(),
            folder,
            rounds: 5,
            readers: None,
            warm: Duration::from_millis(500),
            window: Duration::from_secs(2),
            spin: !place.sleep,
            keep_all: false,
        })
    }

    /// The message that the floor sends.
    pub fn message(&self) -> PathBuf {
        self.folder.join("message.json")
    }

    /// Whether a measurement that others disturbed so much counts.
    pub fn keeps(&self, disturbance: Disturbance) -> bool {
        self.keep_all || disturbance.stolen <= MOST_STOLEN && disturbance.others <= MOST_OTHERS
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Action::Run(run) => measure(&run),
        Action::Hold(hold) => hold_load(&hold),
        Action::Floor { readers, message } => opponent::floor::run(&message, readers),
        Action::Plain => opponent::plain::run().map_err(|error| error.to_string()),
        Action::Hello => opponent::hello::run().map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(run: &Run) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let parts: Vec<&str> = if run.part.is_empty() {
        PARTS.to_vec()
    } else {
        run.part.iter().map(String::as_str).collect()
    };
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!("there is no part {unknown:?}; there are {}", PARTS.join(", ")));
    }
    // What only shows that it works must not take the place of results.
    let folder = run.place.folder.join(if run.quick { "quick" } else { "" });
    let mut bench = Bench::new(&run.place, folder)?;
    bench.rounds = run.rounds.unwrap_or(if run.quick { 1 } else { 5 });
    bench.readers.clone_from(&run.readers);
    bench.keep_all = run.quick;
    if run.quick {
        (bench.warm, bench.window) = (bench.warm / 2, bench.window / 2);
    }
    let minutes = if run.quick { 0.5 } else { run.minutes };
    if !(0.1..=24.0 * 60.0).contains(&minutes) {
        return Err(format!("--minutes: {minutes} is not between 0.1 and 1440"));
    }
    for part in parts {
        let started = Instant::now();
        let section: Section = match part {
            "fanout" => fanout::run(&bench)?,
            "stuck" => stuck::run(&bench)?,
            "poll" => poll::run(&bench)?,
            "log" => log::run(&bench)?,
            "limits" => limits::run(&bench)?,
            "memory" => memory::run(&bench)?,
            "page" => page::run(&bench)?,
            "soak" => soak::run(&bench, Duration::from_secs_f64(minutes * 60.0))?,
            part => return Err(format!("there is no part {part:?}")),
        };
        let text = section.markdown(&document::taken(started.elapsed()));
        println!("{text}");
        // After each part, so that one that fails costs no other.
        if !run.quick {
            document::write(&run.document, &bench, section.part, &text).map_err(failed)?;
        }
        // What the others aim at is a wish; this is promised.
        let broken = section.missed_aims();
        if section.part == "soak" && !broken.is_empty() {
            return Err(format!("not kept: {}", broken.join("; ")));
        }
    }
    Ok(())
}

fn hold_load(hold: &Hold) -> Result<(), String> {
    let bench = Bench::new(&hold.place, hold.place.folder.clone())?;
    let mut load = Load::start(&bench, hold.program, hold.readers)?;
    println!("process {}", load.server.process());
    let figures = load.measure(hold.rate, bench.warm, Duration::from_secs(hold.seconds))?;
    println!(
        "{}",
        serde_json::to_string_pretty(&figures).map_err(|error| error.to_string())?
    );
    Ok(())
}
