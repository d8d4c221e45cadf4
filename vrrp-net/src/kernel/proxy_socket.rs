//! The socket that answers in place of the kernel where the host must not have a virtual address.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::{
    Family,
    frame::{MacAddress, arp, ethernet, ipv6, neighbor, solicited_node_group},
};

use super::{
    filter,
    membership::join_by,
    resolution_frame::ResolutionFrame,
    sys::{self, Control, Departure, Target, describe_interface},
};
use crate::{Capability, Error};

/// The most requests that one call answers. The rest stays readable.
const REQUESTS: usize = 256;

/// Room for a request: its headers and a message with a few options. Longer frames are truncated
/// and ignored.
const FRAME_LEN: usize = 256;

/// Answers ARP requests and neighbor solicitations for addresses that the host does not have.
///
/// A router that is Active, but neither the owner nor in Accept_Mode, answers for its virtual
/// addresses, forwards packets to its virtual MAC, and accepts no packets to the
/// addresses themselves (M-08). Linux answers for its own addresses, and accepts packets to them.
/// So the address is not on the host: this socket answers, and a [route](crate::Route::discard)
/// discards packets to it. It needs no firewall, and works alike on every kernel.
///
/// (The kernel's own `ip neigh add proxy` needs forwarding, answers late by default, and forwards
/// packets to the address back to their sender; with a route that discards, it no longer answers.)
///
/// It receives requests on all interfaces of its network namespace, through a filter in the kernel
/// that passes nothing else.
#[derive(Debug)]
pub struct ProxySocket {
    socket: Socket,
    family: Family,
    groups: Groups,
}

impl ProxySocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    pub fn open(family: Family) -> Result<Self, Error> {
        let (ethertype, filter) = match family {
            Family::Ipv4 => (ethernet::ARP, filter::arp_requests()),
            Family::Ipv6 => (ethernet::IPV6, filter::neighbor_solicitations()),
        };
        let open = || {
            // It receives nothing until the filter is in place.
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
            socket.set_nonblocking(true)?;
            filter::attach(&socket, &filter)?;
            sys::bind_packet(&socket, ethertype)?;
            Ok(socket)
        };
        let socket = open().map_err(Error::privileged(
            format!("open a packet socket for address resolution over {family}"),
            Capability::NetRaw,
        ))?;
        Ok(Self {
            socket,
            family,
            groups: Groups::default(),
        })
    }

    /// The family of its addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Receives requests for this address on this interface: for IPv6, joins its solicited-node
    /// group. For IPv4 there is nothing to do. Call it in the network namespace in
    /// which the socket was opened.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: no such interface, or one without IPv6.
    pub fn join(&mut self, interface: u32, address: IpAddr) -> Result<(), Error> {
        let IpAddr::V6(address) = address else {
            return Ok(());
        };
        let group = solicited_node_group(address);
        self.groups
            .join(self.socket.as_fd(), interface, group)
            .map_err(|cause| refusal(interface, group, cause))
    }

    /// Undoes a [`join`](Self::join). With the last address of a group the membership ends.
    pub fn leave(&mut self, interface: u32, address: IpAddr) {
        if let IpAddr::V6(address) = address {
            self.groups.leave(interface, solicited_node_group(address));
        }
    }

    /// Joins the groups again on an interface, or on all, after the kernel may have ended the
    /// memberships by itself.
    pub(crate) fn join_again(&self, interface: Option<u32>) -> Result<(), Error> {
        self.groups
            .join_again(interface)
            .map_err(|(interface, group, cause)| refusal(interface, group, cause))
    }

    /// Answers the waiting requests. It does not wait.
    ///
    /// `mac_of` returns the hardware address for the requested address on an interface, if this
    /// socket answers for it. The answer names that hardware address, and comes from it (AMB-19).
    /// Neighbor advertisements have the Router flag.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the socket is broken.
    pub fn answer(&self, mac_of: impl Fn(u32, IpAddr) -> Option<MacAddress>) -> Result<(), Error> {
        let mut buffer = [0; FRAME_LEN];
        for _ in 0..REQUESTS {
            let received = sys::receive_frame(self.socket.as_fd(), &mut buffer);
            let (frame, interface) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // An interface went down. The others continue.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                Err(error) => {
                    return Err(Error::os("receive questions for addresses")(error));
                }
            };
            let Some(answer) = answer_to(frame, |address| mac_of(interface, address)) else {
                continue;
            };
            let octets = answer.octets();
            let departure = Departure {
                target: Target::link(interface, ethernet_type(self.family).to_be_bytes()),
                control: Control::EMPTY,
                octets,
            };
            sys::send_all(self.socket.as_fd(), [departure], |_, error| {
                let interface = describe_interface(interface);
                tracing::debug!(%interface, %error, "a question for a virtual address was not answered");
            });
        }
        Ok(())
    }
}

fn refusal(interface: u32, group: Ipv6Addr, cause: io::Error) -> Error {
    let interface = describe_interface(interface);
    Error::os(format!("join group {group} on {interface}"))(cause)
}

const fn ethernet_type(family: Family) -> u16 {
    match family {
        Family::Ipv4 => ethernet::ARP,
        Family::Ipv6 => ethernet::IPV6,
    }
}

/// The answer to a request, where the hardware address of the requested address is known.
fn answer_to(
    frame: &[u8],
    mac_of: impl Fn(IpAddr) -> Option<MacAddress>,
) -> Option<ResolutionFrame> {
    let frame = ethernet::Frame::parse(frame).ok()?;
    match frame.ethertype {
        ethernet::ARP => {
            let request = arp::Packet::parse(frame.payload).ok()?;
            let mac = mac_of(request.asks_for()?.into())?;
            Some(ResolutionFrame::Arp(arp::reply(&request, mac, mac)))
        }
        ethernet::IPV6 => {
            let packet = ipv6::Packet::parse(frame.payload).ok()?;
            let solicitation = neighbor::Solicitation::parse(&packet).ok()??;
            let mac = mac_of(solicitation.target.into())?;
            let answer = neighbor::solicited(&solicitation, frame.source, mac, mac);
            Some(ResolutionFrame::Neighbor(answer))
        }
        _ => None,
    }
}

/// Memberships of solicited-node groups, each with the number of its users.
#[derive(Debug, Default)]
struct Groups {
    members: BTreeMap<(u32, Ipv6Addr), Membership>,
    /// A socket has room for a few hundred memberships (`net.core.optmem_max`).
    holders: Vec<Socket>,
}

#[derive(Debug)]
struct Membership {
    users: u32,
    holder: usize,
}

impl Groups {
    /// Joins a group in the network namespace of a socket.
    fn join(&mut self, at: BorrowedFd<'_>, interface: u32, group: Ipv6Addr) -> io::Result<()> {
        if let Some(membership) = self.members.get_mut(&(interface, group)) {
            membership.users += 1;
            return Ok(());
        }
        let used = self.members.values().map(|it| it.holder);
        let holder = join_by(&mut self.holders, used, at, Family::Ipv6, |holder| {
            holder.join_multicast_v6(&group, interface)
        })?;
        self.members
            .insert((interface, group), Membership { users: 1, holder });
        Ok(())
    }

    /// Renews the memberships on an interface, or on all. Returns the last refusal.
    fn join_again(&self, interface: Option<u32>) -> Result<(), (u32, Ipv6Addr, io::Error)> {
        let mut result = Ok(());
        for ((of, group), membership) in &self.members {
            if interface.is_some_and(|it| it != *of) {
                continue;
            }
            if let Some(holder) = self.holders.get(membership.holder) {
                // The membership is on the socket's list, whether or not the interface still has
                // it.
                let _listed = holder.leave_multicast_v6(group, *of);
                if let Err(cause) = holder.join_multicast_v6(group, *of) {
                    result = Err((*of, *group, cause));
                }
            }
        }
        result
    }

    fn leave(&mut self, interface: u32, group: Ipv6Addr) {
        let Some(membership) = self.members.get_mut(&(interface, group)) else {
            return;
        };
        membership.users -= 1;
        if membership.users == 0 {
            if let Some(holder) = self.holders.get(membership.holder) {
                // Where the interface is gone, the membership is as well.
                let _ = holder.leave_multicast_v6(&group, interface);
            }
            self.members.remove(&(interface, group));
        }
    }
}

impl AsFd for ProxySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ProxySocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
