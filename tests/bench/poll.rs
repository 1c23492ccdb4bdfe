//! Polls beside axum's hello world.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::Bench;
use crate::machine::{Disturbance, Stretch};
use crate::report::{Section, Table, median, milliseconds, percent, ratio, thousands};
use crate::requests::Requests;
use crate::rounds::{Measured, in_turn, undisturbed, whole};
use crate::server::{Program, Server};

const CONNECTIONS: usize = 32;
const PAGE: usize = 500;

/// What is asked for, in the order of the table.
const ASKED: [&str; KINDS] = [
    "hello world",
    "hello world, as long as a page",
    "page of 500 events",
    "page of 1 event",
    "304, nothing new",
];
const KINDS: usize = 5;
const HELLO: usize = 0;
const LONG_HELLO: usize = 1;
const FULL: usize = 2;
const ONE: usize = 3;

#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    answers_per_s: f64,
    answers_per_cpu_s: f64,
    bytes_per_answer: f64,
    server_share: f64,
    clients_share: f64,
    p50_us: u64,
    p99_us: u64,
    #[serde(flatten)]
    disturbance: Disturbance,
}

impl Measured for Figures {
    fn disturbance(&self) -> Disturbance {
        self.disturbance
    }
}

/// A request, and what its answer must be.
struct Asked {
    path: String,
    headers: String,
    status: &'static str,
}

/// Of each kind, in the order of [`ASKED`].
type Round = [Figures; KINDS];

/// Each kind of poll, with as many requests as the server can answer.
pub fn run(bench: &Bench) -> Result<Section, String> {
    let mut section = Section::new("poll", "Polls", &bench.folder)?;
    let rounds = whole(bench, "polls", |round| {
        let mut freshet = Server::freshet(bench, &[])?;
        freshet.fill()?;
        let hello = Server::opponent(bench, Program::Hello, &[])?;
        let asked = requests(&freshet)?;
        let mut results = [None; KINDS];
        for index in in_turn(round, ASKED.len()) {
            let server = if index <= LONG_HELLO { &hello } else { &freshet };
            let what = json!({"asked": ASKED[index], "round": round});
            results[index] = undisturbed(bench, &mut section, &what, || measure(bench, server, &asked[index]))?;
        }
        let results: Option<Vec<Figures>> = results.into_iter().collect();
        Ok(results.and_then(|results| Round::try_from(results).ok()))
    })?;

    let mut table = Table::new(&[
        "asked",
        "bytes an answer",
        "requests/s",
        "a CPU-second",
        "÷ hello world",
        "÷ hello world as long",
        "events a CPU-second",
        "server CPU",
        "p50",
        "p99",
        "clients' CPU",
    ]);
    for (index, name) in ASKED.into_iter().enumerate() {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(|round: &Round| figure(&round[index])));
        let per_cpu_s = of(|f| f.answers_per_cpu_s);
        let against = |other: usize| {
            let of_round = move |round: &Round| round[index].answers_per_cpu_s / round[other].answers_per_cpu_s;
            ratio(rounds.iter().map(of_round))
        };
        table.row([
            name.to_owned(),
            format!("{:.0}", of(|f| f.bytes_per_answer)),
            thousands(of(|f| f.answers_per_s)),
            thousands(per_cpu_s),
            match index {
                HELLO => "1".to_owned(),
                _ => against(HELLO),
            },
            match index {
                LONG_HELLO => "1".to_owned(),
                FULL => against(LONG_HELLO),
                _ => "-".to_owned(),
            },
            match index {
                FULL => thousands(per_cpu_s * PAGE as f64),
                ONE => thousands(per_cpu_s),
                _ => "-".to_owned(),
            },
            percent(of(|f| f.server_share)),
            milliseconds(of(|f| f.p50_us as f64)),
            milliseconds(of(|f| f.p99_us as f64)),
            percent(of(|f| f.clients_share)),
        ]);
    }
    section.table(table);
    section.remark(format!(
        "{CONNECTIONS} connections that are kept open, on each the next request as soon as the answer is whole. *Hello world* is \
         axum's own first example, served by `axum::serve`: 13 bytes, nothing looked up, no figures kept; *as long as a page* it is \
         as many bytes that lie ready in memory and are not copied for an answer. Events have {} bytes \
         of data. A 304 answers a poll with the validator of the page before it when nothing came since. Where the clients' \
         core is near 100 %, they set the pace of requests a second; requests a CPU-second of the server are not held up by them.",
        crate::PAYLOAD
    ));
    Ok(section)
}

/// In the order of [`ASKED`], once each of them was seen to bring what it should.
fn requests(freshet: &Server) -> Result<[Asked; KINDS], String> {
    let [produced] = freshet.metrics([r#"freshet_topic_events_total{topic="workload"}"#])?;
    let first = produced - PAGE as u64;
    let path = |limit: usize| format!("/api/v1/events?from=workload@offset:0:{first}&limit={limit}&reader=bench");
    let page = |limit: usize| -> Result<(Value, String, usize), String> {
        let (head, body) = freshet.get(&path(limit))?;
        let page: Value = serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
        let events = page["events"].as_array().map_or(0, Vec::len);
        if events != limit {
            return Err(format!("{events} events came where {limit} were asked for"));
        }
        let etag = head.lines().find_map(|line| line.strip_prefix("etag: "));
        let etag = etag.ok_or_else(|| format!("no etag: {head}"))?.to_owned();
        Ok((page, etag, body.len()))
    };
    page(1)?;
    let (full, etag, bytes) = page(PAGE)?;
    let cursor = full["next"]["workload"].as_str().ok_or("no cursor")?;
    let ok = |path: String| Asked {
        path,
        headers: String::new(),
        status: "200",
    };
    Ok([
        ok("/".to_owned()),
        ok(format!("/{bytes}")),
        ok(path(PAGE)),
        ok(path(1)),
        Asked {
            path: format!("/api/v1/events?from=workload@{cursor}&limit={PAGE}&reader=bench"),
            headers: format!("if-none-match: {etag}\r\n"),
            status: "304",
        },
    ])
}

fn measure(bench: &Bench, server: &Server, asked: &Asked) -> Result<Figures, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut requests = Requests::new(server.port, CONNECTIONS, &asked.path, &asked.headers, asked.status)?;
    requests.begin()?;
    requests.run(bench.warm.min(Duration::from_millis(300)))?;
    requests.reset_latency();
    let before = requests.counts();
    let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
    requests.run(bench.window)?;
    let spent = stretch.end().map_err(failed)?;
    let after = requests.counts();
    let (p50_us, p99_us) = (requests.latency(0.5), requests.latency(0.99));
    requests.end()?;
    let answers = (after.answers - before.answers) as f64;
    Ok(Figures {
        answers_per_s: answers / spent.wall_s,
        answers_per_cpu_s: answers / spent.cpu_s,
        bytes_per_answer: (after.bytes - before.bytes) as f64 / answers,
        server_share: spent.cpu_s / spent.wall_s,
        clients_share: 1.0 - (after.idle - before.idle).as_secs_f64() / spent.wall_s,
        p50_us,
        p99_us,
        disturbance: spent.disturbance,
    })
}
