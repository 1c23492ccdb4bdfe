//! The page's report on itself: `window.__freshet(SECONDS)` gives JSON with what the page counted and measured. Browser tests hold
//! it against what the server counted; it shows nothing that the page does not.

use std::collections::BTreeMap;

use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;

use crate::lane::{Counters, GapMark, Lane, LaneId, RangeHash, Status};
use crate::latency::Summary;
use crate::model::{Handle, Model};

#[derive(Serialize)]
struct Report<'a> {
    now_us: f64,
    topics: &'a [String],
    interval_ms: u32,
    paused: bool,
    hidden: bool,
    solo: Option<LaneId>,
    cross_origin_isolated: bool,
    hello: Option<&'a freshet_wire::Hello>,
    problem: Option<&'a str>,
    clock: ClockReport,
    poll: LaneReport<'a>,
    stream: LaneReport<'a>,
}

#[derive(Serialize)]
struct ClockReport {
    offset_us: Option<f64>,
    bound_us: Option<f64>,
    resolution_us: f64,
    steps: u32,
}

#[derive(Serialize)]
struct LaneReport<'a> {
    reader: &'a str,
    status: &'a Status,
    since_us: f64,
    last_heard_us: Option<f64>,
    counters: Counters,
    /// Delivery latency over the last seconds.
    latency: Option<Summary>,
    /// Polling only.
    round_trip: Option<Summary>,
    history_seconds: usize,
    gaps: Vec<&'a GapMark>,
    ranges: BTreeMap<&'a str, Vec<RangeHash>>,
    newest: BTreeMap<&'a str, u64>,
}

/// Puts the function where tests and curious people find it.
pub(crate) fn expose(handle: Handle) {
    let report = Closure::<dyn Fn(Option<f64>) -> JsValue>::new(move |seconds: Option<f64>| {
        let since_us = handle.now_us() - seconds.unwrap_or(5.0) * 1e6;
        JsValue::from_str(&report(&handle, since_us))
    });
    let _ = js_sys::Reflect::set(&js_sys::global(), &"__freshet".into(), &report.into_js_value());
}

fn report(handle: &Handle, since_us: f64) -> String {
    let model = handle.model();
    let offset = model.offset();
    let Model {
        topics,
        interval_ms,
        paused,
        hidden,
        solo,
        cross_origin_isolated,
        ..
    } = &*model;
    let report = Report {
        now_us: handle.now_us(),
        topics,
        interval_ms: *interval_ms,
        paused: *paused,
        hidden: *hidden,
        solo: *solo,
        cross_origin_isolated: *cross_origin_isolated,
        hello: model.hello.as_ref(),
        problem: model.problem.as_deref(),
        clock: ClockReport {
            offset_us: offset.map(|offset| offset.offset_us),
            bound_us: offset.map(|offset| offset.bound_us),
            resolution_us: model.clock.resolution_us,
            steps: model.clock.steps,
        },
        poll: of_lane(&model.poll, since_us),
        stream: of_lane(&model.stream, since_us),
    };
    serde_json::to_string(&report).unwrap_or_default()
}

fn of_lane(lane: &Lane, since_us: f64) -> LaneReport<'_> {
    LaneReport {
        reader: &lane.reader,
        status: &lane.status,
        since_us: lane.since_us,
        last_heard_us: lane.last_heard_us,
        counters: lane.counters,
        latency: lane.summary(since_us),
        round_trip: lane.round_trip(since_us),
        history_seconds: lane.history.iter().count(),
        gaps: lane.gaps.iter().collect(),
        ranges: lane.ranges().collect(),
        newest: lane
            .ranges()
            .filter_map(|(topic, _)| Some((topic, lane.newest(topic)?.offset)))
            .collect(),
    }
}
