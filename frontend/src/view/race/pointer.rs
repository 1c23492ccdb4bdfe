//! Pointing at an event, by mouse or by arrow keys, and the events as a table.

use super::super::chart::columns::{Column, Columns, Mark};
use super::super::chart::race::{Pointed, Rails};
use super::super::chart::scale::TimeScale;
use super::super::format;
use super::super::point::{Gesture, Line};
use super::feed::Feed;
use crate::model::Model;

/// How far from a line it still counts as pointed at, in pixels.
const REACH: f64 = 12.0;
/// The table's length.
const ROWS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Target {
    #[default]
    Nothing,
    /// Where the mouse is.
    Point(f64, f64),
    /// The event that was chosen by keys, by the time at which it happened; and where to go from it.
    Event { produced_us: f64, step: i32 },
}

#[derive(Debug, Default)]
pub struct Pointer {
    target: Target,
    moved: bool,
}

/// The event that is pointed at, in each lane that has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub x: f64,
    pub y: f64,
    marks: [Option<Mark>; 2],
    more: u32,
}

impl Pointer {
    pub fn tell(&mut self, gesture: Gesture) {
        let target = match (gesture, self.target) {
            (Gesture::At(x, y), _) => Target::Point(x, y),
            (Gesture::Away, _) => Target::Nothing,
            (Gesture::Step(step), Target::Event { produced_us, .. }) => Target::Event { produced_us, step },
            (Gesture::Step(step), _) => Target::Event {
                produced_us: if step < 0 { f64::MAX } else { 0.0 },
                step,
            },
        };
        self.moved |= self.target != target;
        self.target = target;
    }

    /// Whether it moved since the last time it was asked.
    pub fn moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The event nearest to it. Looks at the columns of the picture, so its cost is that of the width.
    pub fn find(&mut self, columns: &Columns, scale: &TimeScale, rails: &Rails) -> Option<Hit> {
        match self.target {
            Target::Nothing => None,
            Target::Point(x, y) => nearest(columns, scale, rails, x, y),
            Target::Event { produced_us, step } => {
                let column = neighbour(columns, scale, produced_us, step)?;
                let hit = Hit::of(column, 1, false).or(Hit::of(column, 0, false))?;
                let produced_us = hit.pointed().produced_us;
                self.target = Target::Event { produced_us, step: 0 };
                Some(Hit {
                    x: scale.x(produced_us),
                    y: rails.middle,
                    ..hit
                })
            }
        }
    }
}

/// The next column with events to the left or right of the one that has this time; that one itself for no step.
fn neighbour<'a>(columns: &'a Columns, scale: &TimeScale, produced_us: f64, step: i32) -> Option<&'a Column> {
    let width = scale.us_per_px();
    let seen = || columns.between(scale.left_us(), scale.now_us);
    let at = |column: &&Column| column.index as f64 * width;
    match step {
        1.. => seen().find(|column| at(column) > produced_us),
        0 => seen().find(|column| at(column) + width > produced_us),
        _ => seen().rev().find(|column| at(column) + width <= produced_us),
    }
    // At either end it stays where it is.
    .or_else(|| if step > 0 { seen().next_back() } else { seen().next() })
}

fn nearest(columns: &Columns, scale: &TimeScale, rails: &Rails, x: f64, y: f64) -> Option<Hit> {
    let lane = usize::from(y > rails.middle);
    let mut best: Option<(f64, Hit)> = None;
    for column in columns.between(scale.left_us() - scale.span_us, scale.now_us) {
        for (last, mark) in column.lanes[lane].marks().enumerate() {
            let (from, to) = (scale.x(mark.produced_us), scale.x(mark.received_us));
            // The line's x at the pointer's height; beyond the lane's own line, its end.
            let share = ((y - rails.middle) / (rails.lanes[lane] - rails.middle)).clamp(0.0, 1.0);
            let apart = (from + (to - from) * share - x).abs();
            if apart < REACH
                && best.is_none_or(|(least, _)| apart < least)
                && let Some(hit) = Hit::of(column, lane, last == 1)
            {
                best = Some((apart, Hit { x, y, ..hit }));
            }
        }
    }
    best.map(|(_, hit)| hit)
}

impl Hit {
    /// The first or last event of a column in one lane, and the same event in the other if that lane's column has it.
    fn of(column: &Column, lane: usize, last: bool) -> Option<Self> {
        let bundle = &column.lanes[lane];
        let mark = *if last {
            bundle.marks().last()
        } else {
            bundle.marks().next()
        }?;
        let same = |other: &&Mark| other.offset == mark.offset && other.topic == mark.topic;
        let other = column.lanes[1 - lane].marks().find(same).copied();
        let marks = if lane == 0 {
            [Some(mark), other]
        } else {
            [other, Some(mark)]
        };
        Some(Self {
            x: 0.0,
            y: 0.0,
            marks,
            more: bundle.count - 1,
        })
    }

    pub fn pointed(&self) -> Pointed {
        Pointed {
            produced_us: self.mark().produced_us,
            received_us: self.marks.map(|mark| mark.map(|mark| mark.received_us)),
        }
    }

    fn mark(&self) -> Mark {
        self.marks[0].or(self.marks[1]).unwrap_or_default()
    }

    pub fn title(&self, model: &Model) -> String {
        name(model, &self.mark())
    }

    /// How late the lane brought it.
    fn late(&self, at: usize, feed: &Feed) -> String {
        match self.marks[at] {
            Some(mark) => format::latency_text(mark.received_us - mark.produced_us),
            None if self.mark().produced_us > feed.lanes[at].covered_us => String::from("not yet"),
            None => String::from("not seen"),
        }
    }

    pub fn lines(&self, feed: &Feed) -> Vec<Line> {
        let mut lines = vec![
            ("happened", clock_time(self.mark().produced_us), ""),
            ("by polling", self.late(0, feed), "poll"),
            ("by streaming", self.late(1, feed), "stream"),
        ];
        if self.more > 0 {
            lines.push(("at this pixel too", format::count(self.more.into()), ""));
        }
        lines
    }
}

fn name(model: &Model, mark: &Mark) -> String {
    let topic = model
        .stream
        .topics
        .get(usize::from(mark.topic))
        .map_or("?", String::as_str);
    [topic, " #", &format::count(mark.offset).replace(',', "\u{2009}")].concat()
}

/// The time of day, to the millisecond, in the reader's time zone.
fn clock_time(us: f64) -> String {
    let date = js_sys::Date::new(&(us / 1e3).into());
    let two = |n: u32| [if n < 10 { "0" } else { "" }, &format::count(n.into())].concat();
    let ms = date.get_milliseconds() + 1000;
    let fraction = format::count(ms.into());
    [
        &two(date.get_hours()),
        ":",
        &two(date.get_minutes()),
        ":",
        &two(date.get_seconds()),
        ".",
        &fraction[2..],
    ]
    .concat()
}

/// The newest events as rows of text.
pub fn rows(feed: &Feed, model: &Model, now_us: f64) -> Vec<Vec<String>> {
    feed.columns
        .between(now_us - 60e6, now_us)
        .rev()
        .filter_map(|column| Hit::of(column, 1, true).or(Hit::of(column, 0, true)))
        .take(ROWS)
        .map(|hit| {
            let mark = hit.mark();
            vec![
                name(model, &mark),
                clock_time(mark.produced_us),
                hit.late(0, feed),
                hit.late(1, feed),
            ]
        })
        .collect()
}
