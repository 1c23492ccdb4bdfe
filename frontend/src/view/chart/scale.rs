//! Scales and ticks: where a value lies on the canvas, and which round values get a line.

/// Time runs to the right; the right edge is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeScale {
    pub now_us: f64,
    pub span_us: f64,
    pub left: f64,
    pub right: f64,
}

impl TimeScale {
    pub fn x(&self, us: f64) -> f64 {
        self.right - (self.now_us - us) / self.us_per_px()
    }

    pub fn us_at(&self, x: f64) -> f64 {
        self.now_us - (self.right - x) * self.us_per_px()
    }

    pub fn us_per_px(&self) -> f64 {
        self.span_us / (self.right - self.left).max(1.0)
    }

    pub fn left_us(&self) -> f64 {
        self.now_us - self.span_us
    }
}

/// The round step in microseconds that gives at most `most` ticks in a span.
pub fn time_step_us(span_us: f64, most: f64) -> f64 {
    const STEPS_S: [f64; 13] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    ];
    let least = span_us / most.max(1.0);
    STEPS_S
        .into_iter()
        .map(|s| s * 1e6)
        .find(|step| *step >= least)
        .unwrap_or(3_600e6)
}

/// "now", "−6 s", "−1.5 s", "−4 min".
pub fn age_label(age_us: f64) -> String {
    let (value, unit) = if age_us >= 60e6 && age_us % 60e6 < 1.0 {
        (age_us / 60e6, " min")
    } else {
        (age_us / 1e6, " s")
    };
    if age_us < 1.0 {
        return String::from("now");
    }
    let decimals = if value.fract() < 1e-6 { 0 } else { 1 };
    ["\u{2212}", &crate::view::format::fixed(value, decimals), unit].concat()
}

/// 1, 2, 5, 10 … microseconds, up to 1,000 s.
const STEPS: [f64; 28] = {
    let mut steps = [1.0; 28];
    let mut i = 1;
    while i < steps.len() {
        steps[i] = steps[i - 1] * if i % 3 == 2 { 2.5 } else { 2.0 };
        i += 1;
    }
    steps
};

/// Latency on a logarithmic axis; its ends are powers of ten of a microsecond, times 1, 2 or 5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogScale {
    pub low_us: f64,
    pub high_us: f64,

    pub top: f64,
    pub bottom: f64,
}

impl LogScale {
    /// Just around `min_us..=max_us`: at least two decades, so that the axis means something, and within 1 µs to 1,000 s.
    pub fn around(min_us: f64, max_us: f64, top: f64, bottom: f64) -> Self {
        let (min_us, max_us) = (min_us.clamp(1.0, 1e9), max_us.max(min_us).clamp(1.0, 1e9));
        let mut low_us = STEPS.into_iter().rev().find(|step| *step <= min_us).unwrap_or(1.0);
        let mut high_us = STEPS.into_iter().find(|step| *step >= max_us).unwrap_or(1e9);
        if high_us < 100.0 * low_us {
            low_us = (high_us / 100.0).max(1.0);
            high_us = 100.0 * low_us;
        }
        Self {
            low_us,
            high_us,
            top,
            bottom,
        }
    }

    /// Values at or below the axis (a difference of two clocks may be negative) lie on its lower edge.
    pub fn y(&self, us: f64) -> f64 {
        let share = if us <= 0.0 {
            0.0
        } else {
            (us / self.low_us).ln() / (self.high_us / self.low_us).ln()
        };

        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// Each decade with its label, from the lowest up.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, &'static str)> {
        const LABELS: [&str; 10] = [
            "1 µs", "10 µs", "0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s", "1,000 s",
        ];
        let decades = STEPS.into_iter().step_by(3).zip(LABELS);
        decades.filter(|(us, _)| (self.low_us..=self.high_us).contains(us))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_axis_encloses_what_is_drawn_and_has_at_least_two_decades() {
        let ends = |min, max| {
            let scale = LogScale::around(min, max, 0.0, 100.0);
            (scale.low_us, scale.high_us)
        };
        assert_eq!(ends(400.0, 1_004_000.0), (200.0, 2e6));
        assert_eq!(ends(1_000.0, 1_000_000.0), (1e3, 1e6));
        assert_eq!(ends(2_000.0, 3_000.0), (50.0, 5e3));
        assert_eq!(ends(-5.0, 0.0), (1.0, 100.0));
        assert_eq!(ends(1e12, 1e12), (1e7, 1e9));
    }

    #[test]
    fn each_decade_has_its_label() {
        let scale = LogScale::around(150.0, 2e6, 0.0, 1.0);
        let labels: Vec<_> = scale.ticks().collect();
        assert_eq!(
            labels,
            [
                (1e2, "0.1 ms"),
                (1e3, "1 ms"),
                (1e4, "10 ms"),
                (1e5, "100 ms"),
                (1e6, "1 s")
            ]
        );
    }

    #[test]
    fn ages_are_said_in_the_unit_that_fits() {
        assert_eq!(age_label(0.0), "now");
        assert_eq!(age_label(6e6), "\u{2212}6 s");
        assert_eq!(age_label(0.5e6), "\u{2212}0.5 s");
        assert_eq!(age_label(90e6), "\u{2212}90 s");
        assert_eq!(age_label(240e6), "\u{2212}4 min");
    }

    proptest! {
        #[test]
        fn later_lies_further_right_and_reads_back(now in 1.6e15f64..1.9e15, span in 1e6f64..2e8, age in 0.0f64..1.0) {
            let scale = TimeScale { now_us: now, span_us: span, left: 40.0, right: 1000.0 };
            let us = now - age * span;
            let x = scale.x(us);
            prop_assert!((39.9..=1000.1).contains(&x));
            prop_assert!((scale.us_at(x) - us).abs() < 1.0);
        }

        #[test]
        fn more_latency_never_lies_lower(a in -1e3f64..1e9, b in -1e3f64..1e9) {
            let scale = LogScale::around(100.0, 1e7, 10.0, 200.0);
            let (less, more) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(scale.y(more) <= scale.y(less));
            prop_assert!((10.0..=200.0).contains(&scale.y(a)));
        }

        #[test]
        fn ticks_are_never_too_many(span in 1e5f64..3e9, most in 2.0f64..20.0) {
            prop_assert!(span / time_step_us(span, most) <= most + 1e-6);
        }
    }
}
