//! Received advertisements: their router, their checks, and the reports about them.

use std::{array, net::IpAddr};

use vrrp_fsm::{AcceptedAdvertisement, Instant, State, fleet::RouterId};
use vrrp_proto::{Discard, Family, Mismatches, Protection};

use super::{
    Driver, DriverEvent, SOCKETS,
    authentication::{Proof, message_of},
    events::Topic,
    is_active,
    packets::Packets,
    router::Router,
    trouble::Part,
};
use crate::{Error, ReceiveBatch, Received, kernel::sys::BATCH};

/// The number of packets that are read from one socket before the timers are served: more than its
/// buffer holds, so all waiting packets are among them; and limited, for a sender that never stops.
const PACKETS: usize = 8192;

impl Driver {
    /// Reads all advertisements that are waiting at these sockets: each socket for advertisements,
    /// in their order, then the one for the links of Actives.
    pub(super) fn drain_sockets(&mut self, sockets: [bool; SOCKETS + 1]) {
        let [sockets @ .., links] = sockets;
        if links {
            let result = self.drain_links();
            self.note(Part::Links, result);
        }
        for (place, is_ready) in sockets.into_iter().enumerate() {
            if is_ready {
                let result = self.drain(place);
                self.note(Part::Socket(place), result);
            }
        }
    }

    /// Reads all advertisements that have arrived since the last wait, at every socket that does
    /// not rest.
    #[cold]
    pub(super) fn drain_again(&mut self, now: Instant) {
        let count = self.packets.sources().count();
        let sockets = array::from_fn(|place| match place {
            SOCKETS => !self.troubles.rests(now, Part::Links),
            _ => place < count && !self.troubles.rests(now, Part::Socket(place)),
        });
        self.drain_sockets(sockets);
    }

    /// Reads all advertisements that are waiting at the socket in this place.
    fn drain(&mut self, place: usize) -> Result<(), Error> {
        let mut batch = self.packets.take_batch();
        let result = self.drain_into(place, &mut batch);
        self.packets.put_back(batch);
        result
    }

    fn drain_into(&mut self, place: usize, batch: &mut ReceiveBatch) -> Result<(), Error> {
        for _ in 0..PACKETS / BATCH {
            let count = self.packets.receive(place, batch)?;
            self.has_received |= count > 0;
            let now = self.now();
            for received in batch.iter() {
                self.handle_packet(now, &received);
            }
            if !batch.is_full() {
                return Ok(());
            }
        }
        self.is_unfinished = true;
        Ok(())
    }

    /// Reads all advertisements that are waiting on the links of Actives.
    #[cold]
    fn drain_links(&mut self) -> Result<(), Error> {
        let mut batch = self.packets.take_batch();
        let result = self.drain_links_into(&mut batch);
        self.packets.put_back(batch);
        result
    }

    fn drain_links_into(&mut self, batch: &mut ReceiveBatch) -> Result<(), Error> {
        for _ in 0..PACKETS / BATCH {
            self.packets.links.receive(batch)?;
            let now = self.now();
            for received in batch.iter() {
                self.handle_packet_on_link(now, &received);
            }
            if !batch.is_full() {
                return Ok(());
            }
        }
        self.is_unfinished = true;
        Ok(())
    }

    /// Handles an advertisement that no raw socket receives, and notes any other.
    fn handle_packet_on_link(&mut self, now: Instant, received: &Received<'_>) {
        let Some((id, router)) = self.find(received) else {
            return;
        };
        if self.is_for_link_watch(router, received) {
            self.handle_packet_for(now, Some(id), received);
        } else {
            self.packets
                .links
                .expect(id, received.ip.endpoints.source());
        }
    }

    /// Whether an advertisement is taken from the link and not from the raw socket of its router:
    /// the kernel discards it there because its source is a virtual address, or its protocol
    /// belongs to another socket.
    fn is_for_link_watch(&self, router: &Router, received: &Received<'_>) -> bool {
        let Packets { links, .. } = &self.packets;
        // A Backup has nothing on its links, so this comes first.
        if !links.covers(received.interface, router.config.vrid) || router.family() != Family::Ipv4
        {
            return false;
        }
        let is_other_protocol = received
            .ipv4
            .is_some_and(|packet| packet.protocol != router.protocol());
        is_other_protocol || self.planner.has_holders(received.ip.endpoints.source())
    }

    /// Whether a packet is this router's own advertisement to a peer whose address this host has
    /// now, so that the kernel delivers it here.
    fn is_own_to_peer(&self, id: RouterId, received: &Received<'_>) -> bool {
        let destination = received.ip.endpoints.destination();
        !destination.is_multicast()
            && self.planner.has_holders(destination)
            && self
                .fleet
                .get(id)
                .is_some_and(|machine| machine.primary_address() == received.ip.endpoints.source())
    }

    /// Listens on the links of the routers that are Active now.
    #[cold]
    pub(super) fn watch_links(&mut self) -> Result<(), Error> {
        let routers = self.routers.iter().filter_map(|(id, router)| {
            let is_meant = router.family() == Family::Ipv4 && is_active(&self.fleet, *id);
            let interface = router.interface().filter(|_| is_meant)?;
            Some((interface, router.config.vrid))
        });
        self.packets.links.update(routers)
    }

    /// Reports senders that reach a link, but not the raw socket.
    #[cold]
    pub(super) fn report_discarded_rivals(&mut self, now: Instant) {
        for (id, source) in self.packets.links.take_discarded() {
            if let Some(suppressed) = self.events.pass(now, id, Topic::RivalDiscarded) {
                self.notify(Some(id), DriverEvent::RivalDiscarded { source, suppressed });
            }
        }
    }

    fn handle_packet(&mut self, now: Instant, received: &Received<'_>) {
        let found = self.find(received);
        let id = found.map(|(id, _)| id);
        if let Some((id, router)) = found {
            if self.is_for_link_watch(router, received) || self.is_own_to_peer(id, received) {
                return;
            }
            self.packets
                .links
                .confirm(id, received.ip.endpoints.source());
        }
        self.handle_packet_for(now, id, received);
    }

    fn handle_packet_for(
        &mut self,
        now: Instant,
        found: Option<RouterId>,
        received: &Received<'_>,
    ) {
        let machine = found.and_then(|id| self.fleet.get(id));
        if machine.is_some_and(|machine| machine.state() == State::Initialize) {
            return;
        }
        let mut router = found.and_then(|id| self.routers.get_mut(&id));
        let (protection, proof) = match &router {
            Some(router) => router.authenticator.verify(received, &router.config),
            None => (Protection::None, Proof::Nothing),
        };
        let message = message_of(received);
        let result = self
            .fleet
            .handle_packet_for(now, found, &received.ip, message, protection);
        // An owner discards advertisements, but has authenticated them. It goes on above their
        // sequence numbers, or peers would reject its own as replays.
        let is_verified = match &result {
            Ok(_) => true,
            Err(rejected) => rejected.discard == Discard::Owner,
        };
        if let Some(router) = router.as_mut().filter(|_| is_verified) {
            router.authenticator.accept(proof);
        }
        match result {
            Ok((id, accepted)) => {
                self.report_mismatches(now, id, &accepted);
                self.collect(now);
            }
            Err(rejected) => {
                let source = received.ip.endpoints.source();
                self.report_discard(now, found, rejected.discard, source);
            }
        }
    }

    #[cold]
    fn report_discard(
        &mut self,
        now: Instant,
        found: Option<RouterId>,
        discard: Discard,
        source: IpAddr,
    ) {
        let passed = found.and_then(|id| self.events.pass(now, id, Topic::Discarded));
        if let Some(suppressed) = passed {
            let event = DriverEvent::Discarded {
                discard,
                source,
                suppressed,
            };
            self.notify(found, event);
        }
    }

    /// The router that a packet is for. A multicast packet is for a router on the receiving
    /// interface.
    fn find(&self, received: &Received<'_>) -> Option<(RouterId, &Router)> {
        let number = self.numbers.at(received.interface);
        let found = self
            .fleet
            .addressee(number, &received.ip, message_of(received))?;
        let router: &Router = self.routers.get(&found)?;
        let is_here = !router.is_multicast() || router.interface() == Some(received.interface);
        is_here.then_some((found, router))
    }

    /// Reports mismatches of an advertisement.
    fn report_mismatches(&mut self, now: Instant, id: RouterId, accepted: &AcceptedAdvertisement) {
        let machine = self.fleet.get(id);
        let is_rival = machine.is_some_and(|machine| machine.is_rival(now, accepted));
        if is_rival || accepted.mismatches() != Mismatches::default() {
            self.report_each_mismatch(now, id, accepted, is_rival);
        }
    }

    /// Out of the way of the packets without a mismatch.
    #[cold]
    fn report_each_mismatch(
        &mut self,
        now: Instant,
        id: RouterId,
        accepted: &AcceptedAdvertisement,
        is_rival: bool,
    ) {
        let mismatches = accepted.mismatches();
        let source = accepted.source();
        let (priority, interval) = (accepted.priority(), accepted.interval());
        let mut pass =
            |is_noted: bool, topic| is_noted.then(|| self.events.pass(now, id, topic)).flatten();
        let events = [
            pass(mismatches.interval_differs, Topic::IntervalDiffers).map(|suppressed| {
                DriverEvent::IntervalDiffers {
                    source,
                    interval,
                    suppressed,
                }
            }),
            pass(mismatches.address_list_differs, Topic::AddressListDiffers)
                .map(|suppressed| DriverEvent::AddressListDiffers { source, suppressed }),
            pass(mismatches.owner_conflict, Topic::OwnerConflict)
                .map(|suppressed| DriverEvent::OwnerConflict { source, suppressed }),
            mismatches.clock_skew.and_then(|skew| {
                let suppressed = pass(true, Topic::ClockSkew)?;
                Some(DriverEvent::ClockSkew {
                    source,
                    skew,
                    suppressed,
                })
            }),
            pass(is_rival, Topic::RivalDetected).map(|suppressed| DriverEvent::RivalDetected {
                source,
                priority,
                suppressed,
            }),
        ];
        for event in events.into_iter().flatten() {
            self.notify(Some(id), event);
        }
    }
}
