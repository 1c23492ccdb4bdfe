//! A real ZooKeeper: some servers on this machine, with a folder that goes with them.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::within;

/// How long a server may take to be there, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names Java's class path with ZooKeeper's jars.
pub const CLASS_PATH: &str = "FRESHET_ZOOKEEPER";

/// The servers' clock: no session is shorter than two ticks.
pub const TICK: Duration = Duration::from_secs(1);

/// The servers of an ensemble. They end when this is dropped, or when this program ends.
#[derive(Debug)]
pub struct ZooKeeper {
    servers: Vec<Server>,
    folder: TempDir,
}

#[derive(Debug)]
struct Server {
    process: Option<Child>,
    client: SocketAddr,
    peer: SocketAddr,
    election: SocketAddr,
}

impl ZooKeeper {
    /// An ensemble of so many servers, for this test alone.
    pub async fn start(servers: usize) -> Self {
        let server = |_| Server {
            process: None,
            client: free_address(),
            peer: free_address(),
            election: free_address(),
        };
        let mut zookeeper = Self {
            servers: (0..servers).map(server).collect(),
            folder: tempfile::tempdir().unwrap(),
        };
        for index in 0..servers {
            zookeeper.configure(index);
            zookeeper.spawn(index);
        }
        for index in 0..servers {
            zookeeper.answers(index).await;
        }
        zookeeper
    }

    /// `HOST:PORT` of each server.
    pub fn servers(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.client.to_string()).collect()
    }

    fn folder(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("s{index}"))
    }

    fn configure(&self, index: usize) {
        let folder = self.folder(index);
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("myid"), format!("{}\n", index + 1)).unwrap();
        let mut text = format!(
            "tickTime={}\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n",
            TICK.as_millis(),
            data.display(),
            self.servers[index].client.port()
        );
        if self.servers.len() > 1 {
            for (server, id) in self.servers.iter().zip(1..) {
                let (peer, election) = (server.peer, server.election.port());
                text.push_str(&format!("server.{id}={peer}:{election}\n"));
            }
        }
        std::fs::write(folder.join("zoo.cfg"), text).unwrap();
        let log = "log4j.rootLogger=INFO, OUT\nlog4j.appender.OUT=org.apache.log4j.ConsoleAppender\n\
                   log4j.appender.OUT.layout=org.apache.log4j.PatternLayout\n\
                   log4j.appender.OUT.layout.ConversionPattern=%d{ISO8601} %p %c{1} %m%n\n";
        std::fs::write(folder.join("log4j.properties"), log).unwrap();
    }

    fn spawn(&mut self, index: usize) {
        let folder = self.folder(index);
        let log = folder.join("log");
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        let jars = std::env::var(CLASS_PATH).expect("FRESHET_ZOOKEEPER names the class path with ZooKeeper's jars");
        let server = &mut self.servers[index];
        assert!(server.process.is_none(), "it runs already");
        // The shell becomes the server; what it leaves behind ends the server when this program's end of the pipe is closed.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                r#"exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null"#,
                "sh",
            ])
            // It is small, and is started often.
            .args(["java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{}:{jars}", folder.display()))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(folder.join("zoo.cfg"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        server.process = Some(command.spawn().unwrap());
    }

    /// Waits until a server has found its place in the ensemble.
    async fn answers(&mut self, index: usize) {
        let log = self.folder(index).join("log");
        let server = &mut self.servers[index];
        let answering = async {
            while mode(server.client).is_none() {
                let ended = server.process.as_mut().and_then(|process| process.try_wait().unwrap());
                if let Some(ended) = ended {
                    panic!(
                        "ZooKeeper ended with {ended}: {}",
                        std::fs::read_to_string(&log).unwrap()
                    );
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within(PATIENCE, "ZooKeeper to answer", answering).await;
    }

    /// The server that leads the ensemble now.
    pub fn leader(&self) -> Option<usize> {
        let leads = |server: &Server| mode(server.client).is_some_and(|mode| mode == "leader");
        self.servers.iter().position(leads)
    }

    /// Ends a server without any warning.
    pub async fn kill(&mut self, index: usize) {
        let pid = self.pid(index);
        kill_process(pid, Signal::KILL).unwrap();
        let process = self.servers[index].process.as_mut().unwrap();
        let ending = async {
            while process.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(PATIENCE, "ZooKeeper to end", ending).await;
        // What watches over the pipe is left of the group.
        _ = kill_process_group(pid, Signal::KILL);
        self.servers[index].process = None;
    }

    /// Starts a server after its end, on the same ports and with the same data.
    pub async fn start_again(&mut self, index: usize) {
        self.spawn(index);
        self.answers(index).await;
    }

    /// Has a server stand still (SIGSTOP) or go on (SIGCONT).
    pub fn freeze(&self, index: usize, is_frozen: bool) {
        let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
        kill_process(self.pid(index), signal).unwrap();
    }

    fn pid(&self, index: usize) -> Pid {
        Pid::from_child(self.servers[index].process.as_ref().expect("it runs"))
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(mut process) = server.process.take() {
                _ = kill_process_group(Pid::from_child(&process), Signal::KILL);
                _ = process.wait();
            }
        }
    }
}

/// `leader`, `follower` or `standalone`; `None` where the server does not serve (yet).
fn mode(server: SocketAddr) -> Option<String> {
    let timeout = Some(Duration::from_secs(1));
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(timeout).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut told = String::new();
    stream.read_to_string(&mut told).ok()?;
    let mode = told.lines().find_map(|line| line.strip_prefix("Mode: "));
    mode.map(str::to_owned)
}

/// An address that was free a moment ago, and that no connection is given as its own end meanwhile.
fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(15_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
