//! The crate on real interfaces: each test makes its own network of namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod rig;
mod rivals;

mod addresses;
mod announcements;
mod async_driver;
mod authentication;
mod bystanders;
mod changes;
mod checksum;
mod election;
mod errno;
mod faults;
mod filter;
mod floods;
mod groups;
mod hand_over;
mod instances;
mod left_overs;
mod macvlans;
mod own_loop;
mod owners;
mod parts;
mod peers;
mod privileges;
mod resolution;
mod routes;
mod sending;
mod succession;
mod tracked_routes;
mod tracking;
mod virtual_mac;
mod wire;
