//! Answers for virtual addresses that the host must not have.

use std::{
    collections::HashMap,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use vrrp_proto::{Family, frame::MacAddress};

use crate::{Error, ProxySocket, address::family};

/// What is answered for.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// One for each family that there are such addresses of.
    sockets: Vec<ProxySocket>,
    /// The station that has an address, on an interface.
    stations: HashMap<(u32, IpAddr), MacAddress>,
}

impl Answers {
    /// Opens what addresses of a family need, in the network namespace of the calling thread.
    pub(super) fn open(&mut self, wanted: Family) -> Result<(), Error> {
        if self.sockets.iter().all(|socket| socket.family() != wanted) {
            self.sockets.push(ProxySocket::open(wanted)?);
        }
        Ok(())
    }

    /// Answers for an address on an interface, from now on.
    pub(super) fn begin(
        &mut self,
        interface: u32,
        address: IpAddr,
        station: MacAddress,
    ) -> Result<(), Error> {
        let is_new = self
            .stations
            .insert((interface, address), station)
            .is_none();
        match self.socket(address) {
            Some(socket) if is_new => socket.join(interface, address),
            _ => Ok(()),
        }
    }

    /// Answers for it no longer.
    pub(super) fn end(&mut self, interface: u32, address: IpAddr) {
        if self.stations.remove(&(interface, address)).is_some()
            && let Some(socket) = self.socket(address)
        {
            socket.leave(interface, address);
        }
    }

    fn socket(&mut self, address: IpAddr) -> Option<&mut ProxySocket> {
        let wanted = family(address);
        self.sockets
            .iter_mut()
            .find(|socket| socket.family() == wanted)
    }

    /// What can be read once there is somebody to answer.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Answers those who wait for it.
    pub(super) fn give(&self) -> Result<(), Error> {
        for socket in &self.sockets {
            socket
                .answer(|interface, address| self.stations.get(&(interface, address)).copied())?;
        }
        Ok(())
    }
}
