//! The polling lane: asks, waits for the answer in full, waits one interval, asks again.

use freshet_wire::{Event, Problem};

use crate::api::{self, Failure};
use crate::model::{CARD_TOPICS, Handle};
use crate::wait::sleep;

use super::retry::{Backoff, Due};
use super::{Batch, LaneId, Request, Status};

/// Runs for as long as the page lives. One request is under way at a time.
pub(crate) async fn run(page: Handle) {
    let mut poller = Poller {
        page,
        due: Due::Now,
        backoff: Backoff::default(),
        etag: None,
        followed: None,
        refused: Vec::new(),
    };
    loop {
        poller.step().await;
    }
}

struct Poller {
    page: Handle,
    /// On the page's clock: it does not step.
    due: Due,
    backoff: Backoff,
    /// The validator of the last answer, for the same topics and positions as the next request asks for.
    etag: Option<String>,
    followed: Option<u32>,
    /// Topics that the server does not give: left out until the choice changes or the server was away.
    refused: Vec<String>,
}

impl Poller {
    async fn step(&mut self) {
        let (off, followed, interval_ms) = {
            let model = self.page.model();
            (model.is_off(LaneId::Poll), model.poll.followed, model.interval_ms)
        };
        let wake = self.page.wake(LaneId::Poll);
        if off {
            wake.wait().await;
            self.due = Due::Now;
            return;
        }
        if self.followed != Some(followed) {
            self.followed = Some(followed);
            self.refused.clear();
            self.etag = None;
            self.due = Due::Now;
        }
        let wait_us = self.due.at_us(f64::from(interval_ms) * 1000.0) - self.page.page_us();
        if wait_us > 0.0 {
            // After a call: what is due is looked at anew.
            sleep(wait_us, wake).await;
            return;
        }
        let known = self.page.model().offset();
        let result = match known {
            Some(_) => self.ask().await,
            // Without the server's clock no latency could be told.
            None => self.page.probe().await.map(|()| true),
        };
        let now_us = self.page.page_us();
        match result {
            Ok(more) => {
                self.backoff.reset();
                self.due = Due::answered(now_us, more);
            }
            Err(failure) => self.failed(failure, now_us),
        }
    }

    /// One poll. Whether there is more to ask for at once.
    async fn ask(&mut self) -> Result<bool, Failure> {
        let page = &self.page;
        let asked_us = page.now_us();
        let (from, reader) = page.update(|model| {
            let lane = &mut model.poll;
            lane.counters.requests += 1;
            lane.asking_since_us = Some(asked_us);
            let wanted = |topic: &str| !self.refused.iter().any(|refused| refused == topic);
            (lane.ask(asked_us, wanted), lane.reader.clone())
        });
        let result = api::events(page.connections(), &from, &reader, self.etag.as_deref()).await;
        page.update(|model| model.poll.asking_since_us = None);
        let polled = result?;
        let text = polled.page.as_deref();
        let batch = match text.map(Batch::parse).transpose() {
            Ok(batch) => batch,
            Err(_) => {
                self.etag = None;
                return Err(Failure::new("the answer cannot be read"));
            }
        };
        self.etag = polled.etag;
        let not_modified = batch.is_none();
        let more = batch.as_ref().is_some_and(|batch| batch.more);
        let of_log = |(_, event): &&(&str, Event<'_>)| !CARD_TOPICS.contains(&&*event.topic);
        let events = batch
            .as_ref()
            .map_or(0, |batch| batch.events.iter().filter(of_log).count() as u32);
        if let Some(batch) = batch {
            page.ingest(LaneId::Poll, batch, polled.received_us);
        }
        let (sent_us, received_us) = (page.server_us(polled.sent_us), page.server_us(polled.received_us));
        page.update(|model| {
            let (lane, off) = (&mut model.poll, model.solo == Some(LaneId::Stream));
            lane.counters.not_modified += u64::from(not_modified);
            lane.counters.empty += u64::from(events == 0);
            lane.counters.bytes_decoded += text.map_or(0, str::len) as u64;
            lane.requests.push(Request {
                sent_us,
                received_us,
                events,
            });
            lane.heard(received_us, model.hidden);
            if !off {
                lane.set_status(Status::Live, received_us);
            }
        });
        Ok(more)
    }

    fn failed(&mut self, failure: Failure, now_page_us: f64) {
        if self.leave_out(&failure) {
            self.due = Due::Now;
            return;
        }
        let limited = failure.status == Some(429);
        if !failure.is_refusal() && !limited {
            // The server that comes back may be another one.
            self.refused.clear();
            self.etag = None;
        }
        self.due = if failure.is_refusal() {
            // The same request will be refused again; what would change that calls.
            Due::At(now_page_us + Backoff::CAP_US)
        } else {
            Due::failed(
                now_page_us,
                failure.retry_after_ms,
                &mut self.backoff,
                js_sys::Math::random(),
            )
        };
        let page = &self.page;
        let (now_us, retry_at_us) = (page.now_us(), page.server_us(self.due.at_us(0.0)));
        let (refused, attempt) = (failure.is_refusal(), self.backoff.attempt());
        page.update(|model| {
            model.poll.counters.errors += 1;
            if limited {
                model.poll.counters.limited += 1;
                model.poll.limited.push(now_us);
            }
            if failure.status.is_some() {
                model.poll.heard(now_us, model.hidden);
            }
            if model.is_off(LaneId::Poll) {
                return;
            }
            let why = failure.why;
            let status = match refused {
                _ if limited => Status::Limited { why, retry_at_us },
                true => Status::Refused { why, retry_at_us },
                false => Status::Reconnecting {
                    why,
                    retry_at_us,
                    attempt,
                },
            };
            model.poll.set_status(status, now_us);
        });
    }

    /// A poll is answered whole or not at all: one topic that is gone must not cost the others. Whether it was that.
    fn leave_out(&mut self, failure: &Failure) -> bool {
        let Some(problem) = failure.problem.as_ref().filter(|_| failure.is_refusal()) else {
            return false;
        };
        let topic = {
            let model = self.page.model();
            let mut asked = model
                .poll
                .followed_topics()
                .filter(|topic| !self.refused.iter().any(|refused| refused == topic));
            asked.find(|topic| is_at_fault(problem, topic)).map(str::to_owned)
        };
        let Some(topic) = topic else { return false };
        self.refused.push(topic);
        self.etag = None;
        let now_us = self.page.now_us();
        self.page.update(|model| {
            model.poll.counters.errors += 1;
            model.poll.heard(now_us, model.hidden);
            model.problem = Some(failure.why.clone());
        });
        true
    }
}

/// Whether it is this topic that the server does not give.
fn is_at_fault(problem: &Problem, topic: &str) -> bool {
    // It names the topic in quotation marks, which no topic's name holds unescaped.
    let named = |detail: &String| detail.contains(&["\"", topic, "\""].concat());
    problem.field.as_deref() == Some("from") && problem.detail.as_ref().is_some_and(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(field: Option<&str>, detail: &str) -> Problem {
        Problem {
            kind: "urn:freshet:unknown-topic".into(),
            title: "Unknown topic".into(),
            status: 404,
            detail: Some(detail.to_owned()),
            field: field.map(str::to_owned),
            violated_policies: Vec::new(),
            retry_after_s: None,
            current_version: None,
        }
    }

    #[test]
    fn only_the_topic_that_the_server_names_is_at_fault() {
        let gone = problem(Some("from"), r#"there is no topic "host.cpu2""#);
        assert!(is_at_fault(&gone, "host.cpu2"));
        assert!(!is_at_fault(&gone, "host.cpu"));
        assert!(!is_at_fault(&gone, "cpu2"));
        assert!(!is_at_fault(
            &problem(Some("limit"), r#"nothing of "host.cpu2""#),
            "host.cpu2"
        ));
        assert!(!is_at_fault(
            &problem(None, r#"there is no topic "host.cpu2""#),
            "host.cpu2"
        ));
    }
}
