//! Memberships of multicast groups, and the sockets that hold the memberships for which the main
//! socket has no room.

use std::{io, net::IpAddr, os::fd::BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use vrrp_proto::Family;

use super::sys;

pub(super) const fn domain(family: Family) -> Domain {
    match family {
        Family::Ipv4 => Domain::IPV4,
        Family::Ipv6 => Domain::IPV6,
    }
}

pub(super) fn membership(
    socket: &Socket,
    group: IpAddr,
    interface: u32,
    member: bool,
) -> io::Result<()> {
    let index = InterfaceIndexOrAddress::Index(interface);
    match (group, member) {
        (IpAddr::V4(group), true) => socket.join_multicast_v4_n(&group, &index),
        (IpAddr::V4(group), false) => socket.leave_multicast_v4_n(&group, &index),
        (IpAddr::V6(group), true) => socket.join_multicast_v6(&group, interface),
        (IpAddr::V6(group), false) => socket.leave_multicast_v6(&group, interface),
    }
}

/// Joins a group by one of these sockets that has room, or by a further socket in the network
/// namespace of `at`. `used` are the places of sockets that have memberships. Returns the place of
/// the socket.
pub(super) fn join_by(
    holders: &mut Vec<Socket>,
    used: impl Iterator<Item = usize>,
    at: BorrowedFd<'_>,
    family: Family,
    join: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<usize> {
    let last = holders.len().checked_sub(1);
    for place in last.into_iter().chain(vacant(holders.len(), used)) {
        match holders.get(place).map(&join) {
            Some(Err(error)) if is_full(&error) => {}
            Some(result) => return result.map(|()| place),
            None => {}
        }
    }
    if !sys::is_in_namespace_of(at) {
        return Err(io::Error::other(
            "the calling thread is in another network namespace",
        ));
    }
    let holder = Socket::new(domain(family), Type::DGRAM, Some(Protocol::UDP))?;
    join(&holder)?;
    holders.push(holder);
    Ok(holders.len() - 1)
}

/// The place of a socket that has no membership any more: one that is not among the `used` places.
fn vacant(sockets: usize, used: impl Iterator<Item = usize>) -> Option<usize> {
    let mut is_used = vec![false; sockets];
    for place in used {
        if let Some(is_used) = is_used.get_mut(place) {
            *is_used = true;
        }
    }
    is_used.iter().position(|is_used| !is_used)
}

/// Whether a socket has no room for another membership.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}
