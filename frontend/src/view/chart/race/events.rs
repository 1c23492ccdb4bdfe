//! The events of the race: where they happened, where they arrived, and the lines between.

use super::super::columns::{Column, Shape, shapes};
use super::{Pointed, Scene};

/// Bars of the middle line that are no further apart than this, in pixels, touch: each is drawn 0.5 wider before and 0.7 behind.
const BAR_JOIN: f64 = 1.2;

impl Scene<'_> {
    /// The columns whose lines may be seen: those that happened before the left edge may have arrived after it.
    fn visible(&self) -> impl DoubleEndedIterator<Item = &Column> {
        let scale = &self.scale;
        self.columns.between(scale.left_us() - scale.span_us, scale.now_us)
    }

    /// Lines and areas from the middle to the lane, and the points at which they arrived.
    pub(super) fn events(&self, lane: usize) {
        let pen = &self.surface.pen;
        let (middle, rail) = (self.rails.middle, self.rails.lanes[lane]);
        let mut arrived: Vec<[f64; 2]> = Vec::new();
        let mut lines: Vec<[f64; 2]> = Vec::new();
        pen.set_stroke_style(&self.palette.lanes[lane]);
        pen.set_fill_style(&self.palette.lanes[lane]);
        pen.set_line_width(1.0);
        // Light enough that the lines at its edges, where a delivery begins and ends, still stand out.
        pen.set_alpha(0.36);

        pen.begin_path();
        shapes(
            self.visible(),
            lane,
            2.5 * self.scale.us_per_px(),
            |shape| match shape {
                Shape::Fan {
                    produced_us,
                    received_us,
                } => {
                    let [p0, p1] = produced_us.map(|us| self.scale.x(us));
                    let [r0, r1] = received_us.map(|us| self.scale.x(us));
                    if r0.max(r1) < self.rails.left - 4.0 {
                        return;
                    }
                    pen.move_to(p0 - 0.5, middle);
                    pen.line_to(p1 + 0.5, middle);
                    pen.line_to(r1 + 0.5, rail);
                    pen.line_to(r0 - 0.5, rail);
                    arrived.push([r0, r1]);
                    lines.extend([[p0, r0], [p1, r1]]);
                }
                Shape::Line {
                    produced_us,
                    received_us,
                } => {
                    let received = self.scale.x(received_us);
                    if received >= self.rails.left - 4.0 {
                        lines.push([self.scale.x(produced_us), received]);
                        arrived.push([received, received]);
                    }
                }
            },
        );
        pen.fill();
        pen.set_alpha(if lane == 0 { 0.62 } else { 0.8 });
        pen.begin_path();
        for [happened, received] in lines {
            pen.move_to(happened, middle);
            pen.line_to(received, rail);
        }
        pen.stroke();
        pen.set_alpha(1.0);
        self.points(&arrived, rail, if lane == 0 { 4.0 } else { 3.0 });
    }

    /// Points, or bars where they touch.
    fn points(&self, arrived: &[[f64; 2]], y: f64, radius: f64) {
        let pen = &self.surface.pen;
        pen.begin_path();
        let mut last = f64::NEG_INFINITY;
        for [from, to] in arrived {
            if to - from > 2.0 {
                pen.rect(from - 1.0, y - 2.0, to - from + 2.0, 4.0);
            } else if (from - last).abs() > 0.8 {
                pen.move_to(from + radius, y);
                pen.circle(*from, y, radius);
            }
            last = *to;
        }
        pen.fill();
    }

    /// Every event at the moment it happened, whichever lane told of it: dots, or bars where they touch.
    pub(super) fn happened(&self) {
        let pen = &self.surface.pen;
        pen.set_fill_style(&self.palette.dot);
        let y = self.rails.middle;
        let mut bar: Option<[f64; 2]> = None;
        let draw = |bar: Option<[f64; 2]>| {
            if let Some([from, to]) = bar {
                pen.fill_rect(from - 0.5, y - 2.0, to - from + 1.2, 4.0);
            }
        };
        pen.begin_path();
        for column in self.columns.between(self.scale.left_us(), self.scale.now_us) {
            let [poll, stream] = &column.lanes;
            let fuller = if poll.count > stream.count { poll } else { stream };
            if fuller.count > 2 {
                let [from, to] = [fuller.first, fuller.last].map(|mark| self.scale.x(mark.produced_us));
                // Many bars that touch are one: a full picture is a single rectangle, not one a pixel.
                match &mut bar {
                    Some(bar) if from - bar[1] <= BAR_JOIN => bar[1] = to,
                    _ => draw(bar.replace([from, to])),
                }
                continue;
            }
            for mark in fuller.marks() {
                let x = self.scale.x(mark.produced_us);
                pen.move_to(x + 2.1, y);
                pen.circle(x, y, 2.1);
            }
        }
        draw(bar);
        pen.fill();
    }

    /// Dashed: what the other lane has brought and this one has not yet.
    pub(super) fn awaited(&self, lane: usize) {
        let (surface, scene) = (self.surface, &self.lanes[lane]);
        let pen = &surface.pen;
        let (middle, rail) = (self.rails.middle, self.rails.lanes[lane]);
        let to = self.scale.x(scene.expected_us.max(self.scale.now_us));
        pen.set_stroke_style(&self.palette.lanes[lane]);
        pen.set_line_width(1.0);
        pen.set_alpha(0.5);
        pen.set_dash(2.0, 3.0);
        pen.begin_path();
        let mut last = f64::NEG_INFINITY;
        for column in self
            .columns
            .between(scene.covered_us.max(self.scale.left_us()), self.scale.now_us)
        {
            let (own, other) = (&column.lanes[lane], &column.lanes[1 - lane]);
            let x = self.scale.x(other.last.produced_us);
            if other.count > own.count && other.last.produced_us > scene.covered_us && x - last >= 5.0 {
                last = x;
                // The line ends where now is: further than that nobody knows.
                let share = ((self.rails.right - x) / (to - x).max(1.0)).clamp(0.0, 1.0);
                pen.move_to(x, middle);
                pen.line_to(x + (to - x) * share, middle + (rail - middle) * share);
            }
        }
        pen.stroke();
        pen.set_dash(0.0, 0.0);
        pen.set_alpha(1.0);
    }

    pub(super) fn highlight(&self, pointed: &Pointed) {
        let pen = &self.surface.pen;
        let x = self.scale.x(pointed.produced_us);
        pen.set_line_width(2.5);
        for (lane, received) in pointed.received_us.iter().enumerate() {
            if let Some(received) = received {
                pen.set_stroke_style(&self.palette.lanes[lane]);
                pen.set_fill_style(&self.palette.lanes[lane]);
                self.surface
                    .line(x, self.rails.middle, self.scale.x(*received), self.rails.lanes[lane]);
                self.points(&[[self.scale.x(*received); 2]], self.rails.lanes[lane], 5.0);
            }
        }
        pen.set_fill_style(&self.palette.ink);
        self.points(&[[x, x]], self.rails.middle, 4.0);
    }
}
