//! The lanes' way to the network: their WebSocket and their requests live in a worker (`assets/connections.js`), so that neither what the page
//! draws nor how much the other lane brings delays what a lane receives; both are stamped there, in the same way.
//!
//! The worker hands over what came, but not twice within 8 ms: the browser's own work for a message that crosses to the page is more than
//! the message's. An event that comes alone is there at once. What it holds for a page that does not take what it was handed is bounded;
//! then it closes the socket, and the lane resumes at its cursor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, Worker};

use crate::object::{object, set};
use crate::wait::after;

/// `assets/connections.js`. From this page's own origin: nothing else may run here.
const WORKER: &str = "/connections.js";

/// The worker gives a request up earlier; this is for a worker that does not answer at all.
const NO_ANSWER_US: f64 = 15_000_000.0;

/// After so many messages the page says that it took them; the worker waits when it has not heard of twice as many.
const TAKEN: u32 = 8;

pub(crate) const NO_WORKER: &str = "the browser does not run this page's worker";

/// What a socket brought.
#[derive(Debug)]
pub(crate) enum Came {
    /// A message, and when the worker had it, on the page's clock.
    Text { text: String, received_us: f64 },
    /// The end, by the WebSocket's close code and reason (RFC 6455, section 7.4).
    Closed { code: u16, reason: String },
}

/// The answer to a request, whatever it says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// When it was sent and when the answer was there in full, on the page's clock.
    pub(crate) sent_us: f64,
    pub(crate) received_us: f64,
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) etag: Option<String>,
    pub(crate) retry_after: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    TimedOut,
    Lost,
    /// The browser does not run the worker.
    NoWorker,
}

#[derive(Debug, Default)]
struct Inbox {
    /// The socket that is open, by its number; what others brought is let go.
    socket: u32,
    came: VecDeque<Came>,
    reader: Option<Waker>,
    /// The request that is waited for, by its number.
    request: u32,
    answered: Option<Result<Answer, Unanswered>>,
    asker: Option<Waker>,
    /// The browser does not run the worker.
    is_broken: bool,
}

/// The worker, for as long as the page lives.
#[derive(Debug)]
pub(crate) struct Connections {
    worker: Worker,
    inbox: Rc<RefCell<Inbox>>,
    numbers: Cell<u32>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut()>,
}

impl Connections {
    /// `None` where the browser starts no worker.
    pub(crate) fn start() -> Option<Self> {
        let worker = Worker::new(WORKER).ok()?;
        let inbox = Rc::new(RefCell::new(Inbox::default()));
        let (of_worker, to) = (Rc::clone(&inbox), worker.clone());
        let of_error = Rc::clone(&inbox);
        let on_error = Closure::<dyn FnMut()>::new(move || of_error.borrow_mut().broke());
        let mut taken = 0;
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let data = message.data();
            match data.dyn_ref::<Array>() {
                Some(came) => {
                    of_worker.borrow_mut().take(came);
                    taken += 1;
                    if taken == TAKEN {
                        taken = 0;
                        // The lane's task runs before anything else does (a microtask), so when the worker hears it, it is true.
                        tell(&to, &[("taken", TAKEN.into())]);
                    }
                }
                None => of_worker.borrow_mut().answer(&data),
            }
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Some(Self {
            worker,
            inbox,
            numbers: Cell::new(0),
            _on_message: on_message,
            _on_error: on_error,
        })
    }

    /// Opens a socket; one that was open before is let go.
    pub(crate) fn open(&self, url: &str) -> Socket<'_> {
        let number = self.next_number();
        {
            let mut inbox = self.inbox.borrow_mut();
            inbox.socket = number;
            inbox.came.clear();
        }
        tell(&self.worker, &[("socket", number.into()), ("open", url.into())]);
        Socket {
            connections: self,
            number,
        }
    }

    /// `GET`, past the browser's cache; one at a time.
    pub(crate) async fn get(&self, url: &str, if_none_match: Option<&str>) -> Result<Answer, Unanswered> {
        let number = self.next_number();
        {
            let mut inbox = self.inbox.borrow_mut();
            inbox.request = number;
            inbox.answered = None;
        }
        let headers = Object::new();
        if let Some(etag) = if_none_match {
            set(&headers, "If-None-Match", &etag.into());
        }
        tell(
            &self.worker,
            &[
                ("request", number.into()),
                ("url", url.into()),
                ("headers", headers.into()),
            ],
        );
        let mut too_long = after(NO_ANSWER_US);
        poll_fn(|cx| {
            let mut inbox = self.inbox.borrow_mut();
            if let Some(answered) = inbox.answered.take() {
                return Poll::Ready(answered);
            }
            if inbox.is_broken {
                return Poll::Ready(Err(Unanswered::NoWorker));
            }
            inbox.asker = Some(cx.waker().clone());
            Pin::new(&mut too_long).poll(cx).map(|()| Err(Unanswered::TimedOut))
        })
        .await
    }

    fn next_number(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }
}

/// Closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket<'a> {
    connections: &'a Connections,
    number: u32,
}

impl Socket<'_> {
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Came> {
        let mut inbox = self.connections.inbox.borrow_mut();
        match inbox.came.pop_front() {
            Some(came) => Poll::Ready(came),
            None if inbox.is_broken => Poll::Ready(Came::Closed {
                code: 1006,
                reason: NO_WORKER.to_owned(),
            }),
            None => {
                inbox.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A socket takes everything at once; what is sent to a closing one shows as its end.
    pub(crate) fn send(&self, text: &str) {
        let message = [("socket", self.number.into()), ("send", text.into())];
        tell(&self.connections.worker, &message);
    }
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        tell(
            &self.connections.worker,
            &[("socket", self.number.into()), ("close", true.into())],
        );
    }
}

impl Inbox {
    /// Number, time and text of each, one after the other.
    fn take(&mut self, came: &Array) {
        for at in (0..came.length()).step_by(3) {
            if came.get(at).as_f64() != Some(f64::from(self.socket)) {
                continue;
            }
            let what = came.get(at + 2);
            self.came.push_back(match what.as_string() {
                Some(text) => Came::Text {
                    text,
                    received_us: came.get(at + 1).as_f64().unwrap_or(0.0) * 1e3,
                },
                None => {
                    let what = Array::from(&what);
                    Came::Closed {
                        code: what.get(0).as_f64().unwrap_or(1006.0) as u16,
                        reason: what.get(1).as_string().unwrap_or_default(),
                    }
                }
            });
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn answer(&mut self, data: &JsValue) {
        let field = |name: &str| Reflect::get(data, &name.into()).unwrap_or(JsValue::UNDEFINED);
        let us = |name| field(name).as_f64().unwrap_or(0.0) * 1e3;
        if field("request").as_f64() != Some(f64::from(self.request)) {
            return;
        }
        self.answered = Some(match (field("status").as_f64(), field("text").as_string()) {
            (Some(status), Some(text)) => Ok(Answer {
                sent_us: us("sent_ms"),
                received_us: us("at_ms"),
                status: status as u16,
                text,
                etag: field("etag").as_string(),
                retry_after: field("retry_after").as_string(),
            }),
            _ if field("timed_out").is_truthy() => Err(Unanswered::TimedOut),
            _ => Err(Unanswered::Lost),
        });
        if let Some(asker) = self.asker.take() {
            asker.wake();
        }
    }

    fn broke(&mut self) {
        self.is_broken = true;
        self.reader
            .take()
            .into_iter()
            .chain(self.asker.take())
            .for_each(Waker::wake);
    }
}

fn tell(worker: &Worker, message: &[(&str, JsValue)]) {
    // Texts, numbers and flags can all be cloned.
    let _ = worker.post_message(&object(message));
}
