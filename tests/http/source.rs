//! Sources: they follow the settings, and the workload keeps its schedule.

use std::time::{Duration, Instant};

use freshet_tests::follower::Delivered;
use freshet_tests::{Follower, SOON, Server, within};
use serde_json::{Value, json};

/// Follows a topic by long polls until it has this many events.
async fn events(server: &Server, topic: &str, count: usize) -> Vec<Delivered> {
    let mut follower = Follower::new(topic);
    let reading = async {
        while follower.events.len() < count {
            let query = format!("from={}&wait=5&limit=5000", follower.position("latest"));
            follower.page(&server.poll(&query).await);
        }
    };
    within(SOON, &format!("{count} events of {topic}"), reading).await;
    assert_eq!(follower.missed, 0);
    follower.events.into_values().take(count).collect()
}

/// The distances between events that follow each other, in microseconds.
fn distances(events: &[Delivered]) -> Vec<i64> {
    events
        .windows(2)
        .map(|two| two[1].produced_us - two[0].produced_us)
        .collect()
}

#[tokio::test]
async fn every_kind_of_telemetry_arrives_and_has_its_shape() {
    let server = Server::start().await;
    let shapes: [(&str, &[&str]); 5] = [
        ("host.cpu", &["/busy", "/cores/0"]),
        (
            "host.memory",
            &[
                "/total_bytes",
                "/used_bytes",
                "/available_bytes",
                "/swap_total_bytes",
                "/swap_used_bytes",
            ],
        ),
        (
            "host.network",
            &[
                "/interfaces/0/name",
                "/interfaces/0/rx_bytes_per_s",
                "/interfaces/0/tx_bytes_per_s",
            ],
        ),
        ("host.disk", &["/disks", "/read_bytes_per_s", "/write_bytes_per_s"]),
        (
            "host.processes",
            &["/busiest/0/name", "/busiest/0/cpu", "/busiest/0/memory_bytes"],
        ),
    ];
    for (topic, members) in shapes {
        let event = &events(&server, topic, 1).await[0];
        let data: Value = serde_json::from_str(&event.data).unwrap();
        for member in members {
            assert!(data.pointer(member).is_some(), "{topic} has no {member}: {data}");
        }
    }
}

#[tokio::test]
async fn telemetry_never_shows_the_arguments_of_a_program() {
    let server = Server::start().await;
    let data = &events(&server, "host.processes", 1).await[0].data;
    let data: Value = serde_json::from_str(data).unwrap();
    for process in data["busiest"].as_array().unwrap() {
        let mut members: Vec<_> = process.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["cpu", "memory_bytes", "name"]);
    }
}

#[tokio::test]
async fn sampling_follows_the_settings_while_it_runs() {
    let server = Server::quiet(|_| {}).await;
    let none = server.poll("from=host.memory@latest&wait=1").await;
    assert!(none.events.is_empty(), "off is off: {none:?}");
    for rate in [20.0, 5.0] {
        server.change(json!({"source": {"memory_hz": rate}})).await;
        // The first may still have come at the old rate.
        let distances = distances(&events(&server, "host.memory", 12).await[1..]);
        let mean = distances.iter().sum::<i64>() as f64 / distances.len() as f64;
        assert!(
            (mean * rate / 1e6 - 1.0).abs() < 0.25,
            "asked for {rate}/s, got one every {mean} µs: {distances:?}"
        );
    }
    server.change(json!({"source": {"memory_hz": 0}})).await;
    server.poll("from=host.memory@latest&wait=1").await;
    let none = server.poll("from=host.memory@latest&wait=1").await;
    assert!(none.events.is_empty(), "off again: {none:?}");
}

#[tokio::test]
async fn a_steady_workload_keeps_its_schedule_to_the_microsecond() {
    let server = Server::quiet(|_| {}).await;
    server
        .change(json!({"workload": {"rate_hz": 1000, "shape": "steady", "payload_bytes": 100}}))
        .await;
    let events = events(&server, "workload", 2000).await;
    // What it was meant to be, not when the machine got round to it.
    let off: Vec<i64> = distances(&events)
        .into_iter()
        .filter(|us| (us - 1000).abs() > 1)
        .collect();
    assert!(off.is_empty(), "{off:?}");
    let span = events[1999].produced_us - events[0].produced_us;
    assert!((span - 1_999_000).abs() <= 1, "{span}");
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.data.len(), 100);
        assert!(
            event.ingested_us >= event.produced_us,
            "nothing is there before it is due: {event:?}"
        );
        let data: Value = serde_json::from_str(&event.data).unwrap();
        let first: Value = serde_json::from_str(&events[0].data).unwrap();
        assert_eq!(
            data["seq"].as_u64().unwrap(),
            first["seq"].as_u64().unwrap() + at as u64,
            "numbered in a row"
        );
    }
}

#[tokio::test]
async fn a_poisson_workload_has_independent_distances_and_keeps_the_average() {
    let server = Server::quiet(|_| {}).await;
    server
        .change(json!({"workload": {"rate_hz": 1000, "shape": "poisson"}}))
        .await;
    let distances = distances(&events(&server, "workload", 2001).await);
    let mean = distances.iter().sum::<i64>() as f64 / 2000.0;
    // Of 2,000 exponential distances the mean has a standard deviation of 1/√2000 = 2.2 %.
    assert!((mean - 1000.0).abs() < 120.0, "{mean}");
    let variance = distances.iter().map(|&us| (us as f64 - mean).powi(2)).sum::<f64>() / 2000.0;
    let spread = variance.sqrt() / mean;
    assert!(
        (0.85..1.15).contains(&spread),
        "an exponential distribution spreads as wide as its mean: {spread}"
    );
}

#[tokio::test]
async fn a_burst_happens_at_one_moment() {
    let server = Server::quiet(|_| {}).await;
    server
        .change(json!({"workload": {"rate_hz": 500, "shape": "bursts", "burst_events": 100}}))
        .await;
    let events = events(&server, "workload", 400).await;
    let mut moments: Vec<(i64, usize)> = Vec::new();
    for event in &events {
        match moments.last_mut() {
            Some((moment, count)) if *moment == event.produced_us => *count += 1,
            _ => moments.push((event.produced_us, 1)),
        }
    }
    assert!(moments.iter().all(|&(_, count)| count == 100), "{moments:?}");
    assert!(
        moments.windows(2).all(|two| (two[1].0 - two[0].0 - 200_000).abs() <= 1),
        "{moments:?}"
    );
}

#[tokio::test]
async fn the_number_of_events_is_the_one_that_was_asked_for_also_at_the_highest_rate() {
    let server = Server::quiet(|config| config.limits.window_bytes = 32 << 20).await;
    server
        .change(json!({"workload": {"rate_hz": 10_000, "shape": "steady", "payload_bytes": 32}}))
        .await;
    let begun = Instant::now();
    let events = events(&server, "workload", 20_000).await;
    let took = begun.elapsed();
    assert_eq!(events[19_999].produced_us - events[0].produced_us, 1_999_900);
    assert!(
        (Duration::from_millis(1500)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_rate_next_to_nothing_does_not_break_a_source() {
    let server = Server::quiet(|_| {}).await;
    for rate in [0.01, 0.02] {
        server
            .change(json!({"workload": {"rate_hz": rate}, "source": {"memory_hz": rate}}))
            .await;
        // Let both take it up.
        server.poll("from=workload@latest&from=host.memory@latest&wait=1").await;
    }
    server
        .change(json!({"workload": {"rate_hz": 100}, "source": {"memory_hz": 20}}))
        .await;
    events(&server, "workload", 10).await;
    events(&server, "host.memory", 3).await;
}
