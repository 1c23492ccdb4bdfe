//! The client's side of WebSocket framing (RFC 6455, section 5), as cheap as it can be: frames are looked at
//! where they lie in the read buffer.

/// A whole frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close(Option<u16>),
    Other,
}

/// A key for the handshake; the answer to it is not checked: what is measured is no stranger.
pub const KEY: &str = "ZnJlc2hldCBiZW5jaGluZw==";
const TEXT: u8 = 1;
const PONG: u8 = 10;

/// The first frame in `bytes` and how many bytes it takes; `None` until it is whole.
pub fn split(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(format!(
            "a fragmented, compressed or masked frame: {first:#x} {second:#x}"
        ));
    }
    let (length, head) = match second & 0x7f {
        126 => match rest {
            [a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (
                usize::try_from(u64::from_be_bytes(*length)).map_err(|_| "a frame beyond memory")?,
                10,
            ),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    let Some(payload) = bytes.get(head..head + length) else {
        return Ok(None);
    };
    let frame = match first & 0x0f {
        TEXT => Frame::Text(payload),
        8 => Frame::Close(payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))),
        9 => Frame::Ping(payload),
        _ => Frame::Other,
    };
    Ok(Some((frame, head + length)))
}

pub fn text(payload: &[u8]) -> Vec<u8> {
    masked(TEXT, payload)
}

pub fn pong(payload: &[u8]) -> Vec<u8> {
    masked(PONG, payload)
}

/// A frame to the server, with the mask 0: the server unmasks as ever, and nothing is to be hidden from a proxy.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, payload.len());
    frame[1] |= 0x80;
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A frame as a server sends it.
pub fn from_server(payload: &[u8]) -> Vec<u8> {
    let mut frame = head(TEXT, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => head.push(short),
        (_, Ok(medium)) => {
            head.push(126);
            head.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_once_it_is_whole() {
        for length in [0, 1, 125, 126, 70_000] {
            let payload = vec![b'x'; length];
            let frame = from_server(&payload);
            assert_eq!(split(&frame), Ok(Some((Frame::Text(&payload), frame.len()))));
            assert_eq!(split(&frame[..frame.len() - 1]), Ok(None));
        }
        assert!(split(&text(b"masked")).is_err());
    }
}
