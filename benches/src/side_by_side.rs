//! The parts of the bench `side_by_side` that other benches and tests use: its cases, the record of
//! the advertisements on the cables, and the chart of its results.

pub mod case;
pub mod chart;
pub mod wire;
