use super::*;

/// Four publications: one event, a batch with a key, a batch without, one event.
fn fill(bench: &Bench) -> Vec<(u64, u64)> {
    let batch = |texts: &[&str]| texts.iter().map(|text| record(text)).collect::<Vec<_>>();
    let all = [
        (batch(&["one"]), None),
        (batch(&["two", "three", "four"]), Some("key")),
        (batch(&["five", "six"]), None),
        (batch(&["seven"]), None),
    ];
    all.into_iter()
        .map(|(records, key)| {
            let receipts = bench.put(records, key).unwrap();
            (receipts[0].offset, receipts.len() as u64)
        })
        .collect()
}

/// Begins again on what was copied elsewhere, with one of its files changed.
async fn restart_with(bench: &mut Bench, elsewhere: &Path, name: impl AsRef<Path>, bytes: &[u8]) {
    bench
        .restart(false, |folder| {
            fs::remove_dir_all(folder).unwrap();
            copy(elsewhere, folder);
            fs::write(folder.join(name), bytes).unwrap();
        })
        .await;
}

const TEXTS: [&str; 7] = ["one", "two", "three", "four", "five", "six", "seven"];

#[tokio::test]
async fn a_log_that_was_cut_off_anywhere_goes_on_after_its_last_whole_publication() {
    let mut bench = Bench::new(|_| {}).await;
    let publications = fill(&bench);
    let epoch = bench.taker.extents.lock()[0].epoch;
    let elsewhere = tempfile::tempdir().unwrap();
    bench.restart(false, |folder| copy(folder, elsewhere.path())).await;
    let whole = fs::read(&bench.segments()[0]).unwrap();
    let header = whole.windows(4).position(|window| window == record::MAGIC).unwrap();
    for len in header..=whole.len() {
        bench
            .restart(false, |folder| {
                copy(elsewhere.path(), folder);
                // As if none of it had been on disk when the process ended.
                let _ = fs::remove_file(folder.join(mark::NAME));
                fs::write(folder.join(segment::file_name(0)), &whole[..len]).unwrap();
            })
            .await;
        let (events, holes) = bench.all(0).await;
        // The end of each publication in the file says which of them are whole.
        let ends = publications.iter().map(|&(first, count)| first + count);
        let kept = ends.rev().find(|&end| {
            let last = format!("{:?}", TEXTS[end as usize - 1]);
            let at = whole.windows(last.len()).rposition(|window| window == last.as_bytes());
            at.unwrap() + last.len() < len
        });
        let kept = kept.unwrap_or(0);
        let expected: Vec<(u64, String)> = (0..kept).map(|at| (at, TEXTS[at as usize].to_owned())).collect();
        assert_eq!((events, holes), (expected, vec![]), "cut off at {len}");
        assert_eq!(bench.extent(), (0, kept), "cut off at {len}");
        assert_eq!(bench.taker.extents.lock()[0].epoch, epoch);
        // It is no damage, and the key counts if all that was published under it is there.
        assert_eq!(bench.state().0, EngineState::Up);
        let again = bench
            .put(vec![record("two"), record("three"), record("four")], Some("key"))
            .unwrap();
        assert_eq!(again[0].duplicate, kept >= 4, "cut off at {len}");
        assert_eq!(bench.put_one("new"), if kept >= 4 { kept } else { kept + 3 });
        assert_eq!(bench.all(kept).await.1, []);
    }
}

#[tokio::test]
async fn what_was_on_disk_and_is_gone_is_a_hole_whose_offsets_are_not_given_away_again() {
    for boot in ["boot-1", "boot-2"] {
        let mut bench = Bench::new(|_| {}).await;
        fill(&bench);
        // Recovery puts on disk what it finds.
        bench.restart(false, |_| {}).await;
        let elsewhere = tempfile::tempdir().unwrap();
        bench.restart(false, |folder| copy(folder, elsewhere.path())).await;
        bench.boot = boot.to_owned();
        let whole = fs::read(&bench.segments()[0]).unwrap();
        let header = whole.windows(4).position(|window| window == record::MAGIC).unwrap();
        for len in header..whole.len() {
            restart_with(&mut bench, elsewhere.path(), segment::file_name(0), &whole[..len]).await;
            let (events, holes) = bench.all(0).await;
            // Also of a batch every record that is whole is still there: it had been acknowledged.
            let is_whole = |text: &&str| {
                let text = format!("{text:?}");
                let at = whole.windows(text.len()).rposition(|window| window == text.as_bytes());
                at.unwrap() + text.len() < len
            };
            let kept = TEXTS.iter().take_while(|text| is_whole(text)).count() as u64;
            let expected: Vec<(u64, String)> = (0..kept).map(|at| (at, TEXTS[at as usize].to_owned())).collect();
            let next = if boot == "boot-1" { 7 } else { 7 + POWER_FAILURE_SKIP };
            assert_eq!(events, expected, "cut off at {len}, {boot}");
            assert_eq!(holes, [(kept, next)], "cut off at {len}, {boot}");
            assert_eq!(bench.extent(), (0, next), "cut off at {len}, {boot}");
            assert_eq!(bench.state().0, EngineState::Degraded, "cut off at {len}, {boot}");
            assert_eq!(bench.put_one("new"), next);
            assert_eq!(bench.taker.events.lock().last().unwrap().vacant, Some(GapReason::Lost));
            // And so it stays.
            bench.restart(false, |_| {}).await;
            assert_eq!(bench.extent(), (0, next + 1));
            let (events, holes) = bench.all(kept).await;
            assert_eq!((events, holes), (vec![(next, "new".to_owned())], vec![(kept, next)]));
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_and_is_cut_off_is_a_hole_also_where_the_log_was_never_opened_before() {
    let mut bench = Bench::new(|_| {}).await;
    for text in ["one", "two"] {
        let publication = publication(vec![record(text)], None, Ack::Durable);
        bench.log.publish(TOPIC, publication).await.unwrap();
    }
    bench
        .restart(false, |folder| {
            let file = folder.join(segment::file_name(0));
            let whole = fs::read(&file).unwrap();
            fs::write(&file, &whole[..whole.len() - 5]).unwrap();
        })
        .await;
    assert_eq!(bench.extent(), (0, 2));
    assert_eq!(bench.all(0).await, (vec![(0, "one".to_owned())], vec![(1, 2)]));
    assert_eq!(bench.state().0, EngineState::Degraded);
}

#[tokio::test]
async fn whatever_bit_is_flipped_nothing_wrong_is_served_and_all_that_is_whole_is() {
    for in_order in [true, false] {
        let mut bench = Bench::new(|_| {}).await;
        fill(&bench);
        let elsewhere = tempfile::tempdir().unwrap();
        bench.restart(in_order, |folder| copy(folder, elsewhere.path())).await;
        let whole = fs::read(&bench.segments()[0]).unwrap();
        let starts: Vec<usize> = (0..whole.len())
            .filter(|&at| whole[at..].starts_with(&record::MAGIC))
            .collect();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            restart_with(&mut bench, elsewhere.path(), segment::file_name(0), &bytes).await;
            // Only the record in which the bit stood is gone.
            let gone = starts.iter().rposition(|&start| start <= at);
            let expected: Vec<(u64, String)> = (0..7)
                .filter(|&index| Some(index) != gone)
                .map(|index| (index as u64, TEXTS[index].to_owned()))
                .collect();
            let (events, holes) = bench.all(0).await;
            assert_eq!(events, expected, "byte {at}");
            let (_, next) = bench.extent();
            match gone {
                None => assert_eq!((holes.len(), next), (0, 7), "byte {at}"),
                Some(gone) if gone < 6 => assert_eq!(holes, [(gone as u64, gone as u64 + 1)], "byte {at}"),
                // Of the last one: its offset is not given away again.
                Some(_) => assert!(
                    holes[0].0 == 6 && holes[0].1 == next && next >= 7,
                    "byte {at}: {holes:?}"
                ),
            }
            assert_eq!(bench.state().0, EngineState::Degraded, "byte {at}");
            let new = bench.put_one("new");
            assert_eq!(new, next, "byte {at}");
            assert_eq!(
                bench.taker.events.lock().last().unwrap().vacant.is_some(),
                gone == Some(6)
            );
            assert_eq!(bench.all(next).await.0, [(new, "new".to_owned())], "byte {at}");
        }
    }
}

#[tokio::test]
async fn whatever_bit_is_flipped_beside_the_events_they_are_all_there_and_nothing_wrong_is_told() {
    let retention = Retention {
        max_age_s: None,
        max_bytes: Some(2000),
    };
    let small = |options: &mut Options| options.segment_bytes = Some(600);
    for in_order in [true, false] {
        let mut bench = Bench::of(TopicKind::Log, retention, small).await;
        let keyed = |bench: &Bench| bench.put(vec![record("a"), record("b")], Some("key"));
        keyed(&bench).unwrap();
        (0..9).for_each(|_| _ = bench.put_one("more"));
        bench.log.topic(TOPIC).unwrap().drop_old();
        // Recovery puts on disk what it finds, and marks it.
        bench.restart(false, |_| {}).await;
        let (elsewhere, epoch) = (tempfile::tempdir().unwrap(), bench.taker.extents.lock()[0].epoch);
        bench.restart(in_order, |folder| copy(folder, elsewhere.path())).await;
        let ((first, next), expected) = (bench.extent(), bench.all(0).await.0);
        assert!(first > 2 && next == 11, "{first} {next}");
        let files = fs::read_dir(elsewhere.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let files: Vec<PathBuf> = files
            .filter(|path| path.extension().is_none_or(|it| it != "seg"))
            .collect();
        assert_eq!(files.len(), 6, "{files:?}");
        for file in files {
            let name = file.file_name().unwrap().to_owned();
            let whole = fs::read(&file).unwrap();
            for at in (0..whole.len()).step_by(3) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                restart_with(&mut bench, elsewhere.path(), &name, &bytes).await;
                assert_eq!(bench.taker.extents.lock()[0].epoch, epoch, "{name:?} {at}");
                assert_eq!(bench.extent().0, first, "{name:?} {at}");
                assert_eq!(bench.all(0).await.0, expected, "{name:?} {at}");
                // The key may be forgotten with its file; it is never told to be another one's, nor the offset of something else.
                let again = keyed(&bench).unwrap();
                let offsets = (again[0].offset, again[1].offset);
                match again[0].duplicate {
                    true => assert_eq!(offsets, (0, 1), "{name:?} {at}"),
                    false => assert!(
                        offsets.0 >= next && name.to_string_lossy().ends_with(".keys"),
                        "{name:?} {at}"
                    ),
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_topic_is_stands_there_twice_and_one_is_enough() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("one");
    let epoch = bench.taker.extents.lock()[0].epoch;
    for name in ["topic.json", "topic.copy"] {
        for damage in [None, Some(""), Some("{}")] {
            bench
                .restart(true, |folder| match damage {
                    None => fs::remove_file(folder.join(name)).unwrap(),
                    Some(text) => fs::write(folder.join(name), text).unwrap(),
                })
                .await;
            assert_eq!(bench.taker.extents.lock()[0].epoch, epoch, "{name} {damage:?}");
            assert_eq!(bench.all(0).await.0, [(0, "one".to_owned())]);
            let (state, told) = bench.state();
            assert_eq!(state, EngineState::Up);
            assert_eq!(
                told.contains("made again from its copy"),
                name == "topic.json",
                "{told}"
            );
            // And from now on it stands there twice again.
            bench.restart(true, |_| {}).await;
            assert_eq!(bench.state(), (EngineState::Up, String::new()));
            let text = |name| fs::read(bench.topic_folder().join(name)).unwrap();
            assert_eq!(text("topic.json"), text("topic.copy"));
        }
    }
    // Neither: it is set aside for its one small event, and not taken for a topic that was never made.
    bench
        .restart(true, |folder| {
            for name in ["topic.json", "topic.copy"] {
                fs::remove_file(folder.join(name)).unwrap();
            }
        })
        .await;
    let aside = bench.folder.path().join("t000001.unreadable-0");
    assert!(aside.join(segment::file_name(0)).exists());
}

#[tokio::test]
async fn of_a_topic_that_was_not_made_to_its_end_nothing_is_left_and_nothing_is_said() {
    let mut bench = Bench::new(|_| {}).await;
    let epoch = bench.taker.extents.lock()[0].epoch;
    bench
        .restart(true, |folder| fs::remove_file(folder.join("topic.json")).unwrap())
        .await;
    assert_ne!(bench.taker.extents.lock()[0].epoch, epoch);
    assert_eq!(bench.state(), (EngineState::Up, String::new()));
    let folders: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
}

#[tokio::test]
async fn after_a_power_failure_the_log_goes_on_where_no_offset_was_given_out() {
    let mut bench = Bench::new(|_| {}).await;
    fill(&bench);
    // The process ended in order: the machine may do what it likes.
    bench.boot = "boot-2".to_owned();
    bench.restart(true, |_| {}).await;
    assert_eq!(bench.extent(), (0, 7));
    assert_eq!(bench.put_one("eight"), 7);
    // Now it did not.
    bench.boot = "boot-3".to_owned();
    bench.restart(false, |_| {}).await;
    let next = 8 + POWER_FAILURE_SKIP;
    assert_eq!(bench.extent(), (0, next));
    assert_eq!(bench.state().0, EngineState::Degraded);
    let (events, holes) = bench.all(5).await;
    assert_eq!(events.len(), 3);
    assert_eq!(holes, [(8, next)]);
    assert_eq!(bench.put_one("nine"), next);
    assert_eq!(bench.taker.events.lock()[0].vacant, Some(GapReason::Lost));
    // It is not passed over a second time, and stays passed over.
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.extent(), (0, next + 1));
    assert_eq!(bench.all(8).await, (vec![(next, "nine".to_owned())], vec![(8, next)]));
    // Nothing was written since: nothing can be lost.
    bench.restart(true, |_| {}).await;
    bench.boot = "boot-4".to_owned();
    bench.restart(false, |_| {}).await;
    assert_eq!(bench.extent(), (0, next + 1));
}

#[tokio::test]
async fn after_a_power_failure_a_batch_is_there_whole_or_not_at_all() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("one");
    bench
        .put((0..9).map(|_| record("batch")).collect(), Some("key"))
        .unwrap();
    bench.boot = "boot-2".to_owned();
    bench
        .restart(false, |folder| {
            let file = folder.join(segment::file_name(0));
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 50].fill(0);
            fs::write(&file, &bytes).unwrap();
        })
        .await;
    let (events, _) = bench.all(0).await;
    assert_eq!(events, [(0, "one".to_owned())]);
    let again = bench
        .put((0..9).map(|_| record("batch")).collect(), Some("key"))
        .unwrap();
    assert!(
        again
            .iter()
            .all(|receipt| !receipt.duplicate && receipt.offset > POWER_FAILURE_SKIP)
    );
}

#[tokio::test]
async fn what_is_missing_in_the_middle_or_at_the_end_is_a_hole_and_said() {
    let mut bench = Bench::new(|options| options.segment_bytes = Some(600)).await;
    for index in 0..12 {
        bench.put_one(&format!("event {index}"));
    }
    let bases: Vec<u64> = folder::numbered(&bench.topic_folder(), "seg")
        .unwrap()
        .into_iter()
        .map(|(base, _)| base)
        .collect();
    assert!(bases.len() >= 4, "{bases:?}");
    let (one, two) = (bases[1], bases[2]);
    bench
        .restart(true, |folder| {
            fs::remove_file(folder.join(segment::file_name(one))).unwrap()
        })
        .await;
    let (events, holes) = bench.all(0).await;
    assert_eq!(holes, [(one, two)]);
    assert_eq!(events.len() as u64, 12 - (two - one));
    // The last one: how far it went is noted down.
    let last = *bases.last().unwrap();
    bench
        .restart(true, |folder| {
            fs::remove_file(folder.join(segment::file_name(last))).unwrap()
        })
        .await;
    assert_eq!(bench.extent(), (0, 12));
    assert_eq!(bench.all(two).await.1, [(last, 12)]);
    assert_eq!(bench.state().0, EngineState::Degraded);
    assert_eq!(bench.put_one("thirteen"), 12);
}

#[tokio::test]
async fn a_log_keeps_its_epoch_and_one_whose_files_are_gone_is_another() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("one");
    let epoch = |bench: &Bench| bench.taker.extents.lock()[0].epoch;
    let first = epoch(&bench);
    bench.restart(false, |_| {}).await;
    assert_eq!(epoch(&bench), first);
    let known = bench.log.known().await.unwrap();
    assert_eq!((known.len(), &*known[0].name), (1, TOPIC));
    bench
        .restart(true, |folder| {
            fs::remove_file(folder.join(segment::file_name(0))).unwrap()
        })
        .await;
    let second = epoch(&bench);
    assert_ne!(second, first);
    assert_eq!(bench.extent(), (0, 0));
    bench.restart(true, |_| {}).await;
    assert_eq!(epoch(&bench), second);
    // A file of the log before it is not taken for a part of this one.
    let foreign = bench.topic_folder().join(segment::file_name(50));
    bench
        .restart(true, |folder| {
            let bytes = fs::read(folder.join(segment::file_name(0))).unwrap();
            let other = String::from_utf8_lossy(&bytes).len();
            assert!(other > 0);
            fs::write(&foreign, bytes).unwrap();
        })
        .await;
    assert_eq!(bench.extent(), (0, 0));
    assert!(!foreign.exists());
}

#[tokio::test]
async fn a_topic_that_cannot_be_read_is_set_aside_and_never_deleted() {
    let mut bench = Bench::new(|_| {}).await;
    bench.put_one("one");
    bench
        .restart(true, |folder| {
            for name in ["topic.json", "topic.copy"] {
                fs::write(folder.join(name), "{\"name\":").unwrap();
            }
        })
        .await;
    assert!(
        bench
            .folder
            .path()
            .join("t000001.unreadable-0")
            .join(segment::file_name(0))
            .exists()
    );
    assert!(bench.state().1.contains("t000001.unreadable-0"), "{:?}", bench.state());
    assert_eq!(bench.extent(), (0, 0));
    // Its number is not given away again.
    assert!(bench.folder.path().join("t000002").exists());
}

#[tokio::test]
async fn there_are_no_more_topics_than_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        max_topics: 2,
        ..LogConfig::default()
    };
    let log = EmbeddedLog::open(folder.path(), &config).unwrap();
    for name in ["a", "b"] {
        log.open(spec(name), Arc::new(Taker::default())).await.unwrap();
    }
    let refused = log.open(spec("c"), Arc::new(Taker::default())).await;
    assert_eq!(refused, Err(PubSubError::TooManyTopics(2)));
    assert_eq!(log.known().await.unwrap().len(), 2);
    assert!(matches!(
        log.publish("c", publication(vec![record("")], None, Ack::Taken)).await,
        Err(PubSubError::UnknownTopic(_))
    ));
}

#[tokio::test]
async fn a_key_is_remembered_over_restarts_and_longer_than_its_events() {
    let small = |options: &mut Options| options.segment_bytes = Some(600);
    let retention = Retention {
        max_age_s: None,
        max_bytes: Some(2000),
    };
    let mut bench = Bench::of(TopicKind::Log, retention, small).await;
    let first = bench.put(vec![record("a"), record("b")], Some("key")).unwrap();
    for in_order in [true, false] {
        bench.restart(in_order, |_| {}).await;
        for index in 0..20 {
            bench.put_one(&format!("event {index}"));
        }
        bench.log.topic(TOPIC).unwrap().drop_old();
        assert!(bench.segments().len() < 8);
        bench.restart(in_order, |_| {}).await;
        assert!(bench.extent().0 > 1, "the events themselves are gone");
        let (_, next) = bench.extent();
        let again = bench.put(vec![record("a"), record("b")], Some("key")).unwrap();
        let expected: Vec<Receipt> = first
            .iter()
            .map(|receipt| Receipt {
                duplicate: true,
                ..receipt.clone()
            })
            .collect();
        assert_eq!(again, expected);
        let other = bench.put(vec![record("c")], Some("key"));
        let refused = PubSubError::KeyReused {
            key: "key".to_owned(),
            offset: 0,
        };
        assert_eq!(other, Err(refused));
        assert_eq!(bench.put_one("next"), next, "nothing was appended");
    }
    // A day later it is forgotten.
    bench.clock.fetch_add(25 * 3_600_000_000, SeqCst);
    let other = bench.put(vec![record("c")], Some("key")).unwrap();
    assert!(!other[0].duplicate);
    // And so are the files of keys, which tell by the machine's clock how old they are.
    let files = || folder::numbered(&bench.topic_folder(), "keys").unwrap().len();
    let topic = bench.log.topic(TOPIC).unwrap();
    bench.clock.store(crate::time::now_us() + 23 * 3_600_000_000, SeqCst);
    topic.drop_old();
    assert!(files() > 0);
    bench.clock.fetch_add(2 * 3_600_000_000, SeqCst);
    topic.drop_old();
    assert_eq!(files(), 0);
}

#[tokio::test]
async fn a_leader_that_leads_no_more_is_refused_also_after_restarts() {
    let mut bench = Bench::new(|options| options.segment_bytes = Some(600)).await;
    let put = |bench: &Bench, scope: &str, number| bench.put(vec![fenced("x", scope, number)], None).map(|_| ());
    let refused = |token, newest| Err(PubSubError::Fenced { token, newest });
    assert_eq!(put(&bench, "raft:1", 5), Ok(()));
    assert_eq!(put(&bench, "raft:1", 4), refused(4, 5));
    assert_eq!(put(&bench, "raft:1", 5), Ok(()));
    assert_eq!(put(&bench, "etcd:9", 1), Ok(()), "another scope has a mark of its own");
    assert_eq!(bench.put(vec![record("no token")], None).map(|_| ()), Ok(()));
    for in_order in [true, false] {
        // The marks are found in the newest file, and in its header where there is no token in it.
        bench.restart(in_order, |_| {}).await;
        assert_eq!(put(&bench, "raft:1", 4), refused(4, 5));
        assert_eq!(put(&bench, "etcd:9", 0), refused(0, 1));
        (0..9).for_each(|_| _ = bench.put_one("more"));
    }
    // All of a publication or nothing.
    let mixed = vec![fenced("x", "raft:1", 7), fenced("x", "raft:1", 6)];
    assert_eq!(bench.put(mixed, None).map(|_| ()), refused(6, 7));
    assert_eq!(put(&bench, "raft:1", 6), Ok(()));
}
