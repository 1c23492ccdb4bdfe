//! JSON put together from parts that are encoded already.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

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
