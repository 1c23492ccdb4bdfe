//! One stream of events to many readers: Freshet beside a floor that only sends, and beside the plain way.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::load::{Figures, Load};
use crate::report::{Section, Table, median, milliseconds, percent, ratio, thousands};
use crate::rounds::{in_turn, too_few, undisturbed};
use crate::server::Program;
use crate::{Bench, MOST_HZ, PAYLOAD};

const READERS: [usize; 4] = [1, 100, 500, 2000];
const PROGRAMS: [Program; 3] = [Program::Freshet, Program::Floor, Program::Plain];
const LOADS: [&str; 2] = ["half", "full"];

/// Half a core and a full one, at every number of readers.
pub fn run(bench: &Bench) -> Result<Section, String> {
    capture(bench)?;
    let mut section = Section::new("fanout", "One stream, many readers", &bench.folder)?;
    let mut table = Table::new(&[
        "readers",
        "load",
        "program",
        "events/s",
        "server CPU",
        "deliveries/s",
        "a CPU-second",
        "÷ floor",
        "÷ plain",
        "events a message",
        "p50",
        "p99",
        "missed",
        "readers' CPU",
    ]);
    for readers in bench.readers.clone().unwrap_or(READERS.to_vec()) {
        let rate_hz = half_a_core(bench, readers)?;
        // By load; a round counts for a load when none of its programs stayed disturbed.
        let mut rounds: [Vec<[Figures; 3]>; 2] = Default::default();
        let mut round = 0;
        while rounds.iter().any(|whole| whole.len() < bench.rounds) {
            if round == 2 * bench.rounds {
                return Err(too_few(&format!("{readers} readers")));
            }
            let mut results = [[None; 2]; 3];
            for index in in_turn(round, PROGRAMS.len()) {
                results[index] = measure(bench, &mut section, PROGRAMS[index], readers, rate_hz, round)?;
            }
            for (load, whole) in rounds.iter_mut().enumerate() {
                if let [Some(freshet), Some(floor), Some(plain)] = results.map(|of_program| of_program[load]) {
                    whole.push([freshet, floor, plain]);
                }
            }
            round += 1;
        }
        for (name, whole) in LOADS.iter().zip(&rounds) {
            rows(&mut section, &mut table, readers, name, whole);
        }
    }
    section.table(table);
    section.remark(format!(
        "Events with {PAYLOAD} bytes of data each go to every reader. *Half* is the rate at which Freshet uses half of its \
         core, the same for all three; *full* is {MOST_HZ:.0} events a second, the most that the workload produces, and \
         without a pause for the floor. *Floor* is one thread that calls `send()` once a delivery with the bytes of a message of \
         Freshet's that holds one event, and does nothing else. *Plain* is the way most would write it: axum's WebSocket, tokio's \
         broadcast channel, and serde_json in every connection, all with their defaults; a profile of it says that half of its time goes \
         into clearing the 128 KiB that axum's WebSocket sets aside for reading, each time a connection is polled. Its clock is tokio's `interval`, whose grain is a millisecond: at 10,000 events a second its events \
         come ten at a time and are stamped then, while Freshet's and the floor's are each waited for, so with one reader it wakes a tenth as often. *Missed* are events that fell out of what a server holds before \
         a reader took them: Freshet tells its readers, the plain way does not. Latency runs from when an event was due to the end \
         of the read that brought it; where the readers' core is near 100 %, they set the pace, not the server."
    ));
    Ok(section)
}

/// Both loads of one program; a load that stayed disturbed is none.
fn measure(
    bench: &Bench,
    section: &mut Section,
    program: Program,
    readers: usize,
    rate_hz: f64,
    round: usize,
) -> Result<[Option<Figures>; 2], String> {
    let mut load = Load::start(bench, program, readers)?;
    let mut results = [None; 2];
    for (result, (name, rate_hz)) in results.iter_mut().zip(LOADS.iter().zip([Some(rate_hz), None])) {
        let what = json!({"readers": readers, "load": name, "program": program.name(), "round": round});
        *result = undisturbed(bench, section, &what, || {
            load.measure(rate_hz, bench.warm, bench.window)
        })?;
    }
    Ok(results)
}

fn rows(section: &mut Section, table: &mut Table, readers: usize, load: &str, rounds: &[[Figures; 3]]) {
    let per_cpu_s = |figures: &Figures| figures.deliveries_per_cpu_s;
    for (index, program) in PROGRAMS.iter().enumerate() {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        let against = |other: usize| {
            if index == other {
                "1".to_owned()
            } else {
                ratio(
                    rounds
                        .iter()
                        .map(|round| per_cpu_s(&round[index]) / per_cpu_s(&round[other])),
                )
            }
        };
        let asked = rounds.first().and_then(|round| round[index].rate_hz);
        table.row([
            readers.to_string(),
            load.to_owned(),
            program.name().to_owned(),
            asked.map_or_else(
                || {
                    if *program == Program::Floor {
                        "all it can".to_owned()
                    } else {
                        format!("{MOST_HZ:.0}")
                    }
                },
                |rate| format!("{rate:.0}"),
            ),
            percent(of(|f| f.server_share)),
            thousands(of(|f| f.deliveries_per_s)),
            thousands(of(|f| f.deliveries_per_cpu_s)),
            against(1),
            against(2),
            format!("{:.1}", of(|f| f.events_per_message)),
            milliseconds(of(|f| f.p50_us as f64)),
            milliseconds(of(|f| f.p99_us as f64)),
            format!(
                "{:.1} %",
                100.0
                    * of(
                        |f| (f.told + f.skipped) as f64 / (f.deliveries_per_s * f.wall_s + (f.told + f.skipped) as f64)
                    )
            ),
            percent(of(|f| f.readers_share)),
        ]);
    }
    if readers == 500 {
        let against = |other: usize| {
            median(
                rounds
                    .iter()
                    .map(|round| per_cpu_s(&round[0]) / per_cpu_s(&round[other])),
            )
        };
        match load {
            "half" => section.aim(
                "500 readers, half a core: deliveries a CPU-second ÷ floor",
                against(1),
                ">=",
                0.8,
            ),
            _ => {
                section.aim(
                    "500 readers, full core: deliveries a CPU-second ÷ floor",
                    against(1),
                    ">=",
                    3.0,
                );
                section.aim(
                    "500 readers, full core: deliveries a CPU-second ÷ plain",
                    against(2),
                    ">=",
                    4.0,
                );
            }
        }
    }
}

/// The rate at which Freshet's core is half busy, as far as the workload goes.
fn half_a_core(bench: &Bench, readers: usize) -> Result<f64, String> {
    let mut load = Load::start(bench, Program::Freshet, readers)?;
    let mut rate_hz = (150_000.0 / readers as f64).min(MOST_HZ);
    for _ in 0..6 {
        let share = load
            .measure(Some(rate_hz), bench.warm / 2, bench.window / 2)?
            .server_share;
        if (0.46..=0.54).contains(&share) || rate_hz >= MOST_HZ && share < 0.5 {
            break;
        }
        rate_hz = (rate_hz * (0.5 / share).clamp(0.2, 4.0)).clamp(1.0, MOST_HZ).round();
    }
    Ok(rate_hz)
}

/// A message of Freshet's with one event, for the floor to send.
fn capture(bench: &Bench) -> Result<(), String> {
    let mut load = Load::start(bench, Program::Freshet, 1)?;
    load.measure(None, Duration::from_millis(200), Duration::from_millis(800))?;
    load.readers.keep_last();
    load.measure(Some(50.0), Duration::from_millis(200), Duration::from_millis(200))?;
    let message = load.readers.last();
    if message.len() < PAYLOAD {
        return Err(format!(
            "no message with one event: {}",
            String::from_utf8_lossy(message)
        ));
    }
    fs::write(bench.message(), message).map_err(|error| error.to_string())
}
