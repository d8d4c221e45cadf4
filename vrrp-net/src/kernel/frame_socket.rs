//! The socket that whole frames leave by.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::sys::{self, Buffer, Control, Departure, SEND_BUFFER, Target, set_buffer};
use crate::{Capability, Error};

/// Sends whole Ethernet frames on any interface: gratuitous ARP, unsolicited neighbor
/// advertisements, advertisements from a virtual MAC, and all other frames that
/// [`vrrp_proto::frame`] builds. It receives nothing.
///
/// ```no_run
/// use std::net::Ipv4Addr;
/// use vrrp_net::FrameSocket;
/// use vrrp_proto::frame::{MacAddress, arp};
///
/// let interface = 2;
/// let mac = MacAddress([0x02, 0, 0, 0, 0, 1]);
/// let frame = arp::gratuitous(mac, Ipv4Addr::new(192, 0, 2, 1), arp::GratuitousTarget::default());
/// FrameSocket::open()?.send([(interface, &frame[..])], |_, error| eprintln!("not sent: {error}"));
/// # Ok::<(), vrrp_net::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
}

impl FrameSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    pub fn open() -> Result<Self, Error> {
        // Protocol 0: nothing is received.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).map_err(
            Error::privileged("open a packet socket for announcements", Capability::NetRaw),
        )?;
        set_buffer(&socket, Buffer::Send, SEND_BUFFER)?;
        Ok(Self { socket })
    }

    /// Sends frames, each on the interface of this index, with one system call for up to 64 of
    /// them. It does not wait: a frame that the kernel refuses is skipped, and its place in the
    /// order, counted from 0, is handed to `refused`.
    pub fn send<'a>(
        &self,
        frames: impl IntoIterator<Item = (u32, &'a [u8])>,
        refused: impl FnMut(usize, io::Error),
    ) {
        let departures = frames.into_iter().map(|(interface, octets)| Departure {
            target: Target::link(interface, ethertype(octets)),
            control: Control::EMPTY,
            octets,
        });
        sys::send_all(self.socket.as_fd(), departures, refused);
    }
}

/// The type in an Ethernet header; zero in a frame that is too short to have one, which the kernel
/// refuses.
fn ethertype(frame: &[u8]) -> [u8; 2] {
    frame
        .get(12..14)
        .and_then(|octets| octets.try_into().ok())
        .unwrap_or_default()
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for FrameSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
