//! VRRP on Linux.
//!
//! The crate has two doors. **Parts**, for a program with a loop of its own: each is non-blocking, implements
//! `AsFd` and `AsRawFd`, and knows nothing of the others.
//!
//! | part | does |
//! |---|---|
//! | `VrrpSocket` | receives and sends advertisements: IPv4 or IPv6, protocol 112 or AH, multicast and unicast; interface, destination and TTL are known for each packet |
//! | `FrameSocket` | sends gratuitous ARP and unsolicited neighbor advertisements as whole frames |
//! | `Netlink` | adds and removes virtual addresses, lists links and addresses, sweeps left-overs; requests are pipelined |
//! | `Monitor` | tells of links and addresses that change; after an overrun it reads everything anew |
//!
//! **A driver**, for a program without one: `Driver` runs any number of virtual routers on one thread. It drains its sockets before
//! it serves expired timers, sends all advertisements before any slow work, keeps the addresses in place while Active, and
//! resigns and withdraws when told to stop.
//!
//! Sockets are created in the network namespace of the calling thread. `CAP_NET_RAW` and `CAP_NET_ADMIN` suffice.

#![cfg(target_os = "linux")]
#![deny(missing_docs, unsafe_code)]

mod address;
mod driver;
mod error;
mod frame_socket;
mod interface;
mod monitor;
mod netlink;
mod rtnetlink;
mod socket;
mod sys;

pub use address::{ParseAddressError, Scope, VirtualAddress};
#[cfg(feature = "hmac")]
pub use driver::HmacKeys;
pub use driver::{
    Authentication, Driver, DriverCounters, DriverEvent, Fault, Notification, RouterConfig,
    RouterId, RouterView, StopHandle, Transport,
};
pub use error::{Capability, Error};
pub use frame_socket::FrameSocket;
pub use interface::{ADDRESS_PROTOCOL, Interface, InterfaceAddress, Interfaces, Link};
pub use monitor::{Monitor, MonitorEvent};
pub use netlink::{AddressChange, Netlink, Outcome};
pub use socket::{Datagram, ReceiveBatch, Received, VrrpSocket};
