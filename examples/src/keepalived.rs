//! The behavior of keepalived for a configuration, built on the crates of this workspace.
//!
//! [`translate`] turns a configuration into routers, sync groups and tracked objects, without any
//! I/O; [`balance`] turns it into the pool of a load balancer. [`Event`](event::Event) has the
//! words with which keepalived reports changes.

pub mod balance;
pub mod event;
pub mod expression;
pub mod host_object;
pub mod kernel_settings;
pub mod link;
mod link_delay;
pub mod mail;
mod pacing;
pub mod server_event;
pub mod translate;
