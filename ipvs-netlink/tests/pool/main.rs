//! The pool, driven in simulated time.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A subtraction that goes below zero fails the test.
#![allow(clippy::unchecked_time_subtraction)]

mod configuration;
mod decisions;
mod evenness;
mod explanations;
mod file;
mod host;
mod keepalived;
mod kernel_table;
mod operator;
mod planned;
mod properties;
mod reload;
mod schedule;
