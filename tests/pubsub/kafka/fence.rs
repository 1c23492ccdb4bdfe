//! Fencing: the broker takes what an older leader appends, and nobody reads it.

use freshet::pubsub::contract::{open_topic, publication, publish, read_all, record, unique};
use freshet::pubsub::{Budget, Record, Stored};
use freshet_tests::kafka::Kafka;
use freshet_wire::{GapReason, Token};

use super::{config, open};

const BUDGET: Budget = Budget {
    events: 1000,
    bytes: 1 << 20,
};

fn by(number: u64, text: &str) -> Record {
    let token = Token {
        scope: "etcd:test".into(),
        number,
    };
    Record {
        token: Some(token),
        ..record(None, text)
    }
}

/// What came, and what is said of the offsets before each.
fn places(events: &[Stored]) -> Vec<(u64, Option<GapReason>)> {
    events.iter().map(|event| (event.offset, event.vacant)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_leader_appends_is_read_over_by_all_in_the_same_way_and_counted() {
    let kafka = Kafka::shared().await;
    let [old, new] = [(); 2].map(|()| open(&config(kafka.brokers())));
    let topic = unique("fenced");
    let mut sinks = vec![open_topic(&old, &topic).await, open_topic(&new, &topic).await];
    let put = async |engine, number, text: &str| publish(engine, &topic, publication(vec![by(number, text)])).await;
    put(&old, 5, "0").await;
    put(&new, 6, "1").await;
    // Frozen past its lease, and awake again: it does not know yet.
    put(&old, 5, "2").await;
    put(&old, 5, "3").await;
    put(&new, 6, "4").await;
    publish(&old, &topic, publication(vec![record(None, "5")])).await;
    let fenced = Some(GapReason::Fenced);
    let all = [(0, None), (1, None), (4, fenced), (5, None)];
    for sink in &sinks {
        assert_eq!(places(&sink.events(4).await), all);
    }

    // Who begins later knows the newest token, and replay tells the same from wherever it begins.
    let later = open(&config(kafka.brokers()));
    sinks.push(open_topic(&later, &topic).await);
    put(&old, 5, "6").await;
    put(&new, 7, "7").await;
    put(&new, 6, "8").await;
    put(&new, 7, "9").await;
    let live = [(7, fenced), (9, fenced)];
    for sink in &sinks {
        let events = sink
            .until("the newest", |got| {
                got.events.last().is_some_and(|last| last.offset == 9)
            })
            .await
            .events;
        assert_eq!(places(&events[events.len() - 2..]), live);
    }
    let told: Vec<_> = all.iter().chain(&live).copied().collect();
    for engine in [&old, &new, &later] {
        for from in [0, 1, 3, 5, 6, 8] {
            let one = Budget { events: 1, ..BUDGET };
            for budget in [BUDGET, one] {
                let events = read_all(engine, &topic, 0, from, budget).await;
                let offsets: Vec<_> = events.iter().map(|event| event.offset).collect();
                let expected: Vec<_> = told
                    .iter()
                    .map(|(offset, _)| *offset)
                    .filter(|it| *it >= from)
                    .collect();
                assert_eq!(offsets, expected, "from {from}");
            }
        }
    }
    let counts = [&old, &new, &later].map(|engine| engine.kept(&topic).fenced);
    assert_eq!(counts, [4, 4, 2], "each since it reads");
    for engine in [old, new, later] {
        engine.close().await;
    }
}
