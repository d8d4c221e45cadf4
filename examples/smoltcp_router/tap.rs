//! A TAP device: a port of the kernel's that this program is behind.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    unistd::{read, write},
};
use smoltcp::phy::{Medium, TunTapInterface};

/// smoltcp makes the device. It is read and written here, because smoltcp panics where the link is
/// down.
pub(crate) struct Tap(TunTapInterface);

impl Tap {
    /// Attaches to the device of this name, which is made if there is none and then goes with this
    /// value.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        TunTapInterface::new(name, Medium::Ethernet).map(Self)
    }

    /// The next frame that waits, without waiting for one. A frame longer than the buffer is
    /// truncated.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a mut [u8]>> {
        match read(self.as_fd(), buffer) {
            Ok(length) => Ok(buffer.get_mut(..length)),
            // EIO: the link is down.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a frame, or loses it where there is no room.
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
