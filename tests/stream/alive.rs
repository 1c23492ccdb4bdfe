//! A stream from its first word to its last: hello, the clock probe, heartbeats, goodbye.

use std::time::Duration;

use freshet_tests::{Follower, Said, Server, Stream, now_us, until};
use freshet_wire::PROTOCOL;
use serde_json::json;
use tokio::time::Instant;

#[tokio::test]
async fn the_server_introduces_itself_first() {
    let server = Server::quiet(|config| config.node_id = Some("node-7".to_owned())).await;
    let hello = Stream::open_as(server.address, Some("me"), &[]).await.hello;
    assert_eq!(
        (hello.protocol, &*hello.node, &*hello.reader),
        (PROTOCOL, "node-7", "me")
    );
    assert!(!hello.version.is_empty() && !hello.host.is_empty() && !hello.proxied);
    assert_eq!(hello.limits.subscriptions, 64);
    assert_eq!(hello.limits.message_bytes, 64 << 10);
    assert_eq!(hello.limits.heartbeat_ms, 5000);
    let unnamed = Stream::open(server.address).await.hello;
    assert!(
        !unnamed.reader.is_empty() && unnamed.reader != "me",
        "who gives no name gets one"
    );
}

#[tokio::test]
async fn a_proxy_is_told_from_the_real_thing() {
    let page = "http://127.0.0.1:8080";
    let server = Server::quiet(|config| config.allow_origins = vec![page.to_owned()]).await;
    let own = format!("http://{}", server.address);
    for (name, value, proxied) in [
        ("origin", &*own, false),
        ("origin", page, true),
        ("x-forwarded-for", "192.0.2.1", true),
    ] {
        let hello = Stream::open_as(server.address, None, &[(name, value)]).await.hello;
        assert_eq!(hello.proxied, proxied, "{name}: {value}");
    }
}

#[tokio::test]
async fn the_clock_probe_comes_back_with_the_times_of_the_server() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    for t0_us in [now_us(), -5, i64::MAX] {
        let asked = now_us();
        stream.say(&json!({"type": "ping", "t0_us": t0_us})).await;
        let Said::Pong(pong) = stream.heard().await else {
            panic!("no pong")
        };
        assert_eq!(pong.t0_us, t0_us, "it comes back as it was sent");
        assert!(
            asked <= pong.t1_us && pong.t1_us <= pong.t2_us && pong.t2_us <= now_us(),
            "{pong:?}"
        );
    }
}

#[tokio::test]
async fn an_idle_stream_has_a_heartbeat() {
    let heartbeat = Duration::from_millis(300);
    let server = Server::quiet(|config| config.limits.heartbeat = heartbeat).await;
    let mut stream = Stream::open(server.address).await;
    assert_eq!(stream.hello.limits.heartbeat_ms, 300);
    for _ in 0..4 {
        let begun = Instant::now();
        assert!(matches!(stream.next().await, Said::Beat));
        let silent = begun.elapsed();
        assert!(
            silent < heartbeat * 2,
            "a client may take it for dead after that: {silent:?}"
        );
    }
}

#[tokio::test]
async fn who_answers_the_heartbeat_stays() {
    let server = Server::quiet(|config| {
        config.limits.heartbeat = Duration::from_millis(100);
        config.limits.silence = Duration::from_millis(500);
    })
    .await;
    let mut stream = Stream::open(server.address).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert!(matches!(stream.next().await, Said::Beat));
    }
    stream.subscribe(&["workload@latest"]).await;
    stream.page().await;
    let (page, ()) = tokio::join!(stream.page(), server.append(1, 32));
    assert_eq!(page.offsets(), [0]);
}

#[tokio::test]
async fn who_only_listens_to_a_busy_topic_is_not_taken_for_dead() {
    let server = Server::quiet(|config| {
        config.limits.heartbeat = Duration::from_millis(200);
        config.limits.silence = Duration::from_millis(600);
    })
    .await;
    server.change(json!({"workload": {"rate_hz": 50}})).await;
    let mut stream = Stream::open(server.address).await;
    stream.subscribe(&["workload@latest"]).await;
    let mut follower = Follower::new("workload");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        match stream.heard().await {
            Said::Events(page) => follower.page(&page),
            other => panic!("after {:?}: {other:?}", begun.elapsed()),
        }
    }
    follower.check();
}

#[tokio::test]
async fn an_orderly_end_says_goodbye_to_every_reader() {
    let mut server = Server::start().await;
    let mut streams = Vec::new();
    for topics in [&[][..], &["host.cpu"], &["workload", "settings"]] {
        let mut stream = Stream::open(server.address).await;
        stream.subscribe(topics).await;
        streams.push(stream);
    }
    let goodbyes = async {
        let mut codes = Vec::new();
        for stream in streams {
            codes.push(stream.closed().await);
        }
        codes
    };
    let (took, codes) = tokio::join!(server.stop(), goodbyes);
    assert_eq!(codes, [1001, 1001, 1001]);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn who_says_goodbye_is_answered() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open_as(server.address, Some("goes"), &[]).await;
    stream.subscribe(&["workload"]).await;
    stream.page().await;
    assert_eq!(stream.close().await, Some(1000));
    until("the reader to be gone", async || !server.reader("goes").await.active).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topics_are_there_when_the_first_reader_is() {
    // A page that reconnects the moment the server is back asks for all its topics, and is refused whole if one lacks.
    let mut server = Server::start().await;
    for _ in 0..10 {
        let mut stream = Stream::open(server.address).await;
        stream
            .subscribe(&["settings", "deliveries", "host.cpu", "workload"])
            .await;
        match stream.heard().await {
            Said::Events(page) => assert_eq!(page.next.len(), 4),
            other => panic!("{other:?}"),
        }
        drop(stream);
        server.stop().await;
        server.start_again();
    }
}
