//! The sockets for advertisements, and the advertisements that wait to be sent.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use vrrp_fsm::fleet::RouterId;
use vrrp_proto::Family;

use super::{DriverEvent, ForeignPackets, link_watch::LinkWatch, router::Router};
use crate::{
    Datagram, Error, FrameSocket, ReceiveBatch, VrrpSocket,
    kernel::{resolution_frame::ResolutionFrame, sys::describe_interface},
};

/// The sockets of a driver for advertisements, and its outbox.
#[derive(Debug)]
pub(super) struct Packets {
    /// One socket for each family and protocol that a router uses.
    sockets: Vec<VrrpSocket>,
    /// Sends whole frames: advertisements from virtual MACs, and announcements.
    frames: FrameSocket,
    /// Receives packets on the links of Actives that `sockets` do not receive.
    pub(super) links: LinkWatch,
    /// Room for received packets.
    batch: Option<ReceiveBatch>,
    /// The routers whose advertisement waits to be sent.
    outbox: Vec<RouterId>,
    /// Room for the result of sending.
    sent: Sent,
    foreign: ForeignPackets,
}

/// The result of sending the outbox.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The routers, each with the number of its messages that were refused.
    pub(super) routers: Vec<(RouterId, usize)>,
    /// The refusals, in their order.
    pub(super) refusals: Vec<(RouterId, DriverEvent)>,
}

impl Packets {
    /// Opens what every router needs, in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Self {
            sockets: Vec::new(),
            frames: FrameSocket::open()?,
            links: LinkWatch::default(),
            batch: None,
            outbox: Vec::new(),
            sent: Sent::default(),
            foreign: ForeignPackets::default(),
        })
    }

    /// Opens the sockets that a router needs and that are not open yet. Returns whether it opened
    /// any.
    pub(super) fn open_for(&mut self, router: &Router) -> Result<bool, Error> {
        let opens_links = router.family() == Family::Ipv4 && self.links.source().is_none();
        if opens_links {
            self.links.open()?;
        }
        if self.sockets.iter().any(|socket| router.uses(socket)) {
            return Ok(opens_links);
        }
        #[cfg(feature = "ah")]
        if router.protocol() == vrrp_proto::ah::IP_PROTOCOL {
            self.sockets.push(VrrpSocket::open_ah()?);
            return Ok(true);
        }
        self.sockets.push(VrrpSocket::open(router.family())?);
        Ok(true)
    }

    /// Takes over a socket. It refuses a second socket for the same packets, because each of the
    /// two would receive and send all of them.
    pub(super) fn adopt(&mut self, socket: VrrpSocket) -> Result<(), Error> {
        let (family, protocol) = (socket.family(), socket.protocol());
        let is_alike = |it: &VrrpSocket| (it.family(), it.protocol()) == (family, protocol);
        if self.sockets.iter().any(is_alike) {
            return Err(Error::Invalid {
                field: "sockets",
                problem: format!("more than one for {family}, protocol {protocol}"),
            });
        }
        self.sockets.push(socket);
        Ok(())
    }

    /// Returns the sockets, for a successor.
    pub(super) fn release(&mut self) -> Vec<VrrpSocket> {
        std::mem::take(&mut self.sockets)
    }

    /// The sockets for advertisements, in the order of their places.
    #[cfg(feature = "serde")]
    pub(super) fn sockets(&self) -> impl Iterator<Item = &VrrpSocket> {
        self.sockets.iter()
    }

    /// The descriptors of the sockets, in the order of their places.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Whether a router uses the socket in this place.
    pub(super) fn is_used_by(&self, place: usize, router: &Router) -> bool {
        self.sockets.get(place).is_some_and(|it| router.uses(it))
    }

    pub(super) const fn foreign(&self) -> ForeignPackets {
        self.foreign
    }

    /// Sets the handling of advertisements for other virtual routers; [`filter`](Self::filter)
    /// applies it.
    pub(super) const fn set_foreign(&mut self, foreign: ForeignPackets) {
        self.foreign = foreign;
    }

    /// Updates the filter of the sockets for a router that is about to be added.
    pub(super) fn admit(&mut self, router: &Router) -> Result<(), Error> {
        for socket in &mut self.sockets {
            if self.foreign == ForeignPackets::Dropped && router.uses(socket) {
                let mut vrids = socket.filter().copied().unwrap_or_default();
                vrids.insert(router.config.vrid);
                socket.set_filter(Some(vrids))?;
            }
        }
        Ok(())
    }

    /// Updates the filter of the sockets: only packets for these routers pass, or all where foreign
    /// ones are counted.
    pub(super) fn filter(
        &mut self,
        routers: &BTreeMap<RouterId, Box<Router>>,
    ) -> Result<(), Error> {
        for socket in &mut self.sockets {
            let own = routers.values().filter(|router| router.uses(socket));
            let vrids = own.map(|router| router.config.vrid).collect();
            socket.set_filter((self.foreign == ForeignPackets::Dropped).then_some(vrids))?;
        }
        Ok(())
    }

    /// Joins the group on a router's interface, where it uses one.
    pub(super) fn join(&mut self, router: &mut Router) -> Result<(), Error> {
        let group = router.group();
        let socket = self.sockets.iter_mut().find(|socket| router.uses(socket));
        let (Some(binding), Some(socket)) = (&mut router.binding, socket) else {
            return Ok(());
        };
        let result = match group {
            Some(group) => socket.join_group(binding.interface, group),
            None => Ok(()),
        };
        binding.joined = result.is_ok();
        result
    }

    /// Leaves the group that a router has joined.
    pub(super) fn leave(&mut self, router: &mut Router) {
        let group = router.group();
        let socket = self.sockets.iter_mut().find(|socket| router.uses(socket));
        if let (Some(binding), Some(socket)) = (&mut router.binding, socket)
            && std::mem::take(&mut binding.joined)
            && let Some(group) = group
        {
            socket.leave_group(binding.interface, group);
        }
    }

    /// Leaves the groups that no router has joined.
    pub(super) fn leave_unused(&mut self) {
        for socket in &mut self.sockets {
            socket.leave_unused();
        }
    }

    /// Renews memberships of IPv6 groups, which the kernel may have ended.
    pub(super) fn renew_memberships(
        &mut self,
        renew: impl Fn(&mut VrrpSocket) -> Result<(), Error>,
    ) {
        for socket in &mut self.sockets {
            if socket.family() == Family::Ipv6
                && let Err(error) = renew(socket)
            {
                tracing::warn!(%error, "advertisements over IPv6 are no longer received there");
            }
        }
    }

    /// Takes the room for received packets out, for [`put_back`](Self::put_back).
    pub(super) fn take_batch(&mut self) -> ReceiveBatch {
        self.batch.take().unwrap_or_default()
    }

    pub(super) fn put_back(&mut self, batch: ReceiveBatch) {
        self.batch = Some(batch);
    }

    /// Receives the packets that wait at the socket in this place, as far as there is room.
    pub(super) fn receive(&self, place: usize, batch: &mut ReceiveBatch) -> Result<usize, Error> {
        let socket = self.sockets.get(place);
        socket.map_or(Ok(0), |socket| socket.receive(batch))
    }

    /// Makes room for the advertisements of this many routers, and for their results.
    pub(super) fn reserve(&mut self, routers: usize) {
        self.outbox
            .reserve(routers.saturating_sub(self.outbox.len()));
        let sent = &mut self.sent.routers;
        sent.reserve(routers.saturating_sub(sent.len()));
    }

    /// Puts the prepared advertisement of a router into the outbox.
    pub(super) fn enqueue(&mut self, id: RouterId) {
        self.outbox.push(id);
    }

    #[inline]
    pub(super) fn has_outgoing(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends the advertisements of the outbox, many to a system call. The result goes back with
    /// [`keep_room`](Self::keep_room).
    pub(super) fn send(&mut self, routers: &mut BTreeMap<RouterId, Box<Router>>) -> Sent {
        let mut outbox = std::mem::take(&mut self.outbox);
        let mut has_frames = false;
        for id in &outbox {
            if let Some(router) = routers.get_mut(id) {
                router.is_outgoing = false;
                has_frames |= router.frame_source().is_some();
            }
        }
        let routers = &*routers;
        let Sent {
            routers: mut sent,
            mut refusals,
        } = std::mem::take(&mut self.sent);
        let outgoing = || {
            let all = outbox.iter();
            all.filter_map(|id| Some((*id, routers.get(id)?)))
        };
        for socket in &self.sockets {
            let datagrams = || {
                outgoing()
                    .filter(|(_, router)| router.uses(socket) && router.frame_source().is_none())
                    .flat_map(|(id, router)| router.datagrams().map(move |datagram| (id, datagram)))
            };
            socket.send(datagrams().map(|(_, datagram)| datagram), |place, error| {
                if let Some((id, datagram)) = datagrams().nth(place) {
                    refusals.push((id, describe(&datagram, error)));
                }
            });
        }
        if has_frames {
            let from_virtual_macs =
                || outgoing().filter(|(_, router)| router.frame_source().is_some());
            let frames = from_virtual_macs().flat_map(|(_, router)| router.frames());
            self.frames.send(frames, |place, error| {
                let mut datagrams = from_virtual_macs().flat_map(|(id, router)| {
                    router.datagrams().map(move |datagram| (id, datagram))
                });
                if let Some((id, datagram)) = datagrams.nth(place) {
                    refusals.push((id, describe(&datagram, error)));
                }
            });
        }
        sent.extend(outbox.iter().map(|id| (*id, 0)));
        if !refusals.is_empty() {
            count(&refusals, &mut sent);
        }
        outbox.clear();
        self.outbox = outbox;
        Sent {
            routers: sent,
            refusals,
        }
    }

    /// Keeps the room of a result for the next one, so that sending allocates nothing.
    pub(super) fn keep_room(&mut self, mut sent: Sent) {
        sent.routers.clear();
        sent.refusals.clear();
        self.sent = sent;
    }

    /// Sends announcements, each by the interface of its index. Returns the refused ones by their
    /// places.
    pub(super) fn announce(
        &self,
        frames: &[(RouterId, u32, ResolutionFrame)],
    ) -> Vec<(usize, io::Error)> {
        let mut refused = Vec::new();
        let octets = frames
            .iter()
            .map(|(_, interface, frame)| (*interface, frame.octets()));
        self.frames
            .send(octets, |place, error| refused.push((place, error)));
        refused
    }
}

/// Sets the number of refused messages of each router.
fn count(refusals: &[(RouterId, DriverEvent)], sent: &mut [(RouterId, usize)]) {
    let mut counts = BTreeMap::new();
    for (id, _) in refusals {
        *counts.entry(*id).or_insert(0) += 1;
    }
    for (id, count) in sent {
        *count = counts.get(id).copied().unwrap_or(0);
    }
}

fn describe(datagram: &Datagram<'_>, error: io::Error) -> DriverEvent {
    let destination = datagram.endpoints.destination();
    let source = datagram.endpoints.source();
    let mut action = format!("send an advertisement from {source} to {destination}");
    if datagram.interface != 0 {
        action += " on ";
        action += &describe_interface(datagram.interface);
    }
    DriverEvent::SendFailed {
        destination,
        error: Error::os(action)(error),
        suppressed: 0,
    }
}
