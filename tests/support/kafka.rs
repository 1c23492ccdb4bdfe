//! A real Apache Kafka: one broker, on this machine, with a folder that goes with it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::within;

/// How long a broker may take to be there, or to end; Java starts slowly beside other work.
const PATIENCE: Duration = Duration::from_secs(120);

/// Names the folder with Kafka's jars, which `scripts/setup.sh kafka` fills.
pub const JARS: &str = "FRESHET_KAFKA";

/// A broker that is its cluster's only one. It ends when this is dropped, or when this program ends.
#[derive(Debug)]
pub struct Kafka {
    server: Option<Child>,
    jars: PathBuf,
    address: SocketAddr,
    folder: TempDir,
}

impl Kafka {
    /// A broker for this test alone.
    pub async fn start() -> Self {
        let jars = std::env::var_os(JARS).unwrap_or_else(|| panic!("{JARS} is not set; `make test` sets it"));
        let mut kafka = Self {
            server: None,
            jars: PathBuf::from(jars),
            address: free_address(),
            folder: tempfile::tempdir().unwrap(),
        };
        kafka.format(free_address());
        kafka.start_again().await;
        kafka
    }

    /// The broker that all tests of this program share; they have topics of their own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// What `bootstrap.servers` wants to know.
    pub fn brokers(&self) -> String {
        self.address.to_string()
    }

    /// Starts it after its end, on the same port and with the same data.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        let log = OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        // The shell becomes the broker; what it leaves behind ends the broker, and its folder, when this program's end of the
        // pipe is closed, however that comes about.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                r#"exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$; rm -rf "$0") >/dev/null 2>&1 & exec "$@" 3<&- </dev/null"#,
            ])
            .arg(self.folder.path());
        self.java(&mut command, "kafka.Kafka")
            .arg(self.folder.path().join(SETTINGS));
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        self.server = Some(command.spawn().unwrap());
        let answering = async {
            while !has_brokers(self.address) {
                if let Some(status) = self.server.as_mut().and_then(|server| server.try_wait().unwrap()) {
                    panic!("Kafka ended with {status}; {}", self.log_end());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, "Kafka to answer", answering).await;
    }

    /// Asks it to end, by SIGTERM, and waits for that.
    pub async fn stop(&mut self) {
        self.end(Signal::TERM).await;
    }

    /// Ends it without any warning.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL).await;
    }

    /// Has it stand still (SIGSTOP) or go on (SIGCONT).
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
        kill_process(self.pid(), signal).unwrap();
    }

    async fn end(&mut self, signal: Signal) {
        let pid = self.pid();
        kill_process(pid, signal).unwrap();
        let server = self.server.as_mut().unwrap();
        let ending = async {
            while server.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(PATIENCE, "Kafka to end", ending).await;
        // What watches over the pipe is left of the group; its number is nobody else's before that has ended.
        _ = kill_process_group(pid, Signal::KILL);
        self.server = None;
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.server.as_ref().expect("it runs"))
    }

    fn format(&self, controller: SocketAddr) {
        let folder = self.folder.path();
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={folder}/data\n\
             auto.create.topics.enable=false\n\
             offsets.topic.num.partitions=1\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             log.cleaner.backoff.ms=500\n\
             log.retention.check.interval.ms=500\n\
             log.initial.task.delay.ms=500\n\
             log.segment.delete.delay.ms=500\n\
             controlled.shutdown.enable=true\n\
             num.network.threads=2\n\
             num.io.threads=2\n",
            address = self.address,
            folder = folder.display(),
        );
        std::fs::write(folder.join(SETTINGS), settings).unwrap();
        let mut command = Command::new("env");
        self.java(&mut command, "kafka.tools.StorageTool")
            .args(["format", "--cluster-id", &cluster_id(), "--config"])
            .arg(folder.join(SETTINGS));
        let formatted = command.stdin(Stdio::null()).output().unwrap();
        assert!(
            formatted.status.success(),
            "Kafka's folder is not formatted: {}",
            String::from_utf8_lossy(&formatted.stderr)
        );
    }

    fn java<'a>(&self, command: &'a mut Command, class: &str) -> &'a mut Command {
        command
            .arg("java")
            .args([
                "-Xms64m",
                "-Xmx320m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Xshare:auto",
            ])
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg(class)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Where its data are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

const SETTINGS: &str = "server.properties";

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server
            && let Ok(None) = server.try_wait()
        {
            _ = kill_process_group(Pid::from_child(server), Signal::KILL);
            _ = server.wait();
        }
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// 16 random bytes in base64, as Kafka writes ids.
fn cluster_id() -> String {
    use base64::Engine as _;
    let mut id = [0; 16];
    File::open("/dev/urandom").unwrap().read_exact(&mut id).unwrap();
    // One that begins with - would look like an option.
    id[0] &= 0x7f;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id)
}

/// Whether a broker says that there are brokers: a Metadata request for no topics, in the protocol's version 1.
fn has_brokers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut broker = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        broker.set_read_timeout(Some(Duration::from_secs(5)))?;
        // length, key 3 (Metadata), version 1, correlation, no client's name, no topics
        broker.write_all(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0])?;
        // length, correlation, count of brokers
        let mut head = [0; 12];
        broker.read_exact(&mut head)?;
        Ok(head[4..8] == [0, 0, 0, 7] && i32::from_be_bytes([head[8], head[9], head[10], head[11]]) > 0)
    };
    ask().unwrap_or(false)
}
