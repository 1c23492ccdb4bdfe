//! `GET /events`.

use std::time::{Duration, Instant};

use freshet_tests::http::{Connection, request};
use freshet_tests::raw::Raw;
use freshet_tests::{Follower, Server, now_us, until};
use freshet_wire::GapReason;
use http::Method;
use serde_json::json;

/// About twenty events of the workload.
const SMALL_WINDOW: usize = 6000;

#[tokio::test]
async fn every_position_begins_where_it_says() {
    let server = Server::quiet(|_| {}).await;
    assert!(
        server.poll("from=workload").await.events.is_empty(),
        "nothing is there yet"
    );
    server.append(20, 32).await;
    let all = server.poll("from=workload@earliest").await;
    assert_eq!(all.offsets(), (0..20).collect::<Vec<u64>>());
    assert_eq!(server.poll("from=workload").await.offsets(), [19], "the newest only");
    assert_eq!(server.poll("from=workload@offset:0:17").await.offsets(), [17, 18, 19]);
    let cursor = server.poll("from=workload@offset:0:5&limit=3").await;
    assert_eq!(
        server
            .poll(&format!("from={}&limit=2", cursor.next_of("workload")))
            .await
            .offsets(),
        [8, 9]
    );
    for end in ["latest", "offset:0:20", &format!("time:{}", now_us() + 1_000_000)] {
        let page = server.poll(&format!("from=workload@{end}")).await;
        assert!(
            page.events.is_empty() && page.gaps.is_empty() && !page.more,
            "{end}: {page:?}"
        );
    }
    let time = all.events[7].ingested_us;
    let since = server.poll(&format!("from=workload@time:{time}")).await;
    assert!(since.events.iter().all(|event| event.ingested_us >= time));
    let before = all.events.iter().filter(|event| event.ingested_us < time).count();
    assert_eq!(before + since.events.len(), 20);
}

#[tokio::test]
async fn a_position_may_be_percent_encoded() {
    let server = Server::quiet(|_| {}).await;
    server.append(3, 32).await;
    assert_eq!(server.poll("from=workload%40offset%3A0%3A1").await.offsets(), [1, 2]);
}

#[tokio::test]
async fn pages_in_a_row_bring_every_event_once_and_say_whether_there_is_more() {
    let server = Server::quiet(|_| {}).await;
    server.append(100, 64).await;
    for limit in [1, 7, 100, 5000] {
        let mut follower = Follower::new("workload");
        // A page of each event and one more are the most that can be needed.
        for _ in 0..=100 {
            let query = format!("from={}&limit={limit}", follower.position("earliest"));
            let page = server.poll(&query).await;
            assert!(page.events.len() <= limit);
            follower.page(&page);
            assert_eq!(page.more, follower.next != Some(100), "{page:?}");
            if !page.more {
                break;
            }
        }
        follower.check();
        assert_eq!(follower.events.len(), 100);
    }
}

#[tokio::test]
async fn an_event_says_when_it_was_meant_to_happen_and_when_it_was_there() {
    let server = Server::quiet(|_| {}).await;
    let before = now_us();
    server.append(5, 200).await;
    let page = server.poll("from=workload@earliest").await;
    let after = now_us();
    for event in &page.events {
        assert!(
            before <= event.produced_us && event.produced_us <= event.ingested_us,
            "{event:?}"
        );
        assert!(event.ingested_us <= page.sent_us && page.sent_us <= after, "{event:?}");
        assert_eq!(event.data.len(), 200);
        assert_eq!(event.partition, 0);
    }
}

#[tokio::test]
async fn what_fell_out_of_the_window_is_told_as_a_gap_with_its_number() {
    let server = Server::forgetful(SMALL_WINDOW).await;
    server.append(100, 32).await;
    let first = server.topic("workload").await.partitions[0].first_offset;
    assert!((50..100).contains(&first), "{first}");
    let mut follower = Follower::new("workload");
    follower.page(&server.poll("from=workload@offset:0:3").await);
    assert_eq!((follower.missed, follower.from), (first - 3, Some(3)));
    assert_eq!(follower.next, Some(100));
    follower.check();
    // A reader in the middle of the window lost nothing.
    let page = server.poll(&format!("from=workload@offset:0:{first}")).await;
    assert!(page.gaps.is_empty());
    // How many of the dropped ones were younger than this time is not known any more.
    let page = server.poll("from=workload@time:1").await;
    assert_eq!((page.gaps[0].count, page.gaps[0].reason), (None, GapReason::Retention));
    assert_eq!(page.offsets().first(), Some(&first));
}

#[tokio::test]
async fn a_cursor_of_another_log_is_told_as_a_gap_of_unknown_size() {
    let server = Server::quiet(|_| {}).await;
    server.append(5, 32).await;
    let page = server.poll("from=workload@0123456789ab-77").await;
    let [gap] = &*page.gaps else { panic!("{page:?}") };
    assert_eq!((gap.from_offset, gap.count, gap.reason), (77, None, GapReason::Epoch));
    assert_eq!(page.offsets(), [0, 1, 2, 3, 4], "it goes on from the earliest event");
    assert_ne!(page.events[0].epoch, "0123456789ab");
}

#[tokio::test]
async fn after_a_restart_an_old_cursor_is_recognised() {
    let mut server = Server::forgetful(1 << 20).await;
    server.append(5, 32).await;
    let before = server.poll("from=workload@earliest").await;
    server.stop().await;
    server.start_again();
    server.append(2, 32).await;
    let after = server.poll(&format!("from={}", before.next_of("workload"))).await;
    assert_eq!(
        (after.gaps[0].from_offset, after.gaps[0].count, after.gaps[0].reason),
        (5, None, GapReason::Epoch)
    );
    assert_eq!(after.offsets(), [0, 1]);
    assert_ne!(before.events[0].epoch, after.events[0].epoch);
    assert_ne!(before.events[0].raw, after.events[0].raw);
}

#[tokio::test]
async fn a_poll_that_knows_the_newest_page_is_told_that_nothing_changed() {
    let server = Server::quiet(|_| {}).await;
    server.append(3, 32).await;
    let first = server.get("/api/v1/events?from=workload@earliest").await;
    let etag = first.header("etag").to_owned();
    let again = format!("/api/v1/events?from={}", first.page().next_of("workload"));
    let mut connection = Connection::open(server.address).await;
    for known in [
        etag.clone(),
        etag.trim_start_matches("W/").to_owned(),
        format!("\"other\", {etag}"),
        "*".to_owned(),
    ] {
        let answer = connection
            .send(request(Method::GET, &again, &[("if-none-match", &known)], ""))
            .await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(answer.header("etag"), etag);
    }
    let unknown = connection
        .send(request(Method::GET, &again, &[("if-none-match", "\"other\"")], ""))
        .await;
    assert!(unknown.page().events.is_empty());
    server.append(1, 32).await;
    let news = connection
        .send(request(Method::GET, &again, &[("if-none-match", &etag)], ""))
        .await;
    assert_ne!(news.header("etag"), etag);
    assert_eq!(news.page().offsets(), [3]);
}

#[tokio::test]
async fn a_gap_is_never_answered_with_not_modified() {
    let server = Server::forgetful(SMALL_WINDOW).await;
    server.append(100, 32).await;
    let poll = "/api/v1/events?from=workload@offset:0:0";
    let etag = server.get(poll).await.header("etag").to_owned();
    let answer = server.send(Method::GET, poll, &[("if-none-match", &etag)], "").await;
    assert_eq!(answer.page().gaps.len(), 1);
}

#[tokio::test]
async fn a_long_poll_returns_as_soon_as_an_event_comes() {
    let server = Server::quiet(|_| {}).await;
    let waiting = async {
        let page = server.poll("from=workload@latest&wait=15").await;
        (page, now_us())
    };
    let ((page, received_us), ()) = tokio::join!(waiting, server.append(1, 32));
    assert_eq!(page.offsets(), [0]);
    let late_us = received_us - page.events[0].ingested_us;
    assert!(late_us < 500_000, "it came {late_us} µs after the event");
}

#[tokio::test]
async fn a_long_poll_without_an_event_returns_empty_at_its_end() {
    let server = Server::quiet(|_| {}).await;
    let begun = Instant::now();
    let page = server.poll("from=workload@latest&wait=1").await;
    let took = begun.elapsed();
    assert!(page.events.is_empty() && page.gaps.is_empty() && !page.more);
    assert!((1000..2500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(page.next["workload"].next, [0]);
}

#[tokio::test]
async fn a_long_poll_has_no_time_to_wait_where_something_is_there() {
    let server = Server::quiet(|_| {}).await;
    server.append(1, 32).await;
    let begun = Instant::now();
    assert_eq!(server.poll("from=workload&wait=15").await.offsets(), [0]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_long_poll_is_answered_when_the_server_stops() {
    let mut server = Server::quiet(|_| {}).await;
    let mut connection = Connection::open(server.address).await;
    let waiting = tokio::spawn(async move {
        let answer = connection
            .get("/api/v1/events?from=workload@latest&wait=60&reader=waits")
            .await;
        (answer, Instant::now())
    });
    until("the poll to wait", async || server.topic("workload").await.readers == 1).await;
    let begun = Instant::now();
    let took = server.stop().await;
    let (answer, answered) = waiting.await.unwrap();
    assert!(answer.page().events.is_empty());
    assert!(answered - begun < Duration::from_secs(2), "{:?}", answered - begun);
    assert!(took < Duration::from_secs(4), "the end took {took:?}");
}

#[tokio::test]
async fn several_topics_go_on_each_from_its_own_place() {
    let server = Server::quiet(|_| {}).await;
    server.append(10, 32).await;
    let page = server
        .poll("from=workload@offset:0:8&from=settings@earliest&from=host.cpu@latest")
        .await;
    let workload: Vec<u64> = page
        .events
        .iter()
        .filter(|e| e.topic == "workload")
        .map(|e| e.offset)
        .collect();
    assert_eq!(workload, [8, 9]);
    assert!(page.events.iter().any(|event| event.topic == "settings"));
    assert!(
        page.events.is_sorted_by_key(|event| event.ingested_us),
        "in the order in which they came"
    );
    assert_eq!(
        page.next.keys().collect::<Vec<_>>(),
        ["host.cpu", "settings", "workload"]
    );
}

#[tokio::test]
async fn a_busy_topic_does_not_starve_a_quiet_one() {
    let server = Server::quiet(|_| {}).await;
    server.append(500, 32).await;
    let settings = server.poll("from=settings@earliest").await.events.len();
    let mut cursors = "from=workload@earliest&from=settings@earliest".to_owned();
    let mut seen = (0, 0);
    for _ in 0..50 {
        let page = server.poll(&format!("{cursors}&limit=20")).await;
        seen.0 += page.events.iter().filter(|event| event.topic == "workload").count();
        seen.1 += page.events.iter().filter(|event| event.topic == "settings").count();
        cursors = format!("from={}&from={}", page.next_of("workload"), page.next_of("settings"));
        if !page.more {
            break;
        }
        assert!(seen.0 < 500 || seen.1 == settings, "what is old comes first: {seen:?}");
    }
    assert_eq!(seen, (500, settings));
}

#[tokio::test]
async fn of_a_state_only_the_newest_value_counts() {
    let server = Server::forgetful(1000).await;
    for rate in 1..=10 {
        let end = server.end_of("settings").await;
        server.change(json!({"workload": {"burst_events": rate}})).await;
        until("the change to be an event", async || {
            server.end_of("settings").await > end
        })
        .await;
    }
    let end = server.end_of("settings").await;
    let page = server.poll("from=settings@offset:0:0").await;
    let [gap] = &*page.gaps else { panic!("{page:?}") };
    assert_eq!(
        (gap.from_offset, gap.count, gap.reason),
        (0, Some(end - 1), GapReason::Superseded)
    );
    assert_eq!(page.offsets(), [end - 1]);
    let reader = server.topics().await.readers;
    assert!(
        reader
            .iter()
            .any(|reader| reader.superseded == end - 1 && reader.missed == 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller_that_takes_nothing_of_its_page_is_let_go() {
    let mut server = Server::quiet(|config| {
        config.limits.stuck = Duration::from_millis(300);
        config.limits.shutdown = Duration::from_secs(30);
    })
    .await;
    // More than the kernel holds for a connection.
    server.append(200, 4000).await;
    let mut stuck = Raw::open_narrow(server.address, 4096).await;
    stuck
        .send(b"GET /api/v1/events?from=workload@earliest&limit=200&reader=stuck HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    until("its page to be on its way", async || {
        server
            .topics()
            .await
            .readers
            .iter()
            .any(|reader| reader.id == "stuck" && reader.events > 0)
    })
    .await;
    // The end waits for whoever is still connected.
    let took = server.stop().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}
