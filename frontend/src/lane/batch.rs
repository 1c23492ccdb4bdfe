//! What one answer or one message brought, decoded without copying its events.

use std::collections::BTreeMap;

use freshet_wire::{Cursor, Event, Gap};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The common part of a poll's page and of the stream's `events` message.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Each event with the very text that it was read from.
    pub events: Vec<(&'a str, Event<'a>)>,
    pub next: BTreeMap<String, Cursor>,
    pub gaps: Vec<Gap>,
    pub more: bool,
    pub sent_us: i64,
}

impl<'a> Batch<'a> {
    /// Reads [`freshet_wire::Page`] or [`freshet_wire::Events`]; the events stay raw first, so that their bytes can be compared.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow)]
            events: Vec<&'a RawValue>,
            next: BTreeMap<String, Cursor>,
            #[serde(default)]
            gaps: Vec<Gap>,
            #[serde(default)]
            more: bool,
            sent_us: i64,
        }
        let raw: Raw<'a> = serde_json::from_str(text)?;
        let mut events = Vec::with_capacity(raw.events.len());
        for event in raw.events {
            events.push((event.get(), serde_json::from_str(event.get())?));
        }
        Ok(Self {
            events,
            next: raw.next,
            gaps: raw.gaps,
            more: raw.more,
            sent_us: raw.sent_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::{Events, GapReason, Page, ServerMessage};

    use super::*;

    const EVENT: &str = r#"{"topic":"t","epoch":"0123456789ab","partition":0,"offset":7,"id":"i","produced_us":1,"ingested_us":2,"type":"x","data":{"b": 1.50}}"#;

    #[test]
    fn a_page_and_a_message_read_as_the_same_batch() {
        let event: Event<'_> = serde_json::from_str(EVENT).unwrap();
        let next = BTreeMap::from([("t".to_owned(), "0123456789ab-8".parse().unwrap())]);
        let gap = Gap {
            topic: "t".to_owned(),
            partition: 0,
            from_offset: 3,
            count: Some(4),
            reason: GapReason::Retention,
        };
        let page = Page {
            events: vec![event.clone()],
            next: next.clone(),
            gaps: vec![gap.clone()],
            more: true,
            sent_us: 9,
        };
        let message = ServerMessage::Events(Events {
            events: vec![event],
            next: next.clone(),
            sent_us: 9,
        });
        let (page, message) = (
            serde_json::to_string(&page).unwrap(),
            serde_json::to_string(&message).unwrap(),
        );
        let (page, message) = (Batch::parse(&page).unwrap(), Batch::parse(&message).unwrap());
        for batch in [&page, &message] {
            assert_eq!(batch.events[0].0, EVENT, "byte by byte");
            assert_eq!((batch.events[0].1.offset, batch.sent_us), (7, 9));
            assert_eq!(batch.next, next);
        }
        assert_eq!((page.gaps, page.more), (vec![gap], true));
        assert_eq!((message.gaps, message.more), (vec![], false));
    }

    #[test]
    fn what_is_not_a_batch_is_an_error() {
        for text in ["", "[]", "{}", r#"{"events":[{"topic":1}],"next":{},"sent_us":1}"#] {
            assert!(Batch::parse(text).is_err(), "{text:?}");
        }
    }
}
