//! What a measurement needs of the machine: cores to pin to, CPU clocks, and how much of the time others took.

use std::fs;
use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

/// Linux reports /proc/stat in hundredths of a second, whatever its timer does (`USER_HZ`).
const TICK_US: f64 = 10_000.0;

/// One core for the server that is measured, another for everything that measures it.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub server: usize,
    pub readers: usize,
}

impl Cores {
    /// The first and the last core that this process may use.
    pub fn find() -> Result<Self, String> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(|error| format!("cannot read the cores: {error}"))?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true));
        match (cores.next(), cores.next_back()) {
            (Some(server), Some(readers)) => Ok(Self { server, readers }),
            _ => Err("two cores are needed: one for the server, one for its readers".to_owned()),
        }
    }
}

/// Keeps the calling thread, and what it starts from now on, on these cores.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Starts a process that never leaves the core: it inherits the affinity of the thread that starts it.
pub fn spawn_on(core: usize, mut command: Command) -> io::Result<Child> {
    let started = std::thread::spawn(move || pin(&[core]).and_then(|()| command.spawn())).join();
    started.unwrap_or_else(|_| Err(io::Error::other("the thread that starts the server panicked")))
}

/// The CPU time that another process has used, user and system, with the kernel's full resolution.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(ClockId);

impl CpuClock {
    pub fn of(process: u32) -> io::Result<Self> {
        Ok(Self(clock_getcpuclockid(pid(process))?))
    }

    pub fn read(self) -> io::Result<Duration> {
        Ok(clock_gettime(self.0)?.into())
    }
}

pub fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap_or(i32::MAX))
}

/// Resident memory of a process, in bytes.
pub fn resident(process: u32) -> io::Result<u64> {
    memory(process, "VmRSS:")
}

/// The most that was ever resident of it, in bytes.
pub fn most_resident(process: u32) -> io::Result<u64> {
    memory(process, "VmHWM:")
}

fn memory(process: u32, name: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kilobytes = status.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.trim().strip_suffix("kB")?;
        value.trim().parse::<u64>().ok()
    });
    Ok(kilobytes.ok_or_else(|| io::Error::other(format!("no {name}")))? * 1024)
}

/// What the kernel holds in the buffers of all TCP sockets, at both ends, in bytes (proc(5), `sockstat`).
pub fn socket_buffers() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let pages = tcp.and_then(|line| {
        line.split_once(" mem ")?
            .1
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    Ok(pages.ok_or_else(|| io::Error::other("no memory of TCP"))? * 4096)
}

/// What a core did until now, in microseconds.
#[derive(Debug, Clone, Copy)]
struct CoreTimes {
    busy_us: f64,
    stolen_us: f64,
}

impl CoreTimes {
    fn read(core: usize) -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let name = format!("cpu{core} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&*name));
        let fields: Vec<f64> = line
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal
        let [user, nice, system, _, _, irq, softirq, steal, ..] = fields[..] else {
            return Err(io::Error::other("/proc/stat is not what proc(5) says"));
        };
        Ok(Self {
            busy_us: (user + nice + system + irq + softirq) * TICK_US,
            stolen_us: steal * TICK_US,
        })
    }
}

/// What disturbed a measurement, as shares of its time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Disturbance {
    /// Taken by the host from either core.
    pub stolen: f64,
    /// Used on the server's core by other processes; by sampling, so a few per cent are noise.
    pub others: f64,
}

/// A stretch of wall time over which a server's CPU time and its disturbance are measured.
#[derive(Debug)]
pub struct Stretch {
    cores: Cores,
    clock: CpuClock,
    began: Instant,
    cpu: Duration,
    server: CoreTimes,
    readers: CoreTimes,
}

/// What a [`Stretch`] found.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub wall_s: f64,
    pub cpu_s: f64,
    pub disturbance: Disturbance,
}

impl Stretch {
    pub fn begin(cores: Cores, clock: CpuClock) -> io::Result<Self> {
        Ok(Self {
            cores,
            clock,
            server: CoreTimes::read(cores.server)?,
            readers: CoreTimes::read(cores.readers)?,
            began: Instant::now(),
            cpu: clock.read()?,
        })
    }

    pub fn end(self) -> io::Result<Spent> {
        let cpu_s = (self.clock.read()? - self.cpu).as_secs_f64();
        let wall_s = self.began.elapsed().as_secs_f64();
        let server = CoreTimes::read(self.cores.server)?;
        let readers = CoreTimes::read(self.cores.readers)?;
        let stolen_us = (server.stolen_us - self.server.stolen_us).max(readers.stolen_us - self.readers.stolen_us);
        let busy_s = (server.busy_us - self.server.busy_us) / 1e6;
        Ok(Spent {
            wall_s,
            cpu_s,
            disturbance: Disturbance {
                stolen: stolen_us / 1e6 / wall_s,
                others: (busy_s - cpu_s) / wall_s,
            },
        })
    }
}

/// What the figures were taken on, in a sentence.
pub fn describe() -> String {
    let find = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        value.unwrap_or_default().trim_matches([' ', '\t', ':']).to_owned()
    };
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory_kb: f64 = find("/proc/meminfo", "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(f64::NAN);
    format!(
        "{cores} cores of {}, {:.0} GiB, Linux {}{}",
        find("/proc/cpuinfo", "model name"),
        memory_kb / f64::from(1 << 20),
        find("/proc/sys/kernel/osrelease", ""),
        if cpus.contains(" hypervisor") {
            ", in a virtual machine"
        } else {
            ""
        },
    )
}
