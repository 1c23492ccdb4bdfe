//! The streaming lane: a WebSocket that is opened again, resumes where it was, and notices when nothing comes any more.
//!
//! The server's own heartbeats are WebSocket pings, which a page cannot see: it is the answers to the clock probes that show it alive.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use freshet_wire::{ClientMessage, Pong, ServerMessage};

use crate::api;
use crate::clock::Probe;
use crate::model::{Handle, PROBE_EVERY_US};
use crate::wait::{after, sleep};

use super::connections::{Came, Socket};
use super::retry::{Backoff, Watchdog};
use super::subscriptions::Subscriptions;
use super::{Batch, LaneId, Status};

/// Until `hello`, which then says how long silence may last.
const CONNECT_US: f64 = 10_000_000.0;

/// A connection that was live for so long was a good one: its loss is a new trouble.
const GOOD_US: f64 = 5_000_000.0;

/// The watchdog looks this often.
const TICK_US: f64 = 1_000_000.0;

/// Clock probes one after the other at the start, each sent when the one before is answered.
const PROBE_BURST: u32 = 8;

/// Why a connection ended.
enum End {
    /// Wanted: the other lane runs solo.
    Off,
    Lost(String),
    /// The server closed it because of what this page said; the same again would not go better.
    Refused(String),
}

/// Runs for as long as the page lives.
pub(crate) async fn run(page: Handle) {
    let wake = page.wake(LaneId::Stream);
    let mut backoff = Backoff::default();
    loop {
        if page.model().is_off(LaneId::Stream) {
            wake.wait().await;
            continue;
        }
        let followed = page.model().stream.followed;
        page.update(|model| model.stream.counters.requests += 1);
        // Of its own: a borrow in the match would be held as long as the connection.
        let url = api::stream_url(&page.model().stream.reader);
        let end = match url {
            Some(url) => {
                let mut connection = Connection::new(&page, page.connections().open(&url));
                let end = connection.run().await;
                if connection.live_us() > GOOD_US {
                    backoff.reset();
                }
                end
            }
            None => End::Lost("this page has no address".to_owned()),
        };
        let now_us = page.page_us();
        let (why, refused) = match end {
            End::Off => {
                backoff.reset();
                continue;
            }
            End::Lost(why) => (why, false),
            End::Refused(why) => (why, true),
        };
        let retry_at_us = now_us
            + if refused {
                Backoff::CAP_US
            } else {
                backoff.next_us(js_sys::Math::random())
            };
        let (attempt, at_us) = (backoff.attempt(), page.server_us(retry_at_us));
        let server_now_us = page.now_us();
        page.update(|model| {
            model.stream.counters.errors += 1;
            let status = match refused {
                true => Status::Refused {
                    why,
                    retry_at_us: at_us,
                },
                false => Status::Reconnecting {
                    why,
                    retry_at_us: at_us,
                    attempt,
                },
            };
            model.stream.set_status(status, server_now_us);
        });
        loop {
            let wait_us = retry_at_us - page.page_us();
            let changed = page.model().stream.followed != followed;
            if wait_us <= 0.0 || page.model().is_off(LaneId::Stream) || (refused && changed) {
                break;
            }
            sleep(wait_us, wake).await;
        }
    }
}

struct Connection<'a> {
    page: &'a Handle,
    socket: Socket<'a>,
    watchdog: Watchdog,
    /// When `hello` came.
    greeted_us: Option<f64>,
    probes: u32,
    probed_us: f64,
    subscriptions: Subscriptions,
    followed: Option<u32>,
    /// Said by the server just before it closes.
    last_words: Option<String>,
}

enum Turn {
    Came(Came),
    Called,
    Tick,
}

impl<'a> Connection<'a> {
    fn new(page: &'a Handle, socket: Socket<'a>) -> Self {
        let now_us = page.page_us();
        Self {
            page,
            socket,
            watchdog: Watchdog::new(now_us, CONNECT_US),
            greeted_us: None,
            probes: 0,
            probed_us: now_us,
            subscriptions: Subscriptions::default(),
            followed: None,
            last_words: None,
        }
    }

    fn live_us(&self) -> f64 {
        self.greeted_us
            .map_or(0.0, |greeted_us| self.page.page_us() - greeted_us)
    }

    /// Until the connection ends. Dropping it closes the socket.
    async fn run(&mut self) -> End {
        let mut tick = after(TICK_US);
        loop {
            let turn = poll_fn(|cx| {
                if let Poll::Ready(came) = self.socket.poll(cx) {
                    return Poll::Ready(Turn::Came(came));
                }
                if self.page.wake(LaneId::Stream).poll(cx).is_ready() {
                    return Poll::Ready(Turn::Called);
                }
                Pin::new(&mut tick).poll(cx).map(|()| Turn::Tick)
            })
            .await;
            let done = match turn {
                Turn::Came(Came::Text { text, received_us }) => self.came(&text, received_us),
                Turn::Came(Came::Closed { code, reason }) => Err(self.ended(code, &reason)),
                Turn::Called if self.page.model().is_off(LaneId::Stream) => Err(End::Off),
                Turn::Called => self.subscribe(),
                Turn::Tick => {
                    tick = after(TICK_US);
                    self.tick(self.page.page_us())
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn came(&mut self, text: &str, received_page_us: f64) -> Result<(), End> {
        self.watchdog.heard(received_page_us);
        self.page.update(|model| {
            model.stream.counters.frames += 1;
            model.stream.counters.bytes_decoded += text.len() as u64;
        });
        let result = if text.starts_with(r#"{"type":"events","#) {
            self.events(text, received_page_us)
        } else {
            match ServerMessage::parse(text).map_err(|_| unreadable())? {
                Some(ServerMessage::Events(_)) => self.events(text, received_page_us),
                Some(ServerMessage::Hello(hello)) => {
                    self.watchdog
                        .set_limit_us(2000.0 * f64::from(hello.limits.heartbeat_ms));
                    self.greeted_us = Some(received_page_us);
                    let now_us = self.page.now_us();
                    self.page.update(|model| {
                        model.hello = Some(hello);
                        model.problem = None; // what still is one will be said again
                        model.stream.set_status(Status::Live, now_us);
                    });
                    self.subscribe()?;
                    self.probe()
                }
                Some(ServerMessage::Pong(pong)) => self.pong(pong, received_page_us),
                Some(ServerMessage::Gap(gap)) => {
                    let received_us = self.page.server_us(received_page_us);
                    self.page.update(|model| model.stream.told(&gap, received_us));
                    Ok(())
                }
                Some(ServerMessage::Problem(problem)) => {
                    let words = api::in_words(&problem.problem);
                    if problem.closing {
                        self.last_words = Some(words);
                    } else {
                        self.page.update(|model| model.problem = Some(words));
                    }
                    Ok(())
                }
                // The page publishes by HTTP, so nothing here waits for an answer; and a later version's message is passed over.
                Some(ServerMessage::Published(_)) | None => Ok(()),
            }
        };
        let received_us = self.page.server_us(received_page_us);
        self.page.update(|model| model.stream.heard(received_us, model.hidden));
        result
    }

    fn events(&mut self, text: &str, received_page_us: f64) -> Result<(), End> {
        let batch = Batch::parse(text).map_err(|_| unreadable())?;
        self.subscriptions.confirm(batch.next.keys());
        self.page.ingest(LaneId::Stream, batch, received_page_us);
        Ok(())
    }

    fn pong(&mut self, pong: Pong, received_page_us: f64) -> Result<(), End> {
        self.page.observe(Probe {
            t0_us: pong.t0_us as f64,
            t1_us: pong.t1_us as f64,
            t2_us: pong.t2_us as f64,
            t3_us: received_page_us,
        });
        self.subscribe()?; // it may have waited for the clock
        if self.probes < PROBE_BURST {
            self.probe()
        } else {
            Ok(())
        }
    }

    fn tick(&mut self, now_us: f64) -> Result<(), End> {
        if self.watchdog.is_stalled(now_us) {
            return Err(End::Lost(
                if self.greeted_us.is_some() {
                    "stalled: nothing came, not even a sign of life"
                } else {
                    "no answer for 10 s"
                }
                .to_owned(),
            ));
        }
        if self.greeted_us.is_some() && now_us - self.probed_us > PROBE_EVERY_US - TICK_US / 2.0 {
            self.probe()?;
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), End> {
        self.probes += 1;
        self.probed_us = self.page.page_us();
        self.send(&ClientMessage::Ping {
            t0_us: self.probed_us as i64,
        })
    }

    /// Tells the server what changed in the choice of topics. Waits for `hello` and for the server's clock: without it no latency
    /// could be told.
    fn subscribe(&mut self) -> Result<(), End> {
        if self.greeted_us.is_none() || self.page.model().offset().is_none() {
            return Ok(());
        }
        let now_us = self.page.now_us();
        let (from, dropped) = self.page.update(|model| {
            let lane = &mut model.stream;
            if self.followed.replace(lane.followed) == Some(lane.followed) {
                return Default::default();
            }
            let from = lane.ask(now_us, |topic| !self.subscriptions.has(topic));
            (from, self.subscriptions.change(lane.followed_topics()))
        });
        if !dropped.is_empty() {
            self.send(&ClientMessage::Unsubscribe { topics: dropped })?;
        }
        // One by one: a subscription is taken whole or not at all, and one topic that is gone must not cost the others.
        for from in from {
            self.send(&ClientMessage::Subscribe { from: vec![from] })?;
        }
        Ok(())
    }

    fn send(&mut self, message: &ClientMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|_| unreadable())?;
        self.socket.send(&text);
        Ok(())
    }

    /// What the server said last, or else what the page saw.
    fn words(&mut self) -> String {
        self.last_words.take().unwrap_or_else(|| {
            let seen = if self.greeted_us.is_some() {
                "the connection was lost"
            } else {
                "the server cannot be reached"
            };
            seen.to_owned()
        })
    }

    /// By the close code (RFC 6455, section 7.4.1, and IANA's registry).
    fn ended(&mut self, code: u16, reason: &str) -> End {
        // 1008, policy, is also what a page gets that was silent while its machine slept: refused only if a problem says so.
        let refused = matches!(code, 1003 | 1007 | 1009 | 1010) || code == 1008 && self.last_words.is_some();
        if self.last_words.is_none() {
            self.last_words = match code {
                _ if !reason.is_empty() => Some(reason.to_owned()),
                1001 => Some("the server is going away".to_owned()),
                1013 => Some("the server is busy".to_owned()),
                _ => None,
            };
        }
        match refused {
            true => End::Refused(self.words()),
            false => End::Lost(self.words()),
        }
    }
}

fn unreadable() -> End {
    End::Lost("a message cannot be read".to_owned())
}
