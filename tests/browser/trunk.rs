//! The page as `make run` serves it: by Trunk, which passes /api on to the back end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use freshet_tests::browser::Browser;
use freshet_tests::process::Process;
use freshet_tests::program::Program;
use freshet_tests::{SOON, within};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::page::{Page, count, number, say, seen};

/// It compiles the page first: minutes, where that was not done before.
const BUILDS: Duration = Duration::from_secs(600);

/// `scripts/page.sh serve`, on a port of its own.
struct Trunk {
    process: Process,
    port: u16,
    folder: PathBuf,
}

impl Trunk {
    fn start(page_port: u16, back_end: u16) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let process = Process::start(
            Command::new(root.join("scripts/page.sh"))
                .arg("serve")
                .env("FRESHET_PAGE_PORT", page_port.to_string())
                .env("FRESHET_PORT", back_end.to_string()),
        );
        Self {
            process,
            port: page_port,
            folder: root.join(format!("target/trunk-{page_port}")),
        }
    }

    /// It listens once it has built the page.
    async fn listens(&mut self) {
        let listening = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                self.process.runs();
                sleep(Duration::from_millis(200)).await;
            }
        };
        within(BUILDS, "scripts/page.sh serve to listen", listening).await;
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn through_trunk_both_lanes_move_on_an_isolated_page_and_the_way_is_named() {
    // Trunk cannot be told to take any free port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let origin = format!("http://127.0.0.1:{port}");
    let program = Program::start(&["--allow-origin", &origin]).await;
    let mut trunk = Trunk::start(port, program.address.port());
    trunk.listens().await;
    let mut page = Page {
        browser: Browser::start().await,
        program,
    };
    page.browser
        .open(&format!("{origin}/#topics=workload&interval=500"))
        .await;
    page.is_live().await;
    assert_eq!(page.browser.eval("window.crossOriginIsolated").await, true);
    page.change(r#"{"workload":{"rate_hz":200,"shape":"poisson"}}"#).await;
    sleep(Duration::from_secs(6)).await;
    let report = page.report(5).await;
    assert_eq!(report["hello"]["proxied"], true);
    say(&format!(
        "through Trunk: polling {:.1} ms, streaming {:.2} ms",
        number(&report, "/poll/latency/mean_us") / 1e3,
        number(&report, "/stream/latency/mean_us") / 1e3
    ));
    page.change(r#"{"workload":{"rate_hz":0}}"#).await;
    let all = page.has_all_of_workload().await;
    let report = page.report(5).await;
    for lane in ["poll", "stream"] {
        assert_eq!(count(&report, lane, "events"), all, "{lane}");
        for bad in ["missed", "duplicates", "unexplained", "errors"] {
            assert_eq!(count(&report, lane, bad), 0, "{lane} {bad}");
        }
    }
    let ranges = |lane: &str| seen(&report, lane, "workload");
    assert!(ranges("poll").len() > 10);
    assert_eq!(ranges("poll"), ranges("stream"), "both lanes saw the same bytes");
    page.shows("Through a proxy").await;
    let complaints = page.errors().await;
    assert!(complaints.is_empty(), "{complaints:#?}");

    // The back end goes and comes back behind Trunk's back.
    page.program.stop().await;
    page.shows("disconnected").await;
    page.program.start_again().await;
    page.is_live().await;

    trunk.process.terminate();
    trunk.process.ended(SOON).await;
}
