//! Runs the programs of the guide (docs/guide) that need no IPVS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod io_uring;
mod simulation;
