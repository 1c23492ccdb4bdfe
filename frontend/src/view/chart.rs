//! Charts: pure scales and columns, and what draws them on a canvas.

pub mod columns;
pub mod leaders;
pub mod palette;
pub mod pen;
pub mod race;
pub mod scale;
pub mod surface;
pub mod trend;
