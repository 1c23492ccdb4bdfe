//! What a connection that does nothing costs in memory.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::Bench;
use crate::machine::{Disturbance, resident};
use crate::readers::{Readers, Speech};
use crate::report::{Section, Table, median, megabytes, ratio};
use crate::requests::Requests;
use crate::rounds::{Measured, in_turn, undisturbed, whole};
use crate::server::{Program, Server};

const CONNECTIONS: usize = 2000;
/// Connections before the others, so that what is made once is there.
const FIRST: usize = 20;
const SETTLE: Duration = Duration::from_secs(1);

/// Of the table, in its order: a name, who serves, and how it is spoken to; without a speech by one request.
const KINDS: [(&str, Program, Option<Speech>, &str); 4] = [
    (
        "stream, subscribed to a quiet topic",
        Program::Freshet,
        Some(Speech::Subscribe(r#"{"type":"subscribe","from":["workload@latest"]}"#)),
        "",
    ),
    ("WebSocket, the plain way", Program::Plain, Some(Speech::WebSocket), ""),
    (
        "HTTP, after a poll",
        Program::Freshet,
        None,
        "/api/v1/events?from=workload",
    ),
    ("HTTP, after axum's hello world", Program::Hello, None, "/"),
];

#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    /// Before and after the connections were there, in bytes.
    before: u64,
    after: u64,
    per_connection: f64,
}

impl Measured for Figures {
    /// Memory is no matter of time.
    fn disturbance(&self) -> Disturbance {
        Disturbance::default()
    }
}

/// Each kind of connection, to a server of its own.
pub fn run(bench: &Bench) -> Result<Section, String> {
    let mut section = Section::new("memory", "Memory a connection", &bench.folder)?;
    let rounds = whole(bench, "memory", |round| {
        let mut results = [None; 4];
        for index in in_turn(round, KINDS.len()) {
            let what = json!({"connection": KINDS[index].0, "connections": CONNECTIONS, "round": round});
            results[index] = undisturbed(bench, &mut section, &what, || measure(bench, index))?;
        }
        let [Some(stream), Some(plain), Some(http), Some(hello)] = results else {
            return Ok(None);
        };
        Ok(Some([stream, plain, http, hello]))
    })?;
    let mut table = Table::new(&[
        "idle connection",
        "server before",
        "with 2,000",
        "a connection",
        "÷ the other way",
    ]);
    for (index, (name, ..)) in KINDS.into_iter().enumerate() {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(|round: &[Figures; 4]| figure(&round[index])));
        let against = |round: &[Figures; 4]| round[index].per_connection / round[index + 1].per_connection;
        table.row([
            name.to_owned(),
            megabytes(of(|f| f.before as f64)),
            megabytes(of(|f| f.after as f64)),
            format!("{:.2} kB", of(|f| f.per_connection) / 1e3),
            if index % 2 == 0 {
                ratio(rounds.iter().map(against))
            } else {
                "1".to_owned()
            },
        ]);
    }
    section.table(table);
    section.aim(
        "an idle stream, kB of the server's memory",
        median(rounds.iter().map(|round| round[0].per_connection)) / 1e3,
        "<=",
        5.0,
    );
    section.remark(format!(
        "How much the resident memory of the server's process (`VmRSS`) grew from {FIRST} to {} connections, divided by \
         {CONNECTIONS}. Each has been served once and is quiet since. What the kernel holds for a socket is not in it.",
        FIRST + CONNECTIONS
    ));
    Ok(section)
}

fn measure(bench: &Bench, index: usize) -> Result<Figures, String> {
    let (_, program, speech, path) = KINDS[index];
    let server = match program {
        Program::Freshet => Server::freshet(bench, &[])?,
        _ => Server::opponent(bench, program, &[])?,
    };
    let resident = || resident(server.process()).map_err(|error| error.to_string());
    let (before, after) = if let Some(speech) = speech {
        let mut readers = Readers::new(false)?;
        readers.connect(server.port, FIRST, speech)?;
        readers.run(SETTLE)?;
        let before = resident()?;
        readers.connect(server.port, CONNECTIONS, speech)?;
        readers.run(SETTLE)?;
        (before, resident()?)
    } else {
        // A few at a time: requests at once would cost more than connections do.
        let connect = |_| -> Result<Requests, String> {
            let mut requests = Requests::new(server.port, FIRST, path, "", "200")?;
            requests.begin()?;
            requests.end()?;
            Ok(requests)
        };
        let mut connected = vec![connect(0)?];
        thread::sleep(SETTLE);
        let before = resident()?;
        for group in 0..CONNECTIONS / FIRST {
            connected.push(connect(group)?);
        }
        thread::sleep(SETTLE);
        (before, resident()?)
    };
    Ok(Figures {
        before,
        after,
        per_connection: (after as f64 - before as f64) / CONNECTIONS as f64,
    })
}
