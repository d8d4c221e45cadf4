//! Simulated networks: the properties that hold under each kind of fault, and the detection of
//! mistakes.

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
