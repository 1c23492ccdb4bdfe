//! Readers that never read: what the others notice of them, and how much memory they take.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::Bench;
use crate::load::{Figures, Load};
use crate::machine::{Disturbance, socket_buffers};
use crate::readers::{Speech, open};
use crate::report::{Section, Table, median, megabytes, milliseconds, percent, ratio};
use crate::rounds::{Measured, in_turn, undisturbed, whole};
use crate::server::Server;

const READERS: usize = 2000;
const STUCK: usize = READERS / 10;
const RATE_HZ: f64 = 100.0;
/// Freshet lets a reader go that takes no byte for 10 s; the measurement is over before that.
const LET_GO: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Serialize)]
struct Of {
    #[serde(flatten)]
    figures: Figures,
    /// In the kernel's buffers of all sockets, at both ends.
    socket_buffers: u64,
    /// Until the last of those who never read was let go, from when the last of them had subscribed.
    let_go_s: f64,
}

impl Measured for Of {
    fn disturbance(&self) -> Disturbance {
        self.figures.disturbance
    }
}

/// The same readers with and without others that are stuck.
pub fn run(bench: &Bench) -> Result<Section, String> {
    let mut section = Section::new("stuck", "Readers that never read", &bench.folder)?;
    let rounds = whole(bench, "readers that never read", |round| {
        let mut results = [None; 2];
        for index in in_turn(round, 2) {
            let stuck = STUCK * index;
            let what = json!({"readers": READERS - STUCK, "stuck": stuck, "round": round});
            results[index] = undisturbed(bench, &mut section, &what, || measure(bench, stuck))?;
        }
        let [Some(without), Some(with)] = results else {
            return Ok(None);
        };
        Ok(Some([without, with]))
    })?;

    let mut table = Table::new(&[
        "readers",
        "never read",
        "p50",
        "p99",
        "p99 ÷ without",
        "missed",
        "server CPU",
        "server's memory",
        "its most",
        "kernel's socket buffers",
        "let go after",
    ]);
    let p99 = |round: &[Of; 2]| round[1].figures.p99_us as f64 / round[0].figures.p99_us as f64;
    for (index, stuck) in [0, STUCK].into_iter().enumerate() {
        let of = |figure: fn(&Of) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        table.row([
            (READERS - STUCK).to_string(),
            stuck.to_string(),
            milliseconds(of(|o| o.figures.p50_us as f64)),
            milliseconds(of(|o| o.figures.p99_us as f64)),
            if stuck == 0 {
                "1".to_owned()
            } else {
                ratio(rounds.iter().map(p99))
            },
            format!("{:.0}", of(|o| (o.figures.told + o.figures.skipped) as f64)),
            percent(of(|o| o.figures.server_share)),
            megabytes(of(|o| o.figures.resident as f64)),
            megabytes(of(|o| o.figures.most_resident as f64)),
            megabytes(of(|o| o.socket_buffers as f64)),
            if stuck == 0 {
                "-".to_owned()
            } else {
                format!("{:.1} s", of(|o| o.let_go_s))
            },
        ]);
    }
    section.table(table);
    section.aim(
        "p99 of those who read, with 200 of 2,000 stuck ÷ without",
        median(rounds.iter().map(p99)),
        "<=",
        1.2,
    );
    section.remark(format!(
        "{RATE_HZ:.0} events a second to {} readers, alone and beside {STUCK} that subscribe to a topic of 4 MiB from its \
         earliest event and never read a byte, so that the kernel's buffers are full at once. It is measured while they are \
         stuck and still connected; then the server must let go of every one of them, or the bench fails. *Missed* is over all \
         who read. The server's memory is what is resident of its process (`VmRSS`), and the most that ever was (`VmHWM`); what \
         the kernel holds for sockets, at both ends, is not in it and stands beside it.",
        READERS - STUCK
    ));
    Ok(section)
}

fn measure(bench: &Bench, stuck: usize) -> Result<Of, String> {
    let mut server = Server::freshet(bench, &[])?;
    server.fill()?;
    let mut load = Load::over(bench, server, READERS - STUCK)?;
    let never_read = (0..stuck)
        .map(|index| {
            let subscribe = r#"{"type":"subscribe","from":["workload@earliest"]}"#;
            open(load.server.port, READERS + index, Speech::Subscribe(subscribe)).map(|(socket, _)| socket)
        })
        .collect::<Result<Vec<TcpStream>, String>>()?;
    let subscribed = Instant::now();
    load.strangers = stuck > 0;
    let figures = load.measure(Some(RATE_HZ), bench.warm * 2, WINDOW)?;
    let socket_buffers = socket_buffers().map_err(|error| error.to_string())?;
    let still = connected(&load.server)?;
    if still != READERS - STUCK + stuck {
        return Err(format!("{still} readers were connected when the measurement ended"));
    }
    if stuck > 0 {
        while connected(&load.server)? > READERS - STUCK {
            if subscribed.elapsed() > 3 * LET_GO {
                return Err("readers that never read are still connected".to_owned());
            }
            load.readers.run(Duration::from_millis(50))?;
        }
    }
    let let_go_s = subscribed.elapsed().as_secs_f64();
    drop(never_read);
    Ok(Of {
        figures,
        socket_buffers,
        let_go_s,
    })
}

fn connected(server: &Server) -> Result<usize, String> {
    let [readers] = server.metrics([r#"freshet_readers{lane="stream"}"#])?;
    usize::try_from(readers).map_err(|error| error.to_string())
}
