//! Networks of namespaces, real peers and captures for tests, benches and example programs.
//!
//! A [`Lan`] is a bridge with [`Host`]s plugged into it, each in a network [`Namespace`] of its
//! own. Programs, sockets and foreign routers ([`Keepalived`], [`Frr`]) run inside the hosts; a
//! [`Capture`] on the bridge sees every frame; a [`Probe`] on one host measures for how long an
//! address did not answer; [`tshark`] gives Wireshark's opinion.
//!
//! ```no_run
//! use std::time::Duration;
//! use vrrp_lab::{Keepalived, KeepalivedInstance, Lan};
//!
//! # fn main() -> Result<(), vrrp_lab::Error> {
//! let lan = Lan::new()?;
//! let r1 = lan.host("r1", &["192.0.2.1/24"])?;
//! let capture = lan.capture()?;
//! let instance = KeepalivedInstance::new(51, 100, &["192.0.2.254/24"]);
//! let keepalived = Keepalived::start(r1.namespace(), &instance.to_string())?;
//! let limit = Duration::from_secs(5);
//! capture.wait_for("an advertisement", limit, |frame| frame.bytes.get(23) == Some(&112))?;
//! keepalived.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Kernel`] other than the machine's runs a program as a guest, and a [`Suite`] of tests in
//! several kernels.
//!
//! # Privileges
//!
//! `CAP_SYS_ADMIN`, `CAP_NET_ADMIN` and `CAP_NET_RAW` in the current user namespace are enough:
//! root has them, so has a normal user under `unshare -Urn` or after
//! [`become_root_in_user_namespace`]. The exception is [`Frr`], whose daemons change to the user
//! `frr` and therefore need real root.
//!
//! # Nothing is left behind
//!
//! A namespace lives as long as the file descriptors and processes that hold it; it has no name in
//! the file system. Programs are killed and temporary files removed on drop; a watchdog kills the
//! programs when the process that started them dies without a chance to clean up.

mod background_program;
mod capture;
mod daemon;
mod error;
mod example;
mod frr;
mod group;
mod keepalived;
mod kernel;
mod lan;
mod namespace;
mod netlink;
mod probe;
mod processor;
pub mod repository;
pub mod svg;
mod sys;
mod tshark;
mod user_namespace;
mod wait;

pub use background_program::BackgroundProgram;
pub use capture::{Capture, Frame, write_pcap};
pub use error::Error;
pub use example::example;
pub use frr::{Frr, FrrInstance};
pub use keepalived::{Keepalived, KeepalivedAuthentication, KeepalivedInstance};
pub use kernel::{
    Guest, Kernel,
    suite::{GuestTest, Suite},
};
pub use lan::{Host, Lan};
pub use namespace::Namespace;
pub use probe::{Answer, Outage, Ping, Pings, Probe};
pub use processor::{ProcessorWaits, processor_wait};
pub use tshark::{Packet, V3Checksum, tshark, tshark_in_either_form};
pub use user_namespace::become_root_in_user_namespace;
pub use wait::wait_for;
