use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Do {
    Put { sizes: Vec<usize>, key: Option<u8> },
    Sync,
    Refuse { room: u64, size: usize },
    FailSync { times: usize, size: usize },
    Restart { in_order: bool, power: bool },
    Read { from: f64, events: usize, bytes: usize },
    Damage { at: f64 },
}

fn doing() -> impl Strategy<Value = Do> {
    let put = (prop::collection::vec(0_usize..400, 1..5), prop::option::of(0_u8..20));
    prop_oneof![
        10 => put.prop_map(|(sizes, key)| Do::Put { sizes, key }),
        2 => Just(Do::Sync),
        2 => (0_u64..600, 0_usize..400).prop_map(|(room, size)| Do::Refuse { room, size }),
        1 => (1_usize..4, 0_usize..400).prop_map(|(times, size)| Do::FailSync { times, size }),
        2 => (any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(in_order, power)| Do::Restart { in_order, power }),
        5 => (0.0..1.1, 1_usize..20, 1_usize..4000).prop_map(|(from, events, bytes)| Do::Read { from, events, bytes }),
        1 => (0.0..1.0).prop_map(|at| Do::Damage { at }),
    ]
}

/// What is known of each offset that was given out.
#[derive(Debug, Default)]
struct Model {
    events: std::collections::BTreeMap<u64, String>,
    next: u64,
    keys: std::collections::HashMap<u8, (u64, Vec<String>)>,
    /// Damage may have taken these; all others must be there.
    damaged: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_log_is_what_a_list_would_be(steps in prop::collection::vec(doing(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(follow(steps));
    }
}

async fn follow(steps: Vec<Do>) {
    let mut bench = Bench::new(|options| options.segment_bytes = Some(2000)).await;
    let mut model = Model::default();
    let mut boots = 1;
    for (number, step) in steps.into_iter().enumerate() {
        bench.clock.fetch_add(3, SeqCst);
        match step {
            Do::Put { sizes, key } => {
                let text = |(index, size)| format!("{number}/{index}/{}", "x".repeat(size));
                let texts: Vec<String> = sizes.into_iter().enumerate().map(text).collect();
                let known = key.and_then(|key| model.keys.get(&key));
                let texts = known.map_or(texts, |(_, texts)| texts.clone());
                let first = known.map_or(model.next, |(first, _)| *first);
                let records = texts.iter().map(|text| record(text)).collect();
                let receipts = bench.put(records, key.map(|key| key.to_string()).as_deref()).unwrap();
                assert!(
                    receipts
                        .iter()
                        .map(|receipt| receipt.offset)
                        .eq((first..).take(texts.len()))
                );
                assert!(receipts.iter().all(|receipt| receipt.duplicate == known.is_some()));
                if known.is_none() {
                    model.next += texts.len() as u64;
                    model.events.extend((first..).zip(texts.clone()));
                }
                if let Some(key) = key {
                    model.keys.insert(key, (first, texts));
                }
            }
            Do::Sync => bench.log.topic(TOPIC).unwrap().sync(),
            Do::Refuse { room, size } => {
                *bench.medium.room.lock() = Some(room);
                if bench.put(vec![record(&"r".repeat(size))], None).is_ok() {
                    model.events.insert(model.next, "r".repeat(size));
                    model.next += 1;
                }
                *bench.medium.room.lock() = None;
            }
            Do::FailSync { times, size } => {
                let offset = bench.put_one(&"f".repeat(size));
                assert_eq!(offset, model.next);
                model.events.insert(offset, "f".repeat(size));
                model.next += 1;
                bench.medium.failing_syncs.store(times, SeqCst);
                let topic = bench.log.topic(TOPIC).unwrap();
                (0..=times).for_each(|_| topic.sync());
                assert!(topic.append.lock().doubt.is_none());
            }
            Do::Restart { in_order, power } => {
                if power {
                    boots += 1;
                    bench.boot = format!("boot-{boots}");
                }
                bench.restart(in_order, |_| {}).await;
                let (_, next) = bench.extent();
                let skipped = next - model.next;
                assert!(
                    skipped == 0 || power && !in_order && skipped == POWER_FAILURE_SKIP,
                    "{skipped}"
                );
                model.next = next;
            }
            Do::Damage { at } => {
                // Only sealed segments: how a damaged end is recovered is shown elsewhere, bit by bit.
                let segments = bench.segments();
                if let Some((_, sealed)) = segments.split_last()
                    && let Some(path) = sealed.first()
                    && model.keys.is_empty()
                {
                    let mut bytes = fs::read(path).unwrap();
                    let at = (at * bytes.len() as f64) as usize;
                    bytes[at] ^= 0x10;
                    fs::write(path, bytes).unwrap();
                    model.damaged = true;
                }
            }
            Do::Read { from, events, bytes } => {
                let from = (from * (model.events.len() + 1) as f64) as usize;
                let from = model.events.keys().nth(from).copied().unwrap_or(model.next);
                let chunk = bench.log.read(TOPIC, 0, from, Budget { events, bytes }).await.unwrap();
                assert!(chunk.events.len() <= events);
                check(&model, from, &chunk.events, chunk.next);
            }
        }
    }
    let (mut next, mut all) = (0, Vec::new());
    while next < model.next {
        let chunk = bench.log.read(TOPIC, 0, next, ALL).await.unwrap();
        check(&model, next, &chunk.events, chunk.next);
        assert!(chunk.next > next);
        next = chunk.next;
        all.extend(chunk.events);
    }
    // What the sink was given is what is read.
    for pushed in bench.taker.events.lock().iter() {
        let read = all.iter().find(|read| read.offset == pushed.offset);
        assert!(model.damaged || read.is_some_and(|read| read.json == pushed.json));
    }
}

fn check(model: &Model, from: u64, events: &[Stored], next: u64) {
    let expected: Vec<(u64, String)> = model
        .events
        .range(from..next)
        .map(|(offset, text)| (*offset, text.clone()))
        .collect();
    let read: Vec<(u64, String)> = events.iter().map(|event| (event.offset, data(event))).collect();
    if model.damaged {
        assert!(read.iter().all(|event| expected.contains(event)));
        // One bit is one record.
        assert!(read.is_sorted());
    } else {
        assert_eq!(read, expected);
    }
}
