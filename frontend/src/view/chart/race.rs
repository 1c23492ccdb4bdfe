//! Draws "same events, two ways": each event on the middle line at the moment it happened, a line up to the moment polling
//! brought it, a line down to the moment streaming did.
//!
//! The cost of a frame is bounded by the width: everything comes from [`Columns`], polls closer than a pixel share a bar.

mod events;
mod lanes;

use super::columns::Columns;
use super::palette::Palette;
use super::scale::{TimeScale, age_label, time_step_us};
use super::surface::{FONT, FONT_BOLD, Surface};
use crate::lane::{Lane, Status};
use crate::view::leader::words::Election;

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
    /// How many events; `None` if nobody knows.
    pub count: Option<u64>,
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
    /// Since when this page watches.
    pub began_us: f64,
    pub lanes: [LaneScene<'a>; 2],
    /// Changes of leader.
    pub elections: &'a [Election],
    pub pointed: Option<Pointed>,
    /// The picture stands still: its right edge is not now.
    pub paused: bool,
    /// What stands beside the picture has to be drawn too: it does not move.
    pub anew: bool,
}

impl Scene<'_> {
    pub fn draw(&self) {
        let (pen, rails) = (&self.surface.pen, self.rails);
        let width = rails.right - rails.left + 7.0;
        if self.anew {
            self.surface.clear();
        } else {
            pen.clear_rect(rails.left - 1.0, 0.0, width, rails.bottom + 2.0);
        }
        self.axis();
        if self.anew {
            self.names();
        }
        pen.save();
        pen.begin_path();
        pen.rect(rails.left - 1.0, 0.0, width, rails.bottom + 2.0);
        pen.clip();
        self.elected();
        self.polls(&self.lanes[0].lane.requests);
        self.refused(&self.lanes[0].lane.limited);
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
            self.words(lane);
        }
        if let Some(pointed) = &self.pointed {
            self.highlight(pointed);
        }
        pen.restore();
    }

    fn axis(&self) {
        let (surface, rails) = (self.surface, self.rails);
        let step = time_step_us(self.scale.span_us, ((rails.right - rails.left) / 90.0).clamp(2.0, 8.0));
        let ages = || {
            std::iter::successors(Some(0.0), move |age| Some(age + step))
                .take_while(|age| *age <= self.scale.span_us + 1.0)
        };
        let x = |age: f64| surface.crisp(self.scale.x(self.scale.now_us - age));
        surface.pen.set_fill_style(&self.palette.rule);
        for age in ages() {
            // A rectangle: it is filled as it is, where a path is first made smooth at its edges.
            surface.pen.fill_rect(x(age) - 0.5, 0.0, 1.0, rails.bottom);
        }
        if self.anew {
            for age in ages() {
                let align = if age == 0.0 { "right" } else { "center" };
                let label = if age == 0.0 && self.paused {
                    String::from("paused")
                } else {
                    age_label(age)
                };
                surface.text(&label, x(age), rails.bottom + 16.0, align, &self.palette.faint);
            }
        }
    }

    /// Where nobody led, nothing was sampled: a band behind everything, and a dashed line where somebody began to.
    fn elected(&self) {
        let (surface, rails, palette) = (self.surface, self.rails, self.palette);
        for election in self.elections {
            if let Some((from, to)) = election.band(&self.scale) {
                surface.pen.set_fill_style(&palette.lost_band);
                surface.pen.fill_rect(from, 0.0, to - from, rails.bottom);
            }
            let x = self.scale.x(election.at_us.unwrap_or(self.scale.now_us));
            let (words, y) = (&election.words, rails.bottom - 3.0);
            if election.at_us.is_some() {
                surface.pen.set_stroke_style(&palette.dim);
                surface.pen.set_dash(2.0, 3.0);
                let x = surface.crisp(x);
                surface.line(x, 0.0, x, rails.bottom);
                surface.pen.set_dash(0.0, 0.0);
            }
            let room = rails.right - x > 6.3 * words.chars().count() as f64 + 8.0;
            let (align, at) = if room { ("left", x + 5.0) } else { ("right", x - 5.0) };
            surface.text(words, at, y, align, &palette.dim);
        }
    }

    fn names(&self) {
        let x = self.rails.left - 10.0;
        self.surface
            .text("event", x, self.rails.middle + 4.0, "right", &self.palette.dim);
        self.surface.pen.set_font(FONT_BOLD);
        for (lane, name) in ["poll", "stream"].into_iter().enumerate() {
            self.surface.text(
                name,
                x,
                self.rails.lanes[lane] + 4.0,
                "right",
                &self.palette.lanes_ink[lane],
            );
        }
        self.surface.pen.set_font(FONT);
    }
}
