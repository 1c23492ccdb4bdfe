//! What a message holds, found without parsing it: the readers' core must not become the bottleneck.

use memchr::memmem;
use serde::Deserialize;

/// The events of one message: consecutive offsets of one topic, so the first and the last tell how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    pub first: u64,
    pub last: u64,
    pub first_us: i64,
    pub last_us: i64,
}

impl Events {
    /// `None` when the message holds no event.
    pub fn find(message: &[u8]) -> Option<Self> {
        let offset = br#""offset":"#;
        let produced = br#""produced_us":"#;
        let at = memmem::find(message, offset)?;
        let from_first = &message[at..];
        let last_offset = memmem::rfind(message, offset)?;
        let from_last = &message[last_offset..];
        Some(Self {
            first: number(&from_first[offset.len()..]),
            last: number(&from_last[offset.len()..]),
            first_us: after(from_first, produced)?,
            last_us: after(from_last, produced)?,
        })
    }

    pub fn count(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

fn after(bytes: &[u8], name: &[u8]) -> Option<i64> {
    let at = memmem::find(bytes, name)? + name.len();
    i64::try_from(number(&bytes[at..])).ok()
}

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Events that the server says it did not deliver.
#[derive(Debug, Deserialize)]
pub struct Gap {
    pub from_offset: u64,
    pub count: u64,
}

impl Gap {
    /// `None` when the message is no gap.
    pub fn find(message: &[u8]) -> Result<Option<Self>, String> {
        if !message.starts_with(br#"{"type":"gap""#) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(message);
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| format!("{error} in {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_from_the_first_and_the_last() {
        let event = |offset, us| {
            format!(r#"{{"topic":"t","partition":0,"offset":{offset},"id":"i","produced_us":{us},"data":{{}}}}"#)
        };
        let message = format!(
            r#"{{"type":"events","events":[{},{},{}],"next":{{"t":"e-12"}}}}"#,
            event(9, 70),
            event(10, 80),
            event(11, 90)
        );
        let found = Events::find(message.as_bytes());
        assert_eq!(
            found,
            Some(Events {
                first: 9,
                last: 11,
                first_us: 70,
                last_us: 90
            })
        );
        assert_eq!(found.map(|events| events.count()), Some(3));
        assert_eq!(
            Events::find(br#"{"type":"events","events":[],"next":{"t":"e-12"},"sent_us":1}"#),
            None
        );
        let gap = br#"{"type":"gap","topic":"t","partition":0,"from_offset":3,"count":4,"reason":"retention"}"#;
        assert_eq!(Events::find(gap), None);
        assert!(matches!(
            Gap::find(gap),
            Ok(Some(Gap {
                from_offset: 3,
                count: 4
            }))
        ));
    }
}
