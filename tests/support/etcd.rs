//! A real etcd: some members on this machine, with a folder that goes with them.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::within;

/// How long a member may take to be there, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names the program; without it, the one on the path is run.
pub const PROGRAM: &str = "FRESHET_ETCD";

/// The members of a cluster. They end when this is dropped, or when this program ends.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    tls: Option<ServerTls>,
    folder: TempDir,
}

/// PEM files with which clients are met by TLS, and without a certificate of theirs not at all.
#[derive(Debug)]
pub struct ServerTls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug)]
struct Member {
    server: Option<Child>,
    client: SocketAddr,
    peer: SocketAddr,
    /// Where it says how it is, to whoever asks.
    health: SocketAddr,
}

impl Etcd {
    /// A cluster of so many members, for this test alone.
    pub async fn start(members: usize) -> Self {
        Self::start_with(members, None).await
    }

    /// The same, for clients that come by TLS.
    pub async fn start_with(members: usize, tls: Option<ServerTls>) -> Self {
        let member = |_| Member {
            server: None,
            client: free_address(),
            peer: free_address(),
            health: free_address(),
        };
        let mut etcd = Self {
            members: (0..members).map(member).collect(),
            tls,
            folder: tempfile::tempdir().unwrap(),
        };
        for member in 0..members {
            etcd.spawn(member);
        }
        for member in 0..members {
            etcd.answers(member).await;
        }
        etcd
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| format!("{}://{}", self.scheme(), member.client))
            .collect()
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn spawn(&mut self, index: usize) {
        let folder = self.folder.path();
        let log = folder.join(format!("m{index}.log"));
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        let all: Vec<_> = self.members.iter().zip(0..).collect();
        let all: Vec<_> = all
            .iter()
            .map(|(member, number)| format!("m{number}=http://{}", member.peer))
            .collect();
        let scheme = self.scheme();
        let member = &mut self.members[index];
        assert!(member.server.is_none(), "it runs already");
        let (client, peer) = (
            format!("{scheme}://{}", member.client),
            format!("http://{}", member.peer),
        );
        // The shell becomes the server; what it leaves behind ends the server when this program's end of the pipe is closed.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                r#"exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null"#,
                "sh",
            ])
            .arg(std::env::var_os(PROGRAM).unwrap_or_else(|| "etcd".into()))
            .args(["--name", &format!("m{index}"), "--data-dir"])
            .arg(folder.join(format!("m{index}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-metrics-urls", &format!("http://{}", member.health)])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        if let Some(tls) = &self.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&tls.ca);
            command
                .arg("--cert-file")
                .arg(&tls.cert)
                .arg("--key-file")
                .arg(&tls.key);
        }
        member.server = Some(command.spawn().unwrap());
    }

    /// Waits until a member knows a leader. It takes connections before that, and before anything of it is on disk.
    async fn answers(&mut self, index: usize) {
        let member = &mut self.members[index];
        let answering = async {
            while !is_healthy(member.health).await {
                let ended = member.server.as_mut().and_then(|server| server.try_wait().unwrap());
                assert!(ended.is_none(), "etcd ended with {ended:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, "etcd to answer", answering).await;
    }

    /// Ends a member without any warning.
    pub async fn kill(&mut self, index: usize) {
        let pid = self.pid(index);
        kill_process(pid, Signal::KILL).unwrap();
        let server = self.members[index].server.as_mut().unwrap();
        let ending = async {
            while server.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(PATIENCE, "etcd to end", ending).await;
        // What watches over the pipe is left of the group.
        _ = kill_process_group(pid, Signal::KILL);
        self.members[index].server = None;
    }

    /// Starts a member after its end, on the same ports and with the same data.
    pub async fn start_again(&mut self, index: usize) {
        self.spawn(index);
        self.answers(index).await;
    }

    /// Has a member stand still (SIGSTOP) or go on (SIGCONT).
    pub fn freeze(&self, index: usize, is_frozen: bool) {
        let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
        kill_process(self.pid(index), signal).unwrap();
    }

    fn pid(&self, index: usize) -> Pid {
        Pid::from_child(self.members[index].server.as_ref().expect("it runs"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut server) = member.server.take() {
                _ = kill_process_group(Pid::from_child(&server), Signal::KILL);
                _ = server.wait();
            }
        }
    }
}

/// What etcd says of itself on `/health`; no answer is none.
async fn is_healthy(member: SocketAddr) -> bool {
    let asking = async {
        let mut stream = tokio::net::TcpStream::connect(member).await.ok()?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.contains(r#""health":"true""#).then_some(())
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), asking).await;
    answer.is_ok_and(|healthy| healthy.is_some())
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
