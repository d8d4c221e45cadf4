//! IPVS, the load balancer of the Linux kernel, over generic netlink.
//!
//! | module | does |
//! |---|---|
//! | [`message`] | the IPVS family as plain types and a codec, with the traits of the rust-netlink crates; no I/O, any platform |
//! | `client` | a blocking socket (feature `client`, on by default), and the same for tokio (feature `tokio`) |
//! | [`plan`] | wanted table against the kernel's table: the least changes, in a safe order, with draining; no I/O |
//! | [`pool`] | health of real servers to wanted table: checks, quorum, sorry server, drain; no I/O |
//! | [`rules`] | the text that ipvsadm saves and restores; no I/O |
//! | `sysctl` | the sysctls of IPVS as typed settings that can be put back (feature `client`) |
//! | [`connections`] | reads `/proc/net/ip_vs_conn` |
//!
//! The vocabulary is the kernel's: a [`Service`] is what clients connect to, known by its [`ServiceKey`]; its [`Destination`]s are the real
//! servers; a [`ForwardingMethod`] says how packets reach them; a [`Scheduler`] chooses one for each new connection.

// The one exception: tokio wants to be promised that a descriptor stays open.
#![cfg_attr(docsrs, feature(doc_cfg))]
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

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
