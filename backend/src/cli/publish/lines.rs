//! Lines of JSON in batches, read on a thread of their own, so that those that are there go out while others are still to come.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::CliError;

/// Lines, and bytes of them, that one request carries.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

/// What one request carries.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    /// The numbers of its first and its last line.
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A line with its number.
type Line = Result<(u64, Vec<u8>), CliError>;

/// The batches of an input, one after the other.
pub(super) struct Lines {
    lines: Receiver<Line>,
    /// Batches are as large as they may be, whenever their lines come.
    whole: bool,
    /// Found after what the last batch took: first that goes out, then this is said.
    error: Option<CliError>,
}

impl Lines {
    pub(super) fn read(file: &Path, text: bool, whole: bool) -> Result<Self, CliError> {
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
        Ok(Self {
            lines,
            whole,
            error: None,
        })
    }

    fn next_line(&self) -> Option<Line> {
        match self.whole {
            true => self.lines.recv().ok(),
            false => self.lines.try_recv().ok(),
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Batch, CliError>;

    /// The lines that are there now, at least one.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        let (first, text) = match self.lines.recv().ok()? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let mut batch = Batch {
            text,
            first,
            last: first,
        };
        for _ in 1..BATCH {
            if batch.text.len() >= BATCH_BYTES {
                break;
            }
            match self.next_line() {
                Some(Ok((number, line))) => {
                    batch.text.push(b'\n');
                    batch.text.extend(line);
                    batch.last = number;
                }
                Some(Err(error)) => {
                    self.error = Some(error);
                    break;
                }
                None => break,
            }
        }
        Some(Ok(batch))
    }
}

fn forward(mut input: impl BufRead, text: bool, name: &str, sender: &SyncSender<Line>) -> Result<(), CliError> {
    let failed = |error| CliError::File {
        name: name.to_owned(),
        error,
    };
    let mut number = 0;
    let mut is_first = true;
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
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            line = serde_json::to_vec(&text).unwrap_or_default();
        } else if let Err(error) = serde_json::from_slice::<IgnoredAny>(&line) {
            // A document of several lines is one event, if it is all there is.
            if is_first && error.is_eof() {
                input.read_to_end(&mut line).map_err(failed)?;
                if let Some(document) = one_line(&line) {
                    let lines = line.iter().filter(|&&byte| byte == b'\n').count() as u64;
                    let _ = sender.send(Ok((number - 1 + lines.max(1), document)));
                    return Ok(());
                }
            }
            return Err(CliError::NotJson { line: number, error });
        }
        is_first = false;
        line.truncate(line.trim_ascii_end().len());
        if sender.send(Ok((number, line))).is_err() {
            return Ok(());
        }
    }
}

/// A document as one line, if it is one: each of its tokens as it was written.
fn one_line(document: &[u8]) -> Option<Vec<u8>> {
    let document: &RawValue = serde_json::from_slice(document).ok()?;
    let mut line = document.get().as_bytes().to_vec();
    // A line break stands only between tokens.
    line.retain(|byte| !matches!(byte, b'\n' | b'\r'));
    Some(line)
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
            .map(|line| Ok(String::from_utf8(line?.1).unwrap_or_default()))
            .collect()
    }

    #[test]
    fn lines_are_events_and_a_document_of_several_lines_is_one() {
        assert_eq!(published("{\"a\":1}\n\n2\r\n", false).unwrap(), ["{\"a\":1}", "2"]);
        assert_eq!(published("{\n\"a\":[1,\r\n2]\n}\n", false).unwrap(), ["{\"a\":[1,2]}"]);
        assert_eq!(published("\n\n[\n1]\n", false).unwrap(), ["[1]"]);
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

    #[test]
    fn a_document_keeps_its_numbers_and_its_members_as_they_were_written() {
        let members = ["\"a\":1.0", "\"b\":1e400", "\"c\":12345678901234567890", "\"a\":2.50"];
        let several = format!("{{\n{}\n}}\n", members.join(",\n"));
        let one = format!("{{{}}}", members.join(","));
        assert_eq!(published(&several, false).unwrap(), [&*one]);
        assert_eq!(published(&one, false).unwrap(), [&*one]);
    }

    fn batches(count: usize, whole: bool) -> Lines {
        let (sender, lines) = sync_channel(1);
        thread::spawn(move || {
            for number in 1..=count as u64 {
                // One that has stopped wants no more.
                let _ = sender.send(Ok((number * 2, b"1".to_vec())));
            }
            let _ = sender.send(Err(CliError::Foreign(0)));
        });
        Lines {
            lines,
            whole,
            error: None,
        }
    }

    #[test]
    fn whole_batches_are_the_same_each_time_and_an_error_comes_after_what_stood_before_it() {
        let read = || {
            batches(2500, true)
                .map(|batch| batch.ok().map(|batch| (batch.first, batch.last)))
                .collect::<Vec<_>>()
        };
        let expected = [Some((2, 2000)), Some((2002, 4000)), Some((4002, 5000)), None];
        assert_eq!(read(), expected);
        assert_eq!(read(), expected);
        let lines: usize = batches(50, false)
            .filter_map(|batch| Some(batch.ok()?.text.split(|&byte| byte == b'\n').count()))
            .sum();
        assert_eq!(lines, 50, "as they come");
    }
}
