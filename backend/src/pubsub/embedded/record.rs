//! One record of a segment: an event's JSON, and what it takes to know that it is whole and whose it is.
//!
//! ```text
//! head   magic 4 │ bytes of the body u32 │ offset u64 │ CRC-32 of the body u32 │ CRC-32 of the head so far u32
//! body   ingested_us i64 │ flags u8 │ [records of the publication u32] │ [key's bytes u16 │ key │ digest 16] │ JSON
//! ```
//!
//! Integers are little-endian. The head has a checksum of its own, so that a damaged body is still known by its offset and its end,
//! and so that a length that was damaged is not taken for a record that was torn off.

use bytes::Bytes;

use crate::pubsub::Idempotency;

/// No text holds it: neither 0xff nor 0xfe is ever a byte of UTF-8. So nothing in an event can look like a record.
pub(super) const MAGIC: [u8; 4] = [0xff, b'F', b'r', 0xfe];
pub(super) const HEAD: usize = 24;
const STAMP: usize = 9;
/// An event's JSON, in bytes.
pub(super) const MOST_JSON: usize = 16 << 20;
/// A key of idempotency, in bytes.
pub(super) const MOST_KEY: usize = 1 << 10;
const MOST_BODY: usize = MOST_JSON + MOST_KEY + 64;

/// It is the first of a publication, and the number of its records follows.
const FIRST: u8 = 1;
/// It belongs to the publication of the record before it.
const REST: u8 = 2;
/// Key and digest follow.
const KEYED: u8 = 4;
/// The event carries a fencing token.
const TOKEN: u8 = 8;

/// A record that is about to be written.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) offset: u64,
    pub(super) ingested_us: i64,
    pub(super) place: Place<'a>,
    pub(super) token: bool,
    pub(super) json: &'a [u8],
}

/// Where in its publication a record stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    First {
        count: u32,
        idempotency: Option<&'a Idempotency>,
    },
    Rest,
}

impl Frame<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; HEAD - MAGIC.len()]);
        out.extend_from_slice(&self.ingested_us.to_le_bytes());
        let token = if self.token { TOKEN } else { 0 };
        match self.place {
            Place::First { count, idempotency } => {
                let keyed = if idempotency.is_some() { KEYED } else { 0 };
                out.push(FIRST | token | keyed);
                out.extend_from_slice(&count.to_le_bytes());
                if let Some(Idempotency { key, digest }) = idempotency {
                    debug_assert!(key.len() <= MOST_KEY);
                    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
                    out.extend_from_slice(key.as_bytes());
                    out.extend_from_slice(digest);
                }
            }
            Place::Rest => out.push(REST | token),
        }
        out.extend_from_slice(self.json);
        let length = (out.len() - start - HEAD) as u32;
        let body_crc = crc32fast::hash(&out[start + HEAD..]);
        let head = &mut out[start..start + HEAD];
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..16].copy_from_slice(&self.offset.to_le_bytes());
        head[16..20].copy_from_slice(&body_crc.to_le_bytes());
        let head_crc = crc32fast::hash(&head[..20]);
        head[20..].copy_from_slice(&head_crc.to_le_bytes());
    }
}

/// The head of a record, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) offset: u64,
    body_crc: u32,
}

impl Head {
    /// `None` where no head begins, or a damaged one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        if head[..4] != MAGIC || crc32fast::hash(&head[..20]) != u32_at(head, 20)? {
            return None;
        }
        let length = u32_at(head, 4)? as usize;
        (STAMP..=MOST_BODY).contains(&length).then_some(Self {
            length,
            offset: u64_at(head, 8)?,
            body_crc: u32_at(head, 16)?,
        })
    }

    /// Of head and body.
    pub(super) fn size(&self) -> usize {
        HEAD + self.length
    }

    pub(super) fn fits(&self, body: &[u8]) -> bool {
        crc32fast::hash(body) == self.body_crc
    }
}

/// The body of a record, whole.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) ingested_us: i64,
    /// How many records the publication has that begins with this one; `None`: it belongs to the one before.
    pub(super) count: Option<u32>,
    pub(super) key: Option<Idempotency>,
    pub(super) token: bool,
    pub(super) json: Bytes,
}

impl Body {
    /// `None` where its checksum holds and it is nevertheless not what was ever written.
    pub(super) fn parse(body: &Bytes) -> Option<Self> {
        let flags = *body.get(8)?;
        let mut at = STAMP;
        let mut count = None;
        if flags & FIRST != 0 {
            count = Some(u32_at(body, at)?);
            at += 4;
        }
        let mut key = None;
        if flags & KEYED != 0 {
            let length = usize::from(u16::from_le_bytes(*body.get(at..)?.first_chunk()?));
            at += 2;
            key = Some(Idempotency {
                key: str::from_utf8(body.get(at..at + length)?).ok()?.to_owned(),
                digest: *body.get(at + length..)?.first_chunk()?,
            });
            at += length + 16;
        }
        Some(Self {
            ingested_us: Self::ingested_us(body)?,
            count,
            key,
            token: flags & TOKEN != 0,
            json: (at <= body.len()).then(|| body.slice(at..))?,
        })
    }

    /// Cheaper than all of it.
    pub(super) fn ingested_us(body: &[u8]) -> Option<i64> {
        body.first_chunk().copied().map(i64::from_le_bytes)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frame: &Frame<'_>) -> Bytes {
        let mut out = Vec::new();
        frame.write(&mut out);
        Bytes::from(out)
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(
            offset: u64,
            ingested_us: i64,
            count: Option<u32>,
            key in prop::option::of(("\\PC{0,40}", any::<[u8; 16]>())),
            token: bool,
            json in "\\PC{0,200}",
        ) {
            let idempotency = key.map(|(key, digest)| Idempotency { key, digest });
            let place = match count {
                Some(count) => Place::First { count, idempotency: idempotency.as_ref() },
                None => Place::Rest,
            };
            let bytes = written(&Frame { offset, ingested_us, place, token, json: json.as_bytes() });
            let head = Head::parse(&bytes).unwrap();
            prop_assert_eq!((head.offset, head.size()), (offset, bytes.len()));
            let body = bytes.slice(HEAD..);
            prop_assert!(head.fits(&body));
            let body = Body::parse(&body).unwrap();
            prop_assert_eq!((body.ingested_us, body.count, body.token), (ingested_us, count, token));
            prop_assert_eq!(body.key, count.and(idempotency));
            prop_assert_eq!(&body.json[..], json.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = (Head::parse(&bytes), Body::parse(&bytes));
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let idempotency = Idempotency {
            key: "k".to_owned(),
            digest: [7; 16],
        };
        let place = Place::First {
            count: 1,
            idempotency: Some(&idempotency),
        };
        let whole = written(&Frame {
            offset: 5,
            ingested_us: 6,
            place,
            token: true,
            json: b"{}",
        });
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let seen = match Head::parse(&bytes) {
                None => bit < HEAD * 8,
                Some(head) => bit >= HEAD * 8 && !head.fits(&bytes[HEAD..]),
            };
            assert!(seen, "bit {bit}");
        }
    }
}
