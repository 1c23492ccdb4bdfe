//! `--from`: a position as the API takes it, and times as people write them.

use freshet_wire::Position;

use crate::time::now_us;

const TIME: &str = "time takes microseconds since the Unix epoch, a time of RFC 3339 (time:2026-01-02T03:04:05Z), or how long ago it was in s, m, h or d (time:-10m)";

/// Reads a position. Relative times count from now.
pub(super) fn position(text: &str) -> Result<Position, String> {
    match text.strip_prefix("time:") {
        Some(time) => at(time, now_us()).map(Position::Time).ok_or_else(|| TIME.to_owned()),
        None => text
            .parse()
            .map_err(|error: freshet_wire::PositionError| error.to_string()),
    }
}

fn at(time: &str, now_us: i64) -> Option<i64> {
    if let Ok(us) = time.parse::<i64>() {
        return (!time.starts_with('+')).then_some(us);
    }
    if let Some(ago) = time.strip_prefix('-')
        && let Some((at, unit)) = ago.char_indices().next_back()
    {
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let count = &ago[..at];
        let count: i64 = count
            .parse()
            .ok()
            .filter(|_| count.bytes().all(|byte| byte.is_ascii_digit()))?;
        return now_us.checked_sub(count.checked_mul(seconds * 1_000_000)?);
    }
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_how_long_ago() {
        let now = 1_800_000_000_000_000;
        for (text, expected) in [
            ("1767323045000000", Some(1_767_323_045_000_000)),
            ("-5", Some(-5)),
            ("2026-01-02T03:04:05Z", Some(1_767_323_045_000_000)),
            ("2026-01-02T04:04:05.5+01:00", Some(1_767_323_045_500_000)),
            ("-10m", Some(now - 600_000_000)),
            ("-1h", Some(now - 3_600_000_000)),
            ("-90s", Some(now - 90_000_000)),
            ("-2d", Some(now - 172_800_000_000)),
            ("+5", None),
            ("-m", None),
            ("--5m", None),
            ("-5w", None),
            ("-5ü", None),
            ("-99999999999999999d", None),
            ("-9999999999999999d", None),
            ("2026-01-02", None),
            ("", None),
        ] {
            assert_eq!(at(text, now), expected, "{text}");
        }
    }

    #[test]
    fn every_other_position_is_as_the_api_has_it() {
        assert_eq!(position("earliest"), Ok(Position::Earliest));
        assert_eq!(
            position("offset:0:7"),
            Ok(Position::Offset {
                partition: 0,
                offset: 7
            })
        );
        assert!(position("soon").unwrap_err().contains("a position is"));
        assert!(position("time:soon").unwrap_err().contains("RFC 3339"));
    }
}
