//! Simulated networks: what holds under which faults, and that mistakes are found.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod configurations;
mod corrections;
mod faults;
mod mistakes;
mod monitor;
mod plans;
mod scenarios;
mod seeds;
mod traces;
mod wire;
