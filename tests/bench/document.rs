//! The document: a preface, and a section for each part. It is also where the parts' last results are kept.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::machine::describe;
use crate::{Bench, MOST_OTHERS, MOST_STOLEN, PARTS};

/// What stands before each section.
const MARK: &str = "<!-- part: ";
const MARK_END: &str = " -->\n";

/// Gives the preface and this part's section anew, and leaves the other parts as they are.
pub fn write(path: &Path, bench: &Bench, part: &str, section: &str) -> std::io::Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, with(&old, &preface(bench), part, section))
}

fn with(old: &str, preface: &str, part: &str, section: &str) -> String {
    let mut sections: Vec<(&str, &str)> = old
        .split(MARK)
        .skip(1)
        .filter_map(|piece| piece.split_once(MARK_END))
        .filter(|(name, _)| *name != part && PARTS.contains(name))
        .collect();
    sections.push((part, section));
    sections.sort_by_key(|(name, _)| PARTS.iter().position(|part| part == name));
    let mut text = format!("{}\n", preface.trim());
    for (name, section) in sections {
        text += &format!("\n{MARK}{name}{MARK_END}{}\n", section.trim());
    }
    text
}

fn preface(bench: &Bench) -> String {
    format!(
        "# Benchmarks\n\n\
         Written by `make bench`. `PART={first} make bench` takes one part anew and leaves the others as they are (the parts:\n\
         {parts}); raw results stay in `target/bench`, one JSON object a line.\n\n\
         **Method.** Freshet is the release binary as a user starts it, with its own telemetry running. What it is held\n\
         against runs in the same round, each first, second and last in turn; figures are medians over {rounds} rounds, and a\n\
         ratio is the median of the ratios within the rounds, with the least and the most in brackets. The server that is\n\
         measured has one core for itself, its readers have another; CPU time is the kernel's CPU clock of the server's\n\
         process. A measurement is thrown away and repeated when the host stole more than {stolen:.0} % of either core's time, or other\n\
         processes used more than {others:.0} % of the server's core. After each measurement of streams the readers' counts are held\n\
         against the server's: delivered, and told as missed, must be every event that was produced, or the bench fails.\n\
         Readers never sleep, so the server does not pay for waking them, as it would not for readers on other machines.",
        first = PARTS[0],
        parts = PARTS.map(|part| format!("`{part}`")).join(", "),
        rounds = bench.rounds,
        stolen = MOST_STOLEN * 100.0,
        others = MOST_OTHERS * 100.0,
    )
}

/// When, with what and on what a part was measured.
pub fn taken(took: Duration) -> String {
    format!(
        "Taken {} at {}, in {} s, on {}.",
        said(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        said(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"])),
        took.as_secs(),
        describe()
    )
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_taken_anew_leaves_the_others_as_they_are() {
        let first = with("", "# Old", "poll", "## Polls\n\nold");
        let both = with(&first, "# Benchmarks", "fanout", "## Fan-out");
        let again = with(&both, "# Benchmarks", "poll", "## Polls\n\nnew");
        assert_eq!(
            again,
            "# Benchmarks\n\n<!-- part: fanout -->\n## Fan-out\n\n<!-- part: poll -->\n## Polls\n\nnew\n"
        );
    }

    #[test]
    fn a_part_that_is_no_more_goes() {
        let old = "# Benchmarks\n\n<!-- part: gone -->\n## Gone\n";
        assert_eq!(
            with(old, "# B", "poll", "## Polls"),
            "# B\n\n<!-- part: poll -->\n## Polls\n"
        );
    }
}
