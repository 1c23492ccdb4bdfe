//! The embedded log: publishing beside `fdatasync` alone, and replay beside reading the same bytes from its files.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use crate::Bench;
use crate::machine::{Disturbance, Stretch};
use crate::report::{Section, Table, median, milliseconds, percent, ratio, thousands};
use crate::requests::Requests;
use crate::rounds::{Measured, in_turn, undisturbed, whole};
use crate::server::Server;

/// Publishers that each wait for their answer, in the order of the table; before them stands the disk alone.
const PUBLISHERS: [usize; 3] = [1, 16, 256];
const KINDS: usize = 1 + PUBLISHERS.len();
/// What an event of [`crate::PAYLOAD`] bytes takes in the log's file, about: what the disk alone is given to write.
const WRITTEN: usize = 320;
/// Events that are replayed, many times what a topic's window holds, and how many one publish and one poll carry.
const HISTORY: usize = 150_000;
const BATCH: usize = 5000;

#[derive(Debug, Clone, Copy, Serialize)]
struct Publishing {
    acknowledged_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    server_share: f64,
    #[serde(flatten)]
    disturbance: Disturbance,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Replay {
    events_per_s: f64,
    events_per_cpu_s: f64,
    bytes_per_s: f64,
    /// Of all files of the topic, read from beginning to end.
    file_bytes_per_s: f64,
    #[serde(flatten)]
    disturbance: Disturbance,
}

impl Measured for Publishing {
    fn disturbance(&self) -> Disturbance {
        self.disturbance
    }
}

impl Measured for Replay {
    fn disturbance(&self) -> Disturbance {
        self.disturbance
    }
}

pub fn run(bench: &Bench) -> Result<Section, String> {
    let mut section = Section::new("log", "The log: publishing and replay", &bench.folder)?;
    publishing(bench, &mut section)?;
    replay(bench, &mut section)?;
    Ok(section)
}

fn publishing(bench: &Bench, section: &mut Section) -> Result<(), String> {
    let rounds = whole(bench, "publishing", |round| {
        let server = Server::freshet(bench, &[])?;
        let mut results = [None; KINDS];
        for index in in_turn(round, KINDS) {
            let publishers = index.checked_sub(1).map(|index| PUBLISHERS[index]);
            let what = json!({"publishers": publishers, "round": round});
            results[index] = undisturbed(bench, section, &what, || match publishers {
                Some(publishers) => publish(bench, &server, publishers),
                None => sync_alone(bench, &server),
            })?;
        }
        Ok(results.into_iter().collect::<Option<Vec<Publishing>>>())
    })?;
    let mut table = Table::new(&[
        "publishers",
        "acknowledged/s",
        "÷ fdatasync alone",
        "p50",
        "p99",
        "server CPU",
    ]);
    for index in 0..KINDS {
        let of = |figure: fn(&Publishing) -> f64| median(rounds.iter().map(|round| figure(&round[index])));
        let against = |round: &Vec<Publishing>| round[index].acknowledged_per_s / round[0].acknowledged_per_s;
        table.row([
            match index.checked_sub(1) {
                Some(index) => PUBLISHERS[index].to_string(),
                None => "fdatasync alone".to_owned(),
            },
            thousands(of(|f| f.acknowledged_per_s)),
            if index == 0 {
                "1".to_owned()
            } else {
                ratio(rounds.iter().map(against))
            },
            milliseconds(of(|f| f.p50_us as f64)),
            milliseconds(of(|f| f.p99_us as f64)),
            if index == 0 {
                "-".to_owned()
            } else {
                percent(of(|f| f.server_share))
            },
        ]);
    }
    section.table(table);
    section.remark(format!(
        "Each publisher sends one event of {} bytes by `POST`, waits until it is answered, which is when the event is on disk, \
         and sends the next. *fdatasync alone* is a loop that appends {WRITTEN} bytes to a file in the same folder and syncs it, \
         and nothing else: what the disk can do for one writer who waits. Publishers that come while the disk works share the \
         next sync, so many of them get more than one writer could.",
        crate::PAYLOAD
    ));
    Ok(())
}

fn publish(bench: &Bench, server: &Server, publishers: usize) -> Result<Publishing, String> {
    let failed = |error: io::Error| error.to_string();
    let body = format!("\"{}\"", "x".repeat(crate::PAYLOAD - 2));
    let mut requests = Requests::post(server.port, publishers, "/api/v1/topics/bench/events", &body, "201")?;
    requests.begin()?;
    requests.run(bench.warm)?;
    requests.reset_latency();
    let before = requests.counts();
    let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
    requests.run(bench.window)?;
    let spent = stretch.end().map_err(failed)?;
    let after = requests.counts();
    let (p50_us, p99_us) = (requests.latency(0.5), requests.latency(0.99));
    requests.end()?;
    Ok(Publishing {
        acknowledged_per_s: (after.answers - before.answers) as f64 / spent.wall_s,
        p50_us,
        p99_us,
        server_share: spent.cpu_s / spent.wall_s,
        disturbance: spent.disturbance,
    })
}

fn sync_alone(bench: &Bench, server: &Server) -> Result<Publishing, String> {
    let failed = |error: io::Error| error.to_string();
    let path = server.data.join("sync-alone");
    let mut file = File::create(&path).map_err(failed)?;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).map_err(|error| error.to_string())?;
    let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
    let until = Instant::now() + bench.window;
    while Instant::now() < until {
        let begun = Instant::now();
        file.write_all(&[b'x'; WRITTEN]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        latency.saturating_record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    let spent = stretch.end().map_err(failed)?;
    fs::remove_file(&path).map_err(failed)?;
    Ok(Publishing {
        acknowledged_per_s: latency.len() as f64 / spent.wall_s,
        p50_us: latency.value_at_quantile(0.5),
        p99_us: latency.value_at_quantile(0.99),
        server_share: 0.0,
        disturbance: spent.disturbance,
    })
}

fn replay(bench: &Bench, section: &mut Section) -> Result<(), String> {
    let server = Server::freshet(bench, &[])?;
    let line = format!("\"{}\"\n", "x".repeat(crate::PAYLOAD - 2));
    for _ in 0..HISTORY / BATCH {
        server.post(
            "/api/v1/topics/bench/events",
            "application/x-ndjson",
            &line.repeat(BATCH),
        )?;
    }
    let rounds = whole(bench, "replay", |round| {
        undisturbed(bench, section, &json!({"replay": HISTORY, "round": round}), || {
            read_again(bench, &server)
        })
    })?;
    let of = |figure: fn(&Replay) -> f64| median(rounds.iter().map(figure));
    let mut table = Table::new(&[
        "replay",
        "events/s",
        "MB/s",
        "events a CPU-second",
        "MB a CPU-second",
        "reading the files, MB/s",
        "MB a CPU-second ÷ reading the files",
    ]);
    let bytes_per_cpu_s = |f: &Replay| f.bytes_per_s / f.events_per_s * f.events_per_cpu_s;
    table.row([
        format!("{HISTORY} events, {BATCH} a poll"),
        thousands(of(|f| f.events_per_s)),
        format!("{:.1}", of(|f| f.bytes_per_s) / 1e6),
        thousands(of(|f| f.events_per_cpu_s)),
        format!("{:.0}", median(rounds.iter().map(bytes_per_cpu_s)) / 1e6),
        format!("{:.0}", of(|f| f.file_bytes_per_s) / 1e6),
        ratio(rounds.iter().map(|f| bytes_per_cpu_s(f) / f.file_bytes_per_s)),
    ]);
    section.table(table);
    section.remark(
        "One reader polls the topic from its earliest event to its end, beside a program that reads the topic's files from \
         beginning to end. All who replay are given 32 MiB a second together, so that live readers do not wait for them: that \
         pace, not the disk and not the processor, is the bound here; what it takes of the server's processor says what there would be \
         without it. The files were just written, so they are read from the kernel's cache on either side; a replay finds each \
         event in them, checks its sum, and sends it as JSON through a socket."
            .to_owned(),
    );
    Ok(())
}

fn read_again(bench: &Bench, server: &Server) -> Result<Replay, String> {
    let failed = |error: io::Error| error.to_string();
    let socket = TcpStream::connect(("127.0.0.1", server.port)).map_err(failed)?;
    socket.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    let mut reader = BufReader::new(socket);
    let stretch = Stretch::begin(bench.cores, server.clock).map_err(failed)?;
    let (mut events, mut bytes, mut from) = (0, 0, "earliest".to_owned());
    while events < HISTORY {
        let page = poll(&mut reader, server.port, &from).map_err(failed)?;
        let found = page.matches("\"offset\":").count();
        if found == 0 {
            return Err(format!("the log ends after {events} of {HISTORY} events"));
        }
        events += found;
        bytes += page.len();
        let next = page
            .rsplit_once(r#""next":{"bench":""#)
            .and_then(|(_, rest)| rest.split_once('"'));
        from = next.ok_or("a page without a cursor")?.0.to_owned();
    }
    let spent = stretch.end().map_err(failed)?;
    let begun = Instant::now();
    let file_bytes = read_files(&server.data, &mut vec![0; 1 << 20]).map_err(failed)?;
    Ok(Replay {
        events_per_s: events as f64 / spent.wall_s,
        events_per_cpu_s: events as f64 / spent.cpu_s,
        bytes_per_s: bytes as f64 / spent.wall_s,
        file_bytes_per_s: file_bytes as f64 / begun.elapsed().as_secs_f64(),
        disturbance: spent.disturbance,
    })
}

/// The body of one poll.
fn poll(reader: &mut BufReader<TcpStream>, port: u16, from: &str) -> io::Result<String> {
    let path = format!("/api/v1/events?from=bench@{from}&limit={BATCH}&reader=replay");
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    // In one piece: the kernel would hold back a second one until the first is acknowledged.
    reader.get_mut().write_all(request.as_bytes())?;
    let (mut length, mut status) = (0, String::new());
    reader.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    match status.contains(" 200 ") {
        true => Ok(body),
        false => Err(io::Error::other(body)),
    }
}

/// Reads every file of the log in the folder; how many bytes those were.
fn read_files(folder: &Path, buffer: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += read_files(&path, buffer)?;
        } else if path.extension().is_some_and(|extension| extension == "seg") {
            let mut file = File::open(&path)?;
            loop {
                match file.read(buffer)? {
                    0 => break,
                    read => bytes += read as u64,
                }
            }
        }
    }
    Ok(bytes)
}
