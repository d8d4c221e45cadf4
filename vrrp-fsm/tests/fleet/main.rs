//! Many virtual routers in one fleet.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod allocation;
mod any_order;
mod demultiplexing;
mod groups;
mod lan;
mod order;
mod records;
mod runtime;
mod snapshots;
mod tracking;
