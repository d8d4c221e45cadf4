//! A TAP device: a network interface of the kernel whose other end is this program.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    unistd::{read, write},
};
use smoltcp::phy::{Medium, TunTapInterface};

/// smoltcp creates the device. This module reads and writes it, because smoltcp panics while the
/// link is down.
pub(crate) struct Tap(TunTapInterface);

impl Tap {
    /// Attaches to the device of this name. A device that does not exist is created, and removed
    /// when this value is dropped.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        TunTapInterface::new(name, Medium::Ethernet).map(Self)
    }

    /// Returns the next pending frame, without waiting. A frame longer than the buffer is
    /// truncated.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a mut [u8]>> {
        match read(self.as_fd(), buffer) {
            Ok(length) => Ok(buffer.get_mut(..length)),
            // EIO: the link is down.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a frame, or drops it if there is no room.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match write(self.as_fd(), frame) {
            Ok(_) => Ok(()),
            Err(Errno::EIO) => Err(ErrorKind::NetworkDown.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the interface owns the descriptor, and keeps it open for as long as `self` is
        // borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
