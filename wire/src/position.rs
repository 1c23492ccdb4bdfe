//! `TOPIC[@POSITION]`: what a reader asks for, the same text on both lanes.

use std::fmt;
use std::str::FromStr;

use crate::Cursor;
use crate::cursor::parse_offset;

/// The longest topic name, in bytes (Apache Kafka's limit is 249 characters).
pub const MAX_TOPIC_BYTES: usize = 249;

/// Where in a topic a reader wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Where an earlier read ended.
    Cursor(Cursor),
    /// The oldest event that is kept.
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// A given offset of one partition; the others from their latest.
    Offset { partition: u32, offset: u64 },
    /// The first event that was ingested at or after this time, in microseconds; if there is none yet, what comes next.
    Time(i64),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cursor(cursor) => cursor.fmt(f),
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset { partition, offset } => write!(f, "offset:{partition}:{offset}"),
            Self::Time(us) => write!(f, "time:{us}"),
        }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        match text.split_once(':') {
            // Not `+7`: one position has one text.
            Some(("time", us)) if us.starts_with('+') => Err(PositionError::Time),
            Some(("time", us)) => us.parse().map(Self::Time).map_err(|_| PositionError::Time),
            Some(("offset", rest)) => rest
                .split_once(':')
                .and_then(|(partition, offset)| {
                    let partition = u32::try_from(parse_offset(partition)?).ok()?;
                    Some(Self::Offset {
                        partition,
                        offset: parse_offset(offset)?,
                    })
                })
                .ok_or(PositionError::Offset),
            Some(_) => Err(PositionError::Unknown),
            None => match text {
                "earliest" => Ok(Self::Earliest),
                "latest" => Ok(Self::Latest),
                cursor => cursor.parse().map(Self::Cursor).map_err(|_| PositionError::Unknown),
            },
        }
    }
}

/// One topic that a reader asks for; without a position, the newest event only and what comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    pub topic: String,
    pub position: Option<Position>,
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            Some(position) => write!(f, "{}@{position}", self.topic),
            None => f.write_str(&self.topic),
        }
    }
}

impl FromStr for From {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (topic, position) = match text.split_once('@') {
            Some((topic, position)) => (topic, Some(position.parse()?)),
            None => (text, None),
        };
        check_topic_name(topic)?;
        Ok(Self {
            topic: topic.to_owned(),
            position,
        })
    }
}

/// A topic's name is 1 to [`MAX_TOPIC_BYTES`] bytes of letters and digits of any script, `.`, `_` and `-`; not `.` and not `..`, which
/// clients take out of a path.
pub fn check_topic_name(name: &str) -> Result<(), PositionError> {
    let ok = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if matches!(name, "" | "." | "..") || name.len() > MAX_TOPIC_BYTES || !name.chars().all(ok) {
        return Err(PositionError::Topic);
    }
    Ok(())
}

/// Why a text is not `TOPIC[@POSITION]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionError {
    Topic,
    Time,
    Offset,
    Unknown,
}

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => {
                "a topic's name is 1 to 249 bytes of letters, digits, '.', '_' and '-', and neither '.' nor '..'"
            }
            Self::Time => "time:US takes whole microseconds since the Unix epoch",
            Self::Offset => "offset:PARTITION:N takes two whole numbers",
            Self::Unknown => {
                "a position is a cursor that the server gave, earliest, latest, offset:PARTITION:N or time:US"
            }
        })
    }
}

impl std::error::Error for PositionError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Epoch;

    fn position() -> impl Strategy<Value = Option<Position>> {
        prop_oneof![
            Just(None),
            Just(Some(Position::Earliest)),
            Just(Some(Position::Latest)),
            any::<(u32, u64)>().prop_map(|(partition, offset)| Some(Position::Offset { partition, offset })),
            any::<i64>().prop_map(|us| Some(Position::Time(us))),
            any::<(u64, u64)>().prop_map(|(e, n)| Some(Position::Cursor(Cursor::single(Epoch::new(e), n)))),
        ]
    }

    proptest! {
        #[test]
        fn what_a_reader_asks_for_reads_back_as_it_was_written(topic in "[a-z0-9._ü水-]{1,30}", position in position()) {
            prop_assume!(topic != "." && topic != "..");
            let from = From { topic, position };
            prop_assert_eq!(from.to_string().parse(), Ok(from));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<From>();
        }
    }

    #[test]
    fn each_refusal_says_what_would_be_right() {
        let why = |text: &str| text.parse::<From>().unwrap_err();
        assert_eq!(why(""), PositionError::Topic);
        assert_eq!(why("a b"), PositionError::Topic);
        assert_eq!(
            (why("."), why("..@latest")),
            (PositionError::Topic, PositionError::Topic)
        );
        assert!(check_topic_name("...").is_ok() && check_topic_name(".a").is_ok());
        assert_eq!(why(&"x".repeat(250)), PositionError::Topic);
        assert_eq!(why("t@"), PositionError::Unknown);
        assert_eq!(why("t@newest"), PositionError::Unknown);
        assert_eq!(why("t@time:soon"), PositionError::Time);
        assert_eq!(why("t@offset:0"), PositionError::Offset);
        assert_eq!(why("t@offset:0:-1"), PositionError::Offset);
        assert_eq!(why("t@offset:4294967296:1"), PositionError::Offset);
    }
}
