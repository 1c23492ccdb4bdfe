//! `freshet publish`: JSON, one value a line, from a file or from what is piped in.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use clap::Args;
use freshet_wire::Receipt;
use serde::de::IgnoredAny;
use ureq::http::Request;

use super::{CliError, Client, Target, encoded, refusal};

/// Lines, and bytes of them, that one request carries.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

/// Publish events: one JSON value a line, or one JSON document.
#[derive(Debug, Args)]
pub struct Publish {
    /// The topic; it is made if there is none.
    topic: String,
    /// The file to publish, or `-` for what is piped in: then lines are published as they come.
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// The events' type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Publish each line as a JSON string, whatever it is.
    #[arg(long)]
    text: bool,
    #[command(flatten)]
    target: Target,
}

impl Publish {
    /// Publishes all there is. Each request has a key of its own, so that what is tried again is not published twice.
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(self.target)?;
        let lines = read_all(&self.file, self.text)?;
        let url = client.url(&format!("/topics/{}/events", encoded(&self.topic)));
        let started = Instant::now();
        let mut total = 0_u64;
        let mut last: Option<Receipt> = None;
        loop {
            let Some(batch) = next_batch(&lines)? else { break };
            let key = format!("cli-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            let answer = client.ask(false, || {
                let mut request = Request::post(&url)
                    .header("content-type", "application/x-ndjson")
                    .header("idempotency-key", &key);
                if let Some(kind) = &self.kind {
                    request = request.header("ce-type", kind);
                }
                request.body(batch.clone()).unwrap_or_default()
            })?;
            if answer.status != 201 {
                return Err(refusal(&answer));
            }
            for line in answer.text.lines() {
                total += 1;
                last = serde_json::from_str(line).ok();
            }
        }
        match last {
            Some(last) => eprintln!(
                "freshet: {total} events published to {}, the last at offset {}, in {:.3} s",
                self.topic,
                last.offset,
                started.elapsed().as_secs_f64()
            ),
            None => eprintln!("freshet: nothing to publish"),
        }
        Ok(())
    }
}

type Line = Result<Vec<u8>, CliError>;

/// Reads lines on a thread of its own, so that those that are there go out while others are still to come.
fn read_all(file: &Path, text: bool) -> Result<Receiver<Line>, CliError> {
    let name = file.display().to_string();
    let (sender, lines) = sync_channel(BATCH);
    let input: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let opened = File::open(file);
        Box::new(opened.map_err(|error| CliError::File {
            name: name.clone(),
            error,
        })?)
    };
    thread::spawn(move || {
        if let Err(error) = forward(BufReader::new(input), text, &name, &sender) {
            let _ = sender.send(Err(error));
        }
    });
    Ok(lines)
}

fn forward(mut input: impl BufRead, text: bool, name: &str, sender: &SyncSender<Line>) -> Result<(), CliError> {
    let failed = |error| CliError::File {
        name: name.to_owned(),
        error,
    };
    let mut number = 0;
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        if text {
            let line = String::from_utf8_lossy(line.trim_ascii_end());
            let line = serde_json::to_vec(&line).unwrap_or_default();
            let _ = sender.send(Ok(line));
            continue;
        }
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&line) {
            // A document of several lines is one event, if it is all there is.
            if number == 1 && error.is_eof() {
                input.read_to_end(&mut line).map_err(failed)?;
                if let Ok(document) = serde_json::from_slice::<serde_json::Value>(&line) {
                    let _ = sender.send(Ok(document.to_string().into_bytes()));
                    return Ok(());
                }
            }
            return Err(CliError::NotJson { line: number, error });
        }
        line.truncate(line.trim_ascii_end().len());
        if sender.send(Ok(line)).is_err() {
            return Ok(());
        }
    }
}

/// The lines that are there now, at least one; `None` at the end.
fn next_batch(lines: &Receiver<Line>) -> Result<Option<Vec<u8>>, CliError> {
    let Ok(first) = lines.recv() else { return Ok(None) };
    let mut batch = first?;
    for _ in 1..BATCH {
        if batch.len() >= BATCH_BYTES {
            break;
        }
        let Ok(line) = lines.try_recv() else { break };
        batch.push(b'\n');
        batch.extend(line?);
    }
    Ok(Some(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(input: &str, text: bool) -> Result<Vec<String>, CliError> {
        let (sender, lines) = sync_channel(100);
        forward(input.as_bytes(), text, "input", &sender)?;
        drop(sender);
        lines
            .iter()
            .map(|line| Ok(String::from_utf8(line?).unwrap_or_default()))
            .collect()
    }

    #[test]
    fn lines_are_events_and_a_document_of_several_lines_is_one() {
        assert_eq!(published("{\"a\":1}\n\n2\r\n", false).unwrap(), ["{\"a\":1}", "2"]);
        assert_eq!(published("{\n \"a\": [1,\n 2]\n}\n", false).unwrap(), ["{\"a\":[1,2]}"]);
        assert_eq!(published("x \"y\"\n", true).unwrap(), [r#""x \"y\"""#]);
        assert!(matches!(
            published("1\nnope\n", false),
            Err(CliError::NotJson { line: 2, .. })
        ));
        assert!(matches!(
            published("{\n\"a\":}\n", false),
            Err(CliError::NotJson { line: 1, .. })
        ));
    }
}
