//! Events by pixel column, so that a frame costs the width of the canvas and not the number of events.
//!
//! A column is a fixed stretch of time as wide as a pixel, counted from the epoch, so columns move with the picture and never
//! have to be counted anew. Of the events that happened within one column a lane keeps the first and the last,
//! and their number: the lines between those two would cover the same pixels.

/// The end points of one event's line, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mark {
    pub produced_us: f64,
    pub received_us: f64,
    pub offset: u64,
    pub topic: u16,
}

/// The events of one lane in one column; `first` and `last` by the time at which they happened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bundle {
    pub count: u32,
    pub first: Mark,
    pub last: Mark,
}

impl Bundle {
    fn add(&mut self, mark: Mark) {
        if self.count == 0 || mark.produced_us < self.first.produced_us {
            self.first = mark;
        }
        if self.count == 0 || mark.produced_us >= self.last.produced_us {
            self.last = mark;
        }
        self.count += 1;
    }

    /// First and last, or the only one.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        let last = (self.count > 1).then_some(&self.last);
        (self.count > 0).then_some(&self.first).into_iter().chain(last)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Columns since the epoch.
    pub index: i64,
    /// Polling, streaming.
    pub lanes: [Bundle; 2],
}

/// The newest columns: a ring by column number.
#[derive(Debug)]
pub struct Columns {
    us_per_column: f64,
    slots: Vec<Column>,
}

impl Columns {
    pub fn new(us_per_column: f64, columns: usize) -> Self {
        let empty = Column {
            index: i64::MIN,
            lanes: [Bundle::default(); 2],
        };
        Self {
            us_per_column: us_per_column.max(1.0),
            slots: vec![empty; columns.max(1)],
        }
    }

    /// Adds an event; one that is older than all columns is left out.
    pub fn add(&mut self, lane: usize, mark: Mark) {
        let index = self.index(mark.produced_us);
        let at = self.slot(index);
        let slot = &mut self.slots[at];
        if slot.index < index {
            *slot = Column {
                index,
                lanes: [Bundle::default(); 2],
            };
        }
        if slot.index == index {
            slot.lanes[lane].add(mark);
        }
    }

    /// The columns that have events, from the oldest to the newest, as far as they are kept.
    pub fn between(&self, from_us: f64, to_us: f64) -> impl DoubleEndedIterator<Item = &Column> {
        let to = self.index(to_us);
        let from = self.index(from_us).max(to - self.slots.len() as i64 + 1);
        (from..=to).filter_map(|index| {
            let column = &self.slots[self.slot(index)];
            (column.index == index).then_some(column)
        })
    }

    fn index(&self, us: f64) -> i64 {
        (us / self.us_per_column).floor() as i64
    }

    fn slot(&self, index: i64) -> usize {
        index.rem_euclid(self.slots.len() as i64) as usize
    }
}

/// What a lane's events look like between the middle line and its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// One event.
    Line { produced_us: f64, received_us: f64 },
    /// More events than can be told apart, between the first and the last.
    Fan {
        produced_us: [f64; 2],
        received_us: [f64; 2],
    },
}

/// Up to this many events of a column are drawn as lines of their own.
const LINES: u32 = 2;

/// Lines where events can be told apart, areas where they cannot: neighbouring full columns that arrived within `join_us` of each
/// other grow together. The columns come from the oldest to the newest.
pub fn shapes<'a>(columns: impl Iterator<Item = &'a Column>, lane: usize, join_us: f64, mut emit: impl FnMut(Shape)) {
    let mut run: Option<(i64, Mark, Mark)> = None;
    let mut flush = |run: &mut Option<(i64, Mark, Mark)>| {
        if let Some((_, first, last)) = run.take() {
            emit(Shape::Fan {
                produced_us: [first.produced_us, last.produced_us],
                received_us: [first.received_us, last.received_us],
            });
        }
    };
    let mut lines: Vec<Mark> = Vec::new();
    for column in columns {
        let bundle = &column.lanes[lane];
        if bundle.count <= LINES {
            lines.extend(bundle.marks());
            continue;
        }
        match &mut run {
            Some((index, _, last))
                if *index + 1 == column.index && (bundle.first.received_us - last.received_us).abs() <= join_us =>
            {
                (*index, *last) = (column.index, bundle.first);
            }
            _ => {
                flush(&mut run);
                run = Some((column.index, bundle.first, bundle.first));
            }
        }
        // A column in the middle of which a page was answered has events of both pages: an area ends and another begins.
        if (bundle.last.received_us - bundle.first.received_us).abs() > join_us {
            flush(&mut run);
            run = Some((column.index, bundle.last, bundle.last));
        } else if let Some((_, _, last)) = &mut run {
            *last = bundle.last;
        }
    }
    flush(&mut run);
    for Mark {
        produced_us,
        received_us,
        ..
    } in lines
    {
        emit(Shape::Line {
            produced_us,
            received_us,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(produced_us: f64, received_us: f64) -> Mark {
        Mark {
            produced_us,
            received_us,
            offset: 0,
            topic: 0,
        }
    }

    fn drawn(columns: &Columns, lane: usize, to_us: f64) -> Vec<Shape> {
        let mut shapes_drawn = Vec::new();
        shapes(columns.between(0.0, to_us), lane, 20.0, |shape| {
            shapes_drawn.push(shape)
        });
        shapes_drawn
    }

    #[test]
    fn events_that_can_be_told_apart_are_lines() {
        let mut columns = Columns::new(10.0, 100);
        for produced in [101.0, 105.0, 250.0] {
            columns.add(0, mark(produced, 400.0));
        }
        let line = |produced_us| Shape::Line {
            produced_us,
            received_us: 400.0,
        };
        assert_eq!(drawn(&columns, 0, 900.0), [line(101.0), line(105.0), line(250.0)]);
        assert_eq!(drawn(&columns, 1, 900.0), []);
    }

    #[test]
    fn full_neighbours_of_one_page_grow_together_and_the_next_page_begins_anew() {
        let mut columns = Columns::new(10.0, 100);
        for i in 0..40 {
            let produced = 100.0 + f64::from(i);
            columns.add(0, mark(produced, if produced < 125.0 { 200.0 } else { 300.0 }));
        }
        let fan = |from, to, received| Shape::Fan {
            produced_us: [from, to],
            received_us: [received, received],
        };
        assert_eq!(
            drawn(&columns, 0, 900.0),
            [fan(100.0, 120.0, 200.0), fan(129.0, 139.0, 300.0)]
        );
    }

    #[test]
    fn a_column_is_given_to_newer_time_and_never_back() {
        let mut columns = Columns::new(10.0, 4);
        columns.add(0, mark(5.0, 6.0));
        columns.add(0, mark(45.0, 46.0));
        columns.add(0, mark(5.0, 7.0));
        let kept: Vec<_> = columns
            .between(0.0, 45.0)
            .map(|column| (column.index, column.lanes[0].count))
            .collect();
        assert_eq!(kept, [(4, 1)]);
    }

    proptest! {
        #[test]
        fn no_event_is_lost_in_a_column(times in prop::collection::vec(0.0f64..1000.0, 1..300)) {
            let mut columns = Columns::new(7.0, 200);
            for time in &times {
                columns.add(1, mark(*time, *time + 3.0));
            }
            let counted: u32 = columns.between(0.0, 1000.0).map(|column| column.lanes[1].count).sum();
            prop_assert_eq!(counted as usize, times.len());
            for column in columns.between(0.0, 1000.0) {
                let bundle = column.lanes[1];
                prop_assert!(bundle.first.produced_us <= bundle.last.produced_us);
            }
        }

        #[test]
        fn what_is_drawn_is_bounded_by_the_width(count in 1usize..5000) {
            let mut columns = Columns::new(10.0, 100);
            for i in 0..count {
                columns.add(0, mark(i as f64 * 990.0 / count as f64, 2_000.0));
            }
            prop_assert!(drawn(&columns, 0, 999.0).len() <= 200);
        }
    }
}
