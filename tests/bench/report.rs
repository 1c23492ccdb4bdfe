//! Results: a JSON line for each measurement, and a section of the document for each part.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

/// What a part found.
#[derive(Debug)]
pub struct Section {
    pub part: &'static str,
    title: &'static str,
    raw: File,
    measurements: usize,
    thrown_away: usize,
    tables: Vec<Table>,
    aims: Vec<Aim>,
    remarks: Vec<String>,
}

#[derive(Debug)]
struct Aim {
    what: String,
    measured: f64,
    relation: &'static str,
    aim: f64,
}

impl Aim {
    fn is_met(&self) -> bool {
        if self.relation == ">=" {
            self.measured >= self.aim
        } else {
            self.measured <= self.aim
        }
    }
}

impl Section {
    /// Raw results go into the folder, one a line.
    pub fn new(part: &'static str, title: &'static str, folder: &Path) -> Result<Self, String> {
        let path = folder.join(format!("{part}.jsonl"));
        Ok(Self {
            part,
            title,
            raw: File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?,
            measurements: 0,
            thrown_away: 0,
            tables: Vec::new(),
            aims: Vec::new(),
            remarks: Vec::new(),
        })
    }

    /// Books one measurement: what was measured, and the figures.
    pub fn result(&mut self, what: &Value, figures: impl Serialize, kept: bool) -> Result<(), String> {
        let line = json!({"part": self.part, "what": what, "kept": kept, "figures": figures});
        let thrown_away = if kept { "" } else { " (thrown away: disturbed)" };
        eprintln!("{}: {what}{thrown_away}", self.part);
        self.measurements += 1;
        self.thrown_away += usize::from(!kept);
        writeln!(self.raw, "{line}").map_err(|error| error.to_string())
    }

    pub fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub fn aim(&mut self, what: &str, measured: f64, relation: &'static str, aim: f64) {
        self.aims.push(Aim {
            what: what.to_owned(),
            measured,
            relation,
            aim,
        });
    }

    /// The aims that were not met, each with what was measured.
    pub fn missed_aims(&self) -> Vec<String> {
        let missed = self.aims.iter().filter(|aim| !aim.is_met());
        missed.map(|aim| format!("{}: {:.2}", aim.what, aim.measured)).collect()
    }

    pub fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// As it stands in the document.
    pub fn markdown(&self, taken: &str) -> String {
        let mut text = format!("## {}\n\n{taken}\n", self.title);
        for table in &self.tables {
            text += &format!("\n{}", table.markdown());
        }
        if !self.aims.is_empty() {
            let mut table = Table::new(&["aim", "measured", "", "met"]);
            for aim in &self.aims {
                let met = if aim.is_met() { "yes" } else { "**no**" };
                table.row([
                    aim.what.clone(),
                    format!("{:.2}", aim.measured),
                    format!("{} {}", aim.relation, aim.aim),
                    met.to_owned(),
                ]);
            }
            text += &format!("\n{}", table.markdown());
        }
        for remark in &self.remarks {
            text += &format!("\n{remark}\n");
        }
        text += &format!(
            "\n{} measurements, {} of them thrown away because others disturbed them.\n",
            self.measurements, self.thrown_away
        );
        text
    }
}

/// A table of the document.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|name| (*name).to_owned()).collect()],
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            text += &format!("| {} |\n", row.join(" | "));
            if index == 0 {
                text += &format!("|{}\n", " --- |".repeat(row.len()));
            }
        }
        text
    }
}

/// The middle one; of an even number, between the two in the middle. NaN of none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

/// The median of ratios, each within one round, and how far they spread.
pub fn ratio(ratios: impl IntoIterator<Item = f64>) -> String {
    let ratios: Vec<f64> = ratios.into_iter().collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("**{:.2}** ({least:.2} to {most:.2})", median(ratios))
}

pub fn thousands(number: f64) -> String {
    if number >= 1e6 {
        format!("{:.2} M", number / 1e6)
    } else if number >= 1e4 {
        format!("{:.0} k", number / 1e3)
    } else {
        format!("{:.2} k", number / 1e3)
    }
}

pub fn milliseconds(us: f64) -> String {
    if us >= 10_000.0 {
        format!("{:.0} ms", us / 1e3)
    } else {
        format!("{:.2} ms", us / 1e3)
    }
}

pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Of memory, in millions of bytes.
pub fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
