//! Telemetry of this machine, by sysinfo.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use freshet_wire::{Settings, Source};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sysinfo::{
    CpuRefreshKind, Disks, Error, MINIMUM_CPU_UPDATE_INTERVAL, Networks, ProcessRefreshKind, ProcessesToUpdate, System,
};

use super::Outlet;
use crate::pubsub::Record;
use crate::time::now_us;

/// Entries that one sample lists: a machine may have hundreds of virtual interfaces.
const MOST_ENTRIES: usize = 32;
const BUSIEST: usize = 5;

/// Samples one topic at the rate that the settings give it.
pub(super) struct Sampler {
    pub(super) topic: &'static str,
    rate: fn(&Source) -> f64,
    /// Begins to sample at this rate. The sampler gets the seconds since the last sample.
    begin: fn(f64) -> Result<Sample, Error>,
}

type Sample = Box<dyn FnMut(f64) -> Option<Box<RawValue>>>;

pub(super) fn samplers() -> [Sampler; 5] {
    [
        Sampler {
            topic: "host.cpu",
            rate: |source| source.cpu_hz,
            begin: cpu,
        },
        Sampler {
            topic: "host.network",
            rate: |source| source.network_hz,
            begin: network,
        },
        Sampler {
            topic: "host.memory",
            rate: |source| source.memory_hz,
            begin: memory,
        },
        Sampler {
            topic: "host.disk",
            rate: |source| source.disk_hz,
            begin: disk,
        },
        Sampler {
            topic: "host.processes",
            rate: |source| source.processes_hz,
            begin: processes,
        },
    ]
}

/// Samples until the settings' sender is gone.
pub(super) fn run(sampler: Sampler, outlet: &mut Outlet, host: &Arc<str>, settings: &Receiver<Settings>) {
    let kind: Arc<str> = Arc::from(sampler.topic);
    let Ok(mut current) = settings.recv() else { return };
    loop {
        let rate = (sampler.rate)(&current.source);
        let next = if rate > 0.0 {
            let mut sample = match (sampler.begin)(rate) {
                Ok(sample) => sample,
                Err(error) => {
                    tracing::error!(topic = sampler.topic, %error, "this machine's telemetry cannot be had");
                    return;
                }
            };
            let period = Duration::from_secs_f64(1.0 / rate);
            let mut last = Instant::now();
            let mut due = last + period;
            loop {
                match settings.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    // A change that leaves this rate alone must not disturb its rhythm.
                    Ok(next) if (sampler.rate)(&next.source) == rate => {}
                    Ok(next) => break next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let now = Instant::now();
                        let data = sample((now - last).as_secs_f64());
                        last = now;
                        // What could not be sampled in time is left out, not caught up with.
                        due = (due + period).max(now);
                        if let Some(data) = data {
                            outlet.append(vec![Record {
                                produced_us: now_us(),
                                host: Some(Arc::clone(host)),
                                token: None,
                                kind: Arc::clone(&kind),
                                id: None,
                                key: None,
                                data,
                            }]);
                        }
                    }
                }
            }
        } else {
            match settings.recv() {
                Ok(next) => next,
                Err(_) => return,
            }
        };
        current = next;
    }
}

fn raw<T: Serialize>(sample: &T) -> Option<Box<RawValue>> {
    to_raw_value(sample).ok()
}

/// Four digits are more than a sample of a tenth of a second is good for.
fn share(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn cpu(rate: f64) -> Result<Sample, Error> {
    #[derive(Serialize)]
    struct Data {
        /// Share of all cores' time, 0 to 1.
        busy: f64,
        /// The same for each core.
        cores: Vec<f64>,
        /// The span that the shares stand for.
        window_ms: u64,
    }
    // sysinfo measures over spans of at least 200 ms. To sample more often than that, several measurements
    // take turns: each sample then stands for a span that overlaps the one before.
    let turns = (MINIMUM_CPU_UPDATE_INTERVAL.as_secs_f64() * rate).ceil() as usize + 1;
    let mut systems = (0..turns)
        .map(|_| Ok((System::new()?, None::<Instant>)))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut turn = 0;
    Ok(Box::new(move |_| {
        turn = (turn + 1) % systems.len();
        let (system, last) = &mut systems[turn];
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        let since = last.replace(Instant::now())?;
        raw(&Data {
            busy: share(f64::from(system.global_cpu_usage()) / 100.0),
            cores: system
                .cpus()
                .iter()
                .map(|cpu| share(f64::from(cpu.usage()) / 100.0))
                .collect(),
            window_ms: since.elapsed().as_millis() as u64,
        })
    }))
}

fn network(_: f64) -> Result<Sample, Error> {
    #[derive(Serialize)]
    struct Data {
        interfaces: Vec<Interface>,
    }
    #[derive(Serialize)]
    struct Interface {
        name: String,
        rx_bytes_per_s: u64,
        tx_bytes_per_s: u64,
    }
    let mut networks = Networks::new_with_refreshed_list()?;
    Ok(Box::new(move |seconds| {
        networks.refresh(true);
        let per_s = |bytes: u64| (bytes as f64 / seconds).round() as u64;
        let mut interfaces: Vec<_> = networks
            .iter()
            .map(|(name, data)| Interface {
                name: name.to_string_lossy().into_owned(),
                rx_bytes_per_s: per_s(data.received()),
                tx_bytes_per_s: per_s(data.transmitted()),
            })
            .collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        interfaces.truncate(MOST_ENTRIES);
        raw(&Data { interfaces })
    }))
}

fn memory(_: f64) -> Result<Sample, Error> {
    #[derive(Serialize)]
    struct Data {
        total_bytes: u64,
        used_bytes: u64,
        available_bytes: u64,
        swap_total_bytes: u64,
        swap_used_bytes: u64,
    }
    let mut system = System::new()?;
    Ok(Box::new(move |_| {
        system.refresh_memory();
        raw(&Data {
            total_bytes: system.total_memory(),
            used_bytes: system.used_memory(),
            available_bytes: system.available_memory(),
            swap_total_bytes: system.total_swap(),
            swap_used_bytes: system.used_swap(),
        })
    }))
}

fn disk(_: f64) -> Result<Sample, Error> {
    #[derive(Serialize)]
    struct Data {
        disks: Vec<Disk>,
        read_bytes_per_s: u64,
        write_bytes_per_s: u64,
    }
    #[derive(Serialize)]
    struct Disk {
        mount: String,
        total_bytes: u64,
        available_bytes: u64,
    }
    let mut list = Disks::new_with_refreshed_list()?;
    Ok(Box::new(move |seconds| {
        list.refresh(true);
        let (mut read, mut written) = (0, 0);
        let mut devices = Vec::new();
        let mut disks = Vec::new();
        for disk in list.iter() {
            // A device that is mounted twice reads and writes once, and has its space once.
            if devices.contains(&disk.name()) {
                continue;
            }
            devices.push(disk.name());
            let usage = disk.usage();
            read += usage.read_bytes;
            written += usage.written_bytes;
            disks.push(Disk {
                mount: disk.mount_point().to_string_lossy().into_owned(),
                total_bytes: disk.total_space(),
                available_bytes: disk.available_space(),
            });
        }
        disks.truncate(MOST_ENTRIES);
        let per_s = |bytes: u64| (bytes as f64 / seconds).round() as u64;
        raw(&Data {
            disks,
            read_bytes_per_s: per_s(read),
            write_bytes_per_s: per_s(written),
        })
    }))
}

fn processes(_: f64) -> Result<Sample, Error> {
    #[derive(Serialize)]
    struct Data {
        processes: usize,
        busiest: Vec<Process>,
    }
    #[derive(Serialize)]
    struct Process {
        /// The program's name; never its arguments, which may hold secrets.
        name: String,
        /// In cores.
        cpu: f64,
        memory_bytes: u64,
    }
    let mut system = System::new()?;
    let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    let mut first = true;
    Ok(Box::new(move |_| {
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        // Work is a difference of two looks.
        if std::mem::take(&mut first) {
            return None;
        }
        let mut all: Vec<_> = system.processes().values().collect();
        all.sort_by(|a, b| b.cpu_usage().total_cmp(&a.cpu_usage()));
        let busiest = all.iter().take(BUSIEST).map(|process| Process {
            name: process.name().to_string_lossy().into_owned(),
            cpu: share(f64::from(process.cpu_usage()) / 100.0),
            memory_bytes: process.memory(),
        });
        raw(&Data {
            processes: all.len(),
            busiest: busiest.collect(),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sampler_brings_a_sample_of_this_machine() {
        for sampler in samplers() {
            let mut sample = (sampler.begin)(4.0).unwrap();
            let mut brought = None;
            // A difference needs two looks, 200 ms apart, in each of the turns.
            for _ in 0..10 {
                std::thread::sleep(Duration::from_millis(250));
                brought = sample(0.25);
                if brought.is_some() {
                    break;
                }
            }
            let value: serde_json::Value = serde_json::from_str(brought.unwrap().get()).unwrap();
            match sampler.topic {
                "host.cpu" => {
                    let busy = value["busy"].as_f64().unwrap();
                    assert!((0.0..=1.0).contains(&busy), "{value}");
                    assert!(!value["cores"].as_array().unwrap().is_empty(), "{value}");
                    assert!(value["window_ms"].as_u64().unwrap() >= 200, "{value}");
                }
                "host.memory" => assert!(value["total_bytes"].as_u64() > value["used_bytes"].as_u64(), "{value}"),
                "host.network" => assert!(value["interfaces"].is_array(), "{value}"),
                "host.disk" => assert!(value["disks"].is_array(), "{value}"),
                "host.processes" => {
                    let busiest = value["busiest"].as_array().unwrap();
                    assert!((1..=5).contains(&busiest.len()), "{value}");
                    assert!(busiest.iter().all(|process| process["name"].is_string()), "{value}");
                }
                other => panic!("a sampler without a check: {other}"),
            }
        }
    }
}
