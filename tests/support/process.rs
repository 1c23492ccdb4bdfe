//! A program that a test starts, with what it says, in a process group of its own that ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::within;

#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    lines: UnboundedReceiver<String>,
    /// What it said so far on either of its outputs, line by line.
    pub said: Vec<String>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{:?}", command.get_program());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (sender, lines) = unbounded_channel();
        read_lines(child.stdout.take().unwrap(), sender.clone());
        read_lines(child.stderr.take().unwrap(), sender);
        Self {
            child,
            name,
            lines,
            said: Vec::new(),
        }
    }

    /// What follows `mark` in the next line that has it.
    pub async fn says(&mut self, mark: &str, limit: Duration) -> String {
        let name = self.name.clone();
        let saying = async {
            while let Some(line) = self.lines.recv().await {
                let found = line.split_once(mark).map(|(_, rest)| rest.to_owned());
                self.said.push(line);
                if let Some(rest) = found {
                    return rest;
                }
            }
            panic!("{} ended without saying {mark:?}; it said {:#?}", self.name, self.said);
        };
        within(limit, &format!("{name} to say {mark:?}"), saying).await
    }

    /// Panics, with what it said, where it has ended.
    pub fn runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            while let Ok(line) = self.lines.try_recv() {
                self.said.push(line);
            }
            panic!("{} ended with {status}; it said {:#?}", self.name, self.said);
        }
    }

    /// SIGTERM to the program itself.
    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// SIGKILL to the program itself: it has no time for anything.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Any signal, to the program itself.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What is resident of it in memory, in bytes.
    #[cfg(target_os = "linux")]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Waits for its end, which is when nobody holds its outputs any more; all that it said is in `said` then.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let ending = async {
            while let Some(line) = self.lines.recv().await {
                self.said.push(line);
            }
        };
        within(limit, &what, ending).await;
        self.child.wait().unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it was waited for, its number may be another's.
        if let Ok(None) = self.child.try_wait() {
            _ = kill_process_group(self.pid(), Signal::KILL);
            _ = self.child.wait();
        }
    }
}

fn read_lines(output: impl Read + Send + 'static, sender: UnboundedSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}
