//! The rows of the feed: the newest events and gaps within bounds of number and bytes, and which of them a filter shows.
//!
//! Two bounds: [`Rows::MOST`] rows, and [`Rows::MOST_BYTES`] of their texts. Beyond the first the oldest rows go; beyond the second the
//! oldest rows' texts are cut to what their line shows, so that a few large events do not push out all the small ones.

use std::collections::VecDeque;

use freshet_wire::{Event, Gap};

use super::filter::Filter;
use super::journey::Times;

#[derive(Debug, Clone)]
pub enum Row {
    Event(Item),
    /// Something is missing here, and why.
    Gap(Gap),
    /// Something is missing here that nobody told of: from this offset on, so many.
    Hole(u64, Option<u64>),
}

/// An event as it is kept.
#[derive(Debug, Clone)]
pub struct Item {
    pub partition: u32,
    pub offset: u64,
    pub times: Times,
    /// Its JSON as it came; after its text was let go, the beginning of it.
    text: Box<str>,
    data_at: usize,
    data_bytes: usize,
    /// Of the whole text.
    pub bytes: usize,
}

impl Item {
    /// As much of an event's data as a line can show.
    pub const PREVIEW_BYTES: usize = 320;

    /// `event` was read from `text`.
    pub fn new(text: &str, event: &Event<'_>, times: Times) -> Self {
        Self {
            partition: event.partition,
            offset: event.offset,
            times,
            data_bytes: event.data.get().len(),
            data_at: (event.data.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize),
            bytes: text.len(),
            text: text.into(),
        }
    }

    /// All of it; `None` after that was let go.
    pub fn whole(&self) -> Option<&str> {
        (self.text.len() == self.bytes).then_some(&self.text)
    }

    /// Of its data what a line can show.
    pub fn preview(&self) -> &str {
        let most = self.data_at + self.data_bytes.min(Self::PREVIEW_BYTES);
        let end = self.text.floor_char_boundary(most);
        self.text.get(self.data_at..end).unwrap_or_default()
    }

    /// Its data, where the text is whole.
    pub fn data(&self) -> Option<&str> {
        self.whole()?.get(self.data_at..self.data_at + self.data_bytes)
    }

    /// Lets go of what no line shows; how many bytes that was.
    fn cut(&mut self) -> usize {
        let end = self.text.floor_char_boundary(self.data_at + Self::PREVIEW_BYTES);
        let cut = self.text.len() - end;
        if cut > 0 {
            self.text = self.text[..end].into();
        }
        cut
    }
}

#[derive(Debug)]
pub struct Rows {
    rows: VecDeque<Row>,
    /// The number of the oldest row: numbers go on, whatever is let go.
    first: u64,
    /// Numbers of the rows that the filter shows, the oldest first.
    shown: VecDeque<u64>,
    filter: Filter,
    /// Rows with lower numbers were not yet held against this filter.
    scanned_from: u64,
    /// Rows with lower numbers have been cut.
    whole_from: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    /// Rows that are gone.
    pub let_go: u64,
    /// Bytes of texts that were cut, of rows that are there and of others.
    pub cut_bytes: u64,
    /// Grows with every change.
    pub version: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self::new(Self::MOST, Self::MOST_BYTES)
    }
}

impl Rows {
    pub const MOST: usize = 20_000;
    pub const MOST_BYTES: usize = 32_000_000;

    fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            rows: VecDeque::new(),
            first: 0,
            shown: VecDeque::new(),
            filter: Filter::default(),
            scanned_from: 0,
            whole_from: 0,
            bytes: 0,
            most,
            most_bytes,
            let_go: 0,
            cut_bytes: 0,
            version: 0,
        }
    }

    pub fn push(&mut self, row: Row) {
        if self.rows.len() == self.most {
            self.drop_oldest();
            self.let_go += 1;
        }
        let number = self.end();
        if let Row::Event(item) = &row {
            self.bytes += item.text.len();
        }
        if shows(&self.filter, &row) {
            self.shown.push_back(number);
        }
        self.rows.push_back(row);
        while self.bytes > self.most_bytes && self.whole_from < self.end() {
            let at = (self.whole_from - self.first) as usize;
            self.whole_from += 1;
            if let Some(Row::Event(item)) = self.rows.get_mut(at) {
                let cut = item.cut();
                self.bytes -= cut;
                self.cut_bytes += cut as u64;
            }
        }
        self.version += 1;
    }

    fn drop_oldest(&mut self) {
        if let Some(Row::Event(item)) = self.rows.pop_front() {
            self.bytes -= item.text.len();
        }
        if self.shown.front() == Some(&self.first) {
            self.shown.pop_front();
        }
        self.first += 1;
        self.scanned_from = self.scanned_from.max(self.first);
        self.whole_from = self.whole_from.max(self.first);
    }

    /// Empties it; the counts of what was let go begin anew.
    pub fn clear(&mut self) {
        self.first = self.end();
        (self.scanned_from, self.whole_from) = (self.first, self.first);
        self.rows.clear();
        self.shown.clear();
        (self.bytes, self.let_go, self.cut_bytes) = (0, 0, 0);
        self.version += 1;
    }

    /// Shows what another filter takes: of what is there, after [`Rows::scan`].
    pub fn set_filter(&mut self, filter: Filter) {
        if filter != self.filter {
            self.filter = filter;
            self.shown.clear();
            self.scanned_from = self.end();
            self.version += 1;
        }
    }

    /// Holds older rows against the filter, the newest first, until so many bytes were looked at.
    pub fn scan(&mut self, mut bytes: usize) {
        while self.scanned_from > self.first && bytes > 0 {
            self.scanned_from -= 1;
            let Some(row) = self.rows.get((self.scanned_from - self.first) as usize) else {
                break;
            };
            if let Row::Event(item) = row {
                bytes = bytes.saturating_sub(item.text.len());
            }
            if shows(&self.filter, row) {
                self.shown.push_front(self.scanned_from);
            }
            self.version += 1;
        }
    }

    /// All that is there was held against the filter.
    pub fn is_scanned(&self) -> bool {
        self.scanned_from == self.first
    }

    pub fn is_filtered(&self) -> bool {
        !self.filter.is_empty()
    }

    /// The number that the next row will have.
    pub fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many more rows, and something is let go.
    pub fn room(&self) -> usize {
        self.most - self.rows.len()
    }

    /// How many rows the filter shows.
    pub fn shown(&self) -> usize {
        self.shown.len()
    }

    /// How many of those that are shown have a number below this.
    pub fn shown_below(&self, number: u64) -> usize {
        self.shown.partition_point(|shown| *shown < number)
    }

    /// The number of a row that is shown, by its place; 0 is the oldest.
    pub fn shown_at(&self, place: usize) -> Option<u64> {
        self.shown.get(place).copied()
    }

    pub fn get(&self, number: u64) -> Option<&Row> {
        let at = number.checked_sub(self.first)?;
        self.rows.get(usize::try_from(at).ok()?)
    }

    /// What is shown, the oldest first.
    pub fn iter_shown(&self) -> impl Iterator<Item = &Row> {
        self.shown.iter().filter_map(|number| self.get(*number))
    }
}

/// A gap is shown whatever the filter: what is missing might have been in it.
fn shows(filter: &Filter, row: &Row) -> bool {
    match row {
        // Of what was cut the beginning is all that can be looked at.
        Row::Event(item) => filter.takes(&item.text, item.data().unwrap_or_else(|| item.preview())),
        Row::Gap(_) | Row::Hole(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use freshet_wire::GapReason;
    use proptest::prelude::*;

    use super::*;

    fn item(offset: u64, data: &str) -> Row {
        let text = format!(
            r#"{{"topic":"t","epoch":"0123456789ab","partition":0,"offset":{offset},"id":"i","produced_us":1,"ingested_us":2,"type":"x","data":{data}}}"#
        );
        let event: Event<'_> = serde_json::from_str(&text).unwrap();
        let times = Times {
            produced_us: 1,
            ingested_us: 2,
            sent_us: 3,
            received_us: 4.0,
            foreign: false,
        };
        Row::Event(Item::new(&text, &event, times))
    }

    fn offsets(rows: &Rows) -> Vec<u64> {
        rows.iter_shown()
            .map(|row| match row {
                Row::Event(item) => item.offset,
                Row::Gap(gap) => gap.from_offset,
                Row::Hole(from, _) => *from,
            })
            .collect()
    }

    proptest! {
        /// Whenever the filter is changed and however far it has got: in the end what is shown is what it takes of what is there.
        #[test]
        fn what_is_shown_is_what_the_filter_takes(steps in prop::collection::vec((0..9u64, 0..3u32, 0..400usize), 1..40)) {
            let mut rows = Rows::new(16, 1 << 20);
            let (mut offset, mut least) = (0, 0);
            for (more, what, scan) in steps {
                for _ in 0..more {
                    rows.push(item(offset, &format!(r#"{{"n":{}}}"#, offset % 10)));
                    offset += 1;
                }
                if what == 0 {
                    least = more;
                    rows.set_filter(Filter::new("", &format!("n >= {least}")).unwrap());
                }
                rows.scan(scan);
            }
            rows.scan(usize::MAX);
            prop_assert!(rows.is_scanned());
            let there = offset.saturating_sub(16)..offset;
            prop_assert_eq!(rows.let_go, there.start);
            prop_assert_eq!(offsets(&rows), there.filter(|offset| offset % 10 >= least).collect::<Vec<_>>());
            let numbers: Vec<_> = (0..rows.shown()).map(|place| rows.shown_at(place).unwrap()).collect();
            prop_assert!(numbers.is_sorted());
            prop_assert!(numbers.iter().enumerate().all(|(place, number)| rows.shown_below(*number) == place));
        }

        #[test]
        fn its_texts_stay_within_the_bound(sizes in prop::collection::vec(0..5000usize, 1..60)) {
            let mut rows = Rows::new(1000, 40_000);
            for (offset, size) in sizes.iter().enumerate() {
                rows.push(item(offset as u64, &format!("{:?}", "é".repeat(*size))));
                prop_assert!(rows.bytes() <= 40_000 || rows.len() * 500 >= rows.bytes());
                let sum: usize = rows.iter_shown().map(|row| match row { Row::Event(item) => item.text.len(), _ => 0 }).sum();
                prop_assert_eq!(sum, rows.bytes());
            }
        }
    }

    #[test]
    fn of_a_text_that_is_let_go_the_line_stays() {
        let mut rows = Rows::new(10, 3000);
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(2000));
        rows.push(item(0, &long));
        rows.push(item(1, "[1, 2]"));
        rows.push(item(2, &long));
        let Some(Row::Event(cut)) = rows.get(0) else { panic!() };
        assert_eq!((cut.whole(), cut.data()), (None, None));
        assert!(cut.preview().starts_with(r#"{"a":"xxx"#) && cut.preview().len() == Item::PREVIEW_BYTES);
        assert!(rows.cut_bytes > 1500);
        let Some(Row::Event(whole)) = rows.get(1) else { panic!() };
        assert_eq!((whole.data(), whole.preview()), (Some("[1, 2]"), "[1, 2]"));
        assert!(matches!(rows.get(2), Some(Row::Event(item)) if item.data() == Some(&*long)));
    }

    #[test]
    fn a_gap_is_shown_whatever_the_filter_and_numbers_go_on_after_it_is_cleared() {
        let mut rows = Rows::new(10, 3000);
        rows.set_filter(Filter::new("nothing has this", "").unwrap());
        rows.push(item(0, "1"));
        rows.push(Row::Gap(Gap {
            topic: "t".to_owned(),
            partition: 0,
            from_offset: 7,
            count: Some(2),
            reason: GapReason::Retention,
        }));
        assert_eq!(offsets(&rows), [7]);
        rows.clear();
        assert_eq!(
            (rows.len(), rows.shown(), rows.end(), rows.get(1).is_none()),
            (0, 0, 2, true)
        );
        rows.push(Row::Hole(9, None));
        assert_eq!((offsets(&rows), rows.shown_at(0)), (vec![9], Some(2)));
    }
}
