//! VRRP on Linux.
//!
//! The crate has two doors. **Parts**, for a program with a loop of its own: each is non-blocking, implements
//! `AsFd` and `AsRawFd`, and knows nothing of the others.
//!
//! | part | does |
//! |---|---|
//! | [`VrrpSocket`] | receives and sends advertisements in batches: IPv4 or IPv6, protocol 112 or AH, multicast and unicast, of all VRIDs or of a [`VridSet`]; interface, destination and TTL are known for each packet |
//! | [`FrameSocket`] | sends gratuitous ARP and unsolicited neighbor advertisements as whole frames |
//! | [`Netlink`] | adds and removes virtual addresses, lists links and addresses, sweeps left-overs; requests are pipelined |
//! | [`Monitor`] | tells of links and addresses that change; after an overrun it says that everything is to be read anew |
//! | [`Interfaces`] | holds what the two tell, and finds the primary address |
//!
//! **A driver**, for a program without one: [`Driver`] runs any number of virtual routers on one thread. It drains its sockets before
//! it serves expired timers, sends all advertisements before any slow work, keeps the addresses in place while Active, and
//! resigns and withdraws when told to stop. Everything can be changed while it runs, without another election. What happens it tells as
//! [`Notification`]s, in order.
//!
//! Protocol decisions are not made here: `vrrp_fsm` says when, `vrrp_proto` says what octets, this crate does it.
//!
//! # What it needs
//!
//! `CAP_NET_RAW` and `CAP_NET_ADMIN`, and no other privilege. Sockets belong to the network namespace of the thread that opens them.
//! Linux 5.18 or later keeps the mark ([`ADDRESS_PROTOCOL`]) that [`Netlink::sweep`] goes by; on older kernels the rest works. No
//! sysctl is changed, and no firewall.
//!
//! # What it leaves to the host
//!
//! * Advertisements and announcements bear the interface's own hardware address, not the virtual MAC (M-03, A-05): neighbours learn the
//!   new one from the announcements.
//! * The addresses of an Active are on its interface, so that the kernel answers ARP and Neighbor Discovery for them, and accepts what
//!   is sent to them. Whether it may accept is what [`accepts_traffic`](vrrp_fsm::VirtualRouter::accepts_traffic) says (M-08, AMB-22); a
//!   host that must not has to filter.
//! * Forwarding is up to `net.ipv4.ip_forward` and `net.ipv6.conf.*.forwarding`.
//!
//! # What was decided where the RFCs are silent
//!
//! * The target hardware address of gratuitous ARP is the sender's, as in RFC 9568; [`RouterConfig::gratuitous_arp`] has others (AMB-16).
//! * Unsolicited neighbor advertisements come from the virtual address itself (AMB-17).
//! * Unicast is outside the RFCs (AMB-26): only configured peers are heard, each with the TTL it is given, by whatever interface.
//! * Advertisements for virtual routers in which this host has no part are counted and no more, where the host wants them counted
//!   ([`Driver::count_foreign`]); otherwise the kernel drops them (AMB-30).
//! * IPv6 virtual addresses are added without duplicate address detection, and deprecated.

#![cfg(target_os = "linux")]
#![deny(missing_docs, unsafe_code)]

mod address;
mod driver;
mod error;
mod filter;
mod frame_socket;
mod interface;
mod macvlan;
mod monitor;
mod netlink;
mod resolution_socket;
mod route;
mod rtnetlink;
mod socket;
mod sys;
mod sysctl;

pub use address::{ParseAddressError, Scope, VirtualAddress};
#[cfg(feature = "hmac")]
pub use driver::HmacKeys;
pub use driver::{
    Authentication, Driver, DriverEvent, Fault, Notification, RouterConfig, RouterView, StopHandle,
    Transport, VirtualMac, Watch,
};
pub use error::{Capability, Error};
pub use filter::VridSet;
pub use frame_socket::FrameSocket;
pub use interface::{ADDRESS_PROTOCOL, Interface, InterfaceAddress, Interfaces, Link};
pub use macvlan::Macvlan;
pub use monitor::{Monitor, MonitorEvent};
pub use netlink::{AddressChange, Change, LinkChange, Netlink, Outcome, RouteChange};
pub use resolution_socket::ResolutionSocket;
pub use route::{ROUTE_PROTOCOL, VirtualRoute};
pub use socket::{Datagram, ReceiveBatch, Received, VrrpSocket};
pub use vrrp_fsm::fleet::{PacketErrors, RouterId};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
