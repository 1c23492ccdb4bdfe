//! Rate limits through real HTTP: what is refused, what is said of it, and what is counted.

use std::sync::Arc;
use std::time::Duration;

use freshet::limit::embedded::Embedded;
use freshet::limit::{Client, Limiter, Policy};
use freshet_tests::http::{Connection, request};
use freshet_tests::raw::{PING, PONG, Raw, TEXT};
use freshet_tests::{Said, Server, Stream, until};
use freshet_wire::{ClientLimits, LimitCounts, LimitSettings, LimitStatus, RouteClass};
use http::Method;
use serde_json::{Value, json};

const TRY: &str = "/api/v1/limits/try";

/// A quota that is whole again only long after the test.
fn slow(quota: u32) -> Value {
    json!({"quota": quota, "window_s": 80_000})
}

async fn with(limit: Value) -> Server {
    let server = Server::quiet(|config| {
        config.seed.limit.exempt.clear();
        config.limit.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    server.change(json!({ "limit": limit })).await;
    server
}

/// One that asks from another address, as the proxy in front of the server says.
async fn from(server: &Server, client: &str, method: Method, path: &str) -> freshet_tests::http::Answer {
    server.send(method, path, &[("x-forwarded-for", client)], "").await
}

async fn limits(server: &Server) -> LimitStatus {
    from(server, "203.0.113.200", Method::GET, "/api/v1/limits")
        .await
        .json()
}

fn of_class(status: &LimitStatus, class: RouteClass) -> LimitCounts {
    status
        .classes
        .iter()
        .find(|status| status.class == class)
        .unwrap()
        .counts
}

#[tokio::test]
async fn what_is_beyond_the_quota_is_refused_with_all_that_a_client_must_know() {
    let server = with(json!({"try": {"burst": slow(3), "sustained": slow(100)}})).await;
    for left in [2, 1, 0] {
        let answer = server.send(Method::POST, TRY, &[], "").await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(
            answer.header("ratelimit-policy"),
            r#""try";q=100;w=80000, "try-burst";q=3;w=80000"#
        );
        let expected = format!(r#""try";r={};t="#, 97 + left);
        assert!(answer.header("ratelimit").starts_with(&expected), "{answer:?}");
        assert!(
            answer
                .header("ratelimit")
                .contains(&format!(r#""try-burst";r={left};t="#)),
            "{answer:?}"
        );
    }
    let refused = server.send(Method::POST, TRY, &[], "").await;
    let problem = refused.problem();
    assert_eq!(
        (problem.status, &*problem.violated_policies),
        (429, &["try-burst".to_owned()][..])
    );
    let retry_after = refused.header("retry-after");
    assert!(
        (26_000..=26_667).contains(&retry_after.parse::<u32>().unwrap()),
        "{refused:?}"
    );
    assert_eq!(problem.retry_after_s.unwrap().to_string(), retry_after);
    assert!(
        refused
            .header("ratelimit")
            .ends_with(&format!(r#""try-burst";r=0;t={retry_after}"#)),
        "{refused:?}"
    );
    server.still_serves().await;
}

#[tokio::test]
async fn every_class_of_routes_is_limited_by_its_own_policies() {
    let few = json!({"burst": slow(6)});
    let server = with(json!({"read": few, "publish": few, "connect": few, "try": few})).await;
    for (class, method, path) in [
        ("read", Method::GET, "/api/v1/events?from=settings"),
        ("read", Method::GET, "/api/v1/topics"),
        ("read", Method::GET, "/api/v1/nothing-here"),
        ("publish", Method::POST, "/api/v1/topics/t/events"),
        ("connect", Method::GET, "/api/v1/stream"),
        ("try", Method::POST, TRY),
        ("read", Method::POST, "/api/v1/limits/try?policy=read"),
    ] {
        // Each from an address of its own.
        let client = format!("198.51.100.{}", path.len());
        let mut last = from(&server, &client, method.clone(), path).await;
        for _ in 0..5 {
            assert!(last.status != 429, "{path}: {last:?}");
            assert!(
                last.header("ratelimit-policy").contains(&format!("\"{class}\";q=")),
                "{path}: {last:?}"
            );
            last = from(&server, &client, method.clone(), path).await;
        }
        let refused = from(&server, &client, method.clone(), path).await;
        assert_eq!(
            refused.problem().violated_policies,
            [format!("{class}-burst")],
            "{path}"
        );
    }
    // Of one who has spent its reads, probes, the clock and the page are answered still.
    let spent = "198.51.100.28";
    for free in ["/livez", "/readyz", "/metrics", "/api/v1/clock", "/api/v1/openapi.json"] {
        for _ in 0..10 {
            let answer = from(&server, spent, Method::GET, free).await;
            assert_eq!((answer.status, answer.header("ratelimit")), (200, ""), "{free}");
        }
    }
}

#[tokio::test]
async fn one_client_s_quota_is_not_another_s_and_no_header_makes_a_new_client() {
    let server = with(json!({"try": {"burst": slow(5)}})).await;
    let attempt = async |headers: &[(&str, &str)]| server.send(Method::POST, TRY, headers, "").await.status;
    // The proxy appends what it saw: the right-most address is the client's, whatever it wrote itself.
    for spoofed in ["198.51.100.1", "198.51.100.2", "127.0.0.1", "rubbish", "[::1]"] {
        let header = format!("{spoofed}, 192.0.2.7");
        assert_eq!(
            attempt(&[("x-forwarded-for", &header), ("forwarded", "for=198.51.100.9")]).await,
            204
        );
    }
    assert_eq!(attempt(&[("x-forwarded-for", "198.51.100.3, 192.0.2.7")]).await, 429);
    assert_eq!(attempt(&[("x-forwarded-for", "192.0.2.8")]).await, 204);
    // A whole /64 is one client.
    for last in 0..5 {
        assert_eq!(
            attempt(&[("x-forwarded-for", &format!("2001:db8:1:2::{last}"))]).await,
            204
        );
    }
    assert_eq!(attempt(&[("x-forwarded-for", "2001:db8:1:2:ffff::")]).await, 429);
    assert_eq!(attempt(&[("x-forwarded-for", "2001:db8:1:3::1")]).await, 204);
}

#[tokio::test]
async fn without_a_trusted_proxy_forwarded_headers_say_nothing() {
    let server = Server::quiet(|config| config.seed.limit.exempt.clear()).await;
    server.change(json!({"limit": {"try": {"burst": slow(3)}}})).await;
    for (client, status) in [
        ("192.0.2.1", 204),
        ("192.0.2.2", 204),
        ("192.0.2.3", 204),
        ("192.0.2.4", 429),
    ] {
        let headers = [("x-forwarded-for", client), ("forwarded", &*format!("for={client}"))];
        assert_eq!(server.send(Method::POST, TRY, &headers, "").await.status, status);
    }
}

#[tokio::test]
async fn the_counters_are_those_of_the_client_exactly() {
    let server = Arc::new(with(json!({"try": {"burst": slow(40)}})).await);
    let before = limits(&server).await;
    // Eight connections at once, from four addresses.
    let tasks = (0..8).map(|task| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let client = format!("192.0.2.{}", task % 4);
            let mut connection = Connection::open(server.address).await;
            let (mut allowed, mut limited) = (0, 0);
            for _ in 0..60 {
                let request = request(Method::POST, TRY, &[("x-forwarded-for", &client)], "");
                match connection.send(request).await.status {
                    204 => allowed += 1,
                    429 => limited += 1,
                    other => panic!("{other}"),
                }
            }
            (allowed, limited)
        })
    });
    let (mut allowed, mut limited) = (0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let counted = task.await.unwrap();
        allowed += counted.0;
        limited += counted.1;
    }
    assert_eq!((allowed, limited), (4 * 40, 8 * 60 - 4 * 40));
    let after = limits(&server).await;
    let of_try = of_class(&after, RouteClass::Try);
    assert_eq!((of_try.allowed, of_try.limited), (allowed, limited));
    assert_eq!(after.total.limited - before.total.limited, limited);
    let client = after
        .clients
        .iter()
        .find(|client| client.client == "192.0.2.0")
        .unwrap();
    assert_eq!((client.counts.allowed, client.counts.limited), (40, 80));
    let burst = after.policies.iter().find(|policy| policy.name == "try-burst").unwrap();
    assert_eq!((burst.allowed, burst.limited), (allowed, limited));
    // The topic says the same, and the sums add up.
    until("the topic to say so", async || {
        let page = server.poll("from=limits").await;
        let status: LimitStatus = serde_json::from_str(&page.events[0].data).unwrap();
        let named: u64 = status.clients.iter().map(|client| client.counts.limited).sum();
        assert_eq!(named + status.others.limited, status.total.limited);
        of_class(&status, RouteClass::Try) == of_try
    })
    .await;
}

#[tokio::test]
async fn peeking_tells_where_a_client_stands_and_spends_none_of_it() {
    let server = with(json!({"try": {"burst": slow(10)}})).await;
    for _ in 0..4 {
        from(&server, "192.0.2.7", Method::POST, TRY).await;
    }
    for path in ["/api/v1/limits/192.0.2.7", "/api/v1/limits/192.0.2.7"] {
        let stand: ClientLimits = from(&server, "192.0.2.9", Method::GET, path).await.json();
        let burst = stand
            .standings
            .iter()
            .find(|standing| standing.policy == "try-burst")
            .unwrap();
        assert_eq!((burst.remaining, burst.retry_after_us, stand.counts.allowed), (6, 0, 4));
    }
    let own: ClientLimits = from(&server, "192.0.2.7", Method::GET, "/api/v1/limits/me")
        .await
        .json();
    assert_eq!((&*own.client, own.counts.allowed), ("192.0.2.7", 5));
    let wrong = from(&server, "192.0.2.7", Method::GET, "/api/v1/limits/nobody")
        .await
        .problem();
    assert_eq!((wrong.status, wrong.field.as_deref()), (400, Some("client")));
}

#[tokio::test]
async fn denied_networks_are_refused_exempt_ones_are_not_limited_and_addresses_can_be_masked() {
    let limit =
        json!({"denied": ["192.0.2.0/25"], "exempt": ["192.0.2.128/25"], "try": {"burst": slow(2)}, "mask": true});
    let server = with(limit).await;
    for path in ["/api/v1/topics", "/api/v1/stream", "/api/v1/clock", "/"] {
        let problem = from(&server, "192.0.2.1", Method::GET, path).await.problem();
        assert_eq!(
            (problem.status, &*problem.kind),
            (403, "urn:freshet:network-denied"),
            "{path}"
        );
    }
    assert_eq!(from(&server, "192.0.2.1", Method::GET, "/livez").await.status, 200);
    for _ in 0..10 {
        assert_eq!(from(&server, "192.0.2.129", Method::POST, TRY).await.status, 204);
    }
    let status = limits(&server).await;
    assert_eq!(
        (status.total.denied, status.masked),
        (2, true),
        "what needs no quota is not counted"
    );
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains("192.0.2.") && text.contains("192.0.*.*#"), "{text}");
    let metrics = server.get("/metrics").await;
    assert!(!metrics.text().contains("192.0."), "no label carries an address");
}

#[tokio::test]
async fn a_stream_that_does_not_mind_its_quota_is_told_and_then_closed_while_others_go_on() {
    let server = with(json!({"stream-message": {"burst": slow(20)}})).await;
    let mut other = Stream::open_as(server.address, None, &[("x-forwarded-for", "192.0.2.8")]).await;
    other.subscribe(&["settings"]).await;
    other.page().await;
    let mut heedless = Stream::open_as(server.address, None, &[("x-forwarded-for", "192.0.2.7")]).await;
    for _ in 0..20 {
        heedless.say(&json!({"type": "ping", "t0_us": 1})).await;
        assert!(matches!(heedless.heard().await, Said::Pong(_)));
    }
    heedless.say(&json!({"type": "ping", "t0_us": 1})).await;
    let told = heedless.problem().await;
    assert_eq!((told.problem.status, told.closing), (429, false));
    assert_eq!(told.problem.violated_policies, ["stream-message-burst"]);
    assert!(told.problem.retry_after_s.unwrap() > 1000);
    for _ in 0..256 {
        heedless.say(&json!({"type": "ping", "t0_us": 1})).await;
    }
    assert_eq!(heedless.closed().await, 1008);
    server.change(json!({"workload": {"payload_bytes": 64}})).await;
    assert_eq!(other.page().await.events.len(), 1, "a live stream is not disturbed");
}

#[tokio::test]
async fn pings_and_pongs_that_nobody_asked_for_spend_the_quota_of_messages() {
    let server = with(json!({"stream-message": {"burst": slow(4)}})).await;
    let raw = Raw::open(server.address).await;
    let mut raw = raw.upgrade(server.address, "pings").await;
    for head in [PING, PONG, PING, PONG, PING] {
        raw.send_frame(head, b"x").await;
    }
    let mut pongs = 0;
    let refused = loop {
        let frame = raw.frame().await;
        match frame.head {
            PONG => pongs += 1,
            TEXT if !frame.payload.starts_with(br#"{"type":"hello""#) => break frame.payload,
            _ => {}
        }
    };
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.contains("stream-message-burst"), "{refused}");
    assert_eq!(pongs, 3, "the last one is answered too, and told");
}

#[tokio::test]
async fn what_is_published_by_a_stream_spends_the_quota_of_publishing() {
    let server = with(json!({"publish": {"burst": slow(2)}})).await;
    let mut stream = Stream::open(server.address).await;
    let publish = json!({"type": "publish", "topic": "t", "data": 1, "ref": "r"});
    for _ in 0..2 {
        stream.say(&publish).await;
        assert!(matches!(stream.heard().await, Said::Published(_)));
    }
    stream.say(&publish).await;
    let refused = stream.problem().await;
    assert_eq!(
        (refused.problem.violated_policies, refused.reference.as_deref()),
        (vec!["publish-burst".to_owned()], Some("r"))
    );
    let over_http = server.send(Method::POST, "/api/v1/topics/t/events", &[], "1").await;
    assert_eq!(over_http.status, 429, "it is the same quota");
}

#[tokio::test]
async fn a_client_with_too_much_open_is_shed_and_live_streams_and_others_go_on() {
    let server = Server::quiet(|config| {
        config.seed.limit.exempt.clear();
        config.limit.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        (config.limits.client_requests, config.limits.client_streams) = (3, 2);
    })
    .await;
    let greedy = [("x-forwarded-for", "192.0.2.7")];
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Stream::open_as(server.address, None, &greedy).await;
        stream.subscribe(&["settings"]).await;
        stream.page().await;
        streams.push(stream);
    }
    let mut third = Raw::open(server.address).await;
    let handshake = freshet_tests::raw::handshake(server.address, "third").replacen(
        "\r\n",
        "\r\nX-Forwarded-For: 192.0.2.7\r\n",
        1,
    );
    third.send(handshake.as_bytes()).await;
    let (head, body) = third.answer().await;
    assert!(
        head.starts_with("HTTP/1.1 503 ") && head.to_ascii_lowercase().contains("\r\nretry-after: "),
        "{head}"
    );
    assert!(body.contains("urn:freshet:overloaded"), "{body}");

    let address = server.address;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let path = "/api/v1/events?from=settings@latest&wait=20";
            let poll = request(Method::GET, path, &[("x-forwarded-for", "192.0.2.7")], "");
            tokio::spawn(async move { freshet_tests::http::send(address, poll).await })
        })
        .collect();
    until("three long polls to wait", async || {
        limits(&server).await.load.requests == 4
    })
    .await;
    let refused = from(&server, "192.0.2.7", Method::GET, "/api/v1/topics").await;
    assert_eq!(refused.problem().status, 503);
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(
        from(&server, "192.0.2.8", Method::GET, "/api/v1/topics").await.status,
        200
    );
    server.change(json!({"workload": {"payload_bytes": 64}})).await;
    for stream in &mut streams {
        assert_eq!(stream.page().await.events.len(), 1);
    }
    for poll in waiting {
        assert_eq!(poll.await.unwrap().page().events.len(), 1);
    }
    assert_eq!(limits(&server).await.total.shed, 2, "a stream and a request");
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let server = Server::quiet(|config| {
        config.seed.limit.exempt.clear();
        config.limits.peer_connections = 20;
    })
    .await;
    let mut held = Vec::new();
    until("one connection too many", async || {
        let mut raw = Raw::open(server.address).await;
        raw.send(b"GET /livez HTTP/1.1\r\n").await;
        held.push(raw);
        held.len() == 20
    })
    .await;
    let mut refused = Raw::open(server.address).await;
    let (head, _) = tokio::time::timeout(Duration::from_secs(10), refused.answer())
        .await
        .unwrap();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    drop(held);
    until("connections to be free again", async || {
        let mut connection = Connection::open(server.address).await;
        connection
            .try_send(request(Method::GET, "/livez", &[], ""))
            .await
            .is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[tokio::test]
async fn a_check_takes_a_small_part_of_a_request_s_time() {
    const CHECKS: u32 = 100_000;
    const POLLS: u32 = 1500;
    let quotas = LimitSettings::default().read;
    let policies = [
        Policy::new(RouteClass::Read, false, quotas.sustained),
        Policy::new(RouteClass::Read, true, quotas.burst),
    ];
    let limiter = Embedded::new(65_536);
    let begun = thread_cpu();
    for number in 0..CHECKS {
        let client = Client::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number % 5000).into());
        limiter.check(client, &policies, 1, i64::from(number)).await.unwrap();
    }
    let check = (thread_cpu() - begun) / CHECKS;
    let server = Server::quiet(|config| config.seed.limit.exempt.clear()).await;
    let mut connection = Connection::open(server.address).await;
    for _ in 0..POLLS {
        let answer = connection.get("/api/v1/events?from=settings&reader=cost").await;
        assert_eq!(answer.status, 200);
    }
    let poll = Duration::from_micros(server.reader("cost").await.cpu_us) / POLLS;
    let share = check.as_secs_f64() / poll.as_secs_f64();
    println!(
        "a check takes {check:?}, a poll of one event {poll:?} of CPU time: {:.1} %",
        share * 100.0
    );
    assert!(share < 0.25, "{check:?} of {poll:?}");
}
