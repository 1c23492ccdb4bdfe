use super::*;

fn small(options: &mut Options) {
    options.segment_bytes = Some(1500);
}

#[tokio::test]
async fn a_read_keeps_to_its_budget_and_brings_at_least_one() {
    let bench = Bench::new(small).await;
    let texts: Vec<String> = (0..40).map(|index| "x".repeat(index * 7)).collect();
    texts.iter().for_each(|text| _ = bench.put_one(text));
    let expected: Vec<(u64, String)> = (0..).zip(texts).collect();
    for budget in [
        (1, 1),
        (1, usize::MAX),
        (7, usize::MAX),
        (usize::MAX, 900),
        (usize::MAX, 100_000),
    ] {
        let budget = Budget {
            events: budget.0,
            bytes: budget.1,
        };
        assert_eq!(bench.all_by(0, budget).await, (expected.clone(), vec![]), "{budget:?}");
        let chunk = bench.log.read(TOPIC, 0, 3, budget).await.unwrap();
        assert!(chunk.events.len() <= budget.events);
        let bytes: usize = chunk.events.iter().map(|event| event.json.len()).sum();
        assert!(bytes <= budget.bytes || chunk.events.len() == 1, "{budget:?}");
        assert_eq!((chunk.next, chunk.first), (3 + chunk.events.len() as u64, 0));
    }
    let chunk = bench.log.read(TOPIC, 0, 40, ALL).await.unwrap();
    assert_eq!((chunk.events.len(), chunk.next, chunk.vacant), (0, 40, None));
}

#[tokio::test]
async fn the_same_bytes_come_from_the_sink_and_from_the_file() {
    let bench = Bench::new(small).await;
    for size in [0, 1, 1000, 100_000, 3_000_000] {
        bench.put_one(&"ä\"\u{1}".repeat(size / 3));
    }
    let pushed = bench.taker.events.lock().clone();
    let mut read = Vec::new();
    while read.len() < pushed.len() {
        read.extend(bench.log.read(TOPIC, 0, read.len() as u64, ALL).await.unwrap().events);
    }
    assert_eq!(read, pushed);
}

#[tokio::test]
async fn a_time_is_found_where_a_search_through_all_events_finds_it() {
    for segment_bytes in [None, Some(900)] {
        let mut bench = Bench::new(|options| options.segment_bytes = Some(1 << 20)).await;
        if segment_bytes.is_some() {
            bench = Bench::new(small).await;
        }
        let mut random = fastrand::Rng::with_seed(7);
        for index in 0..300 {
            // The clock stands still, jumps, and goes back.
            bench.clock.fetch_add(random.i64(-3..9), SeqCst);
            bench.put_one(&"x".repeat(random.usize(0..900)));
            if index % 100 == 50 {
                bench.restart(index % 200 == 50, |_| {}).await;
            }
        }
        let mut events = Vec::new();
        let mut next = 0;
        while next < 300 {
            let chunk = bench.log.read(TOPIC, 0, next, ALL).await.unwrap();
            (next, _) = (chunk.next, events.extend(chunk.events));
        }
        assert!(events.is_sorted_by_key(|event| event.ingested_us));
        let (from, to) = (events[0].ingested_us - 2, events[299].ingested_us + 3);
        for time_us in from..to {
            let naive = events.iter().find(|event| event.ingested_us >= time_us);
            let naive = naive.map_or(300, |event| event.offset);
            assert_eq!(bench.log.at(TOPIC, time_us).await.unwrap(), [naive], "{time_us}");
        }
    }
}

#[tokio::test]
async fn retention_by_size_takes_whole_segments_and_never_the_one_that_is_written() {
    let bench = Bench::of(
        TopicKind::Log,
        Retention {
            max_age_s: None,
            max_bytes: Some(5000),
        },
        small,
    )
    .await;
    let topic = bench.log.topic(TOPIC).unwrap();
    for index in 0..100 {
        bench.put_one(&index.to_string());
        topic.drop_old();
        let kept = bench.log.kept(TOPIC);
        assert!(kept.bytes.unwrap() <= 5000, "{kept:?}");
        let on_disk: u64 = bench.segments().iter().map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!(kept.bytes, Some(on_disk));
    }
    let first = *bench.taker.trims.lock().last().unwrap();
    let (events, holes) = bench.all(0).await;
    assert_eq!((events[0].0, events.last().unwrap().0, holes.len()), (first, 99, 0));
    let chunk = bench.log.read(TOPIC, 0, 3, ALL).await.unwrap();
    assert_eq!(
        (chunk.first, chunk.events[0].offset, chunk.events[0].vacant),
        (first, first, None)
    );
    // Live: less is kept from now on.
    let less = Retention {
        max_age_s: None,
        max_bytes: Some(1),
    };
    bench.log.retain(TOPIC, less);
    topic.drop_old();
    assert_eq!(bench.segments().len(), 1);
    assert!(!bench.all(0).await.0.is_empty());
}

/// A log with these topics, in small segments, that keeps so many bytes of all together.
async fn bounded(names: &[&str], max_total_bytes: u64) -> (TempDir, EmbeddedLog, Vec<Arc<TopicLog>>) {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        max_total_bytes,
        ..LogConfig::default()
    };
    let mut options = Options {
        medium: Arc::new(Faulty::default()),
        tick: Duration::from_secs(3600),
        ..Options::default()
    };
    small(&mut options);
    let log = EmbeddedLog::with(folder.path(), &config, options).unwrap();
    for name in names {
        log.open(spec(name), Arc::new(Taker::default())).await.unwrap();
    }
    let topics = names.iter().map(|name| log.topic(name).unwrap()).collect();
    (folder, log, topics)
}

#[tokio::test]
async fn beyond_what_all_topics_may_have_the_oldest_events_of_the_largest_go() {
    const MOST: u64 = 20_000;
    let (folder, log, topics) = bounded(&["small", "a", "b"], MOST).await;
    let put = |topic: &Arc<TopicLog>| {
        let put = publication(vec![record(&"x".repeat(200))], None, Ack::Taken);
        topic.publish(&put).unwrap();
    };
    let bytes = |topic: &Arc<TopicLog>| topic.kept().bytes.unwrap();
    (0..9).for_each(|_| put(&topics[0]));
    // First one topic grows alone, then the other one has its share of what it gives up.
    for (grows, rests) in [(1, 2), (2, 1)] {
        for _ in 0..100 {
            put(&topics[grows]);
            let rested = topics[rests].list().first();
            log.shared.drop_beyond_total();
            let total: u64 = topics.iter().map(bytes).sum();
            assert!(total <= MOST, "{total}");
            // The log's own thread does the same meanwhile, so twice as much as it takes may go.
            if bytes(&topics[grows]) > bytes(&topics[rests]) + 2 * 1500 {
                assert_eq!(topics[rests].list().first(), rested, "the larger one gives way");
            }
        }
        let total: u64 = topics.iter().map(bytes).sum();
        assert!(total > MOST - 2 * 1500, "no more goes than has to: {total}");
        assert!(topics[grows].list().first() > 0);
        let newest = topics[grows].read(99, ALL).unwrap();
        assert_eq!((newest.events.len(), newest.next), (1, 100), "the newest are there");
    }
    assert_eq!(topics[0].list().first(), 0, "the smallest keeps all it has");
    let larger = [bytes(&topics[1]), bytes(&topics[2])];
    assert!(larger[0].abs_diff(larger[1]) <= 3000, "{larger:?}");
    let segments = |topic: &Arc<TopicLog>| folder::numbered(topic.folder(), "seg").unwrap();
    let files = topics.iter().flat_map(segments);
    let on_disk: u64 = files.map(|(_, path)| path.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, topics.iter().map(bytes).sum::<u64>());
    drop(folder);
}

#[tokio::test]
async fn what_is_written_stays_however_little_all_topics_may_have() {
    let (_folder, log, topics) = bounded(&["a", "b"], 1).await;
    for topic in &topics {
        for text in ["one", "two", "three"] {
            topic
                .publish(&publication(vec![record(text)], None, Ack::Taken))
                .unwrap();
        }
    }
    log.shared.drop_beyond_total();
    for topic in &topics {
        assert_eq!(topic.read(0, ALL).unwrap().events.len(), 3);
    }
}

#[test]
fn all_that_is_written_together_is_a_part_of_what_may_be_kept() {
    let most = |max_total_bytes, max_topics| {
        topic::most_segment(&LogConfig {
            max_total_bytes,
            max_topics,
            ..LogConfig::default()
        })
    };
    let default = LogConfig::default();
    assert_eq!(most(default.max_total_bytes, default.max_topics), 16 << 20);
    for (bytes, topics) in [(1 << 30, 256), (64 << 20, 16), (1 << 40, 16), (16 << 30, 50_000)] {
        let segment = most(bytes, topics);
        assert!(segment * topics as u64 <= bytes / 4, "{bytes} {topics} {segment}");
    }
}

#[tokio::test]
async fn retention_by_age_lets_go_of_what_is_too_old_also_where_nothing_new_comes() {
    const HOUR_US: i64 = 3_600_000_000;
    let retention = Retention {
        max_age_s: Some(3600),
        max_bytes: None,
    };
    let bench = Bench::of(TopicKind::Log, retention, |_| {}).await;
    let topic = bench.log.topic(TOPIC).unwrap();
    for _ in 0..240 {
        bench.clock.fetch_add(HOUR_US / 60, SeqCst);
        bench.put_one("a minute later");
        topic.drop_old();
    }
    let oldest_us = bench.log.kept(TOPIC).first_us.unwrap();
    let age_us = bench.clock.load(SeqCst) - oldest_us;
    assert!((HOUR_US..HOUR_US * 9 / 8).contains(&age_us), "{age_us}");
    assert!((16..=20).contains(&bench.segments().len()));
    bench.clock.fetch_add(2 * HOUR_US, SeqCst);
    topic.sync();
    topic.drop_old();
    assert_eq!(bench.all(0).await, (vec![], vec![]));
    assert_eq!(bench.log.kept(TOPIC).first_us, None);
    assert_eq!(bench.put_one("new"), 240);
}

#[tokio::test]
async fn a_clock_that_was_wrong_and_is_set_back_leaves_times_and_retention_right() {
    const HOUR_US: i64 = 3_600_000_000;
    let retention = Retention {
        max_age_s: Some(3600),
        max_bytes: None,
    };
    for is_restarted in [false, true] {
        let mut bench = Bench::of(TopicKind::Log, retention, |_| {}).await;
        let begin_us = bench.clock.load(SeqCst);
        bench.put_one("before");
        let now_us = begin_us + 1_000_000;
        {
            // By that clock what stands there is too old: the log's own thread must not look meanwhile.
            let topic = bench.log.topic(TOPIC).unwrap();
            let _alone = topic.dropping.lock();
            bench.clock.store(begin_us + 1000 * HOUR_US, SeqCst);
            bench.put_one("wrong");
            bench.clock.store(now_us, SeqCst);
        }
        if is_restarted {
            bench.restart(false, |_| {}).await;
        }
        bench.put_one("after");
        // A little is no more than a clock that is put right all the time.
        bench.clock.fetch_sub(500_000, SeqCst);
        bench.put_one("again");
        bench.clock.store(now_us + 10, SeqCst);
        bench.put_one("later");
        let read = bench.log.read(TOPIC, 0, 0, ALL).await.unwrap().events;
        let times: Vec<i64> = read.iter().map(|event| event.ingested_us).collect();
        assert_eq!(
            times,
            [begin_us, begin_us + 1000 * HOUR_US, now_us, now_us, now_us + 10]
        );
        // Nothing that is asked for is left out; what has the wrong time may come with it.
        for (time_us, offset) in [
            (0, 0),
            (begin_us, 0),
            (now_us, 1),
            (now_us + 1, 4),
            (begin_us + HOUR_US, 5),
        ] {
            assert_eq!(bench.log.at(TOPIC, time_us).await.unwrap(), [offset], "{time_us}");
        }
        let topic = bench.log.topic(TOPIC).unwrap();
        topic.drop_old();
        assert_eq!(bench.all(0).await.0.len(), 5);
        topic.sync();
        bench.clock.fetch_add(2 * HOUR_US, SeqCst);
        topic.drop_old();
        assert_eq!(bench.all(0).await, (vec![], vec![]));
    }
}

#[tokio::test]
async fn of_a_state_topic_only_the_newest_segment_is_kept_and_never_no_event() {
    let mut bench = Bench::of(TopicKind::State, UNBOUNDED, small).await;
    let topic = bench.log.topic(TOPIC).unwrap();
    for index in 0..100 {
        bench.put_one(&index.to_string());
        topic.drop_old();
        assert_eq!(bench.all(0).await.0.last().unwrap().0, index);
        topic.sync();
        topic.drop_old();
        assert_eq!(bench.segments().len(), 1);
    }
    drop(topic);
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.all(0).await.0.last().unwrap().1, "99");
}

#[tokio::test]
async fn a_state_that_is_on_disk_stays_until_the_next_one_is() {
    let bench = Bench::of(TopicKind::State, UNBOUNDED, small).await;
    let topic = bench.log.topic(TOPIC).unwrap();
    bench.put_one("on disk");
    topic.sync();
    bench.put_one(&"not yet".repeat(300));
    topic.drop_old();
    assert_eq!(bench.all(0).await.0.len(), 2);
    topic.sync();
    topic.drop_old();
    assert_eq!(bench.all(0).await.0[0].0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_races_with_retention_is_told_the_truth() {
    let retention = Retention {
        max_age_s: None,
        max_bytes: Some(6000),
    };
    let bench = Bench::of(TopicKind::Log, retention, |options| {
        options.segment_bytes = Some(1500);
        options.tick = Duration::from_millis(1);
    })
    .await;
    let writing = async {
        for index in 0..3000 {
            bench.put_one(&index.to_string());
            if index % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let reading = async {
        let (mut next, mut read, mut dropped) = (0, 0, 0);
        while next < 3000 {
            let budget = Budget { events: 9, bytes: 3000 };
            let chunk = bench.log.read(TOPIC, 0, next, budget).await.unwrap();
            if chunk.first > next {
                dropped += chunk.first - next;
                next = chunk.first;
            }
            assert_eq!(chunk.vacant, None);
            for event in &chunk.events {
                assert_eq!((event.offset, event.vacant), (next, None));
                assert_eq!(data(event), next.to_string());
                next += 1;
                read += 1;
            }
            assert_eq!(chunk.next, next);
        }
        assert_eq!(read + dropped, 3000);
    };
    tokio::join!(writing, reading);
    assert_eq!(bench.state().0, EngineState::Up);
}

#[tokio::test]
async fn the_logs_own_ids_are_unique_and_one_that_is_given_under_two_keys_comes_twice() {
    let mut bench = Bench::new(|_| {}).await;
    let named = |text| Record {
        id: Some("theirs".to_owned()),
        ..record(text)
    };
    bench.put(vec![record("a"), record("a")], None).unwrap();
    bench.put(vec![named("b")], Some("key")).unwrap();
    assert!(bench.put(vec![named("b")], Some("key")).unwrap()[0].duplicate);
    assert!(!bench.put(vec![named("b")], Some("another key")).unwrap()[0].duplicate);
    // A day later the key is another one too.
    bench.clock.fetch_add(IDEMPOTENCY_WINDOW.as_micros() as i64 + 1, SeqCst);
    assert!(!bench.put(vec![named("b")], Some("key")).unwrap()[0].duplicate);
    bench.restart(true, |_| {}).await;
    bench.put(vec![record("a")], None).unwrap();
    let chunk = bench.log.read(TOPIC, 0, 0, ALL).await.unwrap();
    let ids: Vec<String> = chunk
        .events
        .iter()
        .map(|event| {
            serde_json::from_slice::<freshet_wire::Event<'_>>(&event.json)
                .unwrap()
                .id
                .into_owned()
        })
        .collect();
    assert_eq!(ids.len(), 6);
    assert_eq!(ids[2..5], ["theirs"; 3]);
    let own: std::collections::BTreeSet<&String> = [&ids[0], &ids[1], &ids[5]].into();
    assert_eq!(own.len(), 3);
}
