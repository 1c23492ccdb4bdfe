//! `freshet publish` and `freshet tail`, and what an acknowledged publish is worth when the program is killed.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use freshet_tests::http::{Connection, get, request};
use freshet_tests::program::{Program, binary};
use freshet_tests::{Follower, SOON, until, within};
use freshet_wire::Receipt;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::{JoinSet, spawn_blocking};

/// Runs a command of the program against this service, with this on its standard input.
async fn command(program: &Program, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .args(["--url", &format!("http://{}", program.address)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let run = spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // One that has refused its arguments does not read.
        _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    within(SOON, "the command to end", run).await.unwrap()
}

fn said(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn what_is_piped_in_is_what_tail_prints() {
    let program = Program::start(&[]).await;
    let lines: String = (0..2500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let (done, out, why) = said(&command(&program, &["publish", "piped"], &lines).await);
    assert!(done && out.is_empty(), "{out} {why}");
    assert!(
        why.contains("2500 events published to piped, the last at offset 2499"),
        "{why}"
    );
    let tail = ["tail", "piped", "--from", "earliest", "--no-follow", "--data"];
    let (done, out, why) = said(&command(&program, &tail, "").await);
    assert!(done && why.is_empty(), "{why}");
    assert_eq!(out, lines);
    let tail = ["tail", "piped", "--from", "offset:0:2000", "--count", "3", "--data"];
    let (_, out, _) = said(&command(&program, &tail, "").await);
    assert_eq!(out, "{\"n\":2000}\n{\"n\":2001}\n{\"n\":2002}\n");
}

#[tokio::test]
async fn tail_goes_on_with_what_comes_after_it_began() {
    let program = Program::start(&[]).await;
    assert!(command(&program, &["publish", "t"], "0").await.status.success());
    let tail = command(&program, &["tail", "t", "--count", "2", "--data"], "");
    let publishing = async {
        until("tail to wait", async || {
            let topics: freshet_wire::Topics = get(program.address, "/api/v1/topics").await.json();
            topics.topics.iter().any(|topic| topic.name == "t" && topic.readers > 0)
        })
        .await;
        assert!(command(&program, &["publish", "t"], "1\n2\n").await.status.success());
    };
    let (tail, ()) = tokio::join!(tail, publishing);
    assert_eq!(said(&tail), (true, "1\n2\n".to_owned(), String::new()));
}

#[tokio::test]
async fn a_command_that_cannot_do_what_it_was_asked_says_why_and_fails() {
    let program = Program::start(&[]).await;
    for (arguments, input, word) in [
        (&["publish", "t"][..], "1\nnope\n", "line 2 is not JSON"),
        (
            &["publish", "t"],
            "1\n\n2\nnope\n",
            "2 events are published, up to line 3; begin again at line 4",
        ),
        (&["publish", "t", "--key", "a\nb"], "1", "without control characters"),
        (&["publish", ".."], "1", "neither '.' nor '..'"),
        (&["publish", "host.cpu"], "1", "only read here"),
        (&["publish", "settings.mine"], "1", "the service's own"),
        (&["publish", "a b"], "1", "a topic's name is"),
        (&["publish", "t", "/nowhere/at/all.json"], "", "/nowhere/at/all.json"),
        (&["tail", "nothing"], "", "there is no topic"),
        (&["tail", "t", "--from", "soon"], "", "a position is"),
        (&["tail", "t", "--from", "time:soon"], "", "RFC 3339"),
    ] {
        let (done, _, why) = said(&command(&program, arguments, input).await);
        assert!(!done && why.contains(word), "{arguments:?}: {why}");
        assert!(!why.contains("panicked"), "{why}");
    }
}

#[tokio::test]
async fn tail_begins_at_a_time_as_people_write_it() {
    let program = Program::start(&[]).await;
    assert!(command(&program, &["publish", "t"], "1\n2\n").await.status.success());
    for (from, expected) in [
        ("time:-1h", "1\n2\n"),
        ("time:2020-01-02T03:04:05Z", "1\n2\n"),
        ("time:2100-01-01T00:00:00+01:00", ""),
    ] {
        let tail = ["tail", "t", "--from", from, "--no-follow", "--data"];
        assert_eq!(
            said(&command(&program, &tail, "").await),
            (true, expected.to_owned(), String::new()),
            "{from}"
        );
    }
}

#[tokio::test]
async fn a_document_is_published_as_it_was_written() {
    let program = Program::start(&[]).await;
    let document = "{\"a\":1.0,\n\"b\":1e400,\n\"c\":12345678901234567890,\n\"a\":[2.50]}\n";
    let (done, _, why) = said(&command(&program, &["publish", "t", "--partition-key", "p"], document).await);
    assert!(done, "{why}");
    let answer = get(program.address, "/api/v1/events?from=t@earliest").await;
    assert!(answer.text().contains(&document.replace('\n', "")), "{}", answer.text());
}

/// Publishes what is piped in, of which there may be more to come.
fn publishing(program: &Program, arguments: &[&str], input: &str) -> Child {
    let mut child = Command::new(binary())
        .args(["publish", "t"])
        .args(arguments)
        .args(["--url", &format!("http://{}", program.address)])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
    child
}

async fn end_of_t(program: &Program) -> u64 {
    let topics: freshet_wire::Topics = get(program.address, "/api/v1/topics").await.json();
    let topic = topics.topics.iter().find(|topic| topic.name == "t");
    topic
        .and_then(|topic| topic.partitions.first())
        .map_or(0, |first| first.next_offset)
}

#[tokio::test]
async fn with_a_key_the_same_again_after_a_kill_publishes_each_event_once() {
    let program = Program::start(&[]).await;
    let lines: String = (0..4500).map(|n| format!("{n}\n")).collect();
    let key = ["--key", "import 7"];
    // Killed with two batches published and a third one begun.
    let mut child = publishing(
        &program,
        &key,
        &lines
            .lines()
            .take(2500)
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    );
    until("two batches to be published", async || end_of_t(&program).await >= 2000).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(end_of_t(&program).await, 2000, "whole batches alone");
    let mut arguments = vec!["publish", "t"];
    arguments.extend(key);
    let (done, _, why) = said(&command(&program, &arguments, &lines).await);
    assert!(
        done && why.contains("4500 events published to t (2000 of them by an earlier try)"),
        "{why}"
    );
    let tail = ["tail", "t", "--from", "earliest", "--no-follow", "--data"];
    assert_eq!(
        said(&command(&program, &tail, "").await),
        (true, lines.clone(), String::new())
    );
    // Other lines under the same key are not taken for the same.
    let (done, _, why) = said(&command(&program, &arguments, &lines.replace('7', "8")).await);
    assert!(!done && why.contains("used at offset 0 for other data"), "{why}");
}

#[tokio::test]
async fn who_interrupts_it_is_told_how_far_it_came() {
    let program = Program::start(&[]).await;
    let lines: String = (0..700).map(|n| format!("{n}\n")).collect();
    let mut child = publishing(&program, &[], &lines);
    until("all that is there to be published", async || {
        end_of_t(&program).await == 700
    })
    .await;
    // Its input stays open, or it would come to its end by itself.
    let _input = child.stdin.take();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = spawn_blocking(move || child.wait_with_output().unwrap());
    let output = within(SOON, "the command to end", output).await.unwrap();
    let (_, _, why) = said(&output);
    assert_eq!(output.status.code(), Some(130), "{why}");
    // The last answer may not have come yet: then it says that it does not know.
    let told = why
        .strip_prefix("freshet: interrupted; ")
        .unwrap_or_else(|| panic!("{why}"));
    let events: u64 = told.split(' ').next().unwrap().parse().unwrap_or(0);
    assert!(told.contains(&format!("begin again at line {}", events + 1)), "{why}");
    assert!(
        events == 700 || told.contains("to 700 are published is not known"),
        "{why}"
    );
}

/// Publishers that each wait for an answer before they go on: so many that together they publish thousands of times a second.
const PUBLISHERS: usize = 64;

/// What publisher `of` sent as its `number`th event, and where the receipt said that it is.
type Acknowledged = BTreeMap<(usize, u64), u64>;

/// Publishes until the service is gone; what was acknowledged. `numbers` has each publisher's next number, and is moved on.
async fn publish_until_it_is_gone(
    program: &Program,
    numbers: &mut [u64],
    acknowledged: &Arc<AtomicUsize>,
) -> Acknowledged {
    let mut publishers = JoinSet::new();
    for (of, &first) in numbers.iter().enumerate() {
        let address = program.address;
        let acknowledged = Arc::clone(acknowledged);
        publishers.spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut receipts = Vec::new();
            for number in first.. {
                let body = format!("[{of},{number}]");
                let post = request(Method::POST, "/api/v1/topics/kept/events", &[], &body);
                let Ok(answer) = connection.try_send(post).await else {
                    // Whether this one is there is not known, so its number is not used again.
                    return (of, number + 1, receipts);
                };
                assert_eq!(answer.status, 201, "{answer:?}");
                receipts.push(((of, number), answer.json::<Receipt>().offset));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            unreachable!("numbers do not end")
        });
    }
    let mut all = Acknowledged::new();
    while let Some(done) = publishers.join_next().await {
        let (of, next, receipts) = done.unwrap();
        numbers[of] = next;
        all.extend(receipts);
    }
    all
}

/// `FRESHET_KILLS` says how many times; `make soak` asks for 50.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_once_and_in_order() {
    let kills: u32 =
        std::env::var("FRESHET_KILLS").map_or(3, |kills| kills.parse().expect("FRESHET_KILLS is a number"));
    let mut program = Program::start(&[]).await;
    let mut numbers = [0; PUBLISHERS];
    let mut all = Acknowledged::new();
    let mut under_load = Duration::ZERO;
    for kill in 0..kills {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        let killing = async {
            // Somewhere in the middle of whatever it does.
            let enough = 1000 + fastrand::usize(..1000);
            until("publishes to be acknowledged", async || {
                acknowledged.load(Ordering::Relaxed) >= enough
            })
            .await;
            program.process.kill();
            under_load += begun.elapsed();
        };
        let (told, ()) = tokio::join!(publish_until_it_is_gone(&program, &mut numbers, &acknowledged), killing);
        assert!(told.len() >= 1000, "kill {kill}: {}", told.len());
        all.extend(told);
        program.process.ended(SOON).await;
        program.start_again().await;
    }
    let mut follower = Follower::new("kept");
    loop {
        let from = follower.position("earliest");
        let path = format!("/api/v1/events?from={from}&limit=5000");
        let page = get(program.address, &path).await.page();
        follower.page(&page);
        if page.events.is_empty() {
            break;
        }
    }
    follower.check();
    assert_eq!(follower.missed, 0);
    let acknowledged = all.len();
    let mut last = [None; PUBLISHERS];
    for event in follower.events.values() {
        let (of, number): (usize, u64) = serde_json::from_str(&event.data).unwrap();
        assert!(last[of] < Some(number), "publisher {of}: {number} after {:?}", last[of]);
        last[of] = Some(number);
        if let Some(offset) = all.remove(&(of, number)) {
            assert_eq!(offset, event.offset, "where the receipt said");
        }
    }
    assert!(all.is_empty(), "acknowledged, and gone: {all:?}");
    _ = writeln!(
        std::io::stderr(),
        "{acknowledged} events acknowledged over {kills} kills, {:.0} a second: each is there once ({} are there in all)",
        acknowledged as f64 / under_load.as_secs_f64(),
        follower.events.len(),
    );
    assert!(program.stop().await.success());
}
