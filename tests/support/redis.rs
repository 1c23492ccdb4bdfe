//! A real Redis on this machine, with a folder that goes with it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::{SOON, within};

/// Names the program; without it, it is looked for on the PATH.
pub const SERVER: &str = "FRESHET_REDIS";

/// A server that keeps nothing on disk. It ends when this is dropped, or when this program ends.
#[derive(Debug)]
pub struct Redis {
    server: Option<Child>,
    address: SocketAddr,
    /// Where it speaks TLS, if it does.
    tls: Option<SocketAddr>,
    folder: TempDir,
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

impl Redis {
    /// A server for this test alone.
    pub async fn start() -> Self {
        let mut redis = Self {
            server: None,
            address: free_address(),
            tls: None,
            folder: tempfile::tempdir().unwrap(),
        };
        redis.start_again().await;
        redis
    }

    /// One that speaks TLS too, with a certificate of its own.
    pub async fn start_with_tls() -> Self {
        let mut redis = Self {
            server: None,
            address: free_address(),
            tls: Some(free_address()),
            folder: tempfile::tempdir().unwrap(),
        };
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(redis.folder.path().join("key.pem"))
            .arg("-out")
            .arg(redis.certificate())
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        redis.start_again().await;
        redis
    }

    /// The certificate of [`Self::start_with_tls`], PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub fn tls_url(&self) -> String {
        format!("rediss://{}", self.tls.expect("it speaks TLS"))
    }

    /// The server that all tests of this program share; they have clients or prefixes of their own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it after its end, on the same port and empty.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        let program = std::env::var(SERVER).unwrap_or_else(|_| "redis-server".to_owned());
        // The shell becomes the server; what it leaves behind ends the server when this program's end of the pipe is closed.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                r#"exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$; rm -rf "$0") >/dev/null 2>&1 & exec "$@" 3<&- </dev/null"#,
            ])
            .arg(self.folder.path())
            .arg(&program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(self.address.port().to_string())
            .arg("--dir")
            .arg(self.folder.path())
            .args(self.tls.map_or_else(Vec::new, |tls| self.tls_arguments(tls)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        self.server = Some(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));
        let answering = async {
            while !self.say("PING\r\n").await.is_ok_and(|answer| answer == "+PONG\r\n") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(SOON, "Redis to answer", answering).await;
    }

    fn tls_arguments(&self, tls: SocketAddr) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let pairs = [
            ("--tls-port", tls.port().to_string()),
            ("--tls-cert-file", file("certificate.pem")),
            ("--tls-key-file", file("key.pem")),
            ("--tls-ca-cert-file", file("certificate.pem")),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        pairs
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
    }

    /// Sends a command on a connection of its own; what it answers at once.
    pub async fn say(&self, command: &str) -> std::io::Result<String> {
        let mut tcp = TcpStream::connect(self.address).await?;
        tcp.write_all(command.as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let length = tcp.read(&mut answer).await?;
        answer.truncate(length);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Ends it without any warning.
    pub async fn kill(&mut self) {
        let pid = self.pid();
        kill_process(pid, Signal::KILL).unwrap();
        let server = self.server.as_mut().unwrap();
        let ending = async {
            while server.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(SOON, "Redis to end", ending).await;
        // What watches over the pipe is left of the group.
        _ = kill_process_group(pid, Signal::KILL);
        self.server = None;
    }

    /// Has it stand still (SIGSTOP) or go on (SIGCONT).
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
        kill_process(self.pid(), signal).unwrap();
    }

    /// The server's process.
    pub fn process(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// Calls the script of a check as often as Redis's own benchmark can, over so many connections; calls a second.
    #[cfg(feature = "redis")]
    pub fn benchmark(
        &self,
        policies: &[freshet::limit::Policy],
        connections: usize,
        calls: u32,
    ) -> Result<f64, String> {
        let script = include_str!("../../backend/src/limit/check.lua");
        let failed = |error: std::io::Error| error.to_string();
        let port = self.address.port().to_string();
        let loaded = Command::new("redis-cli")
            .args(["-p", &port, "SCRIPT", "LOAD", script])
            .output()
            .map_err(|error| format!("redis-cli: {error}"))?;
        let hash = String::from_utf8_lossy(&loaded.stdout).trim().to_owned();
        let keys = policies
            .iter()
            .map(|policy| format!("benchmark:{{x}}:{}", policy.name()));
        let numbers = policies
            .iter()
            .flat_map(|policy| [policy.interval_us, policy.tolerance_us(), 0])
            .map(|number| number.to_string());
        let output = Command::new("redis-benchmark")
            .args([
                "-p",
                &port,
                "-c",
                &connections.to_string(),
                "-n",
                &calls.to_string(),
                "--csv",
            ])
            .args(["EVALSHA", &hash, &policies.len().to_string()])
            .args(keys)
            .args(["1", "1"])
            .args(numbers)
            .output()
            .map_err(|error| format!("redis-benchmark: {error}"))?;
        if !output.status.success() {
            return Err(failed(std::io::Error::other(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // "test","rps","avg_latency_ms",…: the test's name has commas and quotation marks in it.
        let rate = text.lines().last().and_then(|line| {
            let mut fields = line.rsplit("\",\"").map(|field| field.trim_matches('"').parse::<f64>());
            fields.by_ref().map_while(Result::ok).last()
        });
        rate.filter(|&rate| rate > 0.0)
            .ok_or_else(|| format!("redis-benchmark said {text:?}"))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.server.as_ref().expect("it runs"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server
            && let Ok(None) = server.try_wait()
        {
            _ = kill_process_group(Pid::from_child(server), Signal::KILL);
            _ = server.wait();
        }
    }
}
