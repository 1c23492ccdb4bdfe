//! Replay: what the window no longer holds comes from the log, and history joins what is live with no gap and no double.

use freshet_tests::http::{Connection, request};
use freshet_tests::{Follower, SOON, Server, Stream, until, within};
use freshet_wire::Receipt;
use http::Method;

/// A window of some twenty of the events below.
const WINDOW: usize = 8 << 10;
const HISTORY: u64 = 4000;

/// Publishes so many events, a batch at a time; the receipts.
async fn publish(connection: &mut Connection, topic: &str, count: u64) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    let path = format!("/api/v1/topics/{topic}/events");
    let pad = "x".repeat(200);
    for _ in 0..count.div_ceil(500) {
        let body = format!("{{\"pad\":\"{pad}\"}}\n").repeat(count.min(500) as usize);
        let kind = [("content-type", "application/x-ndjson")];
        let answer = connection.send(request(Method::POST, &path, &kind, &body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        receipts.extend(
            answer
                .text()
                .lines()
                .map(|line| serde_json::from_str::<Receipt>(line).unwrap()),
        );
    }
    receipts
}

async fn with_history() -> (Server, Connection) {
    let server = Server::quiet(|config| config.limits.window_bytes = WINDOW).await;
    let mut connection = Connection::open(server.address).await;
    assert_eq!(publish(&mut connection, "t", HISTORY).await.len() as u64, HISTORY);
    let held = server.topic("t").await.window.events;
    assert!(held < 100, "most of it is history: the window holds {held}");
    (server, connection)
}

#[tokio::test]
async fn both_deliveries_go_from_history_to_live_without_a_gap_or_a_double() {
    let (server, mut connection) = with_history().await;
    let end = HISTORY + 2000;
    let live = tokio::spawn(async move {
        for _ in 0..20 {
            publish(&mut connection, "t", 100).await;
            tokio::task::yield_now().await;
        }
    });
    let (mut polled, mut streamed) = (Follower::new("t"), Follower::new("t"));
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["t@earliest"]).await;
    let reading = async {
        while polled.next.is_none_or(|next| next < end) {
            let from = polled.position("earliest");
            polled.page(&server.poll(&format!("from={from}&limit=700&wait=2")).await);
        }
    };
    within(SOON * 3, "the poll to have it all", reading).await;
    stream.read_to(&mut streamed, end).await;
    live.await.unwrap();
    for follower in [&polled, &streamed] {
        follower.check();
        assert_eq!(
            (follower.from, follower.missed, follower.events.len() as u64),
            (Some(0), 0, end)
        );
    }
    assert_eq!(polled.same_bytes_as(&streamed) as u64, end);
}

#[tokio::test]
async fn any_offset_and_any_time_that_is_kept_can_be_begun_at() {
    let (server, _) = with_history().await;
    for offset in [0, 1, 1234, HISTORY - 1, HISTORY] {
        let page = server.poll(&format!("from=t@offset:0:{offset}&limit=3")).await;
        let expected: Vec<u64> = (offset..HISTORY).take(3).collect();
        assert_eq!((page.offsets(), page.gaps.len()), (expected, 0), "offset {offset}");
    }
    let all = server.poll("from=t@offset:0:2000&limit=1").await;
    let at_us = all.events[0].ingested_us;
    let page = server.poll(&format!("from=t@time:{at_us}&limit=1")).await;
    // A batch shares its time.
    assert_eq!(page.events[0].ingested_us, at_us);
    assert!(page.events[0].offset <= 2000);
    let before = server
        .poll(&format!("from=t@offset:0:{}&limit=1", page.events[0].offset - 1))
        .await;
    assert!(before.events[0].ingested_us < at_us, "it is the first of that time");
    let answer = server
        .get(&format!("/api/v1/events?from=t@offset:0:{}", HISTORY + 1))
        .await;
    assert_eq!((answer.status, answer.problem().field.as_deref()), (400, Some("from")));
}

#[tokio::test]
async fn history_outlives_a_restart_and_so_does_a_readers_cursor() {
    let (mut server, _) = with_history().await;
    let mut follower = Follower::new("t");
    follower.page(&server.poll("from=t@earliest&limit=1000").await);
    server.stop().await;
    server.start_again();
    let mut connection = Connection::open(server.address).await;
    publish(&mut connection, "t", 500).await;
    while follower.next.is_none_or(|next| next < HISTORY + 500) {
        let from = follower.position("earliest");
        follower.page(&server.poll(&format!("from={from}&limit=1000")).await);
    }
    follower.check();
    assert_eq!((follower.missed, follower.gaps.len()), (0, 0));
}

#[tokio::test]
async fn a_topic_that_cannot_be_opened_is_told_and_comes_back_by_itself() {
    let mut server = Server::quiet(|_| {}).await;
    let mut connection = Connection::open(server.address).await;
    publish(&mut connection, "broken", 500).await;
    publish(&mut connection, "sound", 500).await;
    server.stop().await;
    // Something else stands where its file was.
    let file = server.segment_of("broken");
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    server.start_again();
    until("what is wrong with it", async || {
        server.topic("broken").await.unavailable.is_some()
    })
    .await;
    let why = server.topic("broken").await.unavailable.unwrap();
    assert!(
        why.contains(file.file_name().unwrap().to_str().unwrap()) || why.contains("directory"),
        "{why}"
    );
    let read = server.get("/api/v1/events?from=broken@earliest").await;
    let published = server
        .send(Method::POST, "/api/v1/topics/broken/events", &[], "1")
        .await;
    for answer in [read, published] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.text().contains("directory"), "{answer:?}");
    }
    // The others do as ever.
    assert_eq!(server.poll("from=sound@earliest&limit=1000").await.events.len(), 500);
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    until("it to come back", async || {
        server.topic("broken").await.unavailable.is_none()
    })
    .await;
    assert_eq!(server.poll("from=broken@earliest&limit=1000").await.events.len(), 500);
}
