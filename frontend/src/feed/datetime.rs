//! Moments as people read them, with milliseconds: on this machine's clock, in UTC, or how long ago. Pure.

use crate::view::format;

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Local,
    Utc,
    Relative,
}

/// A moment of the calendar (proleptic Gregorian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: u64,
    day: u64,
    /// Of that day.
    us: u64,
}

const DAY_US: i64 = 86_400_000_000;

/// From days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(us: i64) -> Civil {
    let days = us.div_euclid(DAY_US) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month: month as u64,
        day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u64,
        us: us.rem_euclid(DAY_US) as u64,
    }
}

fn padded(out: &mut String, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(char::from(b'0' + (number / 10_u64.pow(place) % 10) as u8));
    }
}

/// "14:03:22.418", with the date before it where it is another day than that of `now_us`.
fn clock_time(us: i64, now_us: i64) -> String {
    let (at, now) = (civil(us), civil(now_us));
    let mut out = String::new();
    if (at.year, at.month, at.day) != (now.year, now.month, now.day) {
        date(&mut out, &at);
        out.push(' ');
    }
    time_of_day(&mut out, at.us);
    out
}

fn date(out: &mut String, at: &Civil) {
    padded(out, at.year.unsigned_abs(), 4);
    out.push('-');
    padded(out, at.month, 2);
    out.push('-');
    padded(out, at.day, 2);
}

fn time_of_day(out: &mut String, us: u64) {
    let s = us / 1_000_000;
    for (number, mark) in [(s / 3600, ":"), (s / 60 % 60, ":"), (s % 60, ".")] {
        padded(out, number, 2);
        out.push_str(mark);
    }
    padded(out, us / 1000 % 1000, 3);
}

/// "−0.312 s", "−1:15.312", "−2:03:15.312"; "+0.005 s" for what is still to come by this page's account.
fn relative(us: i64, now_us: i64) -> String {
    let ago_us = now_us.saturating_sub(us);
    let ms = ago_us.unsigned_abs() / 1000;
    let mut out = String::from(if ago_us >= 0 { "\u{2212}" } else { "+" });
    let (h, min, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    if h > 0 {
        out.push_str(&format::count(h));
        out.push(':');
        padded(&mut out, min, 2);
        out.push(':');
        padded(&mut out, s, 2);
    } else if min > 0 {
        out.push_str(&format::count(min));
        out.push(':');
        padded(&mut out, s, 2);
    } else {
        out.push_str(&format::count(s));
    }
    out.push('.');
    padded(&mut out, ms % 1000, 3);
    if h == 0 && min == 0 {
        out.push_str("\u{a0}s");
    }
    out
}

/// A moment in microseconds since the Unix epoch; `ahead_us`: how far this machine's time zone is ahead of UTC then.
pub fn moment(us: i64, now_us: i64, style: Style, ahead_us: i64) -> String {
    match style {
        Style::Local => clock_time(us.saturating_add(ahead_us), now_us.saturating_add(ahead_us)),
        Style::Utc => {
            let mut out = clock_time(us, now_us);
            out.push('Z');
            out
        }
        Style::Relative => relative(us, now_us),
    }
}

/// In full, as RFC 3339 has it, to the microsecond: "2026-11-25T14:03:22.418033Z".
pub fn in_full(us: i64) -> String {
    let at = civil(us);
    let mut out = String::new();
    date(&mut out, &at);
    out.push('T');
    time_of_day(&mut out, at.us);
    padded(&mut out, at.us % 1000, 3);
    out.push('Z');
    out
}

/// As a box for a date and a time holds it, on this machine's clock, to the second: "2026-11-25T14:03:22".
pub fn in_a_box(us: i64, ahead_us: i64) -> String {
    let mut out = in_full(us.saturating_add(ahead_us));
    out.truncate(19);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_615_402_418_033; // 2026-11-25T14:03:22.418033Z

    #[test]
    fn a_moment_is_written_in_each_style() {
        assert_eq!(in_full(NOW), "2026-11-25T14:03:22.418033Z");
        assert_eq!(in_full(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(in_a_box(NOW, -3_600_000_000), "2026-11-25T13:03:22");
        assert_eq!(in_full(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(in_full(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(moment(NOW, NOW, Style::Utc, 0), "14:03:22.418Z");
        let hour = 3_600_000_000;
        assert_eq!(moment(NOW, NOW, Style::Local, hour), "15:03:22.418");
        assert_eq!(
            moment(NOW - DAY_US, NOW, Style::Local, 10 * hour),
            "2026-11-25 00:03:22.418"
        );
        let ago = |ms: i64| moment(NOW - ms * 1000, NOW, Style::Relative, 0).replace('\u{a0}', " ");
        assert_eq!(ago(312), "\u{2212}0.312 s");
        assert_eq!(ago(75_312), "\u{2212}1:15.312");
        assert_eq!(ago(7_395_005), "\u{2212}2:03:15.005");
        assert_eq!(ago(-5), "+0.005 s");
    }

    proptest! {
        #[test]
        fn no_moment_is_too_far(us: i64, now_us: i64) {
            for style in [Style::Local, Style::Utc, Style::Relative] {
                moment(us, now_us, style, 0);
            }
            in_full(us);
        }

        #[test]
        fn later_reads_later(us in 0..4_000_000_000_000_000i64, by in 1..1_000_000_000_000i64) {
            prop_assert!(in_full(us) < in_full(us + by));
        }
    }
}
