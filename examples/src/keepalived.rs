//! What keepalived does with a configuration, on the crates of this workspace.
//!
//! [`translate`] makes routers, sync groups and tracked objects of a configuration, without any
//! I/O; [`balance`] makes the pool of a load balancer of it. [`Event`](event::Event) has the words
//! in which keepalived reports changes.

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
