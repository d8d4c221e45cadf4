//! The crate's only unsafe code: what neither nix nor socket2 wraps.
#![allow(
    unsafe_code,
    reason = "the one place for it; each block says why it is sound"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "libc has constants as c_int that the kernel has as shorter fields"
)]

use std::{
    io, mem,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr,
    sync::Arc,
};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Makes the child of `command` start inside the network namespace `namespace`.
pub(crate) fn start_inside(command: &mut Command, namespace: Arc<OwnedFd>) {
    // SAFETY: setns is a bare system call; it neither allocates nor takes a lock, so it may run
    // between fork and exec.
    unsafe {
        command.pre_exec(move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
        });
    }
}

/// A packet socket (packet(7)) that receives every frame on the interface `index`, including those
/// addressed to others.
pub(crate) fn packet_socket(index: u32) -> io::Result<Socket> {
    // Protocol 0: nothing is received before the socket is bound to its interface.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let interface = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;

    let membership = libc::packet_mreq {
        mr_ifindex: interface,
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the pointer and the length describe `membership`, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            ptr::from_ref(&membership).cast(),
            length_of::<libc::packet_mreq>(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }

    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_storage has room and alignment for every socket address; sockaddr_ll is
    // one.
    let address = unsafe {
        *storage.view_as::<libc::sockaddr_ll>() = address;
        SockAddr::new(storage, length_of::<libc::sockaddr_ll>())
    };
    socket.bind(&address)?;
    Ok(socket)
}

/// The numbers of frames since the last call that a packet socket took in, and that it lost for
/// want of buffer space.
pub(crate) fn frames_taken_and_lost(socket: &Socket) -> io::Result<(u32, u32)> {
    let mut statistics = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = length_of::<libc::tpacket_stats>();
    // SAFETY: the pointers are to live locals, and `length` is the size of the one that the kernel
    // fills.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut statistics).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        let (seen, lost) = (statistics.tp_packets, statistics.tp_drops);
        Ok((seen.wrapping_sub(lost), lost))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sizes of the structures here, all of a few octets.
const fn length_of<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}
