//! JSON: an event's text, and texts put together from parts that are encoded already.

use std::borrow::Cow;
use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use freshet_wire::{Epoch, Event};
use serde::Serialize;

use crate::pubsub::Record;

/// Where and when an event was appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) epoch: Epoch,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) ingested_us: i64,
}

/// The id of an event whose record brings none.
pub(crate) fn event_id(place: &Place<'_>) -> String {
    match place.partition {
        0 => format!("{}-{}", place.epoch, place.offset),
        partition => format!("{}-{partition}-{}", place.epoch, place.offset),
    }
}

/// An event's text, as it is stored and as it goes to every reader: it is encoded here, once.
pub(crate) fn event(place: &Place<'_>, record: &Record) -> Bytes {
    let event = Event {
        topic: Cow::Borrowed(place.topic),
        epoch: place.epoch,
        partition: place.partition,
        offset: place.offset,
        id: match &record.id {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(event_id(place)),
        },
        produced_us: record.produced_us,
        ingested_us: place.ingested_us,
        host: record.host.as_deref().map(Cow::Borrowed),
        token: record.token.clone(),
        kind: Cow::Borrowed(&record.kind),
        data: &record.data,
    };
    let mut text = Vec::with_capacity(record.data.get().len() + 256);
    if let Err(error) = serde_json::to_writer(&mut text, &event) {
        // Strings, integers and raw JSON always have a text; nothing here can fail.
        unreachable!("an event without a text: {error}");
    }
    Bytes::from(text)
}

/// Appends the events, with commas between them.
pub(crate) fn join(out: &mut BytesMut, events: &[Bytes]) {
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.extend_from_slice(event);
    }
}

/// Appends the JSON of a value of ours: numbers, strings and lists of them, which always have one.
pub(crate) fn json<T: Serialize>(out: &mut BytesMut, value: &T) {
    let mut writer = out.writer();
    if let Err(error) = serde_json::to_writer(&mut writer, value)
        .map_err(std::io::Error::from)
        .and_then(|()| writer.flush())
    {
        unreachable!("a value without a text: {error}");
    }
}
