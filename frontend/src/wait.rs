//! Waiting: for time to pass, or for a word from the rest of the page.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use gloo_timers::future::TimeoutFuture;

/// Wakes the one task that waits. A call while nobody waits is kept for the next wait.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    called: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Wake {
    pub(crate) fn call(&self) {
        self.called.set(true);
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.called.take() {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) async fn wait(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

/// Until the time is over, or until the call.
pub(crate) async fn sleep(us: f64, wake: &Wake) {
    let mut timer = after(us);
    poll_fn(|cx| match Pin::new(&mut timer).poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => wake.poll(cx),
    })
    .await;
}

/// A browser's timers take whole milliseconds.
pub(crate) fn after(us: f64) -> TimeoutFuture {
    TimeoutFuture::new((us / 1000.0).ceil() as u32)
}
