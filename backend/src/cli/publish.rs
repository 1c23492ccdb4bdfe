//! `freshet publish`: JSON, one value a line, from a file or from what is piped in.

mod lines;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use freshet_wire::Receipt;
use ureq::http::Request;

use self::lines::{Batch, Lines};
use self::progress::Progress;
use super::{Answer, CliError, Client, Target, encoded, refusal};

/// The longest key or type, in bytes.
const MOST_NAME: usize = 230;

/// Publish events: one JSON value a line, or one JSON document.
///
/// When it cannot go on, or is interrupted, it says how many events are published, and at which line to begin again: then
/// `tail -n +LINE FILE | freshet publish TOPIC`, or the same command again where it has a --key.
#[derive(Debug, Args)]
pub struct Publish {
    /// The topic; it is made if there is none.
    topic: String,
    /// The file to publish, or `-` for what is piped in: then lines are published as they come.
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// The events' type.
    #[arg(long = "type", value_name = "TYPE", value_parser = name)]
    kind: Option<String>,
    /// Events with the same partition key keep their order where the topic has partitions.
    #[arg(long, value_name = "KEY", value_parser = name)]
    partition_key: Option<String>,
    /// Publish each line as a JSON string, whatever it is.
    #[arg(long)]
    text: bool,
    /// Publish under keys of idempotency: PREFIX:LINE, by the first line of each batch. The same command again, after a crash or an
    /// interruption, then doubles nothing that is published already, as long as the lines that were there are the same (more may have come
    /// after the last whole batch of 1000) and the service remembers the keys: 24 hours, and a topic's last 100,000. What is piped in goes out in
    /// whole batches then, not as it comes.
    #[arg(long, value_name = "PREFIX", value_parser = name)]
    key: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Publish {
    /// Publishes all there is. Each request has a key of its own, so that what is tried again is not published twice.
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(self.target)?;
        let progress = Arc::new(Progress::begin());
        Progress::tell_if_interrupted(&progress);
        // With a key, the same lines make the same batches each time.
        let lines = Lines::read(&self.file, self.text, self.key.is_some())?;
        let url = client.url(&format!("/topics/{}/events", encoded(&self.topic)));
        let headers = [
            ("ce-type", self.kind.as_deref()),
            ("ce-partitionkey", self.partition_key.as_deref()),
        ];
        let once: u64 = fastrand::u64(..);
        let key = |batch: &Batch| match &self.key {
            Some(prefix) => format!("{prefix}:{}", batch.first),
            None => format!("cli-{once:016x}-{}", batch.first),
        };
        for batch in lines {
            let done = batch.and_then(|batch| {
                progress.sends(batch.last);
                let answer = client.ask(false, || request(&url, &headers, &key(&batch), &batch));
                progress.published(batch.last, receipts(&answer?)?);
                Ok(())
            });
            if let Err(error) = done {
                progress.stopped(is_refused(&error));
                return Err(error);
            }
        }
        progress.ended(&self.topic);
        Ok(())
    }
}

type Headers<'a> = [(&'static str, Option<&'a str>)];

fn request(url: &str, headers: &Headers<'_>, key: &str, batch: &Batch) -> Request<Vec<u8>> {
    let mut request = Request::post(url)
        .header("content-type", "application/x-ndjson")
        .header("idempotency-key", key.as_bytes());
    for (name, value) in headers {
        if let Some(value) = value {
            request = request.header(*name, value.as_bytes());
        }
    }
    request.body(batch.text.clone()).unwrap_or_default()
}

fn receipts(answer: &Answer) -> Result<Vec<Receipt>, CliError> {
    if answer.status != 201 {
        return Err(refusal(answer));
    }
    let receipts = answer.text.lines().map(serde_json::from_str);
    receipts
        .collect::<Result<_, _>>()
        .map_err(|_| CliError::Foreign(answer.status))
}

/// What stands in a header: of one line, and with room for a line's number within what the service takes.
fn name(text: &str) -> Result<String, String> {
    match (1..=MOST_NAME).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("it takes 1 to {MOST_NAME} bytes without control characters")),
    }
}

/// Nothing of the batch was taken, and the service has said so.
fn is_refused(error: &CliError) -> bool {
    matches!(error, CliError::Refused(problem) if problem.status < 500)
}
