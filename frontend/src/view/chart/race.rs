//! Draws "same events, two ways": each event on the middle line at the moment it happened, a line up to the moment polling
//! brought it, a line down to the moment streaming did.
//!
//! The cost of a frame is bounded by the width: everything comes from [`Columns`], polls closer than a pixel share a bar.

use super::columns::{Columns, Shape, shapes};
use super::palette::Palette;
use super::scale::{TimeScale, age_label, time_step_us};
use super::surface::{FONT, FONT_BOLD, Surface};
use crate::lane::{Lane, Request, Status};

/// Why a lane brought nothing for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// There is no connection yet.
    Connecting,
    /// The connection was lost.
    Down,
    /// The server said no.
    Refused,
    /// The other lane ran alone.
    Off,
}

/// A stretch of time in which a lane brought nothing; open while it lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    pub pause: Pause,
    pub from_us: f64,
    pub to_us: Option<f64>,
}

/// A gap that was told, between the events before and after it.
#[derive(Debug, Clone, PartialEq)]
pub struct GapBand {
    pub from_us: f64,
    pub to_us: f64,
    pub words: String,
}

/// What is drawn of one lane besides its events.
pub struct LaneScene<'a> {
    pub lane: &'a Lane,
    pub outages: &'a [Outage],
    pub gaps: &'a [GapBand],
    /// Everything that happened up to here, this lane has or will never have.
    pub covered_us: f64,
    /// When it may bring what it still lacks.
    pub expected_us: f64,
}

/// An event that is pointed at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointed {
    pub produced_us: f64,
    pub received_us: [Option<f64>; 2],
}

/// Where the three lines are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rails {
    pub left: f64,
    pub right: f64,
    /// Polling above, streaming below.
    pub lanes: [f64; 2],
    pub middle: f64,
    pub bottom: f64,
}

impl Rails {
    pub fn of(width: f64, height: f64) -> Self {
        let bottom = height - 22.0;
        let lanes = [16.0, bottom - 17.0];
        Self {
            left: 52.0,
            right: width - 8.0,
            lanes,
            middle: (lanes[0] + lanes[1]) / 2.0,
            bottom,
        }
    }
}

pub struct Scene<'a> {
    pub surface: &'a Surface,
    pub palette: &'a Palette,
    pub scale: TimeScale,
    pub rails: Rails,
    pub columns: &'a Columns,
    pub lanes: [LaneScene<'a>; 2],
    pub pointed: Option<Pointed>,
    /// The picture stands still: its right edge is not now.
    pub paused: bool,
}

impl Scene<'_> {
    pub fn draw(&self) {
        let (context, rails) = (&self.surface.context, self.rails);
        self.surface.clear();
        self.surface.dash(0.0, 0.0);
        context.set_font(FONT);
        self.axis();
        context.save();
        context.begin_path();
        context.rect(
            rails.left - 1.0,
            0.0,
            rails.right - rails.left + 7.0,
            rails.bottom + 2.0,
        );
        context.clip();
        self.polls(&self.lanes[0].lane.requests);
        for lane in 0..2 {
            self.rail(lane);
        }
        for lane in 0..2 {
            self.events(lane);
            if self.lanes[lane].lane.status != Status::Off {
                self.awaited(lane);
            }
        }
        self.happened();
        for lane in 0..2 {
            self.gaps(lane);
        }
        if let Some(pointed) = &self.pointed {
            self.highlight(pointed);
        }
        context.restore();
        self.names();
    }

    /// The columns whose lines may be seen: those that happened before the left edge may have arrived after it.
    fn visible(&self) -> impl DoubleEndedIterator<Item = &super::columns::Column> {
        let scale = &self.scale;
        self.columns.between(scale.left_us() - scale.span_us, scale.now_us)
    }

    fn axis(&self) {
        let (surface, rails) = (self.surface, self.rails);
        surface.context.set_stroke_style_str(&self.palette.rule);
        surface.context.set_line_width(1.0);
        let step = time_step_us(self.scale.span_us, ((rails.right - rails.left) / 90.0).clamp(2.0, 8.0));
        let mut age = 0.0;
        while age <= self.scale.span_us + 1.0 {
            let x = surface.crisp(self.scale.x(self.scale.now_us - age));
            surface.line(x, 0.0, x, rails.bottom);
            let align = if age == 0.0 { "right" } else { "center" };
            let label = if age == 0.0 && self.paused {
                String::from("paused")
            } else {
                age_label(age)
            };
            surface.text(&label, x, rails.bottom + 16.0, align, &self.palette.faint);
            age += step;
        }
    }

    fn names(&self) {
        let x = self.rails.left - 10.0;
        self.surface
            .text("event", x, self.rails.middle + 4.0, "right", &self.palette.dim);
        self.surface.context.set_font(FONT_BOLD);
        for (lane, name) in ["poll", "stream"].into_iter().enumerate() {
            self.surface.text(
                name,
                x,
                self.rails.lanes[lane] + 4.0,
                "right",
                &self.palette.lanes_ink[lane],
            );
        }
    }

    /// Each poll as a bar from the question to the answer.
    fn polls(&self, requests: &crate::latency::Ring<Request>) {
        let context = &self.surface.context;
        context.set_fill_style_str(&self.palette.bands[0]);
        let mut drawn_from = f64::INFINITY;
        for request in requests
            .iter_back()
            .skip_while(|request| request.sent_us > self.scale.now_us)
        {
            if request.received_us < self.scale.left_us() {
                break;
            }
            let from = self.scale.x(request.sent_us);
            let to = self.scale.x(request.received_us).min(drawn_from - 1.0);
            if to > from - 1.0 {
                // A bar of a millisecond must still be seen; it ends where the answer came.
                let from = from.min(to - 4.0);
                context.fill_rect(from, 0.0, to - from, self.rails.middle);
                drawn_from = from;
            }
        }
        if let Some(since) = self.lanes[0]
            .lane
            .asking_since_us
            .filter(|since| *since < self.scale.now_us)
        {
            let from = self.scale.x(since);
            context.fill_rect(from, 0.0, (self.rails.right - from).max(2.0), self.rails.middle);
        }
    }

    /// A lane's line, dashed and hatched where the lane was down.
    fn rail(&self, lane: usize) {
        let (surface, rails, palette) = (self.surface, self.rails, self.palette);
        let context = &surface.context;
        let y = surface.crisp(rails.lanes[lane]);
        if lane == 0 {
            context.set_stroke_style_str(&palette.edge);
            context.set_line_width(1.0);
            surface.line(
                rails.left,
                surface.crisp(rails.middle),
                rails.right,
                surface.crisp(rails.middle),
            );
        }
        context.set_stroke_style_str(&palette.lanes[lane]);
        context.set_line_width(1.5);
        context.set_global_alpha(0.6);
        let mut from = rails.left;
        for outage in self.lanes[lane].outages {
            let start = self.scale.x(outage.from_us).clamp(from, rails.right);
            let end = outage
                .to_us
                .map_or(rails.right, |to| self.scale.x(to))
                .clamp(start, rails.right);
            if end <= from {
                continue;
            }
            surface.line(from, y, start, y);
            from = end;
        }
        surface.line(from, y, rails.right, y);
        context.set_global_alpha(1.0);
        for outage in self.lanes[lane].outages {
            let start = self.scale.x(outage.from_us);
            let end = outage.to_us.map_or(rails.right, |to| self.scale.x(to));
            let words = match outage.pause {
                Pause::Connecting => "connecting",
                Pause::Down => "no connection",
                Pause::Refused => "refused",
                Pause::Off => "switched off",
            };
            let colour = if outage.pause == Pause::Refused {
                &palette.lost
            } else {
                &palette.rule
            };
            self.band(lane, start, end, colour, words, &palette.dim);
        }
    }

    fn gaps(&self, lane: usize) {
        for gap in self.lanes[lane].gaps {
            let (start, end) = (self.scale.x(gap.from_us), self.scale.x(gap.to_us));
            // A gap of no length is still a gap.
            let start = start.min(end - 6.0);
            self.band(lane, start, end, &self.palette.lost, &gap.words, &self.palette.lost);
        }
    }

    /// A hatched stretch of a lane's half, with words where they fit.
    fn band(&self, lane: usize, start: f64, end: f64, colour: &str, words: &str, ink: &str) {
        let (surface, rails) = (self.surface, self.rails);
        if end < rails.left || start > rails.right {
            return;
        }
        let (top, bottom) = if lane == 0 {
            (0.0, rails.middle - 5.0)
        } else {
            (rails.middle + 5.0, rails.bottom)
        };
        surface.hatch(start, top, end - start, bottom - top, colour);
        let context = &surface.context;
        let width = context.measure_text(words).map_or(0.0, |metrics| metrics.width()) + 14.0;
        let middle = ((start.max(rails.left) + end.min(rails.right)) / 2.0).clamp(
            rails.left + width / 2.0,
            (rails.right - width / 2.0).max(rails.left + width / 2.0),
        );
        let y = (top + bottom) / 2.0;
        context.set_fill_style_str(&self.palette.panel);
        context.fill_rect(middle - width / 2.0, y - 10.0, width, 20.0);
        surface.text(words, middle, y + 4.0, "center", ink);
    }

    /// Lines and areas from the middle to the lane, and the points at which they arrived.
    fn events(&self, lane: usize) {
        let context = &self.surface.context;
        let (middle, rail) = (self.rails.middle, self.rails.lanes[lane]);
        let mut arrived: Vec<[f64; 2]> = Vec::new();
        let mut lines: Vec<[f64; 2]> = Vec::new();
        context.set_stroke_style_str(&self.palette.lanes[lane]);
        context.set_fill_style_str(&self.palette.lanes[lane]);
        context.set_line_width(1.0);
        // Light enough that the lines at its edges, where a delivery begins and ends, still stand out.
        context.set_global_alpha(0.36);

        context.begin_path();
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
                    context.move_to(p0 - 0.5, middle);
                    context.line_to(p1 + 0.5, middle);
                    context.line_to(r1 + 0.5, rail);
                    context.line_to(r0 - 0.5, rail);
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
        context.fill();
        context.set_global_alpha(if lane == 0 { 0.62 } else { 0.8 });
        context.begin_path();
        for [happened, received] in lines {
            context.move_to(happened, middle);
            context.line_to(received, rail);
        }
        context.stroke();
        context.set_global_alpha(1.0);
        self.points(&arrived, rail, if lane == 0 { 4.0 } else { 3.0 });
    }

    /// Points, or bars where they touch.
    fn points(&self, arrived: &[[f64; 2]], y: f64, radius: f64) {
        let context = &self.surface.context;
        context.begin_path();
        let mut last = f64::NEG_INFINITY;
        for [from, to] in arrived {
            if to - from > 2.0 {
                context.rect(from - 1.0, y - 2.0, to - from + 2.0, 4.0);
            } else if (from - last).abs() > 0.8 {
                context.move_to(from + radius, y);
                let _ = context.arc(*from, y, radius, 0.0, std::f64::consts::TAU);
            }
            last = *to;
        }
        context.fill();
    }

    /// Every event at the moment it happened, whichever lane told of it.
    fn happened(&self) {
        let context = &self.surface.context;
        context.set_fill_style_str(&self.palette.dot);
        context.begin_path();
        for column in self.columns.between(self.scale.left_us(), self.scale.now_us) {
            let [poll, stream] = &column.lanes;
            let fuller = if poll.count > stream.count { poll } else { stream };
            let y = self.rails.middle;
            if fuller.count > 2 {
                let (from, to) = (
                    self.scale.x(fuller.first.produced_us),
                    self.scale.x(fuller.last.produced_us),
                );
                context.rect(from - 0.5, y - 2.0, to - from + 1.2, 4.0);
                continue;
            }
            for mark in fuller.marks() {
                let x = self.scale.x(mark.produced_us);
                context.move_to(x + 2.1, y);
                let _ = context.arc(x, y, 2.1, 0.0, std::f64::consts::TAU);
            }
        }
        context.fill();
    }

    /// Dashed: what the other lane has brought and this one has not yet.
    fn awaited(&self, lane: usize) {
        let (surface, scene) = (self.surface, &self.lanes[lane]);
        let context = &surface.context;
        let (middle, rail) = (self.rails.middle, self.rails.lanes[lane]);
        let to = self.scale.x(scene.expected_us.max(self.scale.now_us));
        context.set_stroke_style_str(&self.palette.lanes[lane]);
        context.set_line_width(1.0);
        context.set_global_alpha(0.5);
        surface.dash(2.0, 3.0);
        context.begin_path();
        let mut last = f64::NEG_INFINITY;
        for column in self
            .columns
            .between(scene.covered_us.max(self.scale.left_us()), self.scale.now_us)
        {
            let (own, other) = (&column.lanes[lane], &column.lanes[1 - lane]);
            let x = self.scale.x(other.last.produced_us);
            if other.count > own.count && other.last.produced_us > scene.covered_us && x - last >= 3.0 {
                last = x;
                // The line ends where now is: further than that nobody knows.
                let share = ((self.rails.right - x) / (to - x).max(1.0)).clamp(0.0, 1.0);
                context.move_to(x, middle);
                context.line_to(x + (to - x) * share, middle + (rail - middle) * share);
            }
        }
        context.stroke();
        surface.dash(0.0, 0.0);
        context.set_global_alpha(1.0);
    }

    fn highlight(&self, pointed: &Pointed) {
        let context = &self.surface.context;
        let x = self.scale.x(pointed.produced_us);
        context.set_line_width(2.5);
        for (lane, received) in pointed.received_us.iter().enumerate() {
            if let Some(received) = received {
                context.set_stroke_style_str(&self.palette.lanes[lane]);
                self.surface
                    .line(x, self.rails.middle, self.scale.x(*received), self.rails.lanes[lane]);
                self.points(&[[self.scale.x(*received); 2]], self.rails.lanes[lane], 5.0);
            }
        }
        context.set_fill_style_str(&self.palette.ink);
        self.points(&[[x, x]], self.rails.middle, 4.0);
    }
}
