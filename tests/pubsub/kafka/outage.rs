//! Brokers that go away, and come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use freshet::config::{KafkaConfig, PubSub as Config};
use freshet::pubsub::contract::{
    event, keyed, numbers, open_topic, publication, publish, read_all, record, soon, unique,
};
use freshet::pubsub::{Budget, PubSub, PubSubError, Stored};
use freshet_tests::kafka::Kafka;
use freshet_tests::outage::{Away, two_outages};
use freshet_tests::within;
use freshet_wire::EngineState;
use futures_util::FutureExt;

use super::{config, open};

const PATIENCE: Duration = Duration::from_secs(30);

const BUDGET: Budget = Budget {
    events: 1000,
    bytes: 1 << 20,
};

/// Waits until the engine says that its state is this; what else it says.
async fn says(engine: &Arc<dyn PubSub>, state: EngineState) -> String {
    let mut status = engine.status();
    let said = async {
        let said = status.wait_for(|engine| engine.state == state).await;
        said.unwrap().detail.clone()
    };
    within(PATIENCE, &format!("the engine to say {state:?}"), said).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_at_the_start_is_said_and_waited_for() {
    let mut kafka = Kafka::start().await;
    kafka.stop().await;
    let begun = Instant::now();
    let engine = open(&config(kafka.brokers()));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "the start does not wait for it"
    );
    let words = says(&engine, EngineState::Down).await;
    assert!(
        words.contains("no broker answers") && words.contains("refused"),
        "{words}"
    );
    // Nobody waits for what will not come.
    let begun = Instant::now();
    assert!(matches!(engine.known().await, Err(PubSubError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(1));
    kafka.start_again().await;
    says(&engine, EngineState::Up).await;
    let topic = unique("late");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..3)).await;
    sink.events(3).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_the_broker_is_away_waits_within_a_bound() {
    let mut kafka = Kafka::start().await;
    let engine = open(&config(kafka.brokers()));
    let topic = unique("outage");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..10)).await;
    kafka.stop().await;
    let words = says(&engine, EngineState::Down).await;
    assert!(words.contains(&kafka.brokers()), "{words}");
    let refused = engine.read(&topic, 0, 0, BUDGET).await.unwrap_err();
    assert!(refused.to_string().contains("no broker answers"), "{refused}");

    let waiting = engine.publish(&topic, numbers(10..20));
    // More than may wait is refused at once, and what waits is not lost by that.
    let big = format!("\"{}\"", "x".repeat(1 << 20));
    let mut taken = Vec::new();
    let refused = loop {
        assert!(taken.len() < 200, "there is no bound");
        let begun = Instant::now();
        let mut answer = engine.publish(&topic, publication(vec![record(Some("k"), &big)]));
        assert!(begun.elapsed() < Duration::from_secs(1), "publishing waits");
        match (&mut answer).now_or_never() {
            Some(answer) => break answer,
            None => taken.push(answer),
        }
    };
    assert_eq!(refused, Err(PubSubError::Full));
    assert!(taken.len() > 10, "{} events of a megabyte fit", taken.len());
    kafka.start_again().await;
    says(&engine, EngineState::Up).await;
    let receipts = within(PATIENCE, "the acknowledgement", waiting).await.unwrap();
    assert_eq!(receipts[9].offset, 19);
    for answer in &mut taken {
        within(PATIENCE, "the acknowledgement", answer).await.unwrap();
    }
    let events = sink.events(20 + taken.len()).await;
    let offsets: Vec<u64> = events.iter().map(|event| event.offset).collect();
    assert_eq!(
        offsets,
        (0..20 + taken.len() as u64).collect::<Vec<_>>(),
        "in order, once"
    );
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_said_too() {
    let kafka = Kafka::start().await;
    let engine = open(&config(kafka.brokers()));
    let topic = unique("frozen");
    let sink = open_topic(&engine, &topic).await;
    publish(&engine, &topic, numbers(0..1)).await;
    says(&engine, EngineState::Up).await;
    kafka.freeze(true);
    says(&engine, EngineState::Down).await;
    kafka.freeze(false);
    says(&engine, EngineState::Up).await;
    publish(&engine, &topic, numbers(1..2)).await;
    sink.events(2).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_long_for_a_broker_that_is_away() {
    let mut kafka = Kafka::start().await;
    let engine = open(&config(kafka.brokers()));
    let topic = unique("end");
    open_topic(&engine, &topic).await;
    kafka.kill().await;
    says(&engine, EngineState::Down).await;
    let answer = engine.publish(&topic, numbers(0..10));
    let begun = Instant::now();
    engine.close().await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    drop(engine);
    assert!(within(PATIENCE, "the refusal", answer).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_one_restart_after_the_other() {
    const EVENTS: u64 = 1000;
    let mut kafka = Kafka::start().await;
    let engine = open(&config(kafka.brokers()));
    let topic = unique("restarts");
    let sink = open_topic(&engine, &topic).await;
    let id = |number: u64| format!("{topic}-{number}");
    let publishing = async {
        for number in 0..EVENTS {
            let data = format!("{{\"n\":{number}}}");
            let publish = async || engine.publish(&topic, keyed(&id(number), &data)).await;
            soon("the acknowledgement", publish).await;
        }
    };
    let restarting = async {
        for round in 1..=3 {
            sink.events(200 * round).await;
            match round {
                2 => kafka.stop().await,
                _ => kafka.kill().await,
            }
            kafka.start_again().await;
        }
    };
    tokio::join!(publishing, restarting);
    let last = format!("{{\"n\":{}}}", EVENTS - 1);
    let is_there =
        |got: &freshet::pubsub::contract::Got| got.events.last().is_some_and(|it| event(it).data.get() == last);
    let got = sink.until("the last event", is_there).await;
    let replayed = read_all(&engine, &topic, 0, 0, BUDGET).await;
    let texts = |events: &[Stored]| -> Vec<Bytes> { events.iter().map(|event| event.json.clone()).collect() };
    assert_eq!(texts(&replayed), texts(&got.events), "live and history are the same");
    // An event that is there twice has the same id; they stand beside each other, as nothing was published in between.
    let mut events: Vec<(String, String)> = replayed
        .iter()
        .map(|stored| (event(stored).id.into_owned(), event(stored).data.get().to_owned()))
        .collect();
    events.dedup();
    let data: Vec<String> = events.into_iter().map(|(_, data)| data).collect();
    let expected: Vec<String> = (0..EVENTS).map(|number| format!("{{\"n\":{number}}}")).collect();
    assert_eq!(data, expected);
    engine.close().await;
}

/// A broker that is killed the first time, and asked to end the second time.
struct Broker {
    kafka: Kafka,
    was_killed: bool,
}

impl Away for Broker {
    const NAME: &str = "kafka";
    const WORDS: [&str; 2] = ["no broker answers", "what is published waits 30 s at most"];
    const REFUSALS: &[&str] = &["no broker confirmed", "the engine has not acknowledged"];
    const DOUBLES: bool = true;

    fn config(&self) -> Config {
        Config::Kafka(KafkaConfig {
            partitions: 2,
            ..config(self.kafka.brokers())
        })
    }

    async fn go(&mut self) {
        match std::mem::replace(&mut self.was_killed, true) {
            false => self.kafka.kill().await,
            true => self.kafka.stop().await,
        }
    }

    async fn come_back(&mut self) {
        self.kafka.start_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_under_load_says_that_the_broker_is_away_and_delivers_once_what_it_acknowledged() {
    let mut broker = Broker {
        kafka: Kafka::start().await,
        was_killed: false,
    };
    Box::pin(two_outages(&mut broker)).await;
}
