//! A cursor: where a reader stands in a topic. Opaque to clients, who send it back as they got it.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Which log stands behind a topic. It changes when the log is another one, so that an old cursor is
/// recognised instead of silently read against other events. 48 bits, written as 12 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    const BITS: u64 = (1 << 48) - 1;

    /// Keeps the low 48 bits of a random number.
    pub fn new(random: u64) -> Self {
        Self(random & Self::BITS)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        // from_str_radix would take a sign.
        if text.len() != 12 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(CursorError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| CursorError)
    }
}

/// The epoch of a log and the next offset to read of each of its partitions, written `EPOCH-N0-N1-…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub epoch: Epoch,
    /// By partition number; never empty.
    pub next: Vec<u64>,
}

impl Cursor {
    /// More partitions than this are refused: the text of a cursor has a bound.
    pub const MAX_PARTITIONS: usize = 1024;

    /// The cursor of a topic with a single partition.
    pub fn single(epoch: Epoch, next: u64) -> Self {
        Self {
            epoch,
            next: vec![next],
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.epoch.fmt(f)?;
        self.next.iter().try_for_each(|next| write!(f, "-{next}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('-');
        let epoch = parts.next().ok_or(CursorError)?.parse()?;
        let mut next = Vec::new();
        for part in parts {
            if next.len() == Self::MAX_PARTITIONS {
                return Err(CursorError);
            }
            next.push(parse_offset(part).ok_or(CursorError)?);
        }
        if next.is_empty() {
            Err(CursorError)
        } else {
            Ok(Self { epoch, next })
        }
    }
}

/// Digits only: `u64::from_str` would also take `+7`, and one position has one text.
pub(crate) fn parse_offset(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorError;

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a cursor: send back one that the server gave in `next`")
    }
}

impl std::error::Error for CursorError {}

macro_rules! serde_as_text {
    ($type:ty, $expecting:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

serde_as_text!(Epoch, "12 hexadecimal digits");
serde_as_text!(Cursor, "a cursor");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_it_was_written(random: u64, next in prop::collection::vec(any::<u64>(), 1..8)) {
            let cursor = Cursor { epoch: Epoch::new(random), next };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_in_one_way_or_not_at_all(text in "[0-9a-f+ -]{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                let canonical = cursor.to_string();
                prop_assert_eq!(canonical.parse(), Ok(cursor));
            }
        }
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        for text in [
            "",
            "-",
            "0123456789ab",
            "0123456789ab-",
            "0123456789AB-1",
            "0123456789ab-+1",
            "0123456789ab-1--2",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }
}
