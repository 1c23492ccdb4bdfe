//! `/metrics`: OpenMetrics as the standard has it, with numbers that agree with what was delivered.

use std::collections::BTreeMap;

use freshet_tests::raw::Raw;
use freshet_tests::{Server, Stream, until};

/// Samples by name and labels, as they stand in the text.
type Samples = BTreeMap<String, f64>;

/// Reads OpenMetrics 1.0 text and panics where it is not: its sections "ABNF" and "Overall structure".
fn parse(text: &str) -> Samples {
    let body = text
        .strip_suffix("# EOF\n")
        .expect("it ends with # EOF and a line feed");
    let mut samples = Samples::new();
    let mut family = (String::new(), String::new());
    let mut seen = Vec::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (kind, rest) = comment.split_once(' ').expect(line);
            let (name, value) = rest.split_once(' ').expect(line);
            assert!(["TYPE", "HELP", "UNIT"].contains(&kind), "{line}");
            if family.0 != name {
                assert!(
                    !seen.contains(&name.to_owned()),
                    "the family comes in two pieces: {line}"
                );
                seen.push(name.to_owned());
                family = (name.to_owned(), String::new());
            }
            match kind {
                "TYPE" => family.1 = value.to_owned(),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                _ => assert!(!value.is_empty(), "{line}"),
            }
            continue;
        }
        let (key, value) = line.rsplit_once(' ').expect(line);
        let name = key.split('{').next().unwrap();
        let suffix = name
            .strip_prefix(&*family.0)
            .unwrap_or_else(|| panic!("outside of its family: {line}"));
        match &*family.1 {
            "counter" => assert_eq!(suffix, "_total", "{line}"),
            "gauge" => assert_eq!(suffix, "", "{line}"),
            other => panic!("a type that is not expected: {other}"),
        }
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{line}"
        );
        if let Some(labels) = key.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}')).expect(line);
            for label in labels.split(',') {
                let (name, value) = label.split_once('=').expect(line);
                assert!(
                    ["lane", "topic", "class", "outcome", "policy"].contains(&name),
                    "a label that is not expected: {line}"
                );
                assert!(
                    value.len() > 2 && value.starts_with('"') && value.ends_with('"'),
                    "{line}"
                );
            }
        }
        let value: f64 = value.parse().expect(line);
        assert!(value >= 0.0, "{line}");
        assert!(samples.insert(key.to_owned(), value).is_none(), "twice: {line}");
    }
    samples
}

async fn scrape(server: &Server) -> Samples {
    let answer = server.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    parse(answer.text())
}

#[tokio::test]
async fn metrics_agree_with_what_was_delivered() {
    let server = Server::forgetful(20_000).await;
    let before = scrape(&server).await;
    // What is appended is counted, however it is read.
    server.append(100, 32).await;
    let after = scrape(&server).await;
    let grew = |name: &str, before: &Samples, after: &Samples| (after[name] - before[name]) as u64;
    assert_eq!(
        grew(r#"freshet_topic_events_total{topic="workload"}"#, &before, &after),
        100
    );
    let window = server.topic("workload").await.window;
    assert_eq!(
        after[r#"freshet_topic_window_bytes{topic="workload"}"#] as u64,
        window.bytes
    );

    let before = scrape(&server).await;
    let whole = server.poll("from=workload@offset:0:0").await;
    let missed = whole.gaps[0].count.unwrap();
    assert_eq!(whole.events.len() as u64 + missed, 100);
    assert!(server.poll("from=workload@latest").await.events.is_empty());
    assert_eq!(
        server.poll("from=workload@0123456789ab-0").await.events.len(),
        whole.events.len()
    );
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["workload@offset:0:10"]).await;
    let streamed = stream.page().await;
    assert_eq!(streamed.gaps[0].count, Some(missed - 10));
    let after = scrape(&server).await;
    let of_lane = |name: &str, lane: &str| grew(&format!("freshet_{name}_total{{lane=\"{lane}\"}}"), &before, &after);
    assert_eq!(of_lane("requests", "poll"), 3);
    assert_eq!(of_lane("empty_polls", "poll"), 1);
    assert_eq!(of_lane("events_delivered", "poll"), 2 * whole.events.len() as u64);
    assert_eq!(of_lane("events_missed", "poll"), missed);
    assert_eq!(of_lane("unknown_gaps", "poll"), 1);
    assert_eq!(of_lane("frames", "poll"), 0);
    assert_eq!(of_lane("requests", "stream"), 1);
    assert_eq!(of_lane("events_delivered", "stream"), streamed.events.len() as u64);
    assert_eq!(of_lane("events_missed", "stream"), missed - 10);
    assert_eq!(of_lane("frames", "stream"), 3, "hello, a gap, the events");
    assert_eq!(of_lane("values_superseded", "stream"), 0);
    assert_eq!(after[r#"freshet_readers{lane="stream"}"#] as u64, 1);
}

#[tokio::test]
async fn counters_never_shrink_and_cpu_time_passes() {
    let server = Server::quiet(|_| {}).await;
    let mut before = scrape(&server).await;
    for _ in 0..20 {
        for _ in 0..20 {
            server.poll("from=settings").await;
        }
        let after = scrape(&server).await;
        for (name, value) in before.iter().filter(|(name, _)| name.contains("_total")) {
            assert!(after[name] >= *value, "{name} shrank from {value} to {}", after[name]);
        }
        before = after;
    }
    assert!(before[r#"freshet_delivery_cpu_seconds_total{lane="poll"}"#] > 0.0);
    let process = before["freshet_process_cpu_seconds_total"];
    assert!(process > before[r#"freshet_delivery_cpu_seconds_total{lane="poll"}"#]);
}

#[tokio::test]
async fn bytes_are_counted_at_the_socket_headers_and_frames_included() {
    let server = Server::quiet(|_| {}).await;
    server.append(50, 100).await;
    let mut poll = Raw::open(server.address).await;
    for _ in 0..3 {
        let request = format!(
            "GET /api/v1/events?from=workload@earliest&reader=counts HTTP/1.1\r\nHost: {}\r\n\r\n",
            server.address
        );
        poll.send(request.as_bytes()).await;
        poll.answer().await;
    }
    until("the poll's bytes to be counted", async || {
        server.reader("counts").await.bytes_out == poll.received as u64
    })
    .await;
    let reader = server.reader("counts").await;
    assert_eq!(
        (reader.bytes_in, reader.requests, reader.events),
        (poll.sent as u64, 3, 150)
    );

    let mut stream = Raw::open(server.address).await.upgrade(server.address, "streams").await;
    stream
        .send_frame(0x81, br#"{"type":"subscribe","from":["workload@earliest"]}"#)
        .await;
    let events = stream.frame().await;
    assert!(events.payload.len() > 50 * 100);
    until("the stream's bytes to be counted", async || {
        server.reader("streams").await.bytes_out == stream.received as u64
    })
    .await;
    let reader = server.reader("streams").await;
    assert_eq!(
        (reader.bytes_in, reader.requests, reader.frames, reader.events),
        (stream.sent as u64, 1, 2, 50)
    );
}
