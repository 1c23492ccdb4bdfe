//! The synthetic generator. An open model: events are due by a schedule of their own, not when the last one
//! was taken, and `produced_us` is when an event was due; so a late generator shows as latency, not as silence.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use freshet_wire::{Settings, Shape, Workload};
use serde_json::value::RawValue;

use super::Outlet;
use crate::pubsub::Record;
use crate::time::now_us;

/// The topic that it fills.
pub(super) const TOPIC: &str = "workload";

/// A generator that is this far from its schedule (the machine slept, the clock was set) begins a new one.
const ASTRAY_US: f64 = 10e6;
/// Events that are appended before readers are woken and the settings looked at again.
const MOST_AT_ONCE: usize = 1000;

/// When events are due.
#[derive(Debug)]
struct Schedule {
    workload: Workload,
    /// When the next event is due, and how many are due at that moment.
    due_us: f64,
    left: u32,
}

impl Schedule {
    fn new(workload: Workload, now_us: f64) -> Self {
        let mut schedule = Self {
            workload,
            due_us: now_us,
            left: 0,
        };
        schedule.advance();
        schedule
    }

    /// The next event that is due, if one is.
    fn take(&mut self, now_us: f64) -> Option<f64> {
        if self.due_us > now_us {
            return None;
        }
        let due_us = self.due_us;
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.advance();
        }
        Some(due_us)
    }

    fn advance(&mut self) {
        let mean_us = 1e6 / self.workload.rate_hz;
        let (pause_us, events) = match self.workload.shape {
            Shape::Steady => (mean_us, 1),
            // Inverse of the exponential distribution; 1 - u is never 0.
            Shape::Poisson => (-(1.0 - fastrand::f64()).ln() * mean_us, 1),
            Shape::Bursts => (
                mean_us * f64::from(self.workload.burst_events),
                self.workload.burst_events,
            ),
        };
        self.due_us += pause_us;
        self.left = events;
    }
}

/// Generates until the settings' sender is gone.
pub(super) fn run(outlet: &mut Outlet, host: &Arc<str>, settings: &Receiver<Settings>) {
    let kind: Arc<str> = Arc::from(TOPIC);
    let Ok(first) = settings.recv() else { return };
    let mut workload = first.workload;
    let mut seq = 0;
    loop {
        let next = if workload.rate_hz > 0.0 {
            let mut schedule = Schedule::new(workload, now_us() as f64);
            loop {
                emit(outlet, host, &kind, &mut schedule, &mut seq);
                let wait_us = schedule.due_us - now_us() as f64;
                if wait_us.abs() > ASTRAY_US + 2e6 / workload.rate_hz * f64::from(workload.burst_events) {
                    tracing::warn!(
                        behind_s = -wait_us / 1e6,
                        "the workload lost its schedule and begins a new one"
                    );
                    schedule = Schedule::new(workload, now_us() as f64);
                    continue;
                }
                match settings.recv_timeout(Duration::from_secs_f64(wait_us.max(0.0) / 1e6)) {
                    Ok(next) if next.workload == workload => {}
                    Ok(next) => break next,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        } else {
            match settings.recv() {
                Ok(next) => next,
                Err(_) => return,
            }
        };
        workload = next.workload;
    }
}

fn emit(outlet: &mut Outlet, host: &Arc<str>, kind: &Arc<str>, schedule: &mut Schedule, seq: &mut u64) {
    let now = now_us();
    let payload_bytes = schedule.workload.payload_bytes as usize;
    let mut due = Vec::new();
    while due.len() < MOST_AT_ONCE {
        let Some(due_us) = schedule.take(now as f64) else { break };
        if let Ok(data) = RawValue::from_string(payload(*seq, payload_bytes)) {
            due.push(Record {
                produced_us: due_us as i64,
                host: Some(Arc::clone(host)),
                token: None,
                kind: Arc::clone(kind),
                id: None,
                key: None,
                data,
            });
            *seq += 1;
        }
    }
    if !due.is_empty() {
        outlet.append(due);
    }
}

/// JSON of exactly `bytes` bytes (32 or more), numbered.
fn payload(seq: u64, bytes: usize) -> String {
    let mut payload = format!("{{\"seq\":{seq},\"pad\":\"");
    let pad = bytes.saturating_sub(payload.len() + 2);
    payload.extend(std::iter::repeat_n('x', pad));
    payload.push_str("\"}");
    payload
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due(workload: Workload, seconds: f64) -> Vec<f64> {
        let mut schedule = Schedule::new(workload, 0.0);
        std::iter::from_fn(|| schedule.take(seconds * 1e6)).collect()
    }

    proptest! {
        #[test]
        fn every_shape_keeps_the_average_and_the_order(
            rate_hz in 1.0_f64..10_000.0, shape in 0_usize..3, burst_events in 1_u32..100,
        ) {
            fastrand::seed(7);
            let shape = [Shape::Steady, Shape::Poisson, Shape::Bursts][shape];
            let workload = Workload { rate_hz, shape, burst_events, payload_bytes: 128 };
            let seconds = 4000.0 / rate_hz;
            let due = due(workload, seconds);
            prop_assert!(due.is_sorted());
            // 4,000 independent arrivals have a standard deviation of 63; a burst may be cut by the end.
            let slack = if shape == Shape::Poisson { 400.0 } else { f64::from(burst_events) + 1.0 };
            prop_assert!((due.len() as f64 - 4000.0).abs() <= slack, "{}", due.len());
        }

        #[test]
        fn a_payload_is_json_of_the_size_that_was_asked_for(seq in 0_u64..1_000_000_000_000, bytes in 32_usize..16_384) {
            let payload = payload(seq, bytes);
            prop_assert_eq!(payload.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&payload).unwrap();
            prop_assert_eq!(value["seq"].as_u64(), Some(seq));
        }
    }

    #[test]
    fn a_burst_is_due_at_one_moment() {
        let workload = Workload {
            rate_hz: 100.0,
            shape: Shape::Bursts,
            burst_events: 50,
            payload_bytes: 128,
        };
        let due = due(workload, 1.0);
        assert_eq!(due.len(), 100);
        assert!(due[..50].iter().all(|&at| at == due[0]));
        assert_eq!(due[50] - due[0], 500_000.0);
    }
}
