// Holding the disk busy while others wait is what these tests are about.
#![allow(
    clippy::await_holding_lock,
    reason = "a test holds the disk busy while others wait for it; it never waits for the lock itself"
)]

use futures_util::future::join_all;

use super::*;

fn durable(bench: &Bench, text: &str) -> Answer<'static, Result<Vec<Receipt>, PubSubError>> {
    bench
        .log
        .publish(TOPIC, publication(vec![record(text)], None, Ack::Durable))
}

/// The committer has done all that was asked of it.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come about");
}

#[tokio::test]
async fn readers_see_an_event_before_the_disk_has_it_and_its_publisher_is_answered_after() {
    let bench = Bench::new(|_| {}).await;
    let before = bench.medium.syncs.load(SeqCst);
    let busy = bench.medium.busy.lock();
    let mut answer = durable(&bench, "a");
    assert_eq!(bench.taker.events.lock().len(), 1);
    assert_eq!(bench.all(0).await.0.len(), 1);
    assert!((&mut answer).now_or_never().is_none());
    drop(busy);
    assert_eq!(answer.await.unwrap()[0].offset, 0);
    assert_eq!(bench.medium.syncs.load(SeqCst), before + 1);
}

#[tokio::test]
async fn publishers_that_come_while_the_disk_works_share_the_next_sync() {
    let bench = Bench::new(|_| {}).await;
    let busy = bench.medium.busy.lock();
    let before = bench.medium.syncs.load(SeqCst);
    let first = durable(&bench, "first");
    let topic = bench.log.topic(TOPIC).unwrap();
    until(|| !topic.to_commit.load(SeqCst)).await;
    // The committer may have looked before or while it was asked: one more round at most.
    let others: Vec<_> = (0..200).map(|index| durable(&bench, &index.to_string())).collect();
    drop(busy);
    first.await.unwrap();
    let receipts = join_all(others).await;
    let offsets: Vec<u64> = receipts
        .into_iter()
        .map(|receipts| receipts.unwrap()[0].offset)
        .collect();
    assert!(offsets.into_iter().eq(1..=200));
    let syncs = bench.medium.syncs.load(SeqCst) - before;
    assert!(syncs <= 3, "{syncs} syncs for 201 publishers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_publishers_have_one_order_in_file_sink_and_receipts() {
    let mut bench = Bench::new(|options| options.segment_bytes = Some(20_000)).await;
    let log = Arc::new(&bench.log);
    let publishers = (0..16).map(|publisher| {
        let log = Arc::clone(&log);
        async move {
            let mut receipts = Vec::new();
            for index in 0..50 {
                let texts = (0..1 + index % 3).map(|part| format!("{publisher}/{index}/{part}"));
                let records: Vec<Record> = texts.map(|text| record(&text)).collect();
                let texts: Vec<String> = records.iter().map(|record| record.data.get().to_owned()).collect();
                let answer = log
                    .publish(TOPIC, publication(records, None, Ack::Durable))
                    .await
                    .unwrap();
                receipts.extend(answer.into_iter().map(|receipt| receipt.offset).zip(texts));
            }
            receipts
        }
    });
    let mut told: Vec<(u64, String)> = join_all(publishers).await.into_iter().flatten().collect();
    told.sort();
    let told: Vec<(u64, String)> = told
        .into_iter()
        .map(|(offset, text)| (offset, serde_json::from_str(&text).unwrap()))
        .collect();
    let pushed: Vec<Stored> = bench.taker.events.lock().clone();
    assert_eq!(
        pushed
            .iter()
            .map(|event| (event.offset, data(event)))
            .collect::<Vec<_>>(),
        told
    );
    assert!(pushed.is_sorted_by_key(|event| event.ingested_us));
    assert_eq!(bench.all(0).await, (told.clone(), vec![]));
    bench.restart(true, |_| {}).await;
    assert_eq!(bench.all(0).await, (told, vec![]));
}

#[tokio::test]
async fn what_goes_to_a_file_that_somebody_has_taken_away_is_not_acknowledged() {
    let mut bench = Bench::new(|_| {}).await;
    durable(&bench, "one").await.unwrap();
    let file = bench.segments()[0].clone();
    fs::rename(&file, file.with_extension("away")).unwrap();
    let refused = durable(&bench, "two").await.unwrap_err();
    assert!(refused.to_string().contains("taken its file away"), "{refused}");
    assert_eq!(bench.state().0, EngineState::Down);
    // Then it is written again, where it has a name.
    bench.log.topic(TOPIC).unwrap().sync();
    assert_eq!(durable(&bench, "three").await.unwrap()[0].offset, 2);
    assert_eq!(bench.state().0, EngineState::Up);
    let kept = vec![(1, "two".to_owned()), (2, "three".to_owned())];
    assert_eq!(bench.all(0).await, (kept.clone(), vec![(0, 1)]));
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.all(0).await, (kept, vec![]));
    // Where the whole folder is gone there is no such place, until the topic is removed.
    fs::remove_dir_all(bench.topic_folder()).unwrap();
    for _ in 0..2 {
        assert!(durable(&bench, "four").await.is_err());
        bench.log.topic(TOPIC).unwrap().sync();
    }
    bench.log.remove(TOPIC).await.unwrap();
    bench.open().await;
    assert_eq!(durable(&bench, "five").await.unwrap()[0].offset, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_back_nothing_it_has_shown() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("one");
    for room in [0, 1, 30, 100, 400] {
        *bench.medium.room.lock() = Some(room);
        let batch = (0..4).map(|_| record("batch")).collect();
        let refused = bench.put(batch, Some("key"));
        assert!(
            matches!(&refused, Err(PubSubError::Unavailable(why)) if why.contains("refused")),
            "{refused:?}"
        );
        let (state, detail) = bench.state();
        assert_eq!(state, EngineState::Degraded);
        assert!(detail.contains("no storage space"), "{detail}");
        assert_eq!(
            bench.taker.events.lock().len() as u64,
            bench.all(0).await.0.len() as u64
        );
        // It is tried again by itself.
        *bench.medium.room.lock() = None;
        let next = bench.all(0).await.0.len() as u64;
        assert_eq!(bench.put_one("more"), next);
        assert_eq!(bench.state(), (EngineState::Up, String::new()));
    }
    let before = bench.all(0).await;
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.all(0).await, before);
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    assert!(!bench.put(vec![record("a")], Some("key")).unwrap()[0].duplicate);
}

#[tokio::test]
async fn a_disk_that_cannot_even_be_cut_is_cut_later_or_by_the_next_process() {
    for later in [true, false] {
        let mut bench = Bench::new(|_| {}).await;
        bench.put_one("one");
        bench.medium.no_cut.store(1, SeqCst);
        *bench.medium.room.lock() = Some(400);
        bench.put((0..4).map(|_| record("batch")).collect(), None).unwrap_err();
        *bench.medium.room.lock() = None;
        bench.put(vec![record("x")], None).unwrap_err();
        bench.medium.no_cut.store(0, SeqCst);
        if !later {
            bench.restart(false, |_| {}).await;
            assert!(bench.state().1.contains("cut off"), "{:?}", bench.state());
        }
        assert_eq!(bench.put_one("two"), 1);
        bench.restart(false, |_| {}).await;
        assert_eq!(bench.all(0).await.0, [(0, "one".to_owned()), (1, "two".to_owned())]);
    }
}

#[tokio::test]
async fn the_keeper_notices_that_the_disk_has_room_again() {
    let bench = Bench::new(|_| {}).await;
    *bench.medium.room.lock() = Some(10);
    bench.put(vec![record("one")], None).unwrap_err();
    let topic = bench.log.topic(TOPIC).unwrap();
    topic.probe();
    assert_eq!(bench.state().0, EngineState::Degraded);
    *bench.medium.room.lock() = None;
    topic.probe();
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    assert_eq!(bench.put_one("one"), 0);
}

#[tokio::test]
async fn after_a_sync_that_failed_every_event_keeps_its_offset_and_is_written_again() {
    // With segments so small that what is in doubt stands in several of them, and so large that it stands in one.
    for (small, before) in [(true, 0), (true, 3), (false, 0), (false, 3)] {
        let options: fn(&mut Options) = match small {
            true => |options| options.segment_bytes = Some(600),
            false => |_| {},
        };
        let mut bench = Bench::new(options).await;
        for index in 0..before {
            durable(&bench, &index.to_string()).await.unwrap();
        }
        let keyed = || publication(vec![record("keyed")], Some("key"), Ack::Durable);
        let busy = bench.medium.busy.lock();
        let mut answers: Vec<_> = (0..8).map(|index| durable(&bench, &format!("doubt {index}"))).collect();
        answers.push(bench.log.publish(TOPIC, keyed()));
        // The round's own, and that of the first time it is written again.
        bench.medium.failing_syncs.store(2, SeqCst);
        drop(busy);
        for answer in answers {
            assert!(matches!(answer.await, Err(PubSubError::Unavailable(_))));
        }
        let seen = bench.all(0).await;
        assert_eq!(seen.0.len(), before + 9);
        assert_eq!(bench.state().0, EngineState::Down);
        assert!(matches!(
            bench.put(vec![record("no")], None),
            Err(PubSubError::Unavailable(_))
        ));
        let topic = bench.log.topic(TOPIC).unwrap();
        assert!(topic.is_due(Duration::from_secs(3600)));
        // What the file held beyond its synced part is no more, whatever the page cache says.
        let doubtful = before as u64;
        until(|| {
            bench.log.shared.common.commit.add(&topic, &topic.to_commit);
            bench.state().0 == EngineState::Up
        })
        .await;
        assert!(
            bench
                .segments()
                .iter()
                .any(|path| path.ends_with(segment::file_name(doubtful)))
        );
        assert_eq!(bench.all(0).await, seen, "the same offsets, the same bytes");
        // The publisher that tries again gets the receipt that it missed.
        let again = bench.log.publish(TOPIC, keyed()).await.unwrap();
        assert_eq!((again[0].offset, again[0].duplicate), (doubtful + 8, true));
        assert_eq!(durable(&bench, "after").await.unwrap()[0].offset, doubtful + 9);
        bench.restart(false, |_| {}).await;
        let (events, holes) = bench.all(0).await;
        assert_eq!((&events[..before + 9], holes.len()), (&seen.0[..], 0));
        assert_eq!(events.len(), before + 10);
    }
}

#[tokio::test]
async fn what_waits_for_the_disk_is_bounded() {
    let bench = Bench::new(|options| options.most_waiting = 10_000).await;
    let busy = bench.medium.busy.lock();
    let mut taken = 0;
    let refused = loop {
        match bench.put(vec![record(&"x".repeat(500))], None) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100);
    };
    assert_eq!(refused, PubSubError::Full);
    assert!(taken >= 10);
    drop(busy);
    let waiting = &bench.log.shared.common.waiting;
    until(|| waiting.load(SeqCst) == 0).await;
    bench.put_one("again");
    let large = bench.put(vec![record(&"x".repeat(20_000))], None);
    assert!(
        matches!(large, Err(PubSubError::TooLarge { most: 10_000, .. })),
        "{large:?}"
    );
}

#[tokio::test]
async fn what_nobody_waits_for_is_on_disk_within_a_second_and_at_the_end() {
    let bench = Bench::new(|options| options.tick = Duration::from_millis(50)).await;
    bench.put_one("one");
    let topic = bench.log.topic(TOPIC).unwrap();
    let began = std::time::Instant::now();
    until(|| topic.append.lock().unsynced.is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("one");
    let before = bench.medium.syncs.load(SeqCst);
    bench.log.close().await;
    assert!(bench.medium.syncs.load(SeqCst) > before);
    assert_eq!(bench.put(vec![record("late")], None), Err(PubSubError::Closed));
    bench.boot = "boot-2".to_owned();
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.extent(), (0, 1), "it was noted down as whole");
}

#[tokio::test]
async fn a_topic_that_is_quiet_is_noted_down_as_whole() {
    let mut bench = Bench::new(|options| options.idle = Duration::ZERO).await;
    durable(&bench, "one").await.unwrap();
    let topic = bench.log.topic(TOPIC).unwrap();
    topic.settle(Duration::ZERO).unwrap();
    drop(topic);
    bench.boot = "boot-2".to_owned();
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.extent(), (0, 1));
    bench.put_one("two");
    bench.boot = "boot-3".to_owned();
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.extent(), (0, 2 + POWER_FAILURE_SKIP));
}

/// A log with many small segments, a key in the oldest one.
async fn with_much(keyed: bool) -> Bench {
    let small = |options: &mut Options| options.segment_bytes = Some(600);
    let bench = Bench::of(TopicKind::Log, UNBOUNDED, small).await;
    bench.put(vec![record("a")], keyed.then_some("key")).unwrap();
    for index in 0..20 {
        bench.put_one(&format!("event {index}"));
    }
    bench
}

/// Less is to be kept from now on. The keeper may come to that by itself, whenever it looks after the segments that were begun.
fn keep_less(bench: &Bench) {
    *bench.log.topic(TOPIC).unwrap().retention.lock() = Retention {
        max_age_s: None,
        max_bytes: Some(2000),
    };
}

#[tokio::test]
async fn a_full_disk_gets_room_by_what_is_old_and_its_keys_are_remembered() {
    let mut bench = with_much(true).await;
    *bench.medium.room.lock() = Some(0);
    let before = bench.segments().len();
    keep_less(&bench);
    let topic = bench.log.topic(TOPIC).unwrap();
    topic.drop_old();
    assert!(
        bench.segments().len() < before,
        "old segments go though nothing can be written"
    );
    let again = bench.put(vec![record("a")], Some("key")).unwrap();
    assert!(again[0].duplicate);
    let (state, detail) = bench.state();
    assert!(
        state == EngineState::Degraded && detail.contains("cannot be dropped"),
        "the note of the keys is missing: {detail}"
    );
    assert!(folder::numbered(&bench.topic_folder(), "keys").unwrap().is_empty());
    assert!(
        !bench
            .topic_folder()
            .join(format!("{}.new", folder::keys_name(0)))
            .exists()
    );
    // There is room again: the note is written then.
    *bench.medium.room.lock() = None;
    topic.drop_old();
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    drop(topic);
    bench.restart(false, |_| {}).await;
    assert!(bench.extent().0 > 0);
    assert!(bench.put(vec![record("a")], Some("key")).unwrap()[0].duplicate);
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_is_not_forgotten() {
    let bench = with_much(false).await;
    let stubborn = bench.segments()[1].clone();
    let away = bench.folder.path().join("away");
    fs::rename(&stubborn, &away).unwrap();
    // Nothing removes a folder by the name of a file.
    fs::create_dir(&stubborn).unwrap();
    keep_less(&bench);
    let topic = bench.log.topic(TOPIC).unwrap();
    topic.drop_old();
    let left = bench.segments();
    assert!(left.contains(&stubborn) && left.len() < 6, "the others went: {left:?}");
    let (state, detail) = bench.state();
    assert!(
        state == EngineState::Degraded && detail.contains("cannot be dropped"),
        "{detail}"
    );
    {
        // The keeper must not look in between.
        let _alone = topic.dropping.lock();
        fs::remove_dir(&stubborn).unwrap();
        fs::rename(&away, &stubborn).unwrap();
    }
    topic.drop_old();
    assert!(!stubborn.exists());
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
}
