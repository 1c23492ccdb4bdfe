//! Draws delivery latency over the last five minutes: p50 as a line, p5 to p99 as a band, on a logarithmic axis.

use super::palette::Palette;
use super::scale::{LogScale, TimeScale, age_label, time_step_us};
use super::surface::{FONT, Surface};
use crate::latency::Bucket;

/// Where the axis is, in pixels.
pub const LEFT: f64 = 58.0;
/// As much as the lanes remember.
pub const MOST_US: f64 = 300e6;

/// One, two or five minutes: what holds all that there is, so that a page just opened is not an empty picture.
pub fn span_us(oldest_age_us: f64) -> f64 {
    [60e6, 120e6]
        .into_iter()
        .find(|span| oldest_age_us <= *span)
        .unwrap_or(MOST_US)
}

/// What is drawn of one lane.
pub struct TrendLane {
    pub buckets: Vec<Bucket>,
    /// Seconds further apart than this are not joined: nothing is known of what lies between.
    pub join_us: f64,
    /// When gaps were told.
    pub gaps_us: Vec<f64>,
}

pub struct Trend<'a> {
    pub surface: &'a Surface,
    pub palette: &'a Palette,
    pub now_us: f64,
    pub span_us: f64,
    /// The bound of the clock's error.
    pub bound_us: f64,
    pub lanes: [TrendLane; 2],
    /// When the log behind a topic became another one.
    pub epochs_us: Vec<f64>,
    /// The second that is pointed at.
    pub pointed_us: Option<f64>,
}

impl Trend<'_> {
    pub fn time(&self) -> TimeScale {
        TimeScale {
            now_us: self.now_us,
            span_us: self.span_us,
            left: LEFT,
            right: self.surface.width - 8.0,
        }
    }

    pub fn draw(&self) {
        let surface = self.surface;
        surface.clear();
        surface.dash(0.0, 0.0);
        surface.context.set_font(FONT);
        let time = self.time();
        let all = || self.lanes.iter().flat_map(|lane| &lane.buckets);
        let low = all().map(|bucket| bucket.p5_us).fold(f64::INFINITY, f64::min);
        let high = all().map(|bucket| bucket.p99_us).fold(f64::NEG_INFINITY, f64::max);
        // With nothing to show the axis still stands: from 0.1 ms to 1 s.
        // What lies far below the clock's bound cannot be told from nothing.
        let low = low.max(self.bound_us / 4.0);
        let (low, high) = if low > high { (1e2, 1e6) } else { (low, high) };
        let scale = LogScale::around(low, high, 16.0, surface.height - 30.0);
        self.axes(&time, &scale);
        for (lane, trend) in self.lanes.iter().enumerate() {
            for stretch in joined(&trend.buckets, trend.join_us) {
                self.stretch(&time, &scale, lane, stretch);
            }
        }
        self.marks(&time, &scale);
    }

    fn axes(&self, time: &TimeScale, scale: &LogScale) {
        let surface = self.surface;
        surface.context.set_stroke_style_str(&self.palette.rule);
        surface.context.set_line_width(1.0);
        for (us, label) in scale.ticks() {
            let y = surface.crisp(scale.y(us));
            surface.line(time.left, y, time.right, y);
            surface.text(label, time.left - 10.0, y + 4.0, "right", &self.palette.faint);
        }
        let step = time_step_us(self.span_us, ((time.right - time.left) / 110.0).clamp(2.0, 6.0));
        let mut age = 0.0;
        while age <= self.span_us {
            let x = time.x(self.now_us - age);
            let align = if age == 0.0 { "right" } else { "center" };
            surface.text(&age_label(age), x, scale.bottom + 22.0, align, &self.palette.faint);
            age += step;
        }
    }

    fn stretch(&self, time: &TimeScale, scale: &LogScale, lane: usize, buckets: &[Bucket]) {
        let context = &self.surface.context;
        let x = |bucket: &Bucket| time.x(bucket.start_us + 0.5e6).max(time.left);
        let [Some(first), Some(last)] = [buckets.first(), buckets.last()] else {
            return;
        };
        // A second on its own still gets the width of a second.
        let (from, to) = (x(first) - 1.0, x(last) + 1.0);
        context.set_fill_style_str(&self.palette.bands[lane]);
        context.begin_path();
        context.move_to(from, scale.y(first.p99_us));
        for bucket in buckets {
            context.line_to(x(bucket), scale.y(bucket.p99_us));
        }
        context.line_to(to, scale.y(last.p99_us));
        context.line_to(to, scale.y(last.p5_us));
        for bucket in buckets.iter().rev() {
            context.line_to(x(bucket), scale.y(bucket.p5_us));
        }
        context.line_to(from, scale.y(first.p5_us));
        context.fill();
        context.set_stroke_style_str(&self.palette.lanes[lane]);
        context.set_line_width(1.75);
        context.set_line_join("round");
        context.begin_path();
        context.move_to(from, scale.y(first.p50_us));
        for bucket in buckets {
            context.line_to(x(bucket), scale.y(bucket.p50_us));
        }
        context.line_to(to, scale.y(last.p50_us));
        context.stroke();
    }

    /// Epoch changes as dashed lines, gaps as triangles on the axis, the second that is pointed at.
    fn marks(&self, time: &TimeScale, scale: &LogScale) {
        let (surface, palette) = (self.surface, self.palette);
        let context = &surface.context;
        let seen = |us: &&f64| **us > self.now_us - self.span_us;
        context.set_stroke_style_str(&palette.dim);
        context.set_line_width(1.0);
        surface.dash(2.0, 3.0);
        let mut labelled = f64::NEG_INFINITY;
        for us in self.epochs_us.iter().filter(seen) {
            let x = surface.crisp(time.x(*us));
            surface.line(x, 2.0, x, scale.bottom);
            if x - labelled > 70.0 {
                let (align, at) = if time.right - x < 70.0 {
                    ("right", x - 5.0)
                } else {
                    ("left", x + 5.0)
                };
                surface.text("new log", at, 11.0, align, &palette.dim);
                labelled = x;
            }
        }
        surface.dash(0.0, 0.0);
        context.set_fill_style_str(&palette.lost);
        context.begin_path();
        for (lane, y) in [(0, scale.bottom - 7.0), (1, scale.bottom)] {
            for us in self.lanes[lane].gaps_us.iter().filter(seen) {
                let x = time.x(*us);
                context.move_to(x - 4.0, y);
                context.line_to(x + 4.0, y);
                context.line_to(x, y - 6.5);
            }
        }
        context.fill();
        if let Some(us) = self.pointed_us {
            context.set_stroke_style_str(&palette.dim);
            let x = surface.crisp(time.x(us + 0.5e6));
            surface.line(x, 2.0, x, scale.bottom);
        }
    }
}

/// The buckets in stretches whose neighbours are at most `join_us` apart.
pub fn joined(buckets: &[Bucket], join_us: f64) -> impl Iterator<Item = &[Bucket]> {
    buckets.chunk_by(move |a, b| b.start_us - a.start_us <= join_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_where_nothing_is_known() {
        let bucket = |second: f64| Bucket {
            start_us: second * 1e6,
            count: 1,
            p5_us: 1.0,
            p50_us: 2.0,
            p99_us: 3.0,
        };
        let buckets = [1.0, 2.0, 3.0, 9.0, 10.0, 20.0].map(bucket);
        let lengths = |join| joined(&buckets, join).map(<[Bucket]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(2.5e6), [3, 2, 1]);
        assert_eq!(lengths(1e9), [6]);
        assert_eq!(joined(&[], 1.0).count(), 0);
    }
}
