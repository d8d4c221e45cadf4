//! The sockets that answer for virtual addresses that the host must not have.

use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use vrrp_proto::Family;

use crate::{Error, ProxySocket, address::family, plan::Actual};

/// A socket for each family that has such addresses. [`Actual`] holds the addresses that they
/// answer for, each with its hardware address.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    sockets: Vec<ProxySocket>,
}

impl Proxies {
    /// Opens the socket of a family, in the network namespace of the calling thread.
    pub(super) fn open(&mut self, wanted: Family) -> Result<(), Error> {
        if self.sockets.iter().all(|socket| socket.family() != wanted) {
            self.sockets.push(ProxySocket::open(wanted)?);
        }
        Ok(())
    }

    /// Receives the requests for an address on an interface.
    pub(super) fn join(&mut self, interface: u32, address: IpAddr) -> Result<(), Error> {
        match self.socket(address) {
            Some(socket) => socket.join(interface, address),
            None => Ok(()),
        }
    }

    pub(super) fn leave(&mut self, interface: u32, address: IpAddr) {
        if let Some(socket) = self.socket(address) {
            socket.leave(interface, address);
        }
    }

    /// Renews the memberships on an interface, or on all: the kernel may have ended them.
    pub(super) fn join_again(&self, interface: Option<u32>) {
        for socket in &self.sockets {
            if let Err(error) = socket.join_again(interface) {
                tracing::warn!(%error, "neighbor solicitations are no longer received there");
            }
        }
    }

    fn socket(&mut self, address: IpAddr) -> Option<&mut ProxySocket> {
        let wanted = family(address);
        self.sockets
            .iter_mut()
            .find(|socket| socket.family() == wanted)
    }

    /// The sockets, to wait for requests.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Answers the waiting requests.
    #[cold]
    pub(super) fn answer(&self, actual: &Actual) -> Result<(), Error> {
        let mac = |interface, address| actual.proxy(interface, address);
        self.sockets
            .iter()
            .try_for_each(|socket| socket.answer(mac))
    }
}
