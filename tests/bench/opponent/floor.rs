//! The floor: the least that a server can do for a delivery, one `send()` of bytes that are ready. One thread, one
//! plain loop over blocking sockets; no event loop, no requests, nothing to know about its readers.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

use memchr::memmem;

use super::{Said, control, listening};
use crate::frame;
use crate::readers::now_us;

/// Digits of an offset: enough for every event of a run, so that the frame's length stays.
const OFFSET_DIGITS: usize = 8;

/// Serves so many readers the message in the file, with offset and time of each event written into it.
pub fn run(message: &Path, readers: usize) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let mut message = Message::new(&fs::read(message).map_err(failed)?)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    listening(listener.local_addr().map_err(failed)?.port()).map_err(failed)?;
    let said = Arc::new(Said::default());
    let (rates, rate) = channel();
    let accepted: io::Result<Vec<TcpStream>> = listener.incoming().take(readers).collect();
    let mut sockets = accepted.map_err(failed)?;
    for socket in &sockets {
        socket.set_nodelay(true).map_err(failed)?;
    }
    let of_sender = Arc::clone(&said);
    let sender = thread::spawn(move || send(&mut message, &mut sockets, &rate, &of_sender));
    control(&said, move |rate_hz| {
        // A sender that has ended says why below.
        let _ = rates.send(rate_hz);
    });
    sender.join().map_err(|_| "the sender panicked")?.map_err(failed)
}

/// Paced like the workload: events are due by a schedule; with an infinite rate, always.
fn send(message: &mut Message, sockets: &mut [TcpStream], rates: &Receiver<f64>, said: &Said) -> io::Result<()> {
    let mut rate_hz = 0.0;
    let mut due_us = 0.0;
    loop {
        let now = now_us() as f64;
        let wait_us = if rate_hz > 0.0 { (due_us - now).max(0.0) } else { 1e9 };
        match rates.recv_timeout(Duration::from_secs_f64(wait_us / 1e6)) {
            Ok(rate) => {
                rate_hz = rate;
                due_us = now_us() as f64 + 1e6 / rate_hz;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if rate_hz <= 0.0 {
            continue;
        }
        let produced_us = if rate_hz.is_finite() { due_us as i64 } else { now_us() };
        let bytes = message.of(said.produced.fetch_add(1, Relaxed), produced_us);
        for socket in &mut *sockets {
            socket.write_all(bytes)?;
        }
        said.delivered.fetch_add(sockets.len() as u64, Relaxed);
        due_us += 1e6 / rate_hz;
    }
}

/// A frame whose offset and time are written over in place.
#[derive(Debug)]
struct Message {
    frame: Vec<u8>,
    offset: usize,
    produced_us: usize,
}

impl Message {
    fn new(message: &[u8]) -> Result<Self, String> {
        let (at, digits) = find(message, br#""offset":"#)?;
        let mut message = message.to_vec();
        message.splice(at..at + digits, [b'0'; OFFSET_DIGITS]);
        let frame = frame::from_server(&message);
        let (offset, _) = find(&frame, br#""offset":"#)?;
        let (produced_us, digits) = find(&frame, br#""produced_us":"#)?;
        if digits != 16 {
            return Err(format!("produced_us has {digits} digits"));
        }
        Ok(Self {
            frame,
            offset,
            produced_us,
        })
    }

    fn of(&mut self, offset: u64, produced_us: i64) -> &[u8] {
        write(&mut self.frame[self.offset..], offset, OFFSET_DIGITS);
        write(&mut self.frame[self.produced_us..], produced_us.unsigned_abs(), 16);
        &self.frame
    }
}

/// Where a number begins, and its digits.
fn find(bytes: &[u8], name: &[u8]) -> Result<(usize, usize), String> {
    let at = memmem::find(bytes, name).ok_or("the message has no event")? + name.len();
    Ok((
        at,
        bytes[at..].iter().take_while(|digit| digit.is_ascii_digit()).count(),
    ))
}

fn write(mut to: &mut [u8], number: u64, digits: usize) {
    // The place was measured when the frame was made.
    let _ = write!(to, "{number:0digits$}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Events;
    use crate::frame::{Frame, split};

    #[test]
    fn every_event_has_its_offset_and_time_and_the_same_length() {
        let mut message = Message::new(br#"{"events":[{"offset":123,"produced_us":1700000000000000}]}"#).unwrap();
        let first = message.of(0, 1_800_000_000_000_001).to_vec();
        let later = message.of(1_234_567, 1_800_000_000_000_002).to_vec();
        assert_eq!(first.len(), later.len());
        let Ok(Some((Frame::Text(text), _))) = split(&later) else {
            panic!("no frame")
        };
        let events = Events::find(text).unwrap();
        assert_eq!((events.first, events.first_us), (1_234_567, 1_800_000_000_000_002));
    }
}
