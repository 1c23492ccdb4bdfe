//! `freshet config`, and a program that is started with a configuration of each kind.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use freshet_tests::SOON;
use freshet_tests::http::get;
use freshet_tests::process::Process;
use freshet_tests::program::binary;
use freshet_wire::StaticConfig;

/// In this folder, with these variables and nothing of this process's own settings.
fn command(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FRESHET_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .envs(variables.iter().copied())
        .args(arguments);
    command
}

fn run(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (Output, String, String) {
    let output = command(folder, variables, arguments).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let wrong = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said, wrong)
}

#[test]
fn a_file_is_checked_with_every_problem_a_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("right.yaml"),
        "election:\n  nodes: 1\nseed:\n  source: {cpu_hz: 5}\n",
    )
    .unwrap();
    let (output, said, wrong) = run(folder.path(), &[], &["config", "check", "right.yaml"]);
    assert!(output.status.success(), "{wrong}");
    assert_eq!((&*said, &*wrong), ("right.yaml is right, and sets 2 keys\n", ""));
    let text = "{\"lisen\": \"x\",\n\"election\": {\"nodes\": 2},\n\"admin_token\": \"sesame\"}";
    fs::write(folder.path().join("wrong.json"), text).unwrap();
    let (output, said, wrong) = run(folder.path(), &[], &["config", "check", "wrong.json"]);
    assert_eq!((output.status.code(), &*said), (Some(1), ""));
    let lines: Vec<_> = wrong.lines().collect();
    assert_eq!(
        lines,
        [
            "wrong.json:1: lisen: there is no such key; did you mean listen?",
            "wrong.json:2: election.nodes: a cluster has 1, 3 or 5 nodes, not 2; election.nodes takes a whole number, 1 to 5 nodes",
            "wrong.json:3: admin_token: it is shorter than 16 characters; admin_token takes a text",
        ]
    );
}

#[test]
fn what_would_be_in_force_is_printed_with_its_sources() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("freshet.toml"),
        "data = 'there'\n[limit]\nclients = 99\n",
    )
    .unwrap();
    let variables = [
        ("FRESHET_LISTEN", "0.0.0.0:1"),
        ("FRESHET_ADMIN_TOKEN", "sesame-sesame-sesame"),
    ];
    let arguments = ["config", "print", "--node-id", "a", "--set", "election.nodes=5"];
    let (output, said, wrong) = run(folder.path(), &variables, &arguments);
    assert!(output.status.success(), "{wrong}");
    assert!(!said.contains("sesame"), "{said}");
    for line in [
        "listen = \"0.0.0.0:1\"  # FRESHET_LISTEN",
        "data = \"there\"  # freshet.toml:1",
        "node_id = \"a\"  # --node-id",
        "nodes = 5  # --set election.nodes",
        "clients = 99  # freshet.toml:3",
        "engine = \"log\"  # default",
        "admin_token = \"••••\"  # FRESHET_ADMIN_TOKEN",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    for (format, name) in [("toml", "again.toml"), ("yaml", "again.yaml"), ("json", "again.json")] {
        let arguments = ["config", "print", "--format", format];
        let (_, said, _) = run(folder.path(), &[], &arguments);
        fs::write(folder.path().join(name), &said).unwrap();
        let (output, _, wrong) = run(folder.path(), &[], &["config", "check", name]);
        assert!(output.status.success(), "{wrong}");
    }
    let (_, example, _) = run(folder.path(), &[], &["config", "example"]);
    assert_eq!(example, include_str!("../../assets/freshet.toml"));
}

#[tokio::test]
async fn it_starts_with_the_file_in_its_folder_and_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("freshet.yml"),
        "listen: 127.0.0.1:0\nelection: {nodes: 1}\n",
    )
    .unwrap();
    let mut process = Process::start(&mut command(folder.path(), &[("FRESHET_DATA", "kept")], &["serve"]));
    let address = process.says("listening on http://", SOON).await.trim().parse().unwrap();
    let told: StaticConfig = get(address, "/api/v1/config").await.json();
    assert_eq!(told.file.as_deref(), Some("freshet.yml"));
    assert!(folder.path().join("kept").is_dir());
    process.terminate();
    assert!(process.ended(SOON).await.success());
}

#[tokio::test]
async fn what_is_wrong_anywhere_is_said_at_the_start_and_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("freshet.toml"),
        "[pubsub]\nengine = 'memory'\nmax_topics = 20\n",
    )
    .unwrap();
    let variables = [("FRESHET_LIMIT__CLIENTS", "few")];
    let mut process = Process::start(&mut command(
        folder.path(),
        &variables,
        &["serve", "--set", "seed.log.filter=a=b=c"],
    ));
    let status = process.ended(SOON).await;
    assert_eq!(status.code(), Some(1));
    for begin in [
        "freshet: FRESHET_LIMIT__CLIENTS: limit.clients: \"few\" is no number; ",
        "freshet: freshet.toml:3: pubsub.max_topics: pubsub.engine is \"memory\"",
        "freshet: --set seed.log.filter: seed.log.filter: ",
    ] {
        assert!(
            process.said.iter().any(|line| line.starts_with(begin)),
            "{begin}: {:?}",
            process.said
        );
    }
}
