//! The same data by both deliveries (invariants 1, 2 and 3), for readers that come and go as they like.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use freshet_tests::{Follower, SOON, Said, Server, Stream, for_all, within};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_deliveries_bring_the_same_bytes() {
    let server = Server::start().await;
    server
        .change(json!({"workload": {"rate_hz": 500, "shape": "poisson"}, "source": {"cpu_hz": 20}}))
        .await;
    let mut stream = Stream::open(server.address).await;
    stream
        .subscribe(&["workload@earliest", "host.cpu@earliest", "settings@earliest"])
        .await;
    let topics = ["workload", "host.cpu", "settings"];
    let mut streamed = topics.map(Follower::new);
    let mut polled = topics.map(Follower::new);
    let reading = async {
        while streamed[0].next < Some(1000) || polled[0].next < Some(1000) {
            let page = stream.page().await;
            streamed.iter_mut().for_each(|follower| follower.page(&page));
            let from: Vec<String> = polled
                .iter()
                .map(|follower| format!("from={}", follower.position("earliest")))
                .collect();
            let page = server.poll(&from.join("&")).await;
            polled.iter_mut().for_each(|follower| follower.page(&page));
        }
    };
    within(SOON * 2, "a thousand events in both", reading).await;
    for (streamed, polled) in streamed.iter().zip(&polled) {
        streamed.check();
        polled.check();
        assert_eq!(streamed.missed + polled.missed, 0);
        let both = streamed.same_bytes_as(polled);
        assert_eq!(
            both,
            streamed.events.len().min(polled.events.len()),
            "from the first one on"
        );
        assert!(both > 0);
    }
}

/// What a reader does next.
#[derive(Debug, Clone)]
enum Step {
    /// Polls so often in a row, with this limit and wait.
    Poll { times: u8, limit: u16, wait: bool },
    /// Takes so many messages of the stream, then says goodbye or just goes.
    Stream { messages: u8, goodbye: bool },
    /// Is away for so long. The window holds about 150 ms.
    Away { ms: u16 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..5_u8, 1..200_u16, any::<bool>()).prop_map(|(times, limit, wait)| Step::Poll { times, limit, wait }),
        3 => (0..20_u8, any::<bool>()).prop_map(|(messages, goodbye)| Step::Stream { messages, goodbye }),
        2 => (0..350_u16).prop_map(|ms| Step::Away { ms }),
    ];
    prop::collection::vec(step, 5..15)
}

/// Follows `workload` by these steps, changing from one delivery to the other with the same cursor.
async fn follow(server: &Server, steps: Vec<Step>) -> Follower {
    let mut follower = Follower::new("workload");
    for step in steps {
        match step {
            Step::Poll { times, limit, wait } => {
                for _ in 0..times {
                    let query = format!(
                        "from={}&limit={limit}&wait={}",
                        follower.position("earliest"),
                        u8::from(wait)
                    );
                    follower.page(&server.poll(&query).await);
                }
            }
            Step::Stream { messages, goodbye } => {
                let mut stream = Stream::open(server.address).await;
                stream.subscribe(&[&follower.position("earliest")]).await;
                let mut gaps = Vec::new();
                for _ in 0..messages {
                    match stream.heard().await {
                        // It counts once the message with its cursor came: whoever goes before that is told again.
                        Said::Gap(gap) => gaps.push(gap),
                        Said::Events(page) => {
                            gaps.drain(..).for_each(|gap| follower.gap(&gap));
                            follower.page(&page);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                if goodbye {
                    stream.close().await;
                }
            }
            Step::Away { ms } => sleep(Duration::from_millis(ms.into())).await,
        }
    }
    follower
}

#[test]
fn whoever_comes_and_goes_gets_each_event_or_is_told_of_it_exactly_once() {
    let told = AtomicU64::new(0);
    for_all(8, &(steps(), steps(), steps()), async |(a, b, c)| {
        // 500 events/s of about 330 bytes: a window of some 150 ms.
        let server = Server::forgetful(25_000).await;
        server
            .change(json!({"workload": {"rate_hz": 500, "shape": "poisson"}}))
            .await;
        let (a, b, c) = tokio::join!(follow(&server, a), follow(&server, b), follow(&server, c));
        let readers = [a, b, c];
        for reader in &readers {
            reader.check();
            told.fetch_add(reader.missed, Relaxed);
            readers.iter().for_each(|other| _ = reader.same_bytes_as(other));
        }
    });
    assert!(
        told.into_inner() > 0,
        "nobody ever missed anything: the window is too large for this test to tell"
    );
}
