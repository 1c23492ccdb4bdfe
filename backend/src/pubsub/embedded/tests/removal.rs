//! Topics that are taken away.

use super::*;

/// The folders of the log.
fn folders(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(bench.folder.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_removed_topic_is_gone_also_after_a_restart() {
    let mut bench = Bench::new(|options| options.segment_bytes = Some(600)).await;
    for index in 0..20 {
        bench.put_one(&format!("event {index}"));
    }
    assert!(bench.segments().len() > 3);
    let epoch = bench.taker.extents.lock()[0].epoch;
    bench.log.remove(TOPIC).await.unwrap();
    assert_eq!(folders(&bench), [""; 0]);
    assert_eq!(bench.log.known().await.unwrap(), []);
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.extent(), (0, 0));
    assert_ne!(bench.taker.extents.lock()[0].epoch, epoch);
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
}

#[tokio::test]
async fn what_a_crash_left_of_a_removed_topic_is_swept_and_nothing_else() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("old");
    let epoch = bench.taker.extents.lock()[0].epoch;
    bench
        .restart(false, |folder| {
            // The process ended after the first step.
            fs::rename(folder, folder.with_file_name("t000001.removed-0")).unwrap();
            for kept in ["t000009.unreadable-0", "t000008.removed"] {
                fs::create_dir(folder.with_file_name(kept)).unwrap();
            }
        })
        .await;
    assert_eq!(folders(&bench), ["t000008.removed", "t000009.unreadable-0", "t000010"]);
    assert_ne!(bench.taker.extents.lock()[0].epoch, epoch);
    assert_eq!(bench.log.known().await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_waits_for_the_disk_is_told_and_takes_no_room_any_more() {
    let bench = Bench::new(|_| {}).await;
    let topic = bench.log.topic(TOPIC).unwrap();
    let busy = bench.medium.busy.lock();
    let publication = publication(vec![record("never acknowledged")], None, Ack::Durable);
    let answer = bench.log.publish(TOPIC, publication);
    assert!(topic.common.waiting.load(SeqCst) > 0);
    let before = topic.list();
    bench.log.shared.remove(TOPIC).unwrap();
    assert!(
        topic.list().generation > before.generation,
        "who finds a file gone looks again"
    );
    let told = answer.now_or_never().expect("it is told at once");
    assert_eq!(told, Err(PubSubError::UnknownTopic(TOPIC.to_owned())));
    assert_eq!(topic.common.waiting.load(SeqCst), 0);
    drop(busy);
    // Whoever had it in hand.
    assert_eq!(topic.read(0, ALL).unwrap().events.len(), 1);
    topic.drop_old();
    topic.settle(Duration::ZERO).unwrap();
    topic.probe();
    topic.sync();
    assert!(!topic.is_due(Duration::ZERO));
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    assert_eq!(topic.common.waiting.load(SeqCst), 0);
}

#[tokio::test]
async fn a_removal_under_a_sync_that_fails_leaves_no_trouble() {
    let bench = Bench::new(|_| {}).await;
    let topic = bench.log.topic(TOPIC).unwrap();
    let busy = bench.medium.busy.lock();
    let publication = publication(vec![record("a")], None, Ack::Durable);
    let answer = bench.log.publish(TOPIC, publication);
    while bench.medium.waiting.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    bench.medium.failing_syncs.store(10, SeqCst);
    bench.log.shared.remove(TOPIC).unwrap();
    drop(busy);
    assert!(answer.await.is_err());
    // The log's own thread is done with it.
    bench.log.close().await;
    topic.sync();
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    assert_eq!(topic.common.waiting.load(SeqCst), 0);
}

#[tokio::test]
async fn what_was_wrong_with_it_goes_with_it() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("a");
    *bench.medium.room.lock() = Some(0);
    bench.put(vec![record("b")], None).unwrap_err();
    bench
        .log
        .topic(TOPIC)
        .unwrap()
        .common
        .health
        .find(TOPIC, true, "is damaged", 1_000_000);
    let topic = bench.log.topic(TOPIC).unwrap();
    let stuck = Some("what is old cannot be dropped".to_owned());
    topic.common.health.set_stuck(&topic.name, stuck, 1_000_000);
    assert_eq!(bench.state().0, EngineState::Degraded);
    bench.log.remove(TOPIC).await.unwrap();
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    *bench.medium.room.lock() = None;
    bench.open().await;
    assert_eq!(bench.put_one("c"), 0);
}

#[tokio::test]
async fn room_for_topics_is_given_back() {
    let bench = Bench::new(|_| {}).await;
    let most = LogConfig::default().max_topics;
    for number in 1..most {
        bench
            .log
            .open(spec(&format!("t{number}")), Arc::<Taker>::default())
            .await
            .unwrap();
    }
    let refused = bench.log.open(spec("more"), Arc::<Taker>::default()).await;
    assert_eq!(refused, Err(PubSubError::TooManyTopics(most)));
    // Also one whose folder somebody has deleted.
    fs::remove_dir_all(bench.topic_folder()).unwrap();
    bench.log.remove(TOPIC).await.unwrap();
    bench.log.open(spec("more"), Arc::<Taker>::default()).await.unwrap();
}
