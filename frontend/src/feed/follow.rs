//! The feed's own WebSocket: opened when there is something to read, closed when there is not, opened again where it was.
//! What waits, waits in the browser, whose buffer stops the sender: a woken task reads gloo-net's queue before the next event.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use freshet_wire::{ClientMessage, ServerMessage};
use futures_util::{Sink, Stream};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, WebSocketError};

use crate::api;
use crate::lane::{Backoff, Batch, Status, Watchdog};
use crate::model::Handle;
use crate::wait::{after, sleep};

const CONNECT_US: f64 = 10_000_000.0;
/// Nothing else is asked, so these questions are the signs of life.
const PROBE_EVERY_US: f64 = 2_000_000.0;
/// What was refused is tried again, for example when the topic was made meanwhile.
const REFUSED_US: f64 = 10_000_000.0;

enum End {
    /// Something else is to be read, or nothing.
    Changed,
    Lost(String),
    Refused(String),
}

/// Runs for as long as the page lives.
pub(crate) async fn run(page: Handle) {
    let wake = page.feed_wake();
    let mut backoff = Backoff::default();
    loop {
        let (asked, wanted) = {
            let feed = page.feed();
            (feed.asked, feed.wanted())
        };
        let Some(from) = wanted else {
            let now_us = page.now_us();
            page.update_feed(|feed| feed.set_status(Status::Off, now_us));
            wake.wait().await;
            continue;
        };
        let was_off = page.feed().status == Status::Off;
        if was_off {
            let now_us = page.now_us();
            page.update_feed(|feed| feed.set_status(Status::Connecting, now_us));
        }
        let url = api::stream_url(&[&page.model().stream.reader, "-feed"].concat());
        let end = match url.map(|url| WebSocket::open(&url)) {
            Some(Ok(socket)) => {
                let mut connection = Connection::new(&page, socket, asked, from);
                let end = connection.run().await;
                if connection.subscribed {
                    backoff.reset();
                }
                end
            }
            _ => End::Lost("the browser opens no WebSocket".to_owned()),
        };
        let now_us = page.page_us();
        let (why, wait_us, refused) = match end {
            End::Changed => {
                backoff.reset();
                continue;
            }
            End::Lost(why) => (why, backoff.next_us(js_sys::Math::random()), false),
            End::Refused(why) => (why, REFUSED_US, true),
        };
        let (retry_at_us, server_now_us) = (page.server_us(now_us + wait_us), page.now_us());
        let status = match refused {
            true => Status::Refused { why, retry_at_us },
            false => Status::Reconnecting {
                why,
                retry_at_us,
                attempt: backoff.attempt(),
            },
        };
        page.update_feed(|feed| feed.set_status(status, server_now_us));
        while page.feed().asked == asked && page.page_us() < now_us + wait_us {
            sleep(now_us + wait_us - page.page_us(), wake).await;
        }
    }
}

struct Connection<'a> {
    page: &'a Handle,
    socket: WebSocket,
    watchdog: Watchdog,
    probed_us: f64,
    asked: u32,
    from: String,
    host: Option<String>,
    /// The server told where it begins.
    subscribed: bool,
    last_words: Option<String>,
}

enum Turn {
    Came(Option<Result<Message, WebSocketError>>),
    Called,
    Tick,
}

impl<'a> Connection<'a> {
    fn new(page: &'a Handle, socket: WebSocket, asked: u32, from: String) -> Self {
        let now_us = page.page_us();
        Self {
            page,
            socket,
            watchdog: Watchdog::new(now_us, CONNECT_US),
            probed_us: now_us,
            asked,
            from,
            host: None,
            subscribed: false,
            last_words: None,
        }
    }

    /// Until the connection ends. Dropping it closes the socket.
    async fn run(&mut self) -> End {
        let mut tick = after(PROBE_EVERY_US / 2.0);
        loop {
            let turn = poll_fn(|cx| {
                if self.page.feed_wake().poll(cx).is_ready() {
                    return Poll::Ready(Turn::Called);
                }
                if let Poll::Ready(message) = Pin::new(&mut self.socket).poll_next(cx) {
                    return Poll::Ready(Turn::Came(message));
                }
                Pin::new(&mut tick).poll(cx).map(|()| Turn::Tick)
            })
            .await;
            // What still comes for what was asked before would be out of place.
            if self.page.feed().asked != self.asked {
                return End::Changed;
            }
            let now_us = self.page.page_us();
            let done = match turn {
                Turn::Called => Ok(()),
                Turn::Came(Some(Ok(Message::Text(text)))) => self.came(&text, now_us),
                Turn::Came(Some(Ok(Message::Bytes(_)))) => Err(unreadable()),
                Turn::Came(Some(Err(error))) => Err(self.ended(&error)),
                Turn::Came(None) => Err(End::Lost(self.words())),
                Turn::Tick => {
                    tick = after(PROBE_EVERY_US / 2.0);
                    self.tick(now_us)
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn came(&mut self, text: &str, received_page_us: f64) -> Result<(), End> {
        self.watchdog.heard(received_page_us);
        if text.starts_with(r#"{"type":"events","#) {
            return self.events(text, received_page_us);
        }
        match ServerMessage::parse(text).map_err(|_| unreadable())? {
            Some(ServerMessage::Events(_)) => self.events(text, received_page_us)?,
            Some(ServerMessage::Hello(hello)) => {
                self.watchdog
                    .set_limit_us(2000.0 * f64::from(hello.limits.heartbeat_ms));
                self.host = Some(hello.host);
                let from = vec![std::mem::take(&mut self.from)];
                self.send(&ClientMessage::Subscribe { from })?;
            }
            Some(ServerMessage::Gap(gap)) => self.page.update_feed(|feed| feed.told(gap)),
            Some(ServerMessage::Problem(problem)) => {
                let words = api::in_words(&problem.problem);
                // Nothing is asked for but the one topic: this is the answer.
                if !problem.closing {
                    return Err(End::Refused(words));
                }
                self.last_words = Some(words);
            }
            _ => {}
        }
        Ok(())
    }

    fn events(&mut self, text: &str, received_page_us: f64) -> Result<(), End> {
        let batch = Batch::parse(text).map_err(|_| unreadable())?;
        let received_us = self.page.server_us(received_page_us);
        let first = !std::mem::replace(&mut self.subscribed, true);
        self.page.update_feed(|feed| {
            if first {
                feed.set_status(Status::Live, received_us);
            }
            feed.take(batch, received_us, self.host.as_deref());
        });
        Ok(())
    }

    fn tick(&mut self, now_us: f64) -> Result<(), End> {
        if self.watchdog.is_stalled(now_us) {
            return Err(End::Lost("nothing came, not even a sign of life".to_owned()));
        }
        if self.host.is_some() && now_us - self.probed_us > PROBE_EVERY_US * 0.75 {
            self.probed_us = now_us;
            return self.send(&ClientMessage::Ping { t0_us: now_us as i64 });
        }
        Ok(())
    }

    fn send(&mut self, message: &ClientMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|_| unreadable())?;
        Pin::new(&mut self.socket)
            .start_send(Message::Text(text))
            .map_err(|_| End::Lost(self.words()))
    }

    fn words(&mut self) -> String {
        let seen = if self.host.is_some() {
            "the connection was lost"
        } else {
            "the server cannot be reached"
        };
        self.last_words.take().unwrap_or_else(|| seen.to_owned())
    }

    fn ended(&mut self, error: &WebSocketError) -> End {
        if let WebSocketError::ConnectionClose(close) = error
            && self.last_words.is_none()
            && !close.reason.is_empty()
        {
            self.last_words = Some(close.reason.clone());
        }
        End::Lost(self.words())
    }
}

fn unreadable() -> End {
    End::Lost("a message cannot be read".to_owned())
}
