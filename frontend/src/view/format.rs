//! Numbers as the page writes them: never without a unit, thousands set apart, a true minus sign.
//!
//! Written with integers, because the formatting of floats that the standard library brings weighs more than this page's charts.

/// A value and its unit, to be set in two sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quantity {
    pub value: String,
    pub unit: &'static str,
}

impl Quantity {
    fn new(value: String, unit: &'static str) -> Self {
        Self { value, unit }
    }

    /// "508 ms", with a space that does not break.
    pub fn text(&self) -> String {
        [self.value.as_str(), self.unit].join("\u{a0}")
    }
}

/// A duration in microseconds: "0.31 ms", "1.3 ms", "1,004 ms", "12.4 s". Negative ones keep their sign.
pub fn latency(us: f64) -> Quantity {
    match us.abs() {
        x if x < 995.0 => Quantity::new(fixed(us / 1e3, 2), "ms"),
        x if x < 9_950.0 => Quantity::new(fixed(us / 1e3, 1), "ms"),
        x if x < 9_999_500.0 => Quantity::new(fixed(us / 1e3, 0), "ms"),
        _ => Quantity::new(fixed(us / 1e6, 1), "s"),
    }
}

/// [`latency`] in one piece.
pub fn latency_text(us: f64) -> String {
    latency(us).text()
}

/// A short duration, for example of a CPU: "9.1 µs", "340 µs", "1.2 ms".
pub fn micros(us: f64) -> String {
    match us.abs() {
        x if x < 9.95 => Quantity::new(fixed(us, 1), "µs").text(),
        x if x < 999.5 => Quantity::new(fixed(us, 0), "µs").text(),
        _ => latency_text(us),
    }
}

/// A stage of a latency, which may be far shorter than the whole: "4.1 µs", "0.31 ms", "508 ms".
pub fn stage(us: f64) -> String {
    if us.abs() < 99.5 { micros(us) } else { latency_text(us) }
}

/// An interval as it was chosen: "100 ms", "1 s", "1.5 s".
pub fn interval(ms: u32) -> String {
    let decimals = if ms.is_multiple_of(1000) { 0 } else { 1 };
    if ms < 1000 {
        Quantity::new(count(ms.into()), "ms")
    } else {
        Quantity::new(fixed(f64::from(ms) / 1e3, decimals), "s")
    }
    .text()
}

/// A number as machines read it, with at most three decimals.
pub fn plain(value: f64) -> String {
    let decimals = if value.fract() == 0.0 { 0 } else { 3 };
    fixed(value, decimals).replace(',', "").replace('\u{2212}', "-")
}

/// How long ago or how long for, to read and not to compare: "3 s", "4 min 12 s", "2 h 5 min".
pub fn ago(us: f64) -> String {
    let s = (us.max(0.0) / 1e6) as u64;
    let mut out = String::new();
    let (big, big_unit, small, small_unit) = match s {
        0..60 => (0, "", s, "\u{a0}s"),
        60..3600 => (s / 60, "\u{a0}min ", s % 60, "\u{a0}s"),
        _ => (s / 3600, "\u{a0}h ", s % 3600 / 60, "\u{a0}min"),
    };
    if big > 0 {
        push_grouped(&mut out, big);
        out.push_str(big_unit);
    }
    push_grouped(&mut out, small);
    out.push_str(small_unit);
    out
}

/// Bytes in decimal units: "118 B", "1.2 kB", "4.3 GB".
pub fn bytes(n: f64) -> String {
    let mut n = n.max(0.0);
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    while n >= 999.5
        && let Some(next) = units.next()
    {
        n /= 1e3;
        unit = next;
    }
    let decimals = if unit == "B" || n >= 99.95 { 0 } else { 1 };
    Quantity::new(fixed(n, decimals), unit).text()
}

/// Events a second: "0.5/s", "24/s", "1,000/s".
pub fn rate(hz: f64) -> String {
    let mut text = fixed(hz, if hz < 99.95 { 1 } else { 0 });
    text.push_str("/s");
    text
}

/// [`rate`] in words: "0.5 events/s", "1 event/s", "10,030 events/s".
pub fn events_per_s(hz: f64) -> String {
    let text = fixed(hz, if hz < 99.95 { 1 } else { 0 });
    let text = text.strip_suffix(".0").unwrap_or(&text);
    let unit = if text == "1" { "event/s" } else { "events/s" };
    [text, unit].join("\u{a0}")
}

/// "×390", "×4.2": how many times sooner.
pub fn times(ratio: f64) -> String {
    let mut text = String::from("×");
    // Three digits are all that the measurement carries.
    let digits = if ratio < 9.95 {
        fixed(ratio, 1)
    } else {
        fixed(round_to_digits(ratio, 3), 0)
    };
    text.push_str(&digits);
    text
}

/// "48 %" of a share between 0 and 1; "<1 %" for what is little but not nothing.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.005 {
        return String::from("<1\u{a0}%");
    }
    Quantity::new(fixed(share * 100.0, 0), "%").text()
}

/// "1,440"
pub fn count(n: u64) -> String {
    let mut out = String::new();
    push_grouped(&mut out, n);
    out
}

/// "+0.02 ±0.11 ms": the sign is always there, because it tells whose clock is ahead.
pub fn offset(offset_us: f64, bound_us: f64) -> String {
    let ms = fixed(offset_us / 1e3, 2);
    let sign = if ms.starts_with('\u{2212}') { "" } else { "+" };
    let mut out = [sign, &ms, " ±"].concat();
    // The bound is rounded up: it must not promise more than was measured.
    out.push_str(&fixed((bound_us / 10.0).ceil() / 100.0, 2));
    out.push_str("\u{a0}ms");
    out
}

/// `value` with so many decimals (at most 3), rounded half away from zero. "–" for what is no number.
pub fn fixed(value: f64, decimals: u32) -> String {
    if !value.is_finite() {
        return String::from("–");
    }
    let scale = 10u64.pow(decimals.min(3));
    let scaled = (value.abs() * scale as f64).round() as u64;
    let mut out = String::new();
    if value < 0.0 && scaled > 0 {
        out.push('\u{2212}');
    }
    push_grouped(&mut out, scaled / scale);
    if scale > 1 {
        out.push('.');
        let mut place = scale / 10;
        while place > 0 {
            out.push(digit(scaled / place));
            place /= 10;
        }
    }
    out
}

fn push_grouped(out: &mut String, n: u64) {
    let mut place = 1u64;
    let mut places = 1;
    while n / place >= 10 {
        place *= 10;
        places += 1;
    }
    for left in (0..places).rev() {
        out.push(digit(n / place));
        place = (place / 10).max(1);
        if left > 0 && left % 3 == 0 {
            out.push(',');
        }
    }
}

fn digit(n: u64) -> char {
    char::from(b'0' + (n % 10) as u8)
}

fn round_to_digits(value: f64, digits: i32) -> f64 {
    if value <= 0.0 {
        return value;
    }
    let scale = 10f64.powi(value.log10().floor() as i32 + 1 - digits);
    (value / scale).round() * scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_latency_has_two_or_three_digits_that_carry_and_its_unit() {
        for (us, text) in [
            (310.0, "0.31 ms"),
            (994.0, "0.99 ms"),
            (1_300.0, "1.3 ms"),
            (9_949.0, "9.9 ms"),
            (9_960.0, "10 ms"),
            (508_200.0, "508 ms"),
            (1_004_000.0, "1,004 ms"),
            (12_440_000.0, "12.4 s"),
            (-80.0, "\u{2212}0.08 ms"),
            (0.0, "0.00 ms"),
        ] {
            assert_eq!(latency_text(us), text.replace(' ', "\u{a0}"), "{us}");
        }
    }

    #[test]
    fn what_is_no_number_is_never_written_as_one() {
        assert_eq!(fixed(f64::NAN, 1), "–");
        assert_eq!(latency(f64::INFINITY).value, "–");
    }

    #[test]
    fn the_clock_keeps_its_sign_and_rounds_its_bound_up() {
        assert_eq!(offset(20.0, 101.0), "+0.02 ±0.11\u{a0}ms");
        assert_eq!(offset(-1_500.0, 100.0), "\u{2212}1.50 ±0.10\u{a0}ms");
        assert_eq!(offset(-0.1, 0.0), "+0.00 ±0.00\u{a0}ms");
    }

    #[test]
    fn each_quantity_is_read_as_people_write_it() {
        let plain = |text: String| text.replace('\u{a0}', " ");
        assert_eq!(plain(micros(9.14)), "9.1 µs");
        assert_eq!(plain(micros(340.0)), "340 µs");
        assert_eq!(plain(micros(1_230.0)), "1.2 ms");
        assert_eq!(plain(stage(4.12)), "4.1 µs");
        assert_eq!(plain(stage(310.0)), "0.31 ms");
        assert_eq!(plain(interval(100)), "100 ms");
        assert_eq!(plain(interval(1_000)), "1 s");
        assert_eq!(plain(interval(1_500)), "1.5 s");
        assert_eq!(plain(bytes(118.0)), "118 B");
        assert_eq!(plain(bytes(1_234.0)), "1.2 kB");
        assert_eq!(plain(bytes(999_700.0)), "1.0 MB");
        assert_eq!(plain(bytes(4.3e9)), "4.3 GB");
        assert_eq!(rate(24.04), "24.0/s");
        assert_eq!(rate(1_000.0), "1,000/s");
        assert_eq!(plain(events_per_s(0.52)), "0.5 events/s");
        assert_eq!(plain(events_per_s(1.04)), "1 event/s");
        assert_eq!(plain(events_per_s(24.0)), "24 events/s");
        assert_eq!(plain(events_per_s(10_030.4)), "10,030 events/s");
        assert_eq!(times(4.21), "×4.2");
        assert_eq!(times(390.6), "×391");
        assert_eq!(times(12_345.0), "×12,300");
        assert_eq!(plain(percent(0.48)), "48 %");
        assert_eq!(plain(percent(0.001)), "<1 %");
        assert_eq!(plain(percent(0.0)), "0 %");
        assert_eq!(plain(ago(3.2e6)), "3 s");
        assert_eq!(plain(ago(252e6)), "4 min 12 s");
        assert_eq!(plain(ago(7_500e6)), "2 h 5 min");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(0), "0");
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(value in -1e9f64..1e9, decimals in 0u32..4) {
            let expected = format!("{:.*}", decimals as usize, value.abs());
            let ours = fixed(value, decimals).replace([',', '\u{2212}'], "");
            let apart = (ours.parse::<f64>().unwrap() - expected.parse::<f64>().unwrap()).abs();
            // A half may fall to either side; more than one last digit apart is an error.
            prop_assert!(apart <= 1.001 * 10f64.powi(-(decimals as i32)), "{ours} {expected}");
        }

        #[test]
        fn counts_read_back(n: u64) {
            prop_assert_eq!(count(n).replace(',', ""), n.to_string());
        }
    }
}
