//! Google's own emulator of Cloud Pub/Sub, on this machine. It holds everything in memory: its end is the loss of its topics.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::TopicAdmin;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::within;

/// Java starts slowly beside other work.
const PATIENCE: Duration = Duration::from_secs(120);

/// Names the emulator's jar, which `scripts/engines.sh` finds.
pub const JAR: &str = "FRESHET_PUBSUB_EMULATOR";

/// An emulator; it ends when this is dropped.
#[derive(Debug)]
pub struct CloudPubSub {
    server: Option<Child>,
    jar: PathBuf,
    address: SocketAddr,
}

impl CloudPubSub {
    /// An emulator for this test alone.
    pub async fn start() -> Self {
        let jar = std::env::var_os(JAR).unwrap_or_else(|| panic!("{JAR} is not set; `make test` sets it"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut emulator = Self {
            server: None,
            jar: PathBuf::from(jar),
            address,
        };
        emulator.start_again().await;
        emulator
    }

    /// The emulator that all tests of this program share that do not end it; they have topics of their own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<CloudPubSub> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the configuration's `emulator` wants to know.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts it after its end, on the same port; it is empty then.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        let mut command = Command::new("sh");
        // What the shell leaves behind ends the emulator when this program's end of the pipe is closed, however that comes about.
        command
            .args([
                "-c",
                r#"exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null"#,
                "emulator",
                "java",
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-jar",
            ])
            .arg(&self.jar)
            .arg("--host=127.0.0.1")
            .arg(format!("--port={}", self.address.port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        let answering = async {
            while !has_topics(self.endpoint()).await {
                if let Some(status) = self.server.as_mut().and_then(|server| server.try_wait().unwrap()) {
                    panic!("the emulator ended with {status}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, "the emulator to answer", answering).await;
    }

    /// Ends it without any warning.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            _ = server.kill();
            _ = server.wait();
        }
    }
}

/// Whether it answers what it is asked; it takes connections a while before.
async fn has_topics(endpoint: String) -> bool {
    let asking = async {
        let builder = TopicAdmin::builder().with_endpoint(endpoint);
        let client = builder.with_credentials(anonymous::Builder::new().build()).build();
        let topics = client.await.unwrap().get_topic();
        let answer = topics.set_topic("projects/p/topics/none").send().await;
        let error = answer.expect_err("an emulator is empty at first");
        error.status().is_some_and(|status| status.code.name() == "NOT_FOUND")
    };
    timeout(Duration::from_secs(5), asking).await.unwrap_or(false)
}

impl Drop for CloudPubSub {
    fn drop(&mut self) {
        self.kill();
    }
}
