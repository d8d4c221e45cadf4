//! Notifications of links, addresses and routes.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use socket2::Socket;

use super::{
    filter,
    rtnetlink::{self, Reply},
    sys::{Buffer, DatagramBuffer, set_buffer},
};
use crate::{Error, MonitorEvent, ROUTE_PROTOCOL};

/// The bytes of waiting notifications that the kernel keeps: thousands of changes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Datagrams that are read before the caller gets a chance to do something else. The rest stays
/// readable.
const DATAGRAMS: usize = 4096;

#[allow(clippy::cast_sign_loss)]
const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// Reports changes of links, addresses and virtual routes.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: DatagramBuffer,
}

impl Monitor {
    /// Subscribes, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system has no more sockets.
    pub fn open() -> Result<Self, Error> {
        let socket = rtnetlink::open(GROUPS)?;
        set_buffer(&socket, Buffer::Receive, RECEIVE_BUFFER)?;
        filter::attach(&socket, &filter::marked_routes(ROUTE_PROTOCOL)).map_err(Error::os(
            "leave out notifications of routes of other programs",
        ))?;
        Ok(Self {
            socket,
            buffer: DatagramBuffer::new(rtnetlink::DATAGRAM_LEN),
        })
    }

    /// Hands out the waiting notifications, in order. It does not wait. Returns whether more may be
    /// waiting: one call reads a limited number of datagrams.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the socket is broken.
    pub fn receive(&mut self, mut on: impl FnMut(MonitorEvent)) -> Result<bool, Error> {
        for _ in 0..DATAGRAMS {
            let datagram = match self.buffer.receive(&self.socket) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    on(MonitorEvent::Overrun);
                    continue;
                }
                Err(error) => {
                    return Err(Error::os("receive notifications of links and addresses")(
                        error,
                    ));
                }
            };
            for message in rtnetlink::messages(datagram) {
                match message.map(|message| message.reply) {
                    Ok(Reply::Event(event)) => on(event),
                    Ok(Reply::Route(_) | Reply::Done { .. } | Reply::Other) => {}
                    // An unreadable notification counts as a lost one.
                    Err(rtnetlink::Malformed) => on(MonitorEvent::Overrun),
                }
            }
        }
        Ok(true)
    }

    /// Sets the receive buffer for waiting notifications, in bytes. A host with many thousands of
    /// addresses may need more than the default of 4 MiB. Without `CAP_NET_ADMIN` in the initial
    /// user namespace `net.core.rmem_max` is the limit.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    pub fn set_receive_buffer(&self, octets: usize) -> Result<(), Error> {
        set_buffer(&self.socket, Buffer::Receive, octets).map(drop)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
