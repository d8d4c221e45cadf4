//! Advertisements that reach an interface of an Active, but not its raw socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use vrrp_fsm::fleet::RouterId;
use vrrp_proto::Vrid;

use crate::{Error, LinkSocket, ReceiveBatch};

/// The number of consecutive advertisements of one sender that the raw socket did not receive
/// before that is reported. A single one is no sign of a fault, because a packet may be between the
/// two sockets at any moment.
const DISCARDED: u32 = 3;

/// The most senders that are followed at a time, so that forged addresses take no further memory.
const SENDERS: usize = 64;

/// Listens on the links of Actives, where normally no other router advertises.
///
/// The kernel discards IPv4 packets from addresses that it has itself, and packets that fail its
/// reverse path filter or the host's firewall. The owner of the addresses sends such packets to the
/// router that stands in for it.
#[derive(Debug, Default)]
pub(super) struct LinkWatch {
    /// Opened with the first router over IPv4.
    socket: Option<LinkSocket>,
    /// The Actives that it listens for, each an interface and a VRID.
    routers: BTreeSet<(u32, Vrid)>,
    /// Whether `routers` may be out of date.
    is_stale: bool,
    /// Advertisements that the raw socket has not received yet, by router and sender.
    missing: BTreeMap<(RouterId, IpAddr), u32>,
}

impl LinkWatch {
    /// Opens the socket, in the network namespace of the calling thread.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        if self.socket.is_none() {
            self.socket = Some(LinkSocket::open()?);
        }
        Ok(())
    }

    /// Notes that a router may have become Active, or may have stopped being Active.
    pub(super) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// Whether the Actives may have changed since the last [`update`](Self::update).
    #[inline]
    pub(super) const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Listens for these Actives, if that may have changed.
    pub(super) fn update(
        &mut self,
        routers: impl Iterator<Item = (u32, Vrid)>,
    ) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_stale) {
            return Ok(());
        }
        let routers = routers.collect();
        if let Some(socket) = &self.socket
            && self.routers != routers
        {
            if let Err(error) = socket.listen(&routers) {
                self.is_stale = true;
                return Err(error);
            }
            self.routers = routers;
        }
        Ok(())
    }

    /// Whether it listens for the router of this interface and VRID.
    pub(super) fn covers(&self, interface: u32, vrid: Vrid) -> bool {
        self.routers.contains(&(interface, vrid))
    }

    /// Receives the waiting packets, as far as there is room.
    pub(super) fn receive(&self, batch: &mut ReceiveBatch) -> Result<usize, Error> {
        self.socket.as_ref().map_or(Ok(0), |it| it.receive(batch))
    }

    /// Counts an advertisement on the link that the raw socket receives as well, unless the kernel
    /// discards it.
    pub(super) fn expect(&mut self, router: RouterId, source: IpAddr) {
        if self.missing.len() < SENDERS || self.missing.contains_key(&(router, source)) {
            *self.missing.entry((router, source)).or_default() += 1;
        }
    }

    /// Notes that the raw socket has received an advertisement.
    pub(super) fn confirm(&mut self, router: RouterId, source: IpAddr) {
        if !self.missing.is_empty() {
            self.missing.remove(&(router, source));
        }
    }

    /// Whether there are advertisements that the raw socket has not received yet.
    #[inline]
    pub(super) fn is_missing_any(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The senders whose advertisements do not reach the raw socket, each with its router. Call it
    /// after both sockets were drained, the one for the links first.
    pub(super) fn take_discarded(&mut self) -> Vec<(RouterId, IpAddr)> {
        if self.missing.values().all(|count| *count < DISCARDED) {
            return Vec::new();
        }
        let missing = std::mem::take(&mut self.missing).into_iter();
        let (discarded, others) =
            missing.partition::<BTreeMap<_, _>, _>(|(_, it)| *it >= DISCARDED);
        self.missing = others;
        discarded.into_keys().collect()
    }

    /// The descriptor that is readable when advertisements wait.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }
}
