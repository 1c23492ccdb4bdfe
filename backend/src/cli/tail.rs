//! `freshet tail`: a topic's events, a line each, as they come.

use std::io::{Write, stdout};

use clap::Args;
use freshet_wire::{Cursor, Page, Position};
use ureq::http::Request;

use super::from::position;
use super::{CliError, Client, Target, encoded, refusal};

/// How long one request waits for an event, in seconds.
const WAIT_S: u32 = 30;

/// Print a topic's events, one JSON object a line, and go on as they come. Gaps are told on standard error.
#[derive(Debug, Args)]
pub struct Tail {
    topic: String,
    /// Where to begin: `earliest`, `latest`, `offset:PARTITION:N`, a cursor, or `time:` with microseconds since the Unix epoch, a time of
    /// RFC 3339 (`time:2026-01-02T03:04:05Z`) or how long ago (`time:-10m`; s, m, h, d).
    #[arg(long, default_value = "latest", value_name = "POSITION", value_parser = position)]
    from: Position,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End when everything that is there now has been printed.
    #[arg(long)]
    no_follow: bool,
    /// Print the events' data alone.
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    target: Target,
}

impl Tail {
    /// Goes on until the count is reached, or for ever; a service that is away is waited for.
    pub fn run(self) -> Result<(), CliError> {
        let client = Client::new(self.target)?;
        let mut position = self.from.to_string();
        let mut left = self.count.unwrap_or(u64::MAX);
        let wait = if self.no_follow { 0 } else { WAIT_S };
        while left > 0 {
            let from = encoded(&format!("{}@{position}", self.topic));
            let url = client.url(&format!("/events?from={from}&limit={}&wait={wait}", left.min(2000)));
            let answer = client.ask(!self.no_follow, || {
                Request::get(&url).body(Vec::new()).unwrap_or_default()
            })?;
            if answer.status != 200 {
                return Err(refusal(&answer));
            }
            let page: Page<'_> = serde_json::from_str(&answer.text).map_err(|_| CliError::Foreign(answer.status))?;
            for gap in &page.gaps {
                let count = gap
                    .count
                    .map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
                eprintln!(
                    "freshet: gap: {count} events from offset {} ({})",
                    gap.from_offset, gap.reason
                );
            }
            let mut out = stdout().lock();
            for event in &page.events {
                let line = match self.data {
                    true => event.data.get().to_owned(),
                    false => serde_json::to_string(event).unwrap_or_default(),
                };
                writeln!(out, "{line}").map_err(CliError::Output)?;
            }
            out.flush().map_err(CliError::Output)?;
            left = left.saturating_sub(page.events.len() as u64);
            if let Some(next) = page.next.get(&self.topic).map(Cursor::to_string) {
                position = next;
            }
            if self.no_follow && !page.more {
                return Ok(());
            }
        }
        Ok(())
    }
}
