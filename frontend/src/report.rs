//! The page's report on itself: `window.__freshet(SECONDS)` gives an object with what the page counted, and measured over the last
//! seconds (5). Browser tests hold it against what the server counted; it tells nothing that the page does not show, but the
//! fingerprints of what came: `ranges`, a topic each, `[["EPOCH/PARTITION/FROM_OFFSET", HASH], …]` of whole ranges
//! ([`RangeHash`]), the same in two lanes that saw the same bytes. Built by hand: a serializer would weigh more than the rest.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;

use crate::feed::{Feed, Pause};
use crate::lane::{Counters, GapMark, Lane, LaneId, RangeHash, Status};
use crate::latency::Summary;
use crate::model::{Handle, Model};
use crate::object;

/// Puts the function where tests and curious people find it.
pub(crate) fn expose(handle: Handle) {
    let report = Closure::<dyn Fn(Option<f64>) -> JsValue>::new(move |seconds: Option<f64>| {
        let now_us = handle.now_us();
        let since_us = now_us - seconds.unwrap_or(5.0) * 1e6;
        of_model(&handle.model(), &handle.feed(), now_us, since_us)
    });
    let _ = Reflect::set(&js_sys::global(), &"__freshet".into(), &report.into_js_value());
}

fn of_model(model: &Model, feed: &Feed, now_us: f64, since_us: f64) -> JsValue {
    let offset = model.offset();
    let clock = object(&[
        ("offset_us", or_null(offset.map(|it| it.offset_us))),
        ("bound_us", or_null(offset.map(|it| it.bound_us))),
        ("resolution_us", model.clock.resolution_us.into()),
        ("steps", model.clock.steps.into()),
    ]);
    let hello = match &model.hello {
        Some(hello) => object(&[
            ("version", (&hello.version).into()),
            ("node", (&hello.node).into()),
            ("host", (&hello.host).into()),
            ("proxied", hello.proxied.into()),
        ]),
        None => JsValue::NULL,
    };
    object(&[
        ("now_us", now_us.into()),
        ("topics", list(model.topics.iter().map(JsValue::from))),
        ("interval_ms", model.interval_ms.into()),
        ("paused", model.paused.into()),
        ("hidden", model.hidden.into()),
        (
            "solo",
            or_null(
                model
                    .solo
                    .map(|solo| if solo == LaneId::Poll { "poll" } else { "stream" }),
            ),
        ),
        ("cross_origin_isolated", model.cross_origin_isolated.into()),
        ("problem", or_null(model.problem.as_ref())),
        ("clock", clock),
        ("hello", hello),
        ("poll", of_lane(&model.poll, since_us)),
        ("stream", of_lane(&model.stream, since_us)),
        ("feed", of_feed(feed)),
    ])
}

fn of_feed(feed: &Feed) -> JsValue {
    let pause = feed.pause.map(|pause| match pause {
        Pause::Wanted => "wanted",
        Pause::Full => "full",
    });
    let counts = [
        ("events", feed.counters.events),
        ("duplicates", feed.counters.duplicates),
        ("missed", feed.counters.missed),
        ("unknown_gaps", feed.counters.unknown_gaps),
        ("unexplained", feed.counters.unexplained),
        ("rows", feed.rows.len() as u64),
        ("bytes", feed.rows.bytes() as u64),
        ("shown", feed.rows.shown() as u64),
        ("let_go", feed.rows.let_go),
        ("cut_bytes", feed.rows.cut_bytes),
    ];
    object(&[
        ("topic", or_null(feed.topic.as_ref())),
        ("status", of_status(&feed.status)),
        ("pause", or_null(pause)),
        ("held", feed.held.into()),
        (
            "counters",
            object(&counts.map(|(name, count)| (name, (count as f64).into()))),
        ),
    ])
}

fn of_lane(lane: &Lane, since_us: f64) -> JsValue {
    object(&[
        ("reader", (&lane.reader).into()),
        ("status", of_status(&lane.status)),
        ("since_us", lane.since_us.into()),
        ("last_heard_us", or_null(lane.last_heard_us)),
        ("counters", of_counters(&lane.counters)),
        ("latency", of_summary(lane.summary(since_us))),
        ("round_trip", of_summary(lane.round_trip(since_us))),
        ("history_seconds", (lane.history.iter().count() as u32).into()),
        ("gaps", list(lane.gaps.iter().map(of_gap))),
        ("ranges", of_ranges(lane)),
    ])
}

fn of_status(status: &Status) -> JsValue {
    let (is, why, retry_at_us) = match status {
        Status::Connecting => ("connecting", None, None),
        Status::Live => ("live", None, None),
        Status::Reconnecting { why, retry_at_us, .. } => ("reconnecting", Some(why), Some(*retry_at_us)),
        Status::Refused { why, retry_at_us } => ("refused", Some(why), Some(*retry_at_us)),
        Status::Limited { why, retry_at_us } => ("limited", Some(why), Some(*retry_at_us)),
        Status::Off => ("off", None, None),
    };
    object(&[
        ("is", is.into()),
        ("why", or_null(why)),
        ("retry_at_us", or_null(retry_at_us)),
    ])
}

fn of_counters(counters: &Counters) -> JsValue {
    // A JavaScript number is exact up to 2^53.
    let counts = [
        ("events", counters.events),
        ("card_events", counters.card_events),
        ("missed", counters.missed),
        ("unknown_gaps", counters.unknown_gaps),
        ("duplicates", counters.duplicates),
        ("told_duplicates", counters.told_duplicates),
        ("fenced", counters.fenced),
        ("vacant", counters.vacant),
        ("superseded", counters.superseded),
        ("unexplained", counters.unexplained),
        ("hidden", counters.hidden),
        ("requests", counters.requests),
        ("empty", counters.empty),
        ("not_modified", counters.not_modified),
        ("frames", counters.frames),
        ("bytes_decoded", counters.bytes_decoded),
        ("errors", counters.errors),
        ("limited", counters.limited),
    ];
    object(&counts.map(|(name, count)| (name, (count as f64).into())))
}

fn of_summary(summary: Option<Summary>) -> JsValue {
    let Some(summary) = summary else {
        return JsValue::NULL;
    };
    object(&[
        ("count", (summary.count as f64).into()),
        ("mean_us", summary.mean_us.into()),
        ("p5_us", summary.p5_us.into()),
        ("p50_us", summary.p50_us.into()),
        ("p99_us", summary.p99_us.into()),
        ("worst_us", summary.worst_us.into()),
    ])
}

fn of_gap(gap: &GapMark) -> JsValue {
    object(&[
        ("topic", (&gap.topic).into()),
        ("from_offset", (gap.from_offset as f64).into()),
        ("count", or_null(gap.count.map(|count| count as f64))),
        ("reason", or_null(gap.reason.map(|reason| reason.to_string()))),
        ("at_us", gap.at_us.into()),
    ])
}

fn of_ranges(lane: &Lane) -> JsValue {
    let topics = Object::new();
    for (topic, ranges) in lane.ranges() {
        // Pairs: what names a range is data, not a property of its own.
        let hashes = list(ranges.filter(|range| range.is_whole()).map(|range| {
            let RangeHash {
                epoch,
                partition,
                from_offset,
                ..
            } = range;
            let name = format!("{epoch}/{partition}/{from_offset}");
            // As text: a JavaScript number does not hold 64 bits.
            let hash = format!("{:016x}", range.hash);
            list([name, hash].into_iter().map(JsValue::from))
        }));
        object::set(&topics, topic, &hashes);
    }
    topics.into()
}

fn object(fields: &[(&str, JsValue)]) -> JsValue {
    object::object(fields).into()
}

fn list(values: impl Iterator<Item = JsValue>) -> JsValue {
    let list = Array::new();
    for value in values {
        list.push(&value);
    }
    list.into()
}

fn or_null(value: Option<impl Into<JsValue>>) -> JsValue {
    value.map_or(JsValue::NULL, Into::into)
}
