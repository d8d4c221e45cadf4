//! Commands for events, one at a time and in order: how a change of state reaches the
//! scripts of an operator.
//!
//! A [`Schedule`] decides, without I/O. A [`Notifier`] is a thread that runs the commands; nothing
//! else waits for the commands.

mod runner;
mod schedule;

pub use self::{
    runner::{Notifier, Report},
    schedule::{Action, Order, Schedule},
};
