//! What the page knows: plain data that the lanes write and the view reads. No Leptos in it.

use std::cell::{Ref, RefCell};
use std::pin::Pin;
use std::rc::Rc;

use freshet_wire::Hello;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::spawn_local;
use web_sys::VisibilityState;

use crate::choice::{Choice, clamp_interval_ms};
use crate::clock::{Clock, Offset, Outcome, PageClock, Probe};
use crate::feed::{self, Feed};
use crate::lane::{self, Batch, Connections, Lane, LaneId, Receipt, Status};
use crate::wait::{Wake, after};
use crate::{api, report};

/// State topics that feed cards: both lanes always carry them; they never count in the race.
pub const CARD_TOPICS: [&str; 4] = ["settings", "deliveries", "cluster", "limits"];

/// Between two clock probes.
pub(crate) const PROBE_EVERY_US: f64 = 2_000_000.0;

#[derive(Debug)]
pub struct Model {
    pub poll: Lane,
    pub stream: Lane,
    /// The topics of the race that are chosen now.
    pub topics: Vec<String>,
    pub interval_ms: u32,
    /// What the reader chose of it.
    pub(crate) chosen_interval_ms: Option<u32>,
    /// The picture stands still; the lanes go on, so that nothing is missed and the figures stay true.
    pub paused: bool,
    /// The tab cannot be seen.
    pub hidden: bool,
    pub solo: Option<LaneId>,
    /// How the server introduced itself, last.
    pub hello: Option<Hello>,
    /// What the server refused last on a connection that goes on, in words for people.
    pub problem: Option<String>,
    /// The page's clock is fine (5 µs) only if so.
    pub cross_origin_isolated: bool,
    pub(crate) page_clock: PageClock,
    pub(crate) clock: Clock,
}

impl Model {
    pub fn lane(&self, id: LaneId) -> &Lane {
        match id {
            LaneId::Poll => &self.poll,
            LaneId::Stream => &self.stream,
        }
    }

    /// How the page's clock differs from the server's; `None` before the first probe was answered.
    pub fn offset(&self) -> Option<Offset> {
        self.clock.offset(self.page_clock.now_us())
    }

    pub(crate) fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        match id {
            LaneId::Poll => &mut self.poll,
            LaneId::Stream => &mut self.stream,
        }
    }

    pub(crate) fn is_off(&self, id: LaneId) -> bool {
        self.solo.is_some_and(|solo| solo != id)
    }

    fn choice(&self) -> Choice {
        Choice {
            topics: self.topics.clone(),
            interval_ms: self.chosen_interval_ms,
        }
    }
}

/// Until the service has said otherwise.
const DEFAULT_INTERVAL_MS: u32 = 1000;

/// The page's handle on its model. In Leptos closures, keep it in `StoredValue::new_local`.
#[derive(Debug, Clone)]
pub struct Handle(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    model: RefCell<Model>,
    page_clock: PageClock,
    connections: Connections,
    poll: Wake,
    stream: Wake,
    /// Of its own, as it changes while the model is looked at.
    feed: RefCell<Feed>,
    feed_wake: Wake,
}

impl Handle {
    /// Makes the model with what is remembered (URL fragment, local storage) and starts both lanes.
    pub fn start() -> Self {
        let Some(page_clock) = PageClock::new() else {
            wasm_bindgen::throw_str("no window")
        };
        let Some(connections) = Connections::start() else {
            wasm_bindgen::throw_str("no worker")
        };
        let Choice { topics, interval_ms } = Choice::recall();
        let name = random_name();
        let mut model = Model {
            poll: Lane::new(LaneId::Poll, name.clone() + "-poll"),
            stream: Lane::new(LaneId::Stream, name + "-stream"),
            topics,
            interval_ms: interval_ms.unwrap_or(DEFAULT_INTERVAL_MS),
            chosen_interval_ms: interval_ms,
            paused: false,
            hidden: is_hidden(),
            solo: None,
            hello: None,
            problem: None,
            cross_origin_isolated: is_cross_origin_isolated(),
            clock: Clock::new(page_clock.resolution_us()),
            page_clock: page_clock.clone(),
        };
        for lane in [&mut model.poll, &mut model.stream] {
            lane.follow(&model.topics, &CARD_TOPICS);
            lane.since_us = page_clock.now_us();
        }
        let (poll, stream) = (Wake::default(), Wake::default());
        let handle = Self(Rc::new(Inner {
            model: RefCell::new(model),
            page_clock,
            connections,
            poll,
            stream,
            feed: RefCell::new(Feed::new()),
            feed_wake: Wake::default(),
        }));
        handle.watch_visibility();
        report::expose(handle.clone());
        // Boxed: the code that starts a task is made once, not for each.
        let tasks: [Pin<Box<dyn Future<Output = ()>>>; 4] = [
            Box::pin(lane::poll::run(handle.clone())),
            Box::pin(lane::stream::run(handle.clone())),
            Box::pin(handle.clone().watch_clock()),
            Box::pin(feed::run(handle.clone())),
        ];
        tasks.into_iter().for_each(spawn_local);
        handle
    }

    /// To be read and let go within one animation frame or event handler.
    pub fn model(&self) -> Ref<'_, Model> {
        self.0.model.borrow()
    }

    /// What the Topics view reads; as with [`Handle::model`].
    pub fn feed(&self) -> Ref<'_, Feed> {
        self.0.feed.borrow()
    }

    /// Changes what the feed reads, or whether it reads.
    pub fn tell_feed(&self, change: impl FnOnce(&mut Feed)) {
        self.update_feed(change);
        self.0.feed_wake.call();
    }

    /// The same, but only if it is so: who asks on every frame wakes nobody for nothing.
    pub fn tell_feed_if(&self, is_so: impl FnOnce(&Feed) -> bool, change: impl FnOnce(&mut Feed)) {
        if is_so(&self.0.feed.borrow()) {
            self.tell_feed(change);
        }
    }

    /// Changes what of the feed is shown, if it is so.
    pub fn update_feed_if(&self, is_so: impl FnOnce(&Feed) -> bool, change: impl FnOnce(&mut Feed)) {
        if is_so(&self.0.feed.borrow()) {
            self.update_feed(change);
        }
    }

    /// Asks again at once for what was refused.
    pub fn retry_feed(&self) {
        let refused = |feed: &Feed| matches!(feed.status, Status::Refused { .. });
        self.tell_feed_if(refused, Feed::ask_again);
    }

    pub(crate) fn update_feed(&self, change: impl FnOnce(&mut Feed)) {
        change(&mut self.0.feed.borrow_mut());
    }

    pub(crate) fn feed_wake(&self) -> &Wake {
        &self.0.feed_wake
    }

    /// Page time on the server's clock, in microseconds since the Unix epoch (the page's own before the first probe).
    pub fn now_us(&self) -> f64 {
        self.server_us(self.page_us())
    }

    /// Chooses the topics of the race. Remembered.
    pub fn set_topics(&self, topics: Vec<String>) {
        self.update(|model| {
            model.topics = topics;
            model.problem = None;
            model.poll.follow(&model.topics, &CARD_TOPICS);
            model.stream.follow(&model.topics, &CARD_TOPICS);
            model.choice().remember();
        });
        self.0.poll.call();
        self.0.stream.call();
    }

    /// From one response to the next request; brought into [`crate::choice::INTERVAL_MS`]; takes effect at once. Remembered.
    pub fn set_interval_ms(&self, interval_ms: u32) {
        self.update(|model| {
            model.interval_ms = clamp_interval_ms(interval_ms);
            model.chosen_interval_ms = Some(model.interval_ms);
            model.choice().remember();
        });
        self.0.poll.call();
    }

    /// The same, said by the service; it holds as long as the reader has not chosen.
    pub fn set_default_interval_ms(&self, interval_ms: u32) {
        let interval_ms = clamp_interval_ms(interval_ms);
        let is_news = self.update(|model| {
            let is_news = model.chosen_interval_ms.is_none() && model.interval_ms != interval_ms;
            if is_news {
                model.interval_ms = interval_ms;
            }
            is_news
        });
        if is_news {
            self.0.poll.call();
        }
    }

    /// Stops the picture; the lanes go on.
    pub fn set_paused(&self, paused: bool) {
        self.update(|model| model.paused = paused);
    }

    /// Runs one lane alone, or both (`None`). A lane that comes back begins anew, with the newest events.
    pub fn set_solo(&self, solo: Option<LaneId>) {
        let now_us = self.now_us();
        self.update(|model| {
            let was_off = [LaneId::Poll, LaneId::Stream].map(|id| (id, model.is_off(id)));
            model.solo = solo;
            for (id, was_off) in was_off {
                let is_off = model.is_off(id);
                let lane = model.lane_mut(id);
                if is_off && !was_off {
                    lane.set_status(Status::Off, now_us);
                } else if was_off && !is_off {
                    lane.forget_positions();
                    lane.set_status(Status::Connecting, now_us);
                }
            }
        });
        self.0.poll.call();
        self.0.stream.call();
    }

    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        change(&mut self.0.model.borrow_mut())
    }

    /// What a lane waits for besides time.
    pub(crate) fn wake(&self, id: LaneId) -> &Wake {
        match id {
            LaneId::Poll => &self.0.poll,
            LaneId::Stream => &self.0.stream,
        }
    }

    /// The lanes' way to the network.
    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// The page's own clock.
    pub(crate) fn page_us(&self) -> f64 {
        self.0.page_clock.now_us()
    }

    /// A moment of the page's clock on the server's.
    pub(crate) fn server_us(&self, page_us: f64) -> f64 {
        page_us + self.model().offset().map_or(0.0, |offset| offset.offset_us)
    }

    /// Gives a batch to its lane; received at that moment of the page's clock.
    pub(crate) fn ingest(&self, id: LaneId, batch: Batch<'_>, received_page_us: f64) {
        let received_us = self.server_us(received_page_us);
        let applied_us = self.now_us();
        self.update(|model| {
            let Model {
                poll,
                stream,
                hello,
                hidden,
                ..
            } = model;
            let lane = if id == LaneId::Poll { poll } else { stream };
            let host = hello.as_ref().map(|hello| hello.host.as_str());
            lane.ingest(
                batch,
                Receipt {
                    received_us,
                    applied_us,
                    hidden: *hidden,
                    host,
                },
            );
        });
    }

    /// Takes in what a clock probe told.
    pub(crate) fn observe(&self, probe: Probe) {
        self.update(|model| {
            if let Outcome::Stepped(by_us) = model.clock.observe(probe) {
                model.poll.clock_stepped(by_us);
                model.stream.clock_stepped(by_us);
            }
        });
    }

    /// One clock probe over HTTP.
    pub(crate) async fn probe(&self) -> Result<(), api::Failure> {
        let t0_us = self.page_us();
        let answer = api::clock().await?;
        let t3_us = self.page_us();
        self.observe(Probe {
            t0_us,
            t1_us: answer.t1_us as f64,
            t2_us: answer.t2_us as f64,
            t3_us,
        });
        Ok(())
    }

    /// Probes over HTTP for as long as the stream, which probes on its own, is not there.
    async fn watch_clock(self) {
        loop {
            after(PROBE_EVERY_US).await;
            if self.model().stream.status != Status::Live && self.model().offset().is_some() {
                // A failure here is one of the polling lane as well, which says so.
                let _ = self.probe().await;
            }
        }
    }

    fn watch_visibility(&self) {
        let handle = self.clone();
        let changed = Closure::<dyn Fn()>::new(move || {
            handle.update(|model| {
                model.hidden = is_hidden();
                model.poll.set_hidden();
                model.stream.set_hidden();
            });
            // Their timers may have been held up.
            handle.0.poll.call();
            handle.0.stream.call();
        });
        if let Some(document) = web_sys::window().and_then(|window| window.document()) {
            let _ = document.add_event_listener_with_callback("visibilitychange", changed.as_ref().unchecked_ref());
        }
        changed.forget(); // lives as long as the page
    }
}

fn is_hidden() -> bool {
    let document = web_sys::window().and_then(|window| window.document());
    document.is_some_and(|document| document.visibility_state() == VisibilityState::Hidden)
}

fn is_cross_origin_isolated() -> bool {
    js_sys::Reflect::get(&js_sys::global(), &"crossOriginIsolated".into()).is_ok_and(|value| value.is_truthy())
}

/// Eight hexadecimal digits: enough to find one's own figures among a server's readers.
fn random_name() -> String {
    let mut name = String::with_capacity(8);
    for _ in 0..8 {
        let digit = (js_sys::Math::random() * 16.0) as u32;
        name.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    name
}
