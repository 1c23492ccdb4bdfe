//! One server under load: its readers, the stretch that is measured, and the check that nothing went uncounted.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Bench;
use crate::machine::{Disturbance, Stretch, most_resident, resident};
use crate::readers::{Counts, Readers};
use crate::rounds::Measured;
use crate::server::{Program, Said, Server};

/// How long a server may take to hand over what it holds when no more is produced.
const SETTLE: Duration = Duration::from_secs(30);

/// What was measured in one stretch.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// Events a second that were asked for; none when it was as many as there can be.
    pub rate_hz: Option<f64>,
    pub wall_s: f64,
    /// CPU seconds of the server a second.
    pub server_share: f64,
    /// Time in which the readers were at work; near 1 they, not the server, set the pace.
    pub readers_share: f64,
    pub deliveries_per_s: f64,
    pub deliveries_per_cpu_s: f64,
    pub events_per_message: f64,
    pub bytes_per_delivery: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    /// Events that readers were told to have missed, or passed over without a word, beside those delivered.
    pub told: u64,
    pub skipped: u64,
    /// Resident memory of the server at the end, in bytes.
    pub resident: u64,
    /// The most that it was since the server started.
    pub most_resident: u64,
    #[serde(flatten)]
    pub disturbance: Disturbance,
}

impl Measured for Figures {
    fn disturbance(&self) -> Disturbance {
        self.disturbance
    }
}

/// A server and those who read from it.
#[derive(Debug)]
pub struct Load {
    pub server: Server,
    pub readers: Readers,
    /// Others read from the server, too: what it says it delivered is not only to these readers.
    pub strangers: bool,
    bench: Bench,
    base: Said,
    counted: Counts,
}

impl Load {
    /// Starts the program and connects its readers.
    pub fn start(bench: &Bench, program: Program, readers: usize) -> Result<Self, String> {
        let message = bench.message();
        let server = match program {
            Program::Freshet => Server::freshet(bench, &[]),
            Program::Floor => Server::opponent(bench, program, &[&readers.to_string(), &message.to_string_lossy()]),
            Program::Plain | Program::Hello => Server::opponent(bench, program, &[]),
        }?;
        Self::over(bench, server, readers)
    }

    /// Connects readers to a server that runs.
    pub fn over(bench: &Bench, server: Server, readers: usize) -> Result<Self, String> {
        let mut load = Self {
            server,
            readers: Readers::new(bench.spin)?,
            strangers: false,
            bench: bench.clone(),
            base: Said::default(),
            counted: Counts::default(),
        };
        load.readers
            .connect(load.server.port, readers, load.server.program.speech())?;
        load.base = load.server.said()?;
        load.counted = load.readers.counts();
        Ok(load)
    }

    /// Produces at this rate, measures for `window` after `warm`, and waits until everything has arrived.
    /// `None` is as many as there can be.
    pub fn measure(&mut self, rate_hz: Option<f64>, warm: Duration, window: Duration) -> Result<Figures, String> {
        let most = if self.server.program == Program::Floor {
            f64::INFINITY
        } else {
            crate::MOST_HZ
        };
        self.server.set_rate(rate_hz.unwrap_or(most))?;
        self.readers.run(warm)?;
        self.readers.reset_latency();
        let before = self.readers.counts();
        let stretch = Stretch::begin(self.bench.cores, self.server.clock).map_err(|error| error.to_string())?;
        self.readers.run(window)?;
        let spent = stretch.end().map_err(|error| error.to_string())?;
        let after = self.readers.counts();
        let failed = |error: std::io::Error| error.to_string();
        let resident = resident(self.server.process()).map_err(failed)?;
        let most_resident = most_resident(self.server.process()).map_err(failed)?;
        let (p50_us, p99_us) = (self.readers.latency(0.5), self.readers.latency(0.99));
        self.server.set_rate(0.0)?;
        self.settle()?;

        let events = (after.events - before.events) as f64;
        let messages = (after.messages - before.messages) as f64;
        Ok(Figures {
            rate_hz,
            wall_s: spent.wall_s,
            server_share: spent.cpu_s / spent.wall_s,
            readers_share: 1.0 - (after.idle - before.idle).as_secs_f64() / spent.wall_s,
            deliveries_per_s: events / spent.wall_s,
            deliveries_per_cpu_s: events / spent.cpu_s,
            events_per_message: events / messages,
            bytes_per_delivery: (after.bytes - before.bytes) as f64 / events,
            p50_us,
            p99_us,
            told: after.told - before.told,
            skipped: after.skipped - before.skipped,
            resident,
            most_resident,
            disturbance: spent.disturbance,
        })
    }

    /// Reads until every reader has had, or missed, every event, and holds the server's counts against theirs.
    fn settle(&mut self) -> Result<(), String> {
        let until = Instant::now() + SETTLE;
        loop {
            self.readers.run(Duration::from_millis(20))?;
            let said = self.server.said()?;
            let counts = self.readers.counts();
            let (delivered, told) = (counts.events - self.counted.events, counts.told - self.counted.told);
            let skipped = counts.skipped - self.counted.skipped;
            let expected = (said.produced - self.base.produced) * self.readers.len() as u64;
            let same =
                delivered == said.delivered - self.base.delivered && told + skipped == said.missed - self.base.missed;
            let agrees = delivered + told + skipped == expected
                && (same || self.strangers)
                // Only the plain way passes over what it could not send without a word.
                && (skipped == 0 || self.server.program == Program::Plain);
            if agrees {
                (self.base, self.counted) = (said, counts);
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!(
                    "{}: the counts disagree: readers had {delivered}, were told {told}, passed over {skipped} of {expected}; since then the server says {said:?}, before {:?}",
                    self.server.program.name(),
                    self.base
                ));
            }
        }
    }
}
