//! Rounds that others did not disturb: what every part counts with.

use serde::Serialize;
use serde_json::Value;

use crate::Bench;
use crate::machine::Disturbance;
use crate::report::Section;

/// Times that a measurement is repeated when others disturbed it.
const TRIES: usize = 4;

/// Something that was measured, with what disturbed it.
pub trait Measured: Serialize {
    fn disturbance(&self) -> Disturbance;
}

/// Measures until nobody disturbs it; none when it stayed disturbed.
pub fn undisturbed<T: Measured>(
    bench: &Bench,
    section: &mut Section,
    what: &Value,
    mut measure: impl FnMut() -> Result<T, String>,
) -> Result<Option<T>, String> {
    for _ in 0..TRIES {
        let figures = measure()?;
        let kept = bench.keeps(figures.disturbance());
        section.result(what, &figures, kept)?;
        if kept {
            return Ok(Some(figures));
        }
    }
    Ok(None)
}

/// Rounds until there are enough whole ones; a round is none when one of its measurements stayed disturbed.
pub fn whole<T>(
    bench: &Bench,
    name: &str,
    mut round: impl FnMut(usize) -> Result<Option<T>, String>,
) -> Result<Vec<T>, String> {
    let mut rounds = Vec::new();
    for number in 0..2 * bench.rounds {
        rounds.extend(round(number)?);
        if rounds.len() == bench.rounds {
            return Ok(rounds);
        }
    }
    Err(too_few(name))
}

pub fn too_few(name: &str) -> String {
    format!("{name}: too few rounds went undisturbed; leave the machine alone and measure again")
}

/// 0 to `count` in an order that begins elsewhere in each round: each is first, second and last in turn.
pub fn in_turn(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_first_in_turn() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| in_turn(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
