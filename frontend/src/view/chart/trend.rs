//! Draws delivery latency over the last five minutes: p50 as a line, p5 to p99 as a band, on a logarithmic axis.

use super::palette::Palette;
use super::scale::{LogScale, TimeScale, age_label, time_step_us};
use super::surface::{FONT, Surface};
use crate::latency::Bucket;
use crate::view::leader::words::Election;

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
    pub breaks: Breaks,
    /// When gaps were told, and when the quota was spent (429).
    pub gaps_us: Vec<f64>,
}

/// Where a lane's line is broken, because nothing is known of what lies between two seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Breaks {
    /// Since when seconds may be how far apart and still be joined, from the oldest to the newest.
    pub joins_us: Vec<(f64, f64)>,
    /// The lane was lost, was switched off, got other topics, could not be watched.
    pub at_us: Vec<f64>,
}

impl Breaks {
    /// Most of either that are kept: whoever has more changes faster than a second.
    const KEPT: usize = 300;

    /// From `now_us` on, seconds may be so far apart.
    pub fn join(&mut self, now_us: f64, join_us: f64) {
        if self.joins_us.last().is_none_or(|last| last.1 != join_us) {
            keep(&mut self.joins_us, (now_us, join_us));
        }
    }

    /// The line ends here.
    pub fn add(&mut self, us: f64) {
        keep(&mut self.at_us, us);
    }

    /// Whether a line goes from one second to a later one.
    fn joined(&self, a: &Bucket, b: &Bucket) -> bool {
        // A second is drawn in its middle.
        let (from, to) = (a.start_us + 0.5e6, b.start_us + 0.5e6);
        let later = self.joins_us.partition_point(|(since, _)| *since <= from);
        let (before, after) = self.joins_us.split_at(later);
        let in_force = before.last().or(after.first()).map_or(0.0, |(_, join_us)| *join_us);
        // Until when the next event is in time; a change makes that anew.
        let until = after.iter().fold(
            from + in_force,
            |until, (since, join_us)| {
                if *since < until { since + join_us } else { until }
            },
        );
        to <= until && !self.at_us.iter().any(|us| (from..to).contains(us))
    }
}

fn keep<T>(kept: &mut Vec<T>, item: T) {
    if kept.len() == Breaks::KEPT {
        kept.remove(0);
    }
    kept.push(item);
}

pub struct Trend<'a> {
    pub surface: &'a Surface,
    pub palette: &'a Palette,
    pub now_us: f64,
    pub span_us: f64,
    /// The picture stands still: its right edge is not now.
    pub paused: bool,
    pub lanes: [TrendLane; 2],
    /// When the log behind a topic became another one.
    pub epochs_us: Vec<f64>,
    /// Changes of leader.
    pub elections: Vec<Election>,
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
        surface.pen.set_dash(0.0, 0.0);
        surface.pen.set_font(FONT);
        let time = self.time();
        // With nothing to show the axis still stands: from 0.1 ms to 1 s.
        let (low, high) = extent(self.lanes.iter().flat_map(|lane| &lane.buckets)).unwrap_or((1e2, 1e6));
        let scale = LogScale::around(low, high, 16.0, surface.height - 30.0);
        self.leaderless(&time, &scale);
        self.axes(&time, &scale);
        for (lane, trend) in self.lanes.iter().enumerate() {
            for stretch in joined(&trend.buckets, &trend.breaks) {
                self.stretch(&time, &scale, lane, stretch);
            }
        }
        self.marks(&time, &scale);
    }

    fn axes(&self, time: &TimeScale, scale: &LogScale) {
        let surface = self.surface;
        surface.pen.set_stroke_style(&self.palette.rule);
        surface.pen.set_line_width(1.0);
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
            let label = if age == 0.0 && self.paused {
                String::from("paused")
            } else {
                age_label(age)
            };
            surface.text(&label, x, scale.bottom + 22.0, align, &self.palette.faint);
            age += step;
        }
    }

    fn stretch(&self, time: &TimeScale, scale: &LogScale, lane: usize, buckets: &[Bucket]) {
        let pen = &self.surface.pen;
        let x = |bucket: &Bucket| time.x(bucket.start_us + 0.5e6).max(time.left);
        let [Some(first), Some(last)] = [buckets.first(), buckets.last()] else {
            return;
        };
        // A second on its own still gets the width of a second.
        let (from, to) = (x(first) - 1.5, x(last) + 1.5);
        pen.set_fill_style(&self.palette.bands[lane]);
        pen.begin_path();
        pen.move_to(from, scale.y(first.p99_us));
        for bucket in buckets {
            pen.line_to(x(bucket), scale.y(bucket.p99_us));
        }
        pen.line_to(to, scale.y(last.p99_us));
        pen.line_to(to, scale.y(last.p5_us));
        for bucket in buckets.iter().rev() {
            pen.line_to(x(bucket), scale.y(bucket.p5_us));
        }
        pen.line_to(from, scale.y(first.p5_us));
        pen.fill();
        pen.set_stroke_style(&self.palette.lanes[lane]);
        pen.set_line_width(1.75);
        pen.set_line_join("round");
        pen.begin_path();
        pen.move_to(from, scale.y(first.p50_us));
        for bucket in buckets {
            pen.line_to(x(bucket), scale.y(bucket.p50_us));
        }
        pen.line_to(to, scale.y(last.p50_us));
        pen.stroke();
    }

    /// Nobody led: a band behind everything.
    fn leaderless(&self, time: &TimeScale, scale: &LogScale) {
        self.surface.pen.set_fill_style(&self.palette.lost_band);
        for election in &self.elections {
            if let Some((from, to)) = election.band(time) {
                self.surface.pen.fill_rect(from, 16.0, to - from, scale.bottom - 16.0);
            }
        }
    }

    /// Epoch changes and new leaders as dashed lines, gaps as triangles on the axis, the second that is pointed at.
    fn marks(&self, time: &TimeScale, scale: &LogScale) {
        let (surface, palette) = (self.surface, self.palette);
        let pen = &surface.pen;
        let seen = |us: &&f64| **us > self.now_us - self.span_us;
        pen.set_stroke_style(&palette.dim);
        pen.set_line_width(1.0);
        pen.set_dash(2.0, 3.0);
        let epochs = self.epochs_us.iter().map(|us| (*us, "new log"));
        let elected = |election: &'_ Election| Some((election.at_us?, election.words.clone()));
        let elections: Vec<_> = self.elections.iter().filter_map(elected).collect();
        let elections = elections.iter().map(|(us, words)| (*us, words.as_str()));
        let mut marks: Vec<_> = epochs.chain(elections).filter(|(us, _)| seen(&us)).collect();
        marks.sort_by(|a, b| a.0.total_cmp(&b.0));
        // From the newest back, each as far as there is room.
        let mut free = time.right + 60.0;
        for (us, words) in marks.into_iter().rev() {
            let x = surface.crisp(time.x(us));
            surface.line(x, 2.0, x, scale.bottom);
            let width = 6.3 * words.chars().count() as f64 + 5.0;
            let before = x + width > time.right;
            let (from, to) = if before { (x - width, x) } else { (x, x + width) };
            if to <= free && from > time.left {
                let (align, at) = if before { ("right", x - 5.0) } else { ("left", x + 5.0) };
                surface.text(words, at, 11.0, align, &palette.dim);
                free = from - 8.0;
            }
        }
        pen.set_dash(0.0, 0.0);
        pen.set_fill_style(&palette.lost);
        pen.begin_path();
        for (lane, y) in [(0, scale.bottom - 7.0), (1, scale.bottom)] {
            for us in self.lanes[lane].gaps_us.iter().filter(seen) {
                let x = time.x(*us);
                pen.move_to(x - 4.0, y);
                pen.line_to(x + 4.0, y);
                pen.line_to(x, y - 6.5);
            }
        }
        pen.fill();
        if let Some(us) = self.pointed_us {
            pen.set_stroke_style(&palette.dim);
            let x = surface.crisp(time.x(us + 0.5e6));
            surface.line(x, 2.0, x, scale.bottom);
        }
    }
}

/// The least and the most of what is drawn. A logarithmic axis has no place for what is not above zero: that lies on its edge.
fn extent<'a>(buckets: impl Iterator<Item = &'a Bucket>) -> Option<(f64, f64)> {
    buckets
        .flat_map(|bucket| [bucket.p5_us, bucket.p50_us, bucket.p99_us])
        .filter(|us| *us > 0.0)
        .map(|us| (us, us))
        .reduce(|all, us| (all.0.min(us.0), all.1.max(us.1)))
}

/// The buckets in stretches that are drawn as one line.
fn joined<'a>(buckets: &'a [Bucket], breaks: &Breaks) -> impl Iterator<Item = &'a [Bucket]> {
    buckets.chunk_by(|a, b| breaks.joined(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(second: f64) -> Bucket {
        Bucket {
            start_us: second * 1e6,
            count: 1,
            p5_us: 1.0,
            p50_us: 2.0,
            p99_us: 3.0,
        }
    }

    fn lengths(seconds: &[f64], breaks: &Breaks) -> Vec<usize> {
        let buckets: Vec<_> = seconds.iter().copied().map(bucket).collect();
        joined(&buckets, breaks).map(<[Bucket]>::len).collect()
    }

    #[test]
    fn a_line_breaks_where_nothing_is_known() {
        let seconds = [1.0, 2.0, 3.0, 9.0, 10.0, 20.0];
        let mut breaks = Breaks::default();
        breaks.join(0.0, 2.5e6);
        assert_eq!(lengths(&seconds, &breaks), [3, 2, 1]);
        breaks.add(2.6e6);
        assert_eq!(lengths(&seconds, &breaks), [2, 1, 2, 1]);
        assert_eq!(lengths(&[], &breaks), [0; 0]);
    }

    #[test]
    fn an_interval_counts_for_its_own_time_only() {
        let mut breaks = Breaks::default();
        breaks.join(0.0, 10e6);
        breaks.join(11e6, 2e6);
        assert_eq!(
            lengths(&[1.0, 10.0, 18.0, 19.0, 24.0], &breaks),
            [2, 2, 1],
            "slow polls are joined, fast ones are not"
        );
        breaks.join(30e6, 10e6);
        assert_eq!(lengths(&[1.0, 10.0, 18.0, 19.0, 24.0], &breaks), [2, 2, 1]);
    }

    #[test]
    fn the_axis_encloses_whatever_is_drawn() {
        let good = Bucket {
            p5_us: 20.0,
            p50_us: 30.0,
            p99_us: 40.0,
            ..bucket(1.0)
        };
        let late = Bucket {
            p5_us: -4.0,
            p50_us: 900.0,
            p99_us: 5e6,
            ..bucket(2.0)
        };
        assert_eq!(extent([good, late].iter()), Some((20.0, 5e6)));
        assert_eq!(extent([].iter()), None);
    }
}
