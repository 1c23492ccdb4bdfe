//! How it starts, how it refuses to, and how it ends.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use freshet_tests::http::get;
use freshet_tests::process::Process;
use freshet_tests::program::{Program, binary, serve};
use freshet_tests::{SOON, Stream};

/// Starts it where it cannot run, and checks that it says so in one clear line and fails; that line.
async fn refused(data: &Path, listen: &str, arguments: &[&str]) -> String {
    let mut process = serve(data, listen, arguments);
    let status = process.ended(SOON).await;
    assert!(
        !status.success() && status.code().is_some(),
        "{status}: {:?}",
        process.said
    );
    let said = &process.said;
    assert!(!said.iter().any(|line| line.contains("panicked")), "{said:?}");
    assert!(
        !said.iter().any(|line| line.contains("listening on")),
        "it listens, says a program that does not: {said:?}"
    );
    let last = said.last().expect("a word on why");
    assert!(last.starts_with("freshet: "), "{said:?}");
    last.clone()
}

#[tokio::test]
async fn it_says_where_it_listens_and_serves_there() {
    let program = Program::start(&[]).await;
    assert!(program.address.ip().is_loopback());
    assert_eq!(get(program.address, "/livez").await.text(), "live\n");
    let mut stream = Stream::open(program.address).await;
    stream.subscribe(&["settings"]).await;
    assert_eq!(stream.page().await.events.len(), 1);
}

#[tokio::test]
async fn a_log_that_nobody_watches_has_no_colours() {
    let mut program = Program::start(&[]).await;
    get(program.address, "/livez").await;
    program.stop().await;
    let said = program.process.said.join("\n");
    assert!(said.contains("listening on") && !said.contains('\u{1b}'), "{said:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let line = refused(data.path(), &address, &[]).await;
    assert!(line.contains(&address) && line.contains("--listen"), "{line}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_named() {
    // No permission stops root; a place that is no folder, or in no file system that takes one, does.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut places = vec![file.path().to_owned(), file.path().join("below")];
    if cfg!(target_os = "linux") {
        places.push("/proc/freshet".into());
    }
    for place in places {
        let line = refused(&place, "127.0.0.1:0", &[]).await;
        assert!(
            line.contains(place.to_str().unwrap()) && line.contains("--data"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_data_folder_that_another_process_uses_is_named() {
    let program = Program::start(&[]).await;
    let folder = program.data.path();
    let line = refused(folder, "127.0.0.1:0", &[]).await;
    assert!(
        line.contains(folder.to_str().unwrap()) && line.contains("another"),
        "{line}"
    );
    assert_eq!(
        get(program.address, "/livez").await.status,
        200,
        "the first one goes on"
    );
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_token() {
    let data = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let line = refused(data.path(), listen, &[]).await;
        assert!(line.contains("--admin-token"), "{listen}: {line}");
        let line = refused(data.path(), listen, &["--admin-token", "short"]).await;
        assert!(line.contains("16"), "{listen}: {line}");
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let line = refused(data.path(), "127.0.0.1:0", &["--allow-origin", "127.0.0.1:8080"]).await;
    assert!(line.contains("--allow-origin"), "{line}");
    let line = refused(data.path(), "127.0.0.1:0", &["--node-id", "a b"]).await;
    assert!(line.contains("--node-id"), "{line}");
    for arguments in [
        &["serve", "--listen", "here"][..],
        &["serve", "--nonsense"],
        &["nonsense"],
        &[],
    ] {
        let mut process = Process::start(Command::new(binary()).args(arguments));
        let status = process.ended(SOON).await;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        let said = process.said.join("\n");
        assert!(said.contains("error: ") || said.contains("Usage"), "{said}");
    }
}

#[tokio::test]
async fn a_token_is_not_shown_to_who_asks_for_help() {
    let mut command = Command::new(binary());
    let mut process = Process::start(
        command
            .args(["serve", "--help"])
            .env("FRESHET_ADMIN_TOKEN", "a-long-enough-secret"),
    );
    assert!(process.ended(SOON).await.success());
    let said = process.said.join("\n");
    assert!(
        said.contains("FRESHET_ADMIN_TOKEN") && !said.contains("a-long-enough-secret"),
        "{said}"
    );
}

#[tokio::test]
async fn asked_to_stop_it_says_goodbye_and_succeeds() {
    let mut program = Program::start(&[]).await;
    let mut stream = Stream::open(program.address).await;
    stream.subscribe(&["host.cpu"]).await;
    let (status, code) = tokio::join!(program.stop(), stream.closed());
    assert_eq!((status.code(), code), (Some(0), 1001), "{:?}", program.process.said);
}

#[tokio::test]
async fn from_the_moment_it_says_that_it_listens_it_ends_in_order() {
    for _ in 0..5 {
        let mut program = Program::start(&[]).await;
        let status = program.stop().await;
        assert_eq!(status.code(), Some(0), "{status}: {:?}", program.process.said);
    }
}

#[tokio::test]
async fn its_name_outlives_it() {
    let mut program = Program::start(&[]).await;
    let node = Stream::open(program.address).await.hello.node;
    assert!(node.starts_with("node-"), "{node}");
    program.stop().await;
    program.start_again().await;
    assert_eq!(Stream::open(program.address).await.hello.node, node);
}
