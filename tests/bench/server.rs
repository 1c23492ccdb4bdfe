//! The programs that are measured: started on a core of their own, spoken to, ended.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::Bench;
use crate::machine::{CpuClock, pid, spawn_on};
use crate::readers::Speech;

const JSON: &str = "application/json";
const START: Duration = Duration::from_secs(10);
/// A server whose core is full answers late.
const ANSWER: Duration = Duration::from_secs(30);
/// More than the 4 MiB hold that a topic has in memory, at some 300 bytes an event.
const WINDOW_EVENTS: u64 = 16_000;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    Freshet,
    /// One `send()` a delivery, and nothing else.
    Floor,
    /// axum's WebSocket, tokio's broadcast channel, every connection serialises for itself.
    Plain,
    /// axum's first example, for requests.
    Hello,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Self::Freshet => "freshet",
            Self::Floor => "floor",
            Self::Plain => "plain",
            Self::Hello => "hello",
        }
    }

    pub fn speech(self) -> Speech {
        match self {
            Self::Freshet => Speech::Subscribe(r#"{"type":"subscribe","from":["workload@latest"]}"#),
            Self::Floor => Speech::Bare,
            Self::Plain | Self::Hello => Speech::WebSocket,
        }
    }
}

/// What a server says it did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    pub produced: u64,
    pub delivered: u64,
    /// To be passed over by its readers, told or not.
    pub missed: u64,
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    pub program: Program,
    pub port: u16,
    pub clock: CpuClock,
    /// Where it keeps what it keeps; of an opponent, nowhere.
    pub data: PathBuf,
    child: Child,
    /// To and from an opponent; Freshet is spoken to over HTTP.
    control: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Server {
    /// `target/release/freshet` as a user starts it, with a data folder of its own.
    pub fn freshet(bench: &Bench, arguments: &[&str]) -> Result<Self, String> {
        let (binary, folder) = (&bench.freshet, &bench.folder);
        let failed = |error: io::Error| format!("{}: {error}", binary.display());
        // What an earlier one kept would be measured along with it.
        let data = folder.join("data");
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir_all(&data).map_err(failed)?,
        }
        // What one address may ask for is far below what is measured here.
        let config = folder.join("freshet.toml");
        fs::write(&config, "[seed]\nlimit.exempt = [\"127.0.0.0/8\", \"::1\"]\n").map_err(failed)?;
        let mut command = Command::new(binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .arg("--config")
            .arg(&config)
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = spawn_on(bench.cores.server, command).map_err(failed)?;
        let log = child.stderr.take().ok_or("no log")?;
        let mut lines = BufReader::new(log);
        let mut copy = File::create(folder.join("freshet.log")).map_err(failed)?;
        let port = loop {
            let mut line = String::new();
            if lines.read_line(&mut line).map_err(failed)? == 0 {
                return Err(format!(
                    "freshet ended before it listened; see {}",
                    folder.join("freshet.log").display()
                ));
            }
            copy.write_all(line.as_bytes()).map_err(failed)?;
            if let Some((_, address)) = line.split_once("listening on http://") {
                break port_of(address)?;
            }
        };
        thread::spawn(move || io::copy(&mut lines, &mut copy));
        let clock = CpuClock::of(child.id()).map_err(failed)?;
        Ok(Self {
            program: Program::Freshet,
            port,
            clock,
            data,
            child,
            control: None,
        })
    }

    /// This program itself, as an opponent.
    pub fn opponent(bench: &Bench, program: Program, arguments: &[&str]) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", program.name());
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg(program.name())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = spawn_on(bench.cores.server, command).map_err(failed)?;
        let to = child.stdin.take().ok_or("no standard input")?;
        let mut from = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        from.read_line(&mut line).map_err(failed)?;
        let clock = CpuClock::of(child.id()).map_err(failed)?;
        Ok(Self {
            program,
            port: port_of(&line)?,
            clock,
            data: PathBuf::new(),
            child,
            control: Some((to, from)),
        })
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Events a second from now on; 0 stops them.
    pub fn set_rate(&mut self, rate_hz: f64) -> Result<(), String> {
        if self.control.is_some() {
            return self.ask(&format!("rate {rate_hz}")).map(|_| ());
        }
        let patch = json!({"workload": {"rate_hz": rate_hz, "payload_bytes": crate::PAYLOAD}}).to_string();
        self.exchange("PATCH", "/api/v1/settings", JSON, &patch).map(|_| ())
    }

    pub fn said(&mut self) -> Result<Said, String> {
        if self.control.is_some() {
            let line = self.ask("said")?;
            let numbers: Vec<u64> = line
                .split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect();
            let [produced, delivered, missed] = numbers[..] else {
                return Err(format!("not figures: {line:?}"));
            };
            return Ok(Said {
                produced,
                delivered,
                missed,
            });
        }
        let [produced, delivered, missed] = self.metrics([
            r#"freshet_topic_events_total{topic="workload"}"#,
            r#"freshet_events_delivered_total{lane="stream"}"#,
            r#"freshet_events_missed_total{lane="stream"}"#,
        ])?;
        Ok(Said {
            produced,
            delivered,
            missed,
        })
    }

    /// Figures of Freshet's `/metrics`, by their names and labels.
    pub fn metrics<const N: usize>(&self, names: [&str; N]) -> Result<[u64; N], String> {
        let (_, text) = self.get("/metrics")?;
        let mut figures = [0; N];
        for (figure, name) in figures.iter_mut().zip(names) {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            *figure = value.ok_or_else(|| format!("no {name} in the metrics"))?;
        }
        Ok(figures)
    }

    fn ask(&mut self, question: &str) -> Result<String, String> {
        let (to, from) = self.control.as_mut().ok_or("spoken to over HTTP")?;
        let mut line = String::new();
        let asked = writeln!(to, "{question}").and_then(|()| from.read_line(&mut line));
        match asked {
            Ok(1..) => Ok(line),
            _ => Err(format!("{} answers nothing: {asked:?}", self.program.name())),
        }
    }

    /// The answer, with its head, to one request on a connection of its own.
    fn exchange(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<(String, String), String> {
        let exchange = || -> io::Result<String> {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
            socket.set_read_timeout(Some(ANSWER))?;
            let (port, length) = (self.port, body.len());
            write!(
                socket,
                "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
                 content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
            )?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|error| format!("{method} {path}: {error}"))?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 20") => Ok((head.to_owned(), body.to_owned())),
            _ => Err(format!("{method} {path}: {answer}")),
        }
    }

    /// The head and the body of what is there.
    pub fn get(&self, path: &str) -> Result<(String, String), String> {
        self.exchange("GET", path, JSON, "")
    }

    /// Gives it something of this media type, which it must take.
    pub fn post(&self, path: &str, kind: &str, body: &str) -> Result<(), String> {
        self.exchange("POST", path, kind, body).map(|_| ())
    }

    /// Has the workload append events until its topic holds as many as fit into memory.
    pub fn fill(&mut self) -> Result<(), String> {
        self.set_rate(crate::MOST_HZ)?;
        let until = Instant::now() + ANSWER;
        while self.said()?.produced < WINDOW_EVENTS {
            if Instant::now() > until {
                return Err("the workload did not fill its topic".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.set_rate(0.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An opponent ends when its standard input does.
        self.control = None;
        let _ = kill(pid(self.child.id()), Signal::SIGTERM);
        let until = Instant::now() + START;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `127.0.0.1:3000` -> 3000
fn port_of(address: &str) -> Result<u16, String> {
    let port = address.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    port.ok_or_else(|| format!("not an address: {address:?}"))
}
