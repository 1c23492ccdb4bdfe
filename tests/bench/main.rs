//! `make bench`: measures Freshet beside its opponents, interleaved, and writes the document.
// In a program `pub` says what other modules use; there is nobody outside to reach it.
#![allow(unreachable_pub)]
#![expect(clippy::print_stdout, reason = "the results are its output")]

mod count;
mod fanout;
mod frame;
mod load;
mod machine;
mod opponent;
mod readers;
mod report;
mod server;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use crate::load::Load;
use crate::machine::Cores;
use crate::report::Section;
use crate::server::Program;

/// The size of an event's `data`, in bytes.
pub const PAYLOAD: usize = 128;
/// The most that the workload generates, in events a second.
pub const MOST_HZ: f64 = 10_000.0;
/// Shares of a measurement's time beyond which it is thrown away: taken by the host, used by others.
const MOST_STOLEN: f64 = 0.01;
const MOST_OTHERS: f64 = 0.05;
/// In the order in which they stand in the document.
pub const PARTS: [&str; 1] = ["fanout"];

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
    pub folder: PathBuf,
    pub rounds: usize,
    pub readers: Option<Vec<usize>>,
    pub warm: Duration,
    pub window: Duration,
    pub spin: bool,
    pub keep_all: bool,
}

impl Bench {
    fn new(place: &Place) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let cores = Cores::find()?;
        machine::pin(cores.readers).map_err(failed)?;
        fs::create_dir_all(&place.folder).map_err(failed)?;
        Ok(Self {
            cores,
            freshet: place.freshet.clone(),
            folder: place.folder.clone(),
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
    pub fn keeps(&self, stolen: f64, others: f64) -> bool {
        self.keep_all || stolen <= MOST_STOLEN && others <= MOST_OTHERS
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Action::Run(run) => measure(&run),
        Action::Hold(hold) => hold_load(&hold),
        Action::Floor { readers, message } => opponent::floor::run(&message, readers),
        Action::Plain => opponent::plain::run().map_err(|error| error.to_string()),
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
    let mut bench = Bench::new(&run.place)?;
    bench.rounds = run.rounds.unwrap_or(if run.quick { 1 } else { 5 });
    bench.readers.clone_from(&run.readers);
    bench.keep_all = run.quick;
    if run.quick {
        (bench.warm, bench.window) = (bench.warm / 2, bench.window / 2);
    }
    let mut texts = Vec::new();
    for part in parts {
        let started = Instant::now();
        let section: Section = match part {
            "fanout" => fanout::run(&bench)?,
            part => return Err(format!("there is no part {part:?}")),
        };
        let taken = format!(
            "Taken {} at {}, in {} s.",
            date(),
            commit(),
            started.elapsed().as_secs()
        );
        texts.push((section.part, section.markdown(&taken)));
    }
    for (_, text) in &texts {
        println!("{text}");
    }
    if run.quick {
        return Ok(());
    }
    report::write_document(&run.document, &preface(&bench), &texts).map_err(failed)
}

fn preface(bench: &Bench) -> String {
    let machine = machine::describe();
    format!(
        "# Benchmarks\n\n\
         Written by `make bench`. `PART={part} make bench` takes one part anew and leaves the others as they are; raw\n\
         results stay in `target/bench`, one JSON object a line.\n\n\
         **Machine.** {machine}. The server that is measured has core {server} for itself, its readers have core {readers}.\n\n\
         **Method.** Freshet is the release binary as a user starts it, with its own telemetry running. What it is held\n\
         against runs in the same round, each program first, second and last in turn; figures are medians over {rounds} rounds,\n\
         and a ratio is the median of the ratios within the rounds, with the least and the most in brackets. CPU time is the\n\
         kernel's CPU clock of the server's process. A measurement is thrown away and repeated when the host stole more than\n\
         {stolen:.0} % of either core's time or other processes used more than {others:.0} % of the server's core. After each\n\
         measurement the readers' counts are held against the server's: delivered, and told as missed, must be every event\n\
         that was produced, or the bench fails. Readers never sleep, so the server does not pay for waking them, as it would\n\
         not for readers on other machines.",
        part = PARTS[0],
        server = bench.cores.server,
        readers = bench.cores.readers,
        rounds = bench.rounds,
        stolen = MOST_STOLEN * 100.0,
        others = MOST_OTHERS * 100.0,
    )
}

fn hold_load(hold: &Hold) -> Result<(), String> {
    let bench = Bench::new(&hold.place)?;
    let mut load = Load::start(&bench, hold.program, hold.readers)?;
    println!("process {}", load.server.process());
    let figures = load.measure(hold.rate, bench.warm, Duration::from_secs(hold.seconds))?;
    println!(
        "{}",
        serde_json::to_string_pretty(&figures).map_err(|error| error.to_string())?
    );
    Ok(())
}

fn date() -> String {
    said(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

fn commit() -> String {
    said(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]))
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
