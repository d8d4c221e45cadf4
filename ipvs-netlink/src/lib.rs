#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! | module | content |
//! |---|---|
//! | `client` | a client that blocks, and one for tokio |
//! | [`plan`] | minimal changes from the kernel's table to the wanted one, in a safe order, with draining |
//! | [`pool`] | the wanted table from the health of servers: checks, quorum, sorry server |
//! | [`rules`] | the text that ipvsadm saves and restores |
//! | [`message`] | the IPVS family of generic netlink as plain types, with their encoding |
//! | `sysctl` | the sysctls of IPVS as typed settings, restored on drop |
//! | [`connections`] | the connections of `/proc/net/ip_vs_conn` |
//!
//! `plan`, `pool`, `rules` and `message` do no I/O and build on every platform.
//!
//! The vocabulary is the kernel's. Clients connect to a [`Service`], which a [`ServiceKey`]
//! identifies. Its [`Destination`]s are the real servers. A [`Scheduler`] chooses one for each new
//! connection, and packets reach it by a [`ForwardingMethod`].

// docs.rs shows the feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The exception: `AsyncFd` requires a promise that its descriptor stays open.
#![cfg_attr(not(feature = "tokio"), forbid(unsafe_code))]
#![deny(missing_docs, unsafe_code)]

#[cfg(all(feature = "client", target_os = "linux"))]
pub mod client;
pub mod connections;
mod destination;
mod error;
mod listed;
pub mod message;
mod name;
#[cfg(all(feature = "client", target_os = "linux"))]
mod namespace;
pub mod plan;
pub mod pool;
pub mod rules;
mod service;
mod settings;
mod stats;
#[cfg(all(feature = "client", target_os = "linux"))]
pub mod sysctl;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod value;

#[cfg(all(feature = "tokio", target_os = "linux"))]
pub use client::AsyncClient;
#[cfg(all(feature = "client", target_os = "linux"))]
pub use client::Client;
pub use destination::{
    Destination, DestinationKey, ForwardingMethod, GueChecksum, Thresholds, Tunnel, Weight,
};
pub use error::{Errno, Error, NoAnswer, Reason, Refusal};
pub use listed::{ListedDestination, ListedService, UnknownAttribute};
pub use name::{InterfaceName, NameError, PersistenceEngine, Scheduler};
pub use service::{
    Family, Netmask, Persistence, PersistenceError, PrefixLength, Protocol, SchedulerFlags,
    Service, ServiceKey,
};
pub use settings::{DaemonState, Info, MulticastGroup, SyncDaemon, Timeouts, Version};
pub use stats::{Rates, Stats};
pub use table::{Table, TableEntry, VirtualServer};
pub use value::{TextError, ValueError};
