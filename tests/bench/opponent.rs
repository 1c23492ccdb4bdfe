//! What Freshet is measured against. Each server runs as a process of its own: it says where it listens, takes `rate N`
//! and `said` on its standard input, and ends when that does.

pub mod floor;
pub mod hello;
pub mod plain;
pub mod uplot;

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an opponent did, for [`crate::server::Said`].
#[derive(Debug, Default)]
pub struct Said {
    pub produced: AtomicU64,
    pub delivered: AtomicU64,
    pub missed: AtomicU64,
}

/// Says where it listens.
pub fn listening(port: u16) -> std::io::Result<()> {
    writeln!(stdout(), "127.0.0.1:{port}")
}

/// Takes commands until the standard input ends.
pub fn control(said: &Said, mut set_rate: impl FnMut(f64)) {
    for line in stdin().lock().lines().map_while(Result::ok) {
        let answer = match line.strip_prefix("rate ").map(str::parse) {
            Some(Ok(rate_hz)) => {
                set_rate(rate_hz);
                "set".to_owned()
            }
            _ => format!(
                "{} {} {}",
                said.produced.load(Relaxed),
                said.delivered.load(Relaxed),
                said.missed.load(Relaxed)
            ),
        };
        if writeln!(stdout(), "{answer}").is_err() {
            return;
        }
    }
}
