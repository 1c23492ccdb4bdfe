//! `GET /stream`: the WebSocket stream.
//!
//! A connection holds no queue: it holds places in the topics, and reads on from there whenever its socket
//! takes more. What is ready together goes out together, readers at the same places get the same frame, and
//! what falls out of a topic's window before it was read is told as a gap.

mod finding;
mod message;
mod publishing;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use freshet_wire::{
    ClientMessage, Cursor, Hello, LaneKind, Limits, PROTOCOL, Pong, Published, RouteClass, ServerMessage, StreamProblem,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use self::finding::Finding;
use self::publishing::{Answered, Publishing};
use super::frames::{Places, Shared};
use super::limits::{self, Asker};
use super::poll::MOST_READ;
use super::websocket::{CloseCode, Incoming, Socket, Turn, encode_text, handshake};
use super::{Service, admin, guard, publish, query};
use crate::connection::{Connection, Metered};
use crate::encode;
use crate::error::Error;
use crate::limit::Client;
use crate::limit::gate::{TOO_MANY_STREAMS, Verdict};
use crate::limit::load::Held;
use crate::pubsub::{Chunk, PubSubError};
use crate::readers::{Delivered, Figures};
use crate::tail::{Batch, Budget, History, Place, ReadError, Reading, Replay, Watch};
use crate::time::now_us;

/// What one message carries at most, but for a single larger event.
const MESSAGE: Budget = Budget {
    events: 1000,
    bytes: 64 << 10,
};
/// Until a log that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Messages that make no sense, until the connection is closed for it.
const MOST_MISTAKES: u32 = 32;
/// Events of one stream that wait for the engine at once.
const MOST_PUBLISHING: usize = 256;
const MOST_REFERENCE: usize = 255;
/// Messages beyond the quota within [`REFUSING`], until the connection is closed for it.
const MOST_REFUSED: u32 = 256;
const REFUSING: Duration = Duration::from_secs(10);
/// After so many messages a client is heard before it is sent the next.
const HEAR_EVERY: u64 = 16;

/// The handshake; the connection goes on as a stream.
#[utoipa::path(get, path = "/api/v1/stream", tag = "deliveries",
    params(("reader" = Option<String>, Query, description = "the name under which this reader's figures are counted")),
    responses((status = 101, description = "a WebSocket without subprotocol; the server's first message is `hello`"),
        (status = 426, body = freshet_wire::Problem, content_type = "application/problem+json")))]
pub(super) async fn upgrade(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(Asker(client)): Extension<Asker>,
    RawQuery(text): RawQuery,
    mut request: Request,
) -> Result<Response, Error> {
    let mut reader = None;
    for (name, value) in query::pairs(text.as_deref()) {
        match &*name {
            "reader" => reader = Some(query::reader(value)?),
            name => return Err(query::unknown(name)),
        }
    }
    let response: Response<Body> = handshake(request.method(), request.headers())?;
    let upgrade = request
        .extensions_mut()
        .remove()
        .ok_or_else(|| Error::upgrade_needed("this connection cannot become a WebSocket", "Upgrade"))?;
    if service.is_stopping() {
        return Err(Error::busy("the service is about to stop"));
    }
    let held = service
        .gate
        .hold_stream(client)
        .ok_or_else(|| Error::shed(TOO_MANY_STREAMS))?;
    let figures = service
        .readers
        .seen(reader.as_deref(), connection.number, LaneKind::Stream, now_us());
    connection.claim(&figures);
    let may_publish = admin::is_allowed(&service.config, request.headers());
    let proxied = guard::is_proxied(request.headers(), connection.local.port());
    let peer = connection.peer.ip();
    let metered = Arc::clone(&connection);
    tokio::spawn(Metered::new(
        async move {
            let Some(socket) = Socket::open(upgrade, service.config.limits.message_bytes).await else {
                return;
            };
            connection.stream();
            let _connected = figures.connect();
            let session = Session {
                watch: Watch::new(&service.tail),
                figures,
                client,
                peer,
                refusals: Refusals::new(Instant::now()),
                _held: held,
                socket,
                reading: Reading::default(),
                fetch: None,
                may_publish,
                publishing: Publishing::new(Arc::clone(&service)),
                finding: Finding::default(),
                replay: None,
                places: Places::new(),
                said: 0,
                pinged: false,
                mistakes: 0,
                service,
            };
            session.run(proxied).await;
        },
        metered,
    ));
    Ok(response)
}

struct Session {
    service: Arc<Service>,
    figures: Arc<Figures>,
    /// Whose quotas its messages spend.
    client: Client,
    peer: IpAddr,
    refusals: Refusals,
    _held: Held,
    socket: Socket,
    reading: Reading,
    watch: Watch,
    /// A read of the engine's log that is under way, for a place that is not in the window.
    fetch: Option<Fetch>,
    may_publish: bool,
    /// Events that wait for the engine's word.
    publishing: Publishing,
    /// Subscriptions that wait for the engine to find a time.
    finding: Finding,
    /// What such a read brought and was not sent yet.
    replay: Option<Replay>,
    /// Where `reading` stood before it moved, for finding what others were sent from there.
    places: Places,
    /// Messages so far.
    said: u64,
    /// A ping waits for its pong.
    pinged: bool,
    mistakes: u32,
}

type Fetched = (History, Result<Chunk, PubSubError>);
type Fetch = Pin<Box<dyn Future<Output = Fetched> + Send>>;

/// Why a stream ends.
enum End {
    Gone,
    Close(CloseCode, &'static str),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Session {
    async fn run(mut self, proxied: bool) {
        let end = match self.serve(proxied).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        // The places are given up before the goodbye, which may take a moment.
        drop(self.watch);
        if let End::Close(code, reason) = end {
            self.socket.close(code, reason).await;
        }
    }

    async fn serve(&mut self, proxied: bool) -> Result<Infallible, End> {
        self.say(&ServerMessage::Hello(self.hello(proxied)))?;
        let limits = &self.service.config.limits;
        let mut beat = interval((limits.heartbeat / 2).min(limits.stuck / 4));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signs = Signs::new(Instant::now());
        let mut stopping = self.service.stopping.clone();
        // The service may have begun to stop before this reader could be woken for it.
        self.watch.wake();
        loop {
            // In this order: a reader is woken for events a thousand times as often as for a message. But now and
            // then the client is heard first, or a busy topic would keep it waiting for ever.
            let events_first = !self.said.is_multiple_of(HEAR_EVERY);
            // Who has not taken the last message is not woken for more; a stop is said to all.
            let waiting = self.socket.is_waiting();
            tokio::select! {
                biased;
                () = self.watch.changed(), if events_first && !waiting => self.deliver()?,
                turn = self.socket.turn() => match turn {
                    Turn::Said(incoming) => {
                        signs.heard = Instant::now();
                        self.take(incoming).await?;
                    }
                    // What came meanwhile was left where it is.
                    Turn::Flushed => self.watch.wake(),
                },
                () = self.watch.changed(), if !waiting => self.deliver()?,
                answered = self.publishing.next(), if !waiting => self.published(answered)?,
                found = self.finding.next(), if !waiting => match found {
                    Ok(places) => self.begin(places),
                    Err(error) => self.refuse(&error, None)?,
                },
                fetched = poll_fn(|context| fetched(&mut self.fetch, context)) => {
                    self.fetch = None;
                    self.replay(fetched);
                }
                () = stopped(&mut stopping), if waiting => self.deliver()?,
                _ = beat.tick() => self.look(&mut signs, Instant::now())?,
            }
        }
    }

    /// Now and then: is the client there, and does it take what it is sent?
    fn look(&mut self, signs: &mut Signs, now: Instant) -> Result<(), End> {
        let limits = &self.service.config.limits;
        let (waiting, taken) = (self.socket.is_waiting(), self.socket.taken());
        if !waiting || taken != signs.taken_bytes {
            // Slow is not stuck, and who takes bytes while others wait lives.
            signs.taken = now;
            if waiting {
                signs.heard = now;
            }
        }
        if self.said != signs.said {
            signs.sent = now;
        }
        (signs.taken_bytes, signs.said) = (taken, self.said);
        if waiting || self.figures.queue_events.load(Relaxed) > 0 {
            self.tell_lag();
        }
        if now - signs.taken >= limits.stuck {
            let reason = "the reader takes nothing; come back with your cursors";
            return Err(End::Close(CloseCode::TryAgainLater, reason));
        }
        if now - signs.heard > limits.silence {
            return Err(End::Close(CloseCode::Policy, "no sign of life"));
        }
        // Nothing was said for a while, so the reader cannot tell that all is well; or nothing was heard, as from a
        // client that only listens: its pong is its sign of life.
        let quiet = now - signs.sent >= limits.heartbeat / 2 || now - signs.heard >= limits.silence / 3;
        if quiet && !waiting {
            signs.sent = now;
            self.pinged = true;
            self.socket.ping()?;
        }
        Ok(())
    }

    fn hello(&self, proxied: bool) -> Hello {
        let limits = &self.service.config.limits;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.service.node.clone(),
            host: self.service.host.clone(),
            reader: self.figures.id().to_owned(),
            proxied,
            limits: Limits {
                message_bytes: count(limits.message_bytes),
                subscriptions: count(limits.subscriptions),
                heartbeat_ms: u32::try_from(limits.heartbeat.as_millis()).unwrap_or(u32::MAX),
                window_bytes: count(self.service.tail.window_bytes()),
            },
        }
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), End> {
        let received_us = now_us();
        let is_due = matches!(incoming, Incoming::Pong) && std::mem::take(&mut self.pinged);
        // A pong that nobody waits for is work like any other; the answer to a ping is not.
        if matches!(incoming, Incoming::Text(_) | Incoming::Ping(_) | Incoming::Pong)
            && !is_due
            && let Err(error) = admit(&self.service, self.client, RouteClass::StreamMessage).await
        {
            let reference = match &incoming {
                Incoming::Text(text) => message::reference(text),
                _ => None,
            };
            return self.refuse(&error, reference);
        }
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Ping(_) | Incoming::Pong => return Ok(()),
            Incoming::Close => return Err(End::Close(CloseCode::Normal, "")),
            Incoming::Gone => return Err(End::Gone),
            Incoming::Wrong(code, reason) => return Err(End::Close(code, reason)),
        };
        let done = match ClientMessage::parse(&text) {
            Ok(ClientMessage::Ping { t0_us }) => {
                let pong = Pong {
                    t0_us,
                    t1_us: received_us,
                    t2_us: now_us(),
                };
                return self.say(&ServerMessage::Pong(pong));
            }
            Ok(ClientMessage::Subscribe { from }) => self.subscribe(&from),
            Ok(ClientMessage::Unsubscribe { topics }) => self.unsubscribe(&topics),
            Ok(ClientMessage::Publish {
                topic,
                data,
                key,
                event_type,
                id,
                partition_key,
                reference,
            }) => {
                let said = publish::Said {
                    data,
                    key,
                    kind: event_type,
                    id,
                    partition_key,
                };
                let Err(error) = self.publish(&topic, said, reference.clone()).await else {
                    return Ok(());
                };
                return self.refuse(&error, reference);
            }
            Err(error) => return self.refuse(&message::refusal(&text, &error), message::reference(&text)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(&error, None),
        }
    }

    /// Says what is wrong, and gives up on a client that makes too many mistakes, or does not mind its quota.
    fn refuse(&mut self, error: &Error, reference: Option<String>) -> Result<(), End> {
        // Not to be taken now is no mistake of the client's.
        self.mistakes += u32::from(!error.is_passing());
        let heedless = error.is_over_quota() && self.refusals.are_too_many(Instant::now());
        let closing = heedless || self.mistakes >= MOST_MISTAKES;
        self.say(&ServerMessage::Problem(StreamProblem {
            problem: error.problem(),
            closing,
            reference,
        }))?;
        match (closing, heedless) {
            (true, true) => Err(End::Close(CloseCode::Policy, "too many messages beyond the quota")),
            (true, false) => Err(End::Close(CloseCode::Policy, "too many messages that make no sense")),
            (false, _) => Ok(()),
        }
    }

    /// Hands an event over; it is answered when the engine has it.
    async fn publish(&mut self, topic: &str, said: publish::Said, reference: Option<String>) -> Result<(), Error> {
        if !self.may_publish {
            return Err(Error::token_needed());
        }
        if reference
            .as_ref()
            .is_some_and(|reference| reference.len() > MOST_REFERENCE)
        {
            return Err(Error::parameter(
                "ref",
                format!("ref takes up to {MOST_REFERENCE} bytes"),
            ));
        }
        if self.publishing.len() >= MOST_PUBLISHING {
            return Err(Error::busy(
                "more events of this stream wait for the engine than are taken",
            ));
        }
        admit(&self.service, self.client, RouteClass::Publish).await?;
        let publication = publish::one(said, self.service.config.limits.event_bytes, self.peer)?;
        let spec = publish::to_open(&self.service, topic)?;
        self.publishing.add(topic, spec, (reference, publication));
        Ok(())
    }

    fn published(&mut self, (reference, receipt): Answered) -> Result<(), End> {
        match receipt {
            Ok(receipt) => self.say(&ServerMessage::Published(Published { reference, receipt })),
            Err(error) => self.refuse(&error, reference),
        }
    }

    /// Applies a subscription whole or not at all, now or when its places are found.
    fn subscribe(&mut self, from: &[String]) -> Result<(), Error> {
        let most = self.service.config.limits.subscriptions;
        let mut froms: Vec<freshet_wire::From> = Vec::with_capacity(from.len().min(most));
        let mut taken = self.reading.places().len() + self.finding.topics().filter(|name| !self.reads(name)).count();
        for text in from {
            let from: freshet_wire::From = text.parse()?;
            // Moving within a topic takes no more than was taken.
            if !self.reads(&from.topic) && !self.finding.topics().any(|name| *name == from.topic) {
                if taken >= most {
                    return Err(query::too_many(most));
                }
                taken += 1;
            }
            if froms.iter().any(|known| known.topic == from.topic) {
                return Err(Error::parameter(
                    "from",
                    format!("topic {:?} is asked for twice", from.topic),
                ));
            }
            froms.push(from);
        }
        if let Some(places) = self.finding.find(&self.service, froms)? {
            self.begin(places);
        }
        Ok(())
    }

    fn reads(&self, topic: &str) -> bool {
        self.reading.place(topic).is_some()
    }

    fn begin(&mut self, places: Vec<Place>) {
        for place in places {
            self.watch.add(place.topic());
            self.reading.set(place);
        }
        // Where the reader begins is told at once, also when nothing is to be read yet.
        self.watch.wake();
    }

    fn unsubscribe(&mut self, topics: &[String]) -> Result<(), Error> {
        let is_known = |topic: &String| self.reads(topic) || self.finding.topics().any(|name| name == topic);
        if let Some(unknown) = topics.iter().find(|topic| !is_known(topic)) {
            return Err(Error::parameter(
                "topics",
                format!("there is no subscription to {unknown:?}"),
            ));
        }
        for topic in topics {
            self.finding.forget(topic);
            self.reading.remove(topic);
            self.watch.remove(topic);
        }
        Ok(())
    }

    /// Sends the next message, if there is something to read and the socket has taken the last one.
    fn deliver(&mut self) -> Result<(), End> {
        if self.service.is_stopping() {
            return Err(End::Close(CloseCode::GoingAway, "the service stops; come back"));
        }
        if self.socket.is_waiting() {
            return Ok(());
        }
        // What is live goes first: who replays one topic is not late in the others.
        if self.reading.is_behind() {
            match self.next_shared() {
                Some(shared) => {
                    self.reading.advance(&shared.steps);
                    self.send(shared.frame.clone(), shared.delivered)?;
                }
                None => {
                    let settled = self.reading.is_settled();
                    let batch = self.reading.read(MESSAGE);
                    self.tell(batch, settled)?;
                    self.end_removed()?;
                }
            }
        } else if let Some(mut replay) = self.replay.take()
            && let Some(batch) = self.reading.replay(&mut replay)
        {
            self.replay = Some(replay);
            self.tell(batch, false)?;
        }
        if self.replay.is_none() && self.fetch.is_none() {
            self.fetch = self.reading.history().map(|history| self.read(history));
        }
        if self.reading.is_behind() || self.replay.is_some() {
            self.watch.wake();
        }
        Ok(())
    }

    /// Ends the subscriptions to topics that were removed, and says so.
    fn end_removed(&mut self) -> Result<(), End> {
        for topic in self.reading.take_ended() {
            self.watch.remove(topic.name());
            let error = Error::from(ReadError::Removed(topic.name().to_string()));
            // No mistake of the client's.
            self.say(&ServerMessage::Problem(StreamProblem {
                problem: error.problem(),
                closing: false,
                reference: None,
            }))?;
        }
        Ok(())
    }

    /// Begins to read a stretch of the engine's log. What it brings is taken in by [`Self::replay`].
    fn read(&self, history: History) -> Fetch {
        let service = Arc::clone(&self.service);
        Box::pin(async move {
            let chunk = match timeout(MOST_READ, history.read(&service.tail, MESSAGE)).await {
                Ok(chunk) => chunk,
                Err(_) => Err(PubSubError::Unavailable("the log does not answer".to_owned())),
            };
            if chunk.is_err() {
                sleep(RETRY).await; // the engine's state says what is wrong
            }
            (history, chunk)
        })
    }

    fn replay(&mut self, (history, chunk): Fetched) {
        if let Ok(chunk) = chunk {
            self.replay = self.reading.accept(history, chunk);
        }
        self.watch.wake();
    }

    /// The next message, if a reader at the same places was sent it before.
    fn next_shared(&mut self) -> Option<Arc<Shared>> {
        self.places.clear();
        self.places.extend(self.reading.stands());
        if self.reading.is_settled() {
            self.service.frames.find(&self.places)
        } else {
            None
        }
    }

    /// Sends what was read; if the reader stood where others may stand, the message is kept for those who come after.
    fn tell(&mut self, batch: Batch, settled: bool) -> Result<(), End> {
        let frame = encode_text(&encode_events(&batch, &self.reading.moved()));
        let mut delivered = Delivered {
            events: batch.events.len() as u64,
            state_events: batch.state_events,
            state_bytes: batch.state_bytes,
        };
        if delivered.state_events == delivered.events {
            // A message of nothing else is theirs with its frame.
            delivered.state_bytes = frame.len() as u64;
        }
        self.figures.counters.gaps(&batch.gaps);
        for gap in &batch.gaps {
            self.say(&ServerMessage::Gap(gap.clone()))?;
        }
        if settled && batch.gaps.is_empty() {
            let steps = self
                .reading
                .stands()
                .zip(&self.places)
                .map(|((_, now), &(_, then))| now - then)
                .collect();
            self.service.frames.keep(
                self.places.clone(),
                Shared {
                    frame: frame.clone(),
                    delivered,
                    steps,
                },
            );
        }
        self.send(frame, delivered)
    }

    fn say(&mut self, message: &ServerMessage<'_>) -> Result<(), End> {
        let mut text = BytesMut::new();
        encode::json(&mut text, message);
        self.send(encode_text(&text), Delivered::default())
    }

    fn send(&mut self, frame: Bytes, delivered: Delivered) -> Result<(), End> {
        self.said += 1;
        self.figures.counters.frames.fetch_add(1, Relaxed);
        self.figures.counters.delivered(delivered);
        Ok(self.socket.send(frame)?)
    }

    fn tell_lag(&self) {
        let (events, bytes) = self.reading.lag();
        self.figures.queue_events.store(events, Relaxed);
        self.figures.queue_bytes.store(bytes, Relaxed);
    }
}

/// Spends the quota of a message.
async fn admit(service: &Service, client: Client, class: RouteClass) -> Result<(), Error> {
    match service.gate.admit_message(client, class).await {
        Verdict::Admitted { .. } => Ok(()),
        Verdict::Limited(refusal) => Err(limits::refused(&refusal)),
        Verdict::Shed(why) => Err(Error::shed(why)),
        Verdict::Denied => Err(Error::denied()),
    }
}

/// Messages that were refused for the quota, since when.
struct Refusals {
    since: Instant,
    count: u32,
}

impl Refusals {
    fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Counts one.
    fn are_too_many(&mut self, now: Instant) -> bool {
        if now - self.since > REFUSING {
            *self = Self::new(now);
        }
        self.count += 1;
        self.count > MOST_REFUSED
    }
}

/// Signs of life, as the last look found them.
struct Signs {
    heard: Instant,
    sent: Instant,
    taken: Instant,
    /// Bytes that the socket has taken, and messages, so far.
    taken_bytes: u64,
    said: u64,
}

impl Signs {
    fn new(now: Instant) -> Self {
        Self {
            heard: now,
            sent: now,
            taken: now,
            taken_bytes: 0,
            said: 0,
        }
    }
}

/// Ready when the read that is under way, if one is, has ended.
fn fetched(fetch: &mut Option<Fetch>, context: &mut Context<'_>) -> Poll<Fetched> {
    match fetch {
        Some(fetch) => fetch.as_mut().poll(context),
        None => Poll::Pending,
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stopping.wait_for(|&stopping| stopping).await;
}

fn encode_events(batch: &Batch, next: &BTreeMap<&str, Cursor>) -> BytesMut {
    let size: usize = batch.events.iter().map(|event| event.len() + 1).sum();
    let mut text = BytesMut::with_capacity(size + 128);
    text.extend_from_slice(b"{\"type\":\"events\",\"events\":[");
    encode::join(&mut text, &batch.events);
    text.extend_from_slice(b"],\"next\":");
    encode::json(&mut text, next);
    text.extend_from_slice(b",\"sent_us\":");
    encode::json(&mut text, &now_us());
    text.extend_from_slice(b"}");
    text
}
