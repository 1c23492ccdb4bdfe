//! One reader, window and history together, on a log in memory.

use freshet_wire::{Epoch, Position};
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::super::recent::REMEMBERED;
use super::*;
use crate::pubsub::memory::Memory;
use crate::pubsub::{Chunk, Extent, LogExtent, PubSubError, Record, Sink as _, Stored, TopicSpec};

const ALL: Budget = Budget {
    events: usize::MAX,
    bytes: usize::MAX,
};

/// A tail on a log in memory, with the shared topic `log` and the local ones `local` and `state`.
struct Bench {
    engine: Arc<Memory>,
    tail: Tail,
}

fn bench(window_bytes: usize) -> Bench {
    let engine = Arc::new(Memory::default());
    let tail = Tail::new(Arc::clone(&engine) as _, window_bytes, 1 << 40);
    now(tail.open(spec("log"))).unwrap();
    tail.local("local", TopicKind::Log);
    tail.local("state", TopicKind::State);
    Bench { engine, tail }
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        kind: TopicKind::Log,
        synthetic: false,
        writable: false,
        retention: Default::default(),
    }
}

fn record(now_us: i64) -> Record {
    Record {
        produced_us: now_us,
        host: None,
        token: None,
        kind: "test".into(),
        id: None,
        key: None,
        data: RawValue::from_string("{}".to_owned()).unwrap(),
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    if tokio::runtime::Handle::try_current().is_ok() {
        return future.now_or_never().unwrap();
    }
    // Bounds of time are set, though never reached.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _here = runtime.enter();
    future.now_or_never().unwrap()
}

impl Bench {
    fn append(&self, topic: &str, now_us: i64) -> u64 {
        match topic {
            "log" => self.append_shared(topic, now_us),
            local => self.tail.topic(local).unwrap().append(&record(now_us), now_us),
        }
    }

    fn append_shared(&self, topic: &str, now_us: i64) -> u64 {
        self.engine.append(topic, &record(now_us), 0, now_us).unwrap()
    }

    fn append_with_id(&self, topic: &str, now_us: i64, id: u64) {
        self.engine.append(topic, &record(now_us), id, now_us).unwrap();
    }

    /// A shared topic that the engine has told nothing of yet.
    fn unopened(&self, name: &str) -> Arc<Topic> {
        let topic = Arc::new(Topic::shared(&spec(name), true, 10_000));
        let mut topics = self.tail.topics.write();
        topics.insert(Arc::clone(topic.name()), Arc::clone(&topic));
        topic
    }

    fn reading(&self, from: &str) -> Result<Reading, ReadError> {
        now(Reading::find(&self.tail, &[from.parse().unwrap()]))
    }

    /// One read, of history where the reader stands in it.
    fn read(&self, reading: &mut Reading, budget: Budget) -> Vec<Batch> {
        let batch = reading.read(budget);
        if !batch.is_empty() {
            return vec![batch];
        }
        let Some(history) = reading.history() else {
            return vec![batch];
        };
        let chunk = now(history.read(&self.tail, budget)).unwrap();
        let mut replay = reading.accept(history, chunk).unwrap();
        std::iter::from_fn(|| reading.replay(&mut replay)).collect()
    }

    /// All there is.
    fn all(&self, from: &str) -> (Vec<u64>, Vec<Gap>) {
        let mut reading = self.reading(from).unwrap();
        let (mut events, mut gaps) = (Vec::new(), Vec::new());
        loop {
            let batches = self.read(&mut reading, ALL);
            if batches.iter().all(Batch::is_empty) {
                return (events, gaps);
            }
            for batch in batches {
                events.extend(offsets(&batch));
                gaps.extend(batch.gaps);
            }
        }
    }
}

fn offsets(batch: &Batch) -> Vec<u64> {
    let offset = |json: &Bytes| {
        let event: freshet_wire::Event<'_> = serde_json::from_slice(json).unwrap();
        event.offset
    };
    batch.events.iter().map(offset).collect()
}

#[test]
fn the_end_of_a_removed_topic_is_told_once_and_the_next_one_of_its_name_is_another() {
    let bench = bench(1 << 20);
    bench.append("log", 1);
    let from = |text: &str| text.parse::<From>().unwrap();
    let find = |text: &str| now(Reading::find(&bench.tail, &[from(text)]));
    let mut reading = find("log@earliest").unwrap();
    let mut late = find("log@latest").unwrap();
    let (cursor, epoch) = (reading.next()["log"].clone(), bench.tail.topic("log").unwrap().epoch());
    assert_eq!(reading.read(ALL).events.len(), 1);
    now(bench.tail.remove("log")).unwrap();
    let unknown = Err(PubSubError::UnknownTopic("log".to_owned()));
    assert_eq!(now(bench.tail.remove("log")), unknown);
    assert_eq!(find("log").err(), Some(ReadError::UnknownTopic("log".to_owned())));
    for reading in [&mut reading, &mut late] {
        assert!(
            reading.is_behind() && reading.take_ended().is_empty(),
            "it is to be told first"
        );
        let batch = reading.read(ALL);
        assert!(batch.events.is_empty() && !batch.more);
        let gap = &batch.gaps[0];
        assert_eq!((gap.from_offset, gap.count, gap.reason), (1, None, GapReason::Epoch));
        assert!(!reading.is_behind());
    }
    assert_eq!(reading.take_ended().len(), 1);
    assert!(reading.places().is_empty());

    // A reader that comes again reads the new one, also one that was not told yet.
    let topic = now(bench.tail.open(spec("log"))).unwrap();
    assert_ne!(topic.epoch(), epoch);
    bench.append("log", 2);
    late.set(now(Place::find(&bench.tail, &from(&format!("log@{cursor}")))).unwrap());
    assert!(late.take_ended().is_empty() && late.places().len() == 1);
    let batch = late.read(ALL);
    assert_eq!((batch.events.len(), batch.gaps[0].reason), (1, GapReason::Epoch));
}

proptest! {
    /// Invariants 1 and 3: delivered and reported as gap together cover the range exactly once, in order; what the engine still
    /// has is delivered, however small the window.
    #[test]
    fn events_and_gaps_cover_the_log_exactly_once(
        shared: bool,
        window in 200_usize..4000,
        steps in prop::collection::vec((0_u64..30, 1_usize..20, 1_usize..3000, any::<bool>(), 0_u64..4), 1..40),
    ) {
        let name = if shared { "log" } else { "local" };
        let bench = bench(window);
        let mut reading = bench.reading(&format!("{name}@earliest")).unwrap();
        let (mut covered, mut forgotten, mut end, mut time) = (0, 0, 0, 0);
        for (appends, events, bytes, reconnect, forget) in steps {
            for _ in 0..appends {
                time += 1;
                end = bench.append(name, time) + 1;
            }
            if shared && forget == 0 {
                forgotten = (end / 2).max(forgotten);
                bench.engine.forget(name, forgotten);
            }
            if reconnect {
                let cursor = reading.next()[name].clone();
                let from = From { topic: name.to_owned(), position: Some(Position::Cursor(cursor)) };
                reading = now(Reading::find(&bench.tail, &[from])).unwrap();
            }
            for batch in bench.read(&mut reading, Budget { events, bytes }) {
                for gap in &batch.gaps {
                    prop_assert_eq!(gap.from_offset, covered);
                    prop_assert_eq!(gap.reason, GapReason::Retention);
                    covered += gap.count.unwrap();
                    prop_assert!(!shared || covered <= forgotten, "the engine still has it");
                }
                prop_assert!(batch.events.len() <= events);
                for offset in offsets(&batch) {
                    prop_assert_eq!(offset, covered);
                    covered += 1;
                }
                prop_assert!(covered == end || batch.more);
            }
        }
        while covered < end {
            let before = covered;
            for batch in bench.read(&mut reading, ALL) {
                covered += batch.gaps.iter().map(|gap| gap.count.unwrap()).sum::<u64>() + batch.events.len() as u64;
            }
            prop_assert!(covered > before);
        }
        prop_assert!(!reading.is_behind() && reading.history().is_none());
    }
}

#[test]
fn a_reader_of_a_state_that_fell_behind_gets_the_newest_and_is_told_how_many_were_superseded() {
    let bench = bench(500);
    let mut reading = bench.reading("state@earliest").unwrap();
    let last = (0..20).map(|now| bench.append("state", now)).last().unwrap();
    let batch = reading.read(ALL);
    assert_eq!(offsets(&batch), [last]);
    assert_eq!(
        (batch.gaps[0].count, batch.gaps[0].reason),
        (Some(last), GapReason::Superseded)
    );
}

#[test]
fn a_cursor_of_another_log_is_told_once_and_read_on_from_the_earliest() {
    let bench = bench(10_000);
    bench.append("log", 1);
    let foreign = Cursor::single(Epoch::new(1), 77);
    let mut reading = bench.reading(&format!("log@{foreign}")).unwrap();
    let batch = reading.read(ALL);
    assert_eq!(offsets(&batch), [0]);
    assert_eq!(batch.gaps.len(), 1);
    assert_eq!(
        (batch.gaps[0].from_offset, batch.gaps[0].count, batch.gaps[0].reason),
        (77, None, GapReason::Epoch)
    );
    assert!(reading.read(ALL).is_empty());
}

#[test]
fn a_log_that_becomes_another_one_under_a_reader_is_told_and_read_from_its_beginning() {
    let bench = bench(10_000);
    (0..3).for_each(|now| _ = bench.append("log", now));
    let mut reading = bench.reading("log@earliest").unwrap();
    assert_eq!(offsets(&reading.read(ALL)), [0, 1, 2]);
    bench.engine.begin_anew("log");
    assert!(reading.is_behind() && !reading.is_settled());
    bench.append("log", 9);
    let batch = reading.read(ALL);
    assert_eq!(
        (batch.gaps[0].from_offset, batch.gaps[0].count, batch.gaps[0].reason),
        (3, None, GapReason::Epoch)
    );
    assert_eq!(offsets(&batch), [0]);
    assert!(!reading.is_behind() && reading.is_settled());
}

#[test]
fn who_asks_before_the_engine_has_answered_gets_what_comes_then() {
    let bench = bench(10_000);
    let topic = bench.unopened("later");
    let mut reading = bench.reading("later@earliest").unwrap();
    assert!(!reading.is_behind() && reading.read(ALL).is_empty() && reading.next().is_empty());
    now(bench.tail.engine().open(spec("later"), topic)).unwrap();
    assert!(reading.is_behind());
    bench.append_shared("later", 1);
    let batch = reading.read(ALL);
    assert_eq!((offsets(&batch), batch.gaps.len()), (vec![0], 0));
}

#[test]
fn a_cursor_from_before_the_engine_has_answered_reads_again_rather_than_too_little() {
    let bench = bench(10_000);
    let topic = bench.unopened("later");
    let epoch = Epoch::new(7);
    let mut reading = bench.reading(&format!("later@{epoch}-5")).unwrap();
    topic.log(LogExtent {
        epoch,
        partitions: vec![Extent { first: 0, next: 3 }],
    });
    let batch = reading.read(ALL);
    assert_eq!((batch.gaps, &*reading.next()["later"].next), (vec![], &[3][..]));
}

#[test]
fn what_lies_beyond_an_end_is_left_out_of_what_was_read_with_the_reason_of_the_hole_before_it() {
    let stored = |offset, vacant| Stored {
        partition: 0,
        offset,
        ingested_us: 1,
        id_hash: 1,
        vacant,
        json: Bytes::from_static(b"{}"),
    };
    let chunk = |offsets: &[u64], next, vacant| Chunk {
        events: offsets
            .iter()
            .map(|&offset| stored(offset, Some(GapReason::Duplicate)))
            .collect(),
        next,
        vacant,
        first: 2,
    };
    let ends = |mut chunk: Chunk, end| {
        chunk.end_at(end);
        let offsets: Vec<u64> = chunk.events.iter().map(|event| event.offset).collect();
        (offsets, chunk.next, chunk.vacant, chunk.first)
    };
    let vacant = Some(GapReason::Vacant);
    let whole = || chunk(&[3, 4, 9], 12, vacant);
    assert_eq!(
        ends(whole(), 12),
        (vec![3, 4, 9], 12, vacant, 2),
        "all of it lies before"
    );
    assert_eq!(
        ends(whole(), 11),
        (vec![3, 4, 9], 11, vacant, 2),
        "a hole at the end is cut"
    );
    assert_eq!(
        ends(whole(), 10),
        (vec![3, 4, 9], 10, None, 2),
        "and gone where it begins"
    );
    assert_eq!(ends(whole(), 7), (vec![3, 4], 7, Some(GapReason::Duplicate), 2));
    assert_eq!(ends(whole(), 5), (vec![3, 4], 5, None, 2));
    assert_eq!(ends(whole(), 3), (vec![], 3, Some(GapReason::Duplicate), 2));
    assert_eq!(ends(chunk(&[], 12, vacant), 1), (vec![], 1, vacant, 1));
}

#[test]
fn offsets_without_an_event_are_told_with_their_reason_between_their_neighbours() {
    let bench = bench(500);
    let holes = [(3, Some(GapReason::Vacant)), (9, Some(GapReason::Lost)), (11, None)];
    for offset in 0..14 {
        match holes.iter().find(|hole| hole.0 == offset) {
            Some(&(_, reason)) => bench.engine.skip("log", 1, reason),
            None => _ = bench.append("log", offset as i64),
        }
    }
    for (from, expected) in [("log@earliest", &holes[..]), ("log@offset:0:9", &holes[1..])] {
        let (events, gaps) = bench.all(from);
        let told: Vec<_> = gaps
            .iter()
            .map(|gap| (gap.from_offset, gap.count, gap.reason))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(offset, reason)| (offset, Some(1), reason.unwrap_or(GapReason::Vacant)))
            .collect();
        assert_eq!(told, expected, "{from}");
        assert!(events.is_sorted() && events.last() == Some(&13), "{from}: {events:?}");
    }
}

#[test]
fn a_gap_in_one_of_several_topics_is_told_after_the_events_before_it() {
    let bench = bench(10_000);
    bench.append("local", 0);
    (1..3).for_each(|now| _ = bench.append("log", now));
    bench.engine.skip("log", 1, Some(GapReason::Lost));
    bench.append("log", 4);
    let froms: Vec<From> = ["local@earliest", "log@earliest"]
        .iter()
        .map(|from| from.parse().unwrap())
        .collect();
    let mut reading = now(Reading::find(&bench.tail, &froms)).unwrap();
    let before = reading.read(ALL);
    assert_eq!((offsets(&before), before.gaps.len()), (vec![0, 0, 1], 0));
    assert!(before.more);
    let after = reading.read(ALL);
    assert_eq!((offsets(&after), after.gaps[0].from_offset), (vec![3], 2));
    assert!(!after.more);
}

#[test]
fn an_event_that_the_engine_holds_twice_is_brought_once_by_the_window_and_by_history() {
    for window in [10_000, 300] {
        let bench = bench(window);
        for (offset, id) in [1, 2, 1, 3, 3, 4, 5, 5].into_iter().enumerate() {
            bench.append_with_id("log", offset as i64, id);
        }
        bench.append_with_id("log", 8, 6);
        let mut topic = bench.reading("log@earliest").unwrap();
        let _ = topic.read(ALL);
        let (events, gaps) = bench.all("log@earliest");
        assert_eq!(events, [0, 1, 3, 5, 6, 8], "window {window}");
        assert_eq!(gaps.iter().map(|gap| gap.from_offset).collect::<Vec<_>>(), [2, 4, 7]);
        assert!(gaps.iter().all(|gap| gap.reason == GapReason::Duplicate), "{gaps:?}");
        assert_eq!(
            bench.tail.describe(9).iter().map(|topic| topic.duplicates).sum::<u64>(),
            3
        );
    }
}

/// What a reader got, in its order: offsets of events, and from where to where nothing is, with the reason.
type Got = Vec<(u64, u64, Option<GapReason>)>;

/// Takes in what a read brought: gaps stand before the events that come after them.
fn take(got: &mut Got, batches: Vec<Batch>) -> bool {
    let any = batches.iter().any(|batch| !batch.is_empty());
    for batch in batches {
        for gap in &batch.gaps {
            let (from, to) = (gap.from_offset, gap.from_offset + gap.count.unwrap());
            // One hole may be told in two parts, where a read ended within it.
            match got.last_mut() {
                Some(last) if (last.1, last.2) == (from, Some(gap.reason)) => last.1 = to,
                _ => got.push((from, to, Some(gap.reason))),
            }
        }
        got.extend(offsets(&batch).into_iter().map(|offset| (offset, offset + 1, None)));
    }
    any
}

/// Reads to the end: as a stream does, which stands where it stands, or as polls do, each of which begins at a cursor.
fn to_the_end(bench: &Bench, from: u64, polls: bool, mut budget: impl FnMut() -> Budget) -> Got {
    let mut reading = bench.reading(&format!("log@offset:0:{from}")).unwrap();
    let mut got = Got::new();
    loop {
        let mut batches = bench.read(&mut reading, budget());
        if polls {
            // A page has room for one of the stretches that a read of history brings.
            batches.truncate(1);
            if let Some(end) = batches.first().and_then(|batch| {
                let gap = batch.gaps.iter().map(|gap| gap.from_offset + gap.count.unwrap());
                offsets(batch).into_iter().map(|offset| offset + 1).chain(gap).max()
            }) {
                reading = bench.reading(&format!("log@offset:0:{end}")).unwrap();
            }
        }
        if !take(&mut got, batches) {
            return got;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Which event is the second one does not depend on who reads, in which steps, and from where.
    #[test]
    fn a_poll_and_a_stream_are_told_of_the_same_duplicates(
        ids in prop::collection::vec(0_u64..30, 1..80), window in 200_usize..3000, from in 0_u64..80,
        budgets in prop::collection::vec((1_usize..9, 1_usize..2000), 1..10),
    ) {
        let bench = bench(window);
        for (offset, &id) in ids.iter().enumerate() {
            bench.append_with_id("log", offset as i64, id);
        }
        bench.append_with_id("log", 99, 0);
        let mut steps = budgets.iter().cycle().map(|&(events, bytes)| Budget { events, bytes });
        let mut step = || steps.next().unwrap();
        let stream = to_the_end(&bench, 0, false, &mut step);
        prop_assert_eq!(&to_the_end(&bench, 0, true, &mut step), &stream);
        for (offset, &id) in ids.iter().enumerate() {
            let is_second = id != 0 && ids[..offset].contains(&id);
            let told = stream.iter().find(|got| got.0 <= offset as u64 && (offset as u64) < got.1).unwrap();
            prop_assert_eq!(told.2, is_second.then_some(GapReason::Duplicate), "offset {}", offset);
        }
        // From the middle, whoever comes there first.
        let from = from.min(ids.len() as u64);
        let later = to_the_end(&bench, from, true, &mut step);
        let events = |got: &Got| got.iter().filter(|got| got.2.is_none() && got.0 >= from).copied().collect::<Got>();
        prop_assert_eq!(events(&later), events(&stream));
    }
}

#[test]
fn a_duplicate_is_told_within_the_width_and_not_beyond_it() {
    let bench = bench(300);
    for offset in 0..=REMEMBERED + 1 {
        let id = match offset {
            0 | REMEMBERED => 7,
            1 => 8,
            last if last == REMEMBERED + 1 => 9,
            _ => 0,
        };
        bench.append_with_id("log", offset as i64, id);
    }
    bench.append_with_id("log", 0, 8);
    bench.append_with_id("log", 0, 0);
    let end = REMEMBERED + 4;
    (0..20).for_each(|now| _ = bench.append("log", now));
    let got = to_the_end(&bench, REMEMBERED - 1, true, || Budget { events: 3, bytes: 1000 });
    let told: Vec<_> = got.iter().filter(|got| got.2.is_some()).collect();
    assert_eq!(told, [&(REMEMBERED, REMEMBERED + 1, Some(GapReason::Duplicate))]);
    assert_eq!(got.last().unwrap().1, end + 20);
}

#[test]
fn every_position_begins_where_it_says() {
    for window in [10_000, 1] {
        let bench = bench(window);
        (0..5).for_each(|now| _ = bench.append("log", now * 10));
        let first = |from: &str| bench.all(from).0.first().copied();
        assert_eq!(first("log"), Some(4), "the newest only");
        assert_eq!(first("log@earliest"), Some(0));
        assert_eq!(first("log@latest"), None);
        assert_eq!(first("log@offset:0:3"), Some(3));
        assert_eq!(first("log@offset:0:5"), None);
        assert_eq!(first("log@time:20"), Some(2));
        assert_eq!(first("log@time:21"), Some(3));
        assert_eq!(first("log@time:99"), None);
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let bench = bench(10_000);
    let why = |from: &str| bench.reading(from).unwrap_err();
    assert_eq!(why("nothing"), ReadError::UnknownTopic("nothing".to_owned()));
    assert!(matches!(
        why("log@offset:1:0"),
        ReadError::UnknownPartition {
            partition: 1,
            has: 1,
            ..
        }
    ));
    assert!(matches!(why("log@offset:0:1"), ReadError::BeyondEnd { next: 0, .. }));
    let epoch = bench.tail.topic("log").unwrap().epoch();
    assert!(matches!(
        why(&format!("log@{epoch}-9")),
        ReadError::BeyondEnd { offset: 9, .. }
    ));
    assert!(matches!(
        why(&format!("log@{epoch}-0-0")),
        ReadError::UnknownPartition { .. }
    ));
    let twice: Vec<From> = ["log", "log@latest"].iter().map(|from| from.parse().unwrap()).collect();
    assert!(matches!(
        now(Reading::find(&bench.tail, &twice)),
        Err(ReadError::Twice(_))
    ));
}

#[test]
fn no_reader_overtakes_the_tail_where_the_engine_has_told_of_less_than_it_has() {
    let bench = bench(1000);
    (0..10).for_each(|now| _ = bench.append("log", now));
    bench.engine.hold("log", true);
    (10..20).for_each(|now| _ = bench.append("log", now));
    let mut reading = bench.reading("log@earliest").unwrap();
    let mut got = Vec::new();
    let to_the_end = |reading: &mut Reading, got: &mut Vec<u64>| {
        loop {
            let before = got.len();
            for batch in bench.read(reading, ALL) {
                assert_eq!(batch.gaps, []);
                got.extend(offsets(&batch));
            }
            if got.len() == before {
                break;
            }
        }
    };
    to_the_end(&mut reading, &mut got);
    assert!(got.iter().copied().eq(0..10) && !reading.is_behind());
    assert_eq!(reading.next()["log"].next, [10]);
    bench.engine.hold("log", false);
    assert!(reading.is_behind());
    to_the_end(&mut reading, &mut got);
    assert!(got.iter().copied().eq(0..20));
}

#[test]
fn a_cursor_of_a_process_that_has_heard_of_more_is_waited_for() {
    let bench = bench(10_000);
    (0..3).for_each(|now| _ = bench.append("log", now));
    bench.engine.hold("log", true);
    (3..9).for_each(|now| _ = bench.append("log", now));
    let epoch = bench.tail.topic("log").unwrap().epoch();
    for from in [format!("log@{epoch}-7"), "log@offset:0:7".to_owned()] {
        let mut reading = bench.reading(&from).unwrap();
        let batch = reading.read(ALL);
        assert!(batch.is_empty() && !batch.more && !reading.is_behind());
        assert_eq!((reading.lag(), &*reading.next()["log"].next), ((0, 0), &[7][..]));
    }
    let mut reading = bench.reading(&format!("log@{epoch}-7")).unwrap();
    assert!(matches!(
        bench.reading(&format!("log@{epoch}-10")),
        Err(ReadError::BeyondEnd {
            offset: 10,
            next: 9,
            ..
        })
    ));
    bench.engine.hold("log", false);
    assert!(reading.is_behind());
    let batch = reading.read(ALL);
    assert_eq!((offsets(&batch), batch.gaps.len()), (vec![7, 8], 0));
}

#[test]
fn a_partition_that_is_ahead_hides_nothing_of_another_one() {
    let bench = bench(10_000);
    // The engine knows of one partition, with five events.
    now(bench
        .tail
        .engine()
        .open(spec("pair"), Arc::new(Topic::shared(&spec("pair"), true, 10_000))))
    .unwrap();
    (0..5).for_each(|now| _ = bench.append_shared("pair", now));
    let topic = bench.unopened("pair");
    let epoch = Epoch::new(7);
    topic.log(LogExtent {
        epoch,
        partitions: vec![Extent::default(); 2],
    });
    let mut reading = bench.reading(&format!("pair@{epoch}-3-0")).unwrap();
    assert!(reading.read(ALL).is_empty() && !reading.is_behind());
    topic.push(vec![Stored {
        partition: 1,
        offset: 0,
        ingested_us: 1,
        id_hash: 1,
        vacant: None,
        json: Bytes::from_static(b"{}"),
    }]);
    assert!(reading.is_behind());
    assert_eq!(reading.read(ALL).events.len(), 1);
    assert!(!reading.is_behind());
    assert_eq!(reading.next()["pair"].next, [3, 1]);
}

#[test]
fn a_busy_topic_does_not_starve_a_quiet_one() {
    let bench = bench(100_000);
    bench.append("state", 5);
    (0..100).for_each(|now| _ = bench.append("log", now));
    let froms: Vec<From> = ["log@earliest", "state@earliest"]
        .iter()
        .map(|from| from.parse().unwrap())
        .collect();
    let mut reading = now(Reading::find(&bench.tail, &froms)).unwrap();
    let batch = reading.read(Budget {
        events: 10,
        bytes: usize::MAX,
    });
    assert!(batch.events.iter().any(|json| json.starts_with(br#"{"topic":"state""#)));
    assert!(batch.more);
}

#[test]
fn an_old_time_that_reaches_into_what_was_dropped_is_told_as_a_gap() {
    let bench = bench(500);
    for topic in ["local", "log"] {
        (0..20).for_each(|now| _ = bench.append(topic, now));
    }
    bench.engine.forget("log", 10);
    for from in ["local@time:1", "log@time:1"] {
        let (_, gaps) = bench.all(from);
        assert_eq!((gaps[0].count, gaps[0].reason), (None, GapReason::Retention), "{from}");
        assert_eq!(gaps.len(), 1, "{from}");
    }
}

#[tokio::test]
async fn a_watch_wakes_for_what_came_before_it_and_for_each_of_its_topics() {
    let bench = bench(10_000);
    let mut watch = crate::tail::Watch::new(&bench.tail);
    watch.add(&bench.tail.topic("log").unwrap());
    watch.changed().await;
    bench.append("log", 1);
    watch.changed().await;
    drop(watch);
    assert!(bench.tail.describe(1).iter().all(|topic| topic.readers == 0));
}
