#![doc = include_str!("../README.md")]
//!
//! # Parts
//!
//! [`Driver`] is made of parts, for a program that decides everything itself. Each is non-blocking,
//! implements `AsFd` and `AsRawFd`, and knows none of the others.
//!
//! * [`VrrpSocket`] receives and sends advertisements in batches: IPv4 or IPv6, protocol 112 or AH,
//!   multicast and unicast, of all VRIDs or of a [`VridSet`]. It reports the interface, destination
//!   and TTL of each packet.
//! * [`LinkSocket`] receives IPv4 advertisements that the kernel discards for their source: those
//!   of an address owner that comes back.
//! * [`FrameSocket`] sends gratuitous ARP and unsolicited neighbor advertisements as whole frames.
//! * [`ProxySocket`] answers ARP and Neighbor Discovery for addresses that the host does not have.
//! * [`Netlink`] adds and removes virtual addresses and routes, dumps links and addresses, and
//!   removes left-overs. Requests are pipelined.
//! * [`Macvlan`] is the interface of a virtual MAC, with the settings of the kernel that it needs.
//! * [`Monitor`] reports changes of links, addresses and virtual routes, and overruns, after which
//!   everything must be dumped again.
//! * [`Interfaces`] holds the links and addresses of dumps and notifications, and finds the primary
//!   address.
//!
//! # The driver
//!
//! [`Driver`] drains its sockets before it serves expired timers, sends all advertisements before
//! any slow work, keeps the addresses in place while Active, and resigns and withdraws at the end.
//! Everything can be changed while it runs, without another election. It reports as
//! [`Notification`]s, in order. Other threads talk to it through a [`DriverHandle`].
//!
//! Protocol decisions are not made here: `vrrp_fsm` decides when to act, `vrrp_proto` encodes and
//! decodes the octets, and this crate does the I/O.
//!
//! # What it needs
//!
//! `CAP_NET_RAW` and `CAP_NET_ADMIN`, and no other privilege. Sockets belong to the network
//! namespace of the thread that opens them. Linux 5.18 or later keeps the mark
//! ([`ADDRESS_PROTOCOL`]) of our addresses. On older kernels an address of a router counts as ours,
//! unless it is the only one of its interface. No firewall is changed. `promote_secondaries` of an
//! interface is set for the moment in which a virtual address is removed ([`Driver`]). Other
//! sysctls are changed only where a router uses its virtual MAC; those of the parent interface are
//! recorded and put back ([`Macvlan`]).
//!
//! # The returning owner
//!
//! The owner of the addresses (priority 255) advertises from the virtual address itself (RFC 9568
//! section 4.1). The Active that stands in for it has that address in the meantime, and Linux drops
//! IPv4 packets from addresses of the host. So the driver also listens with a [`LinkSocket`], below
//! the kernel's check of sources, for advertisements to its Actives. Through it the driver accepts
//! advertisements from virtual addresses, and advertisements of an IP protocol that the router does
//! not use. Other advertisements that the kernel drops are reported
//! ([`DriverEvent::RivalDiscarded`]). The socket's filter runs for each IPv4 packet that the host
//! receives while a router over IPv4 is Active, and no sysctl is changed.
//!
//! # The virtual MAC
//!
//! By default a router behaves like keepalived: advertisements and announcements have the
//! interface's own hardware address, and neighbours learn the hardware address of a new Active from
//! its announcements. With [`RouterConfig::virtual_mac`] they have the virtual MAC (M-03, A-05,
//! ), a [`Macvlan`] has the addresses, and frames to the virtual MAC reach the Active.
//!
//! * Advertisements leave as whole frames by the parent interface, so the first one need not wait
//!   for the macvlan to come up, and are received there. An advertisement that is longer than the
//!   link's MTU cannot be sent this way.
//! * While not Active the macvlan is down: nothing leaves from the virtual MAC, and frames to it
//!   are not accepted (M-05).
//! * The owner must keep its addresses off the parent interface, and have another primary address
//!   there: for an address that is configured before the router starts, the kernel keeps answering
//!   with the interface's own hardware address.
//! * The host's own packets, neighbor solicitations included, leave by the parent interface
//!   with its hardware address.
//! * The macvlan is not put into the VRF of the parent interface.
//!
//! # Accept_Mode
//!
//! By default the host has the addresses of an Active, and accepts packets to them, as keepalived
//! does (M-08, AMB-22). With [`RouterConfig::enforce_accept_mode`] it does so only as the owner or
//! in Accept_Mode. Otherwise the addresses are not on the host: a [`ProxySocket`] answers for them,
//! and a [drop route](Route::discard) discards packets to them (M-09). Both work with and without
//! the virtual MAC, on every kernel. A macvlan without an address gets 192.0.0.8 (RFC 7600),
//! because the kernel's reverse path filter is stricter on an interface without an address.
//!
//! # What it leaves to the host
//!
//! * Forwarding is up to `net.ipv4.ip_forward` and `net.ipv6.conf.*.forwarding`.
//! * The same `forwarding` decides whether the kernel, where it answers Neighbor Solicitations for
//!   the virtual addresses, sets the Router flag (A-08, AMB-18). It has to be 1 on the interface
//!   that has the addresses; with the virtual MAC that is the [`Macvlan`].
//!
//! # Decisions where the RFCs are silent
//!
//! * The target hardware address of gratuitous ARP is the sender's, as in RFC 9568;
//!   [`RouterConfig::gratuitous_arp`] offers other targets (AMB-16).
//! * Unsolicited neighbor advertisements come from the virtual address itself (AMB-17).
//! * Unicast is outside the RFCs (AMB-26). Advertisements are accepted from configured peers only,
//!   on any interface, with a TTL within the bounds of the peer. Advertisements to peers leave by
//!   the router's own interface, or by the routing table with [`RouterConfig::unicast_path`].
//! * The kernel drops advertisements for virtual routers in which this host has no part (AMB-30).
//!   With [`ForeignPackets::Counted`] the driver receives and counts them.
//! * IPv6 virtual addresses are added without duplicate address detection, and deprecated.

#![cfg(target_os = "linux")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, unsafe_code)]

mod address;
mod driver;
mod error;
mod interface;
mod kernel;
mod plan;
mod route;

pub use address::{AddressOptions, ParseAddressError, Scope, VirtualAddress};
#[cfg(feature = "tokio")]
pub use driver::AsyncDriver;
#[cfg(feature = "serde")]
pub use driver::Successor;
pub use driver::{
    AnnouncedAddress, Authentication, Driver, DriverEvent, DriverHandle, Fault, ForeignPackets,
    HandOver, Notification, RouterConfig, RouterView, Sequences, Subject, Transport, UnicastPath,
    VirtualMac, Watch,
};
#[cfg(feature = "hmac")]
pub use driver::{HmacKeys, HmacMode};
pub use error::{Capability, Error};
pub use interface::{
    ADDRESS_PROTOCOL, Interface, InterfaceAddress, Interfaces, Link, MonitorEvent,
};
pub(crate) use interface::{KEEPALIVED_PROTOCOL, LINK_MARK};
pub use kernel::{
    frame_socket::FrameSocket,
    link_socket::LinkSocket,
    macvlan::Macvlan,
    monitor::Monitor,
    netlink::{AddressChange, LinkChange, Netlink, NetlinkChange, Outcome, RouteChange},
    proxy_socket::ProxySocket,
    socket::{Datagram, ReceiveBatch, Received, SocketParts, VrrpSocket},
    vrid_set::VridSet,
};
pub use plan::{AnnouncementPace, PaceGroup, Pacing};
pub use route::{ROUTE_PROTOCOL, Route};
pub use vrrp_fsm::{
    self as fsm, Config, State,
    fleet::{GroupId, PacketErrors, RouterId, SyncGroup},
    track::{Check, Kind, Object, ObjectId, Report, TrackRef, Weight},
};
pub use vrrp_proto::{self as proto, Family, Interval, Peer, Priority, Vrid};
