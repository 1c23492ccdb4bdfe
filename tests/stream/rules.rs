//! Clients that break the rules of HTTP's upgrade or of RFC 6455: each gets its status or close code, and the
//! server goes on.

use std::time::Duration;

use freshet_tests::raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT, frame, handshake};
use freshet_tests::{Server, Stream, for_all, raw};
use proptest::prelude::*;
use serde_json::Value;
use tokio::sync::OnceCell;

/// What a client sends, and the close code for it.
async fn code(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut raw = Raw::open(server.address).await.upgrade(server.address, "breaks").await;
    // It may be cut off before all is sent.
    _ = tokio::io::AsyncWriteExt::write_all(&mut raw.tcp, bytes).await;
    let code = raw.closed().await;
    raw.rest().await;
    code
}

#[tokio::test]
async fn each_broken_rule_has_its_close_code() {
    let server = Server::quiet(|_| {}).await;
    let mut unmasked = frame(TEXT, b"{}");
    unmasked[1] &= 0x7f;
    let mut endless = frame(TEXT, &[b' '; 70_000]);
    endless[2] = 0xff; // a length beyond 2^63
    let cases: [(&str, Vec<u8>, u16); 17] = [
        ("binary", frame(BINARY, b"\x00\x01"), 1003),
        ("binary in pieces", frame(0x02, b"\x00\x01"), 1003),
        ("rubbish", vec![0xff; 64], 1002),
        ("a second request", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
        ("no mask", unmasked, 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("an unknown opcode", frame(0x83, b"{}"), 1002),
        ("an unknown control opcode", frame(0x8b, b""), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
        (
            "a message within a message",
            [frame(0x01, b"{"), frame(TEXT, b"{}")].concat(),
            1002,
        ),
        ("a ping in pieces", frame(0x09, b""), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("half a close code", frame(CLOSE, b"\x03"), 1002),
        ("bad UTF-8", frame(TEXT, b"\xff\xfe"), 1007),
        (
            "bad UTF-8 in pieces",
            [frame(0x01, b"\xe2\x82"), frame(0x80, b"x")].concat(),
            1007,
        ),
        ("an endless message", endless, 1009),
        (
            "a message too large in pieces",
            [frame(0x01, &[b' '; 40_000]), frame(0x80, &[b' '; 40_000])].concat(),
            1009,
        ),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(code(&server, &bytes).await, Some(expected), "{what}");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn a_message_of_ten_megabytes_is_refused() {
    let server = Server::quiet(|_| {}).await;
    let message = frame(TEXT, &vec![b' '; 10_000_000]);
    assert_eq!(code(&server, &message).await, Some(1009));
    server.still_serves().await;
}

#[tokio::test]
async fn the_largest_message_is_taken() {
    let server = Server::quiet(|_| {}).await;
    let mut raw = Raw::open(server.address).await.upgrade(server.address, "talks").await;
    let most = 64 << 10;
    let ping = br#"{"type":"ping","t0_us":1}"#;
    let padded = [&ping[..], &vec![b' '; most - ping.len()]].concat();
    raw.send_frame(TEXT, &padded).await;
    assert!(raw.frame().await.payload.starts_with(br#"{"type":"pong","#));
    raw.send_frame(TEXT, &[&padded[..], b" "].concat()).await;
    assert_eq!(raw.closed().await, Some(1009));
}

#[tokio::test]
async fn a_message_may_come_in_pieces_with_a_ping_between_them() {
    let server = Server::quiet(|_| {}).await;
    let mut raw = Raw::open(server.address).await.upgrade(server.address, "pieces").await;
    raw.send_frame(0x01, br#"{"type":"pi"#).await;
    raw.send_frame(PING, b"still there?").await;
    raw.send_frame(0x00, br#"ng","t0_us""#).await;
    raw.send_frame(PONG, b"unasked").await;
    raw.send_frame(0x80, b":7}").await;
    let pong = raw.frame().await;
    assert_eq!(
        (pong.head, &*pong.payload),
        (PONG, &b"still there?"[..]),
        "the answer carries what was asked"
    );
    let answer = raw.frame().await;
    assert!(
        answer.head == TEXT && answer.payload.starts_with(br#"{"type":"pong","t0_us":7,"#),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_read() {
    let server = Server::quiet(|_| {}).await;
    let mut raw = Raw::open(server.address).await.upgrade(server.address, "slow").await;
    let bytes = frame(TEXT, br#"{"type":"ping","t0_us":7}"#);
    raw.trickle(bytes, Duration::from_millis(2)).await;
    assert!(raw.frame().await.payload.starts_with(br#"{"type":"pong","t0_us":7,"#));
}

#[tokio::test]
async fn a_client_may_talk_before_it_has_heard_the_answer_to_its_handshake() {
    let server = Server::quiet(|_| {}).await;
    let mut raw = Raw::open(server.address).await;
    let mut bytes = handshake(server.address, "hasty").into_bytes();
    bytes.extend(frame(TEXT, br#"{"type":"ping","t0_us":7}"#));
    raw.send(&bytes).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert!(
        raw.frame().await.payload.starts_with(br#"{"type":"hello","#),
        "hello comes first all the same"
    );
    assert!(raw.frame().await.payload.starts_with(br#"{"type":"pong","t0_us":7,"#));
}

#[tokio::test]
async fn a_close_is_answered_with_a_close_and_then_nothing() {
    let server = Server::quiet(|_| {}).await;
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going away"] {
        let mut raw = Raw::open(server.address).await.upgrade(server.address, "goes").await;
        raw.send_frame(CLOSE, payload).await;
        let answer = raw.frame().await;
        assert_eq!(answer.head, CLOSE, "{payload:?}");
        assert!(raw.rest().await.is_empty());
    }
    server.still_serves().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_with_what_would_be_one() {
    let server = Server::quiet(|_| {}).await;
    let whole = handshake(server.address, "x");
    let cases = [
        ("Upgrade: websocket\r\n", "", 426, "Upgrade"),
        ("Connection: Upgrade\r\n", "", 426, "Upgrade"),
        (
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Version: 8",
            426,
            "Sec-WebSocket-Version",
        ),
        (
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "",
            400,
            "Sec-WebSocket-Key",
        ),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400, "Sec-WebSocket-Key"),
        ("?reader=x", "?reader=", 400, "reader"),
        ("?reader=x", "?speaker=x", 400, "speaker"),
    ];
    for (there, instead, status, field) in cases {
        let mut raw = Raw::open(server.address).await;
        raw.send(whole.replace(there, instead).as_bytes()).await;
        let (head, body) = raw.answer().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{there:?}: {head}");
        if field == "Sec-WebSocket-Version" {
            assert!(
                head.to_ascii_lowercase().contains("sec-websocket-version: 13"),
                "RFC 6455, section 4.4: {head}"
            );
        }
        let problem: freshet_wire::Problem = serde_json::from_str(&body).unwrap();
        assert_eq!(problem.field.as_deref(), Some(field), "{there:?}");
    }
    server.still_serves().await;
}

#[tokio::test]
async fn no_extension_or_subprotocol_is_agreed_to() {
    let server = Server::quiet(|_| {}).await;
    let mut raw = Raw::open(server.address).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    let asks = handshake(server.address, "offers").replacen("\r\n\r\n", &format!("\r\n{offer}"), 1);
    raw.send(asks.as_bytes()).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(!head.contains("extensions") && !head.contains("protocol:"), "{head}");
}

#[tokio::test]
async fn streams_count_as_connections() {
    let server = Server::quiet(|config| config.limits.connections = 3).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Stream::open(server.address).await);
    }
    let mut raw = Raw::open(server.address).await;
    raw.send(handshake(server.address, "late").as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    streams.pop().unwrap().close().await;
    freshet_tests::until("a place", async || {
        let mut raw = Raw::open(server.address).await;
        raw.send(handshake(server.address, "late").as_bytes()).await;
        raw.head().await.starts_with("HTTP/1.1 101 ")
    })
    .await;
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_answered_with_a_problem() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    let nonsense = [
        "",
        "rubbish",
        "{}",
        "[]",
        "null",
        "\"subscribe\"",
        r#"{"type":"shout"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","from":"workload"}"#,
        r#"{"type":"subscribe","from":[1]}"#,
        r#"{"type":"subscribe","from":["workload"],"x":1}"#,
        r#"{"type":"ping","t0_us":1.5}"#,
        r#"{"type":"ping","t0_us":99999999999999999999}"#,
        r#"{"type":"events","events":[]}"#,
    ];
    for text in nonsense {
        stream.send(text.into()).await;
        let refused = stream.problem().await;
        assert_eq!(refused.problem.status, 400, "{text}");
        assert_eq!(refused.problem.kind, "urn:freshet:invalid-message", "{text}");
        assert!(refused.problem.detail.is_some() && !refused.closing, "{text}");
    }
    let deep = "[".repeat(60_000);
    stream.send(deep.into()).await;
    assert_eq!(stream.problem().await.problem.status, 400);
    // Still open, and as useful as before.
    stream.subscribe(&["settings"]).await;
    let page = stream.page().await;
    assert!(serde_json::from_str::<Value>(&page.events[0].data).unwrap()["version"].is_u64());
}

#[tokio::test]
async fn who_talks_nothing_but_nonsense_is_closed() {
    let server = Server::quiet(|_| {}).await;
    let mut stream = Stream::open(server.address).await;
    for count in 1..=32 {
        stream.send("nonsense".into()).await;
        assert_eq!(stream.problem().await.closing, count == 32, "{count}");
    }
    assert_eq!(stream.closed().await, 1008);
    server.still_serves().await;
}

#[test]
fn no_bytes_break_the_server() {
    let frame = (
        prop::sample::select(vec![0x00, 0x01, TEXT, BINARY, CLOSE, PING, PONG, 0xff]),
        any::<Vec<u8>>(),
    );
    let frames = prop::collection::vec(frame, 0..8).prop_map(|frames| {
        frames
            .iter()
            .flat_map(|(head, payload)| raw::frame(*head, payload))
            .collect()
    });
    let bytes = prop_oneof![any::<Vec<u8>>(), frames];
    let server = OnceCell::new();
    for_all(100, &bytes, async |bytes: Vec<u8>| {
        let server = server.get_or_init(|| Server::quiet(|_| {})).await;
        let mut raw = Raw::open(server.address).await.upgrade(server.address, "fuzz").await;
        // It may be cut off before all is sent; what is owed is an orderly answer, or patience.
        _ = tokio::io::AsyncWriteExt::write_all(&mut raw.tcp, &bytes).await;
        _ = tokio::io::AsyncWriteExt::shutdown(&mut raw.tcp).await;
        while let Some(frame) = raw.try_frame().await {
            assert!([TEXT, PING, PONG, CLOSE].contains(&frame.head), "{frame:?}");
        }
        server.still_serves().await;
    });
}
