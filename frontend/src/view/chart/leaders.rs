//! Draws leaderships to scale: a line for each node, a bar where it led, and across all of them where nobody did or nobody knows.

use freshet_wire::{LeaderState, Span};

use super::palette::Palette;
use super::scale::{TimeScale, age_label, time_step_us};
use super::surface::{FONT, FONT_BOLD, Surface};

/// Room for the gaps' durations above, and for the times below.
pub const TOP: f64 = 20.0;
pub const BOTTOM: f64 = 24.0;
/// A gap is seen, however short it is.
const LEAST_PX: f64 = 2.0;
/// Of a letter, on average.
const LETTER_PX: f64 = 6.2;

/// A span as it lies on the canvas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Of the timeline.
    pub index: usize,
    pub from: f64,
    pub to: f64,
}

/// Where the spans lie, oldest first; those that ended before the left edge are left out. Nothing is known after `until_us`.
pub fn pieces(spans: &[Span], time: &TimeScale, until_us: f64) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        let end_us = span.until_us.map_or(until_us, |us| us as f64).min(time.now_us);
        let from = time.x((span.from_us as f64).min(time.now_us)).max(time.left);
        let to = time.x(end_us);
        if to >= time.left {
            // At the right edge it grows to the left.
            let to = to.max(from + LEAST_PX).min(time.right.max(from));
            let from = from.min(to - LEAST_PX).max(time.left);
            pieces.push(Piece { index, from, to });
        }
    }
    pieces
}

/// The piece at a place, or the nearest one within a finger's breadth; gaps before leaderships, because they are short.
pub fn at(pieces: &[Piece], spans: &[Span], x: f64) -> Option<usize> {
    let gap = |piece: &&Piece| spans[piece.index].state != LeaderState::Led;
    let near = |piece: &&Piece| (piece.from - 5.0..=piece.to + 5.0).contains(&x);
    let within = |piece: &&Piece| (piece.from..=piece.to).contains(&x);
    let found = pieces.iter().filter(gap).find(near);
    found.or_else(|| pieces.iter().find(within)).map(|piece| piece.index)
}

pub struct Leaders<'a> {
    pub surface: &'a Surface,
    pub palette: &'a Palette,
    pub time: TimeScale,
    pub spans: &'a [Span],
    pub pieces: &'a [Piece],
    /// A line each; empty: all share one line, without names and times beside it.
    pub nodes: &'a [String],
    /// How long each gap was, by the index of its span.
    pub gaps: &'a [(usize, String)],
    /// What the tokens are, such as "term".
    pub token: &'static str,
    pub until_us: f64,
    pub pointed: Option<usize>,
    /// The picture stands still: its right edge is not now.
    pub paused: bool,
}

impl Leaders<'_> {
    pub fn draw(&self) {
        self.surface.clear();
        self.surface.pen.set_dash(0.0, 0.0);
        self.surface.pen.set_font(FONT);
        if !self.is_strip() {
            self.axis();
        }
        for piece in self.pieces {
            match self.spans[piece.index].state {
                LeaderState::Led => self.led(piece),
                LeaderState::Unknown => self.unknown(piece.from, piece.to),
                LeaderState::Leaderless => {}
            }
        }
        // A gap is never covered by what came before and after it.
        for piece in self.pieces {
            if self.spans[piece.index].state == LeaderState::Leaderless {
                self.gap(piece);
            }
        }
        let known = self.time.x(self.until_us);
        if self.time.right - known > 3.0 {
            self.unknown(known.max(self.time.left), self.time.right);
        }
        if !self.is_strip() {
            self.durations();
        }
    }

    fn is_strip(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Top and height of the lines.
    fn extent(&self) -> (f64, f64) {
        match self.is_strip() {
            true => (0.0, self.surface.height),
            false => (TOP, self.surface.height - TOP - BOTTOM),
        }
    }

    fn line_of(&self, node: &str) -> (f64, f64) {
        let (top, height) = self.extent();
        match self.nodes.iter().position(|name| name == node) {
            Some(at) => {
                let line = height / self.nodes.len() as f64;
                (top + line * at as f64 + 3.0, (line - 6.0).max(2.0))
            }
            None => (top, height),
        }
    }

    fn axis(&self) {
        let (surface, time) = (self.surface, &self.time);
        let (top, height) = self.extent();
        surface.pen.set_stroke_style(&self.palette.rule);
        surface.pen.set_line_width(1.0);
        let step = time_step_us(time.span_us, ((time.right - time.left) / 90.0).clamp(2.0, 8.0));
        let mut age = 0.0;
        while age <= time.span_us + 1.0 {
            let x = surface.crisp(time.x(time.now_us - age));
            surface.line(x, top, x, top + height);
            let align = if age == 0.0 { "right" } else { "center" };
            let label = match age == 0.0 && self.paused {
                true => String::from("paused"),
                false => age_label(age),
            };
            surface.text(&label, x, surface.height - 6.0, align, &self.palette.faint);
            age += step;
        }
        for node in self.nodes {
            let (y, height) = self.line_of(node);
            let middle = surface.crisp(y + height / 2.0);
            surface.line(time.left, middle, time.right, middle);
            surface.text(
                node,
                time.left - 10.0,
                y + height / 2.0 + 4.0,
                "right",
                &self.palette.dim,
            );
        }
    }

    fn led(&self, piece: &Piece) {
        let (span, pen) = (&self.spans[piece.index], &self.surface.pen);
        let node = span.node.as_deref().unwrap_or("?");
        let (y, height) = self.line_of(node);
        let lasts = span.until_us.is_none();
        let width = piece.to - piece.from;
        pen.set_fill_style(if lasts { &self.palette.well } else { &self.palette.dim });
        // What text lies on is the ground, a shade of the colour, and an edge where it began.
        pen.set_alpha(if lasts { 0.3 } else { 0.22 });
        pen.fill_rect(piece.from, y, width, height);
        pen.set_alpha(1.0);
        pen.fill_rect(piece.from, y, width.min(2.0), height);
        if self.pointed == Some(piece.index) {
            pen.set_stroke_style(&self.palette.ink);
            pen.set_line_width(1.5);
            pen.stroke_rect(piece.from + 1.0, y + 1.0, (width - 2.0).max(0.5), height - 2.0);
        }
        let token = span.token.map(|token| [self.token, " ", &token.to_string()].concat());
        let words = match self.is_strip() {
            true => node.to_owned(),
            false => token.unwrap_or_default(),
        };
        if words.chars().count() as f64 * LETTER_PX + 12.0 < width {
            let middle = y + height / 2.0 + 4.0;
            self.surface
                .text(&words, piece.from + 7.0, middle, "left", &self.palette.ink);
        }
    }

    fn unknown(&self, from: f64, to: f64) {
        let (top, height) = self.extent();
        self.surface.hatch(from, top, to - from, height, &self.palette.faint);
    }

    fn gap(&self, piece: &Piece) {
        let (pen, palette) = (&self.surface.pen, self.palette);
        let (top, height) = self.extent();
        let width = piece.to - piece.from;
        pen.set_fill_style(if width < 6.0 { &palette.lost } else { &palette.lost_band });
        pen.fill_rect(piece.from, top, width, height);
        if width >= 6.0 {
            pen.set_fill_style(&palette.lost);
            pen.fill_rect(piece.from, top, 1.5, height);
            pen.fill_rect(piece.to - 1.5, top, 1.5, height);
        }
        if self.pointed == Some(piece.index) {
            pen.set_stroke_style(&palette.ink);
            pen.set_line_width(1.5);
            pen.stroke_rect(piece.from - 2.0, top, width + 4.0, height);
        }
    }

    /// How long the gaps were, above them; the newest first, as far as there is room.
    fn durations(&self) {
        self.surface.pen.set_font(FONT_BOLD);
        let mut free = self.time.right + 4.0;
        for piece in self.pieces.iter().rev() {
            let Some((_, words)) = self.gaps.iter().find(|(index, _)| *index == piece.index) else {
                continue;
            };
            let half = words.chars().count() as f64 * LETTER_PX / 2.0;
            let middle = ((piece.from + piece.to) / 2.0).min(self.time.right + 4.0 - half);
            if middle + half <= free && middle - half >= self.time.left - 40.0 {
                self.surface
                    .text(words, middle, TOP - 7.0, "center", &self.palette.lost);
                free = middle - half - 10.0;
            }
        }
        self.surface.pen.set_font(FONT);
    }
}

/// The smallest window that holds all that there is, at most a quarter of an hour.
pub fn fitting_us(oldest_age_us: f64) -> f64 {
    let fits = |span: &f64| oldest_age_us <= *span;
    [60e6, 120e6, 300e6].into_iter().find(fits).unwrap_or(900e6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(ends_us: &[i64]) -> Vec<Span> {
        let mut from_us = 0;
        let span = |(at, until): (usize, Option<i64>)| {
            let begins = std::mem::replace(&mut from_us, until.unwrap_or(0));
            let led = at % 2 == 0;
            Span {
                state: if led { LeaderState::Led } else { LeaderState::Leaderless },
                node: led.then(|| "node-1".to_owned()),
                token: led.then_some(1),
                from_us: begins,
                until_us: until,
                duration_us: until.map(|until| (until - begins) as u64),
            }
        };
        ends_us
            .iter()
            .copied()
            .map(Some)
            .chain([None])
            .enumerate()
            .map(span)
            .collect()
    }

    fn time(now_us: f64, span_us: f64) -> TimeScale {
        TimeScale {
            now_us,
            span_us,
            left: 100.0,
            right: 1100.0,
        }
    }

    #[test]
    fn a_gap_is_to_scale_and_never_too_short_to_be_seen() {
        let spans = spans(&[40_000_000, 50_000_000, 55_000_000, 55_000_001]);
        let pieces = pieces(&spans, &time(100e6, 100e6), 100e6);
        let lies: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.index, piece.from.round(), piece.to.round()))
            .collect();
        assert_eq!(lies[..3], [(0, 100.0, 500.0), (1, 500.0, 600.0), (2, 600.0, 650.0)]);
        assert_eq!(pieces[3].to - pieces[3].from, LEAST_PX);
        assert_eq!(lies[4].2, 1100.0);
    }

    #[test]
    fn what_ended_before_the_window_is_left_out_and_what_reaches_into_it_is_cut() {
        let spans = spans(&[40_000_000, 50_000_000]);
        let lies: Vec<_> = pieces(&spans, &time(100e6, 55e6), 100e6)
            .iter()
            .map(|piece| piece.index)
            .collect();
        assert_eq!(lies, [1, 2]);
    }

    #[test]
    fn nothing_is_drawn_after_what_is_known() {
        let spans = spans(&[]);
        let pieces = pieces(&spans, &time(100e6, 100e6), 60e6);
        assert_eq!(pieces[0].to.round(), 700.0);
    }

    #[test]
    fn a_short_gap_can_be_pointed_at() {
        let spans = spans(&[40_000_000, 40_000_010]);
        let pieces = pieces(&spans, &time(100e6, 100e6), 100e6);
        assert_eq!(at(&pieces, &spans, 496.0), Some(1));
        assert_eq!(at(&pieces, &spans, 300.0), Some(0));
        assert_eq!(at(&pieces, &spans, 900.0), Some(2));
        assert_eq!(at(&pieces, &spans, 50.0), None);
    }

    proptest! {
        #[test]
        fn every_piece_lies_within_the_picture(mut ends in prop::collection::vec(0i64..100_000_000, 0..9), now in 0.0f64..2e8, known in 0.0f64..2e8) {
            ends.sort_unstable();
            for piece in pieces(&spans(&ends), &time(now, 6e7), known) {
                prop_assert!(piece.from <= piece.to && piece.from >= 100.0 && piece.to <= 1100.0, "{piece:?}");
            }
        }
    }
}
