//! The background of the race: polls as bars, the lanes' lines, stretches without a connection, gaps.

use super::{Outage, Pause, Scene};
use crate::lane::Request;
use crate::latency::Ring;

impl Scene<'_> {
    /// Each poll as a bar from the question to the answer.
    pub(super) fn polls(&self, requests: &Ring<Request>) {
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

    /// A lane's line, since the page watches; hatched instead where the lane was down.
    pub(super) fn rail(&self, lane: usize) {
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
        let mut from = self.scale.x(self.began_us).clamp(rails.left, rails.right);
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
            let [start, end] = self.outage(outage);
            let colour = if outage.pause == Pause::Refused {
                &palette.lost
            } else {
                &palette.rule
            };
            self.hatched(lane, start, end, colour);
        }
    }

    /// From where to where an outage reaches.
    fn outage(&self, outage: &Outage) -> [f64; 2] {
        [
            self.scale.x(outage.from_us.max(self.began_us)),
            outage.to_us.map_or(self.rails.right, |to| self.scale.x(to)),
        ]
    }

    /// Over the events: what outages and gaps are called, and the gaps themselves.
    pub(super) fn words(&self, lane: usize) {
        let mut said_to = f64::NEG_INFINITY;

        for outage in self.lanes[lane].outages {
            let words = match outage.pause {
                Pause::Connecting => "connecting",
                Pause::Down => "no connection",
                Pause::Refused => "refused",
                Pause::Off => "switched off",
            };
            said_to = self.word(lane, self.outage(outage), said_to, words, &self.palette.dim);
        }
        for gap in self.lanes[lane].gaps {
            let (start, end) = (self.scale.x(gap.from_us), self.scale.x(gap.to_us));
            // A gap of no length is still a gap.
            let start = start.min(end - 6.0);
            self.hatched(lane, start, end, &self.palette.lost);
            said_to = self.word(lane, [start, end], said_to, &gap.words, &self.palette.lost);
        }
    }

    /// From top to bottom of a lane's half.
    fn half(&self, lane: usize) -> (f64, f64) {
        if lane == 0 {
            (0.0, self.rails.middle - 5.0)
        } else {
            (self.rails.middle + 5.0, self.rails.bottom)
        }
    }

    fn hatched(&self, lane: usize, start: f64, end: f64, colour: &str) {
        let (top, bottom) = self.half(lane);
        if end > self.rails.left.max(start) && start < self.rails.right {
            self.surface.hatch(start, top, end - start, bottom - top, colour);
        }
    }

    /// In the middle of what is seen of a stretch; not of one that is leaving the picture, and not over the words before, which end at
    /// `said_to`. Where these words end.
    fn word(&self, lane: usize, [start, end]: [f64; 2], said_to: f64, words: &str, ink: &str) -> f64 {
        let (rails, context) = (self.rails, &self.surface.context);
        let (from, to) = (start.max(rails.left), end.min(rails.right));
        if to <= from || to - from < (end - start) / 2.0 && to - from < 90.0 {
            return said_to;
        }
        let width = context.measure_text(words).map_or(0.0, |metrics| metrics.width()) + 14.0;
        let furthest = (rails.right - width / 2.0).max(rails.left + width / 2.0);
        let middle = ((from + to) / 2.0).clamp(rails.left + width / 2.0, furthest);
        if middle - width / 2.0 < said_to {
            return said_to;
        }
        let (top, bottom) = self.half(lane);
        let y = (top + bottom) / 2.0;
        context.set_fill_style_str(&self.palette.panel);
        context.fill_rect(middle - width / 2.0, y - 10.0, width, 20.0);
        self.surface.text(words, middle, y + 4.0, "center", ink);
        middle + width / 2.0
    }
}
