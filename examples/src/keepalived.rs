//! What keepalived does with a configuration, on the crates of this workspace.
//!
//! [`translate`] makes routers, sync groups and tracked objects of a configuration, without any
//! I/O. [`Event`](event::Event) has the words in which keepalived reports changes.

pub mod event;
pub mod host_object;
pub mod translate;
