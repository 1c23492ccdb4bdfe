//! Frames of RFC 6455, section 5: those of a client taken apart, those of a server put together. Pure.

use bytes::{BufMut, Bytes, BytesMut};

/// Why a connection is closed (section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum CloseCode {
    Normal = 1000,
    GoingAway = 1001,
    Protocol = 1002,
    Unsupported = 1003,
    Invalid = 1007,
    Policy = 1008,
    TooBig = 1009,
    TryAgainLater = 1013,
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delivery) enum Incoming {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    /// It says goodbye, and is owed an answer.
    Close,
    /// The connection is broken, or ended without a word.
    Gone,
    /// It broke the rules; what to close with.
    Wrong(CloseCode, &'static str),
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Of one message: each is work, also one of no bytes, and only whole messages spend a quota.
const MOST_FRAGMENTS: usize = 4096;
/// Section 5.5: the payload of a control frame.
const MOST_CONTROL: usize = 125;

/// Takes a client's frames apart, however they are cut into reads.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Bytes that are not a whole frame yet. Never more than a frame's head and the largest message.
    unread: Vec<u8>,
    /// The fragments of a text so far (section 5.4).
    text: Option<Vec<u8>>,
    /// How many those are.
    fragments: usize,
    most: usize,
}

impl Decoder {
    pub(super) fn new(most: usize) -> Self {
        Self {
            unread: Vec::new(),
            text: None,
            fragments: 0,
            most,
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next message or control frame; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Option<Incoming> {
        loop {
            let head = match Head::parse(&self.unread, self.most) {
                Ok(head) => head?,
                Err((code, reason)) => return Some(Incoming::Wrong(code, reason)),
            };
            let end = head.start + head.len;
            if self.unread.len() < end {
                return None;
            }
            let mut payload = self.unread[head.start..end].to_vec();
            payload
                .iter_mut()
                .zip(head.mask.iter().cycle())
                .for_each(|(byte, mask)| *byte ^= mask);
            self.unread.drain(..end);
            if self.unread.is_empty() {
                // A connection that waits holds no buffer.
                self.unread = Vec::new();
            }
            if let Some(incoming) = self.take(&head, payload) {
                return Some(incoming);
            }
        }
    }

    fn take(&mut self, head: &Head, payload: Vec<u8>) -> Option<Incoming> {
        let wrong = |reason| Some(Incoming::Wrong(CloseCode::Protocol, reason));
        match (head.opcode, self.text.take()) {
            (PING, text) => {
                self.text = text;
                Some(Incoming::Ping(payload))
            }
            (PONG, text) => {
                self.text = text;
                Some(Incoming::Pong)
            }
            (CLOSE, _) => match payload.len() {
                1 => wrong("a close code is two bytes"),
                _ => Some(Incoming::Close),
            },
            (TEXT, None) => {
                self.fragments = 1;
                self.text(payload, head.last)
            }
            (CONTINUATION, Some(_)) if self.fragments == MOST_FRAGMENTS => Some(Incoming::Wrong(
                CloseCode::Policy,
                "the message comes in too many fragments",
            )),
            (CONTINUATION, Some(mut text)) => {
                self.fragments += 1;
                if text.len() + payload.len() > self.most {
                    return Some(Incoming::Wrong(CloseCode::TooBig, "the message is too large"));
                }
                text.extend_from_slice(&payload);
                self.text(text, head.last)
            }
            (CONTINUATION, None) => wrong("a continuation of nothing"),
            (_, Some(_)) => wrong("a new message within a fragmented one"),
            _ => Some(Incoming::Wrong(CloseCode::Unsupported, "messages are text")),
        }
    }

    fn text(&mut self, text: Vec<u8>, last: bool) -> Option<Incoming> {
        if !last {
            self.text = Some(text);
            return None;
        }
        Some(match String::from_utf8(text) {
            Ok(text) => Incoming::Text(text),
            Err(_) => Incoming::Wrong(CloseCode::Invalid, "not UTF-8"),
        })
    }
}

/// The head of a client's frame.
#[derive(Debug)]
struct Head {
    last: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Where the payload begins, and how long it is.
    start: usize,
    len: usize,
}

impl Head {
    fn parse(bytes: &[u8], most: usize) -> Result<Option<Self>, (CloseCode, &'static str)> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let (last, opcode) = (first & FIN != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err((CloseCode::Protocol, "a reserved bit is set"));
        }
        if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err((CloseCode::Protocol, "an unknown opcode"));
        }
        if second & MASKED == 0 {
            return Err((CloseCode::Protocol, "a client's frames are masked"));
        }
        let (len, wide) = match second & 0x7f {
            126 => (rest.first_chunk().map(|len| u64::from(u16::from_be_bytes(*len))), 2),
            127 => (rest.first_chunk().map(|len| u64::from_be_bytes(*len)), 8),
            len => (Some(u64::from(len)), 0),
        };
        let Some(len) = len else { return Ok(None) };
        if opcode >= CLOSE && (!last || len > MOST_CONTROL as u64) {
            return Err((CloseCode::Protocol, "a control frame is short and whole"));
        }
        // Refused by its head: what it announces is never held.
        let len = match usize::try_from(len) {
            Ok(len) if len <= most.max(MOST_CONTROL) => len,
            _ => return Err((CloseCode::TooBig, "the message is too large")),
        };
        let Some(&mask) = rest.get(wide..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            last,
            opcode,
            mask,
            start: 2 + wide + 4,
            len,
        }))
    }
}

/// A server's frame: whole and not masked.
fn encode(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(FIN | opcode);
    match payload.len() {
        len @ 0..126 => frame.put_u8(len as u8),
        len @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(len as u16);
        }
        len => {
            frame.put_u8(127);
            frame.put_u64(len as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// The text must be UTF-8, as JSON is.
pub(in crate::delivery) fn encode_text(text: &[u8]) -> Bytes {
    encode(TEXT, text)
}

pub(super) fn encode_ping() -> Bytes {
    encode(PING, b"")
}

pub(super) fn encode_pong(payload: &[u8]) -> Bytes {
    encode(PONG, payload)
}

pub(super) fn encode_close(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = (code as u16).to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload.truncate(MOST_CONTROL);
    encode(CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's frame, written the long way round.
    fn client(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut frame = encode(0, payload).to_vec();
        frame[0] = first;
        frame[1] |= MASKED;
        let head = frame.len() - payload.len();
        frame.splice(head..head, mask);
        frame[head + 4..]
            .iter_mut()
            .enumerate()
            .for_each(|(at, byte)| *byte ^= mask[at % 4]);
        frame
    }

    fn decode(bytes: &[u8], cut: usize, most: usize) -> Vec<Incoming> {
        let mut decoder = Decoder::new(most);
        let mut said = Vec::new();
        for read in bytes.chunks(cut) {
            decoder.extend(read);
            while let Some(incoming) = decoder.next() {
                let ends = matches!(incoming, Incoming::Wrong(..));
                said.push(incoming);
                if ends {
                    return said;
                }
            }
        }
        said
    }

    proptest! {
        #[test]
        fn messages_arrive_as_they_were_sent_however_they_are_cut_and_fragmented(
            messages in prop::collection::vec(("\\PC{0,300}", 1_usize..50, any::<bool>()), 1..6),
            mask: [u8; 4],
            cut in 1_usize..700,
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (text, fragment, ping) in &messages {
                let parts: Vec<&[u8]> = if text.is_empty() { vec![b""] } else { text.as_bytes().chunks(*fragment).collect() };
                for (index, part) in parts.iter().enumerate() {
                    let opcode = if index == 0 { TEXT } else { CONTINUATION };
                    let fin = if index + 1 == parts.len() { FIN } else { 0 };
                    bytes.extend(client(fin | opcode, part, mask));
                    if *ping && fin == 0 {
                        bytes.extend(client(FIN | PING, b"?", mask));
                        expected.push(Incoming::Ping(b"?".to_vec()));
                    }
                }
                expected.push(Incoming::Text(text.clone()));
            }
            prop_assert_eq!(decode(&bytes, cut, 4096), expected);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_hold_more_than_its_bound(bytes: Vec<u8>, cut in 1_usize..50) {
            let mut decoder = Decoder::new(64);
            for read in bytes.chunks(cut) {
                decoder.extend(read);
                while let Some(incoming) = decoder.next() {
                    if matches!(incoming, Incoming::Wrong(..)) {
                        return Ok(());
                    }
                }
                prop_assert!(decoder.unread.len() <= 14 + MOST_CONTROL + cut, "{}", decoder.unread.len());
            }
        }
    }

    #[test]
    fn each_broken_rule_has_its_close_code() {
        let code = |bytes: Vec<u8>| match decode(&bytes, 9, 1000).pop() {
            Some(Incoming::Wrong(code, _)) => code,
            other => panic!("{other:?}"),
        };
        let mask = [1, 2, 3, 4];
        assert_eq!(code(client(FIN | BINARY, b"x", mask)), CloseCode::Unsupported);
        assert_eq!(code(client(FIN | TEXT, &[0xff], mask)), CloseCode::Invalid);
        assert_eq!(code(client(FIN | TEXT, &[b'x'; 1001], mask)), CloseCode::TooBig);
        assert_eq!(code(client(0x40 | FIN | TEXT, b"x", mask)), CloseCode::Protocol);
        assert_eq!(code(client(FIN | 3, b"x", mask)), CloseCode::Protocol);
        assert_eq!(code(client(FIN | CONTINUATION, b"x", mask)), CloseCode::Protocol);
        assert_eq!(code(client(FIN | PING, &[0; 126], mask)), CloseCode::Protocol);
        assert_eq!(code(client(PING, b"x", mask)), CloseCode::Protocol);
        assert_eq!(code(client(FIN | CLOSE, b"x", mask)), CloseCode::Protocol);
        assert_eq!(code(encode(TEXT, b"not masked").to_vec()), CloseCode::Protocol);
        let twice = [client(TEXT, b"a", mask), client(FIN | TEXT, b"b", mask)].concat();
        assert_eq!(code(twice), CloseCode::Protocol);
        let long = [
            client(TEXT, &[b'a'; 600], mask),
            client(FIN | CONTINUATION, &[b'a'; 600], mask),
        ]
        .concat();
        assert_eq!(code(long), CloseCode::TooBig);
        let nothing = client(CONTINUATION, b"", mask).repeat(MOST_FRAGMENTS);
        assert_eq!(code([client(TEXT, b"a", mask), nothing].concat()), CloseCode::Policy);
        let announced = vec![FIN | TEXT, MASKED | 127, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(code(announced), CloseCode::TooBig, "before it is sent");
    }

    #[test]
    fn a_server_frame_has_the_shortest_length() {
        assert_eq!(&encode_text(b"hi")[..], b"\x81\x02hi");
        assert_eq!(&encode_text(&[b'x'; 126])[..4], &[0x81, 126, 0, 126]);
        assert_eq!(
            &encode_text(&vec![b'x'; 70_000])[..10],
            &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]
        );
        assert_eq!(
            &encode_close(CloseCode::TryAgainLater, "later")[..],
            b"\x88\x07\x03\xf5later"
        );
    }
}
