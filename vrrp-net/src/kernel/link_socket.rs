//! The socket that receives advertisements before the kernel validates their source.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::{Vrid, frame::ethernet};

use super::{
    filter,
    socket::ReceiveBatch,
    sys::{self, Buffer, set_buffer},
};
use crate::{Capability, Error};

/// The bytes of waiting packets that the kernel keeps: some hundred advertisements.
const RECEIVE_BUFFER: usize = 256 << 10;

/// The frame type that the socket is bound to while it listens for no router: one for local
/// experiments (IEEE 802), so the filter does not run for the packets of the host.
const UNUSED: u16 = 0x88b6;

/// Receives IPv4 advertisements for some virtual routers from the link layer, before the kernel
/// validates their source.
///
/// The kernel discards an IPv4 packet whose source is an address of this host (a *martian*), and
/// one that fails the reverse path filter, before any raw socket sees it. So a [`VrrpSocket`] of an
/// Active never receives the advertisements of the owner of the addresses (RFC 9568 section 4.1),
/// whose source is a virtual address that the Active now has. This socket receives them, without a
/// change of `accept_local` or `rp_filter`.
///
/// Packets that the kernel does not discard are received by both sockets. The caller decides by the
/// source which of the two counts.
///
/// The kernel runs its filter for each IPv4 packet of the host while there is a router to listen
/// for: two comparisons for a packet whose protocol is neither VRRP nor AH.
///
/// [`VrrpSocket`]: crate::VrrpSocket
#[derive(Debug)]
pub struct LinkSocket {
    socket: Socket,
}

impl LinkSocket {
    /// Opens a socket in the network namespace of the calling thread. It receives nothing before
    /// [`listen`](Self::listen).
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(Error::privileged(
            "open a packet socket for advertisements",
            Capability::NetRaw,
        ))?;
        set_buffer(&socket, Buffer::Receive, RECEIVE_BUFFER)?;
        Ok(Self { socket })
    }

    /// Receives advertisements for these virtual routers, each the index of an interface and a
    /// VRID, and for no others. Packets that wait in the socket stay.
    ///
    /// Where the kernel has no memory for a filter of many routers (`net.core.optmem_max`), the
    /// socket receives every advertisement instead.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the kernel refuses the filter.
    pub fn listen(&self, routers: &BTreeSet<(u32, Vrid)>) -> Result<(), Error> {
        let ethertype = if routers.is_empty() {
            UNUSED
        } else {
            ethernet::IPV4
        };
        filter::attach(&self.socket, &filter::vrrp_on_links(Some(routers)))
            .or_else(|_| filter::attach(&self.socket, &filter::vrrp_on_links(None)))
            .and_then(|()| sys::bind_packet(&self.socket, ethertype))
            .map_err(Error::os("listen for advertisements on links"))
    }

    /// Receives the waiting packets, as far as the batch has room, with one system call. It does
    /// not wait. Returns the number of packets; 0 when none is waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the kernel cannot receive.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> Result<usize, Error> {
        match batch.fill_from_link(self.socket.as_fd()) {
            // An interface went down. The socket still serves the others.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(0),
            result => result.map_err(Error::os("receive advertisements on links")),
        }
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for LinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
