//! The parts of the bench `side_by_side` that measure nothing: its cases, and the chart of its
//! results.

pub mod case;
pub mod chart;
