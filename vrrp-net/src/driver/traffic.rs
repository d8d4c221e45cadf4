//! Advertisements in and out.

use std::{collections::BTreeMap, io};

use vrrp_fsm::{AcceptedAdvertisement, Instant, Outgoing, State, fleet::RouterId};
use vrrp_proto::{Discard, Family, Protection};

use super::{
    Driver, DriverEvent, Fault, ForeignPackets,
    authentication::{Proof, message_of},
    events::Topic,
    is_active,
    router::Router,
};
use crate::{
    Datagram, Error, ReceiveBatch, Received,
    kernel::sys::{BATCH, describe_interface},
};

/// Packets that are read from one socket before anything is decided: more than its buffer can hold, so that whatever was waiting is
/// among them, and not without end where somebody sends without end.
const PACKETS: usize = 8192;

impl Driver {
    /// Has the kernel let through, from now on, what is for a router that is about to be added.
    pub(super) fn admit(&mut self, router: &Router) -> Result<(), Error> {
        for socket in &mut self.sockets {
            if self.foreign_packets == ForeignPackets::Dropped && router.uses(socket) {
                let mut vrids = socket.filter().copied().unwrap_or_default();
                vrids.insert(router.config.fsm.vrid);
                socket.set_filter(Some(vrids))?;
            }
        }
        Ok(())
    }

    /// Has the kernel let through what is for the routers that there are, or everything if it is to be counted.
    pub(super) fn filter(&mut self) -> Result<(), Error> {
        for socket in &mut self.sockets {
            let routers = self.routers.values().filter(|router| router.uses(socket));
            let vrids = routers.map(|router| router.config.fsm.vrid).collect();
            socket
                .set_filter((self.foreign_packets == ForeignPackets::Dropped).then_some(vrids))?;
        }
        Ok(())
    }

    /// Reads all advertisements that are waiting at the socket in this place.
    pub(super) fn drain(&mut self, place: usize) -> Result<(), Error> {
        let mut batch = self.batch.take().unwrap_or_default();
        let result = self.drain_into(place, &mut batch);
        self.batch = Some(batch);
        result
    }

    fn drain_into(&mut self, place: usize, batch: &mut ReceiveBatch) -> Result<(), Error> {
        for _ in 0..PACKETS / BATCH {
            let Some(socket) = self.sockets.get(place) else {
                return Ok(());
            };
            let count = socket.receive(batch)?;
            self.has_heard |= count > 0;
            let now = self.now();
            for received in batch.iter() {
                self.handle_packet(now, &received);
            }
            if count < BATCH {
                return Ok(());
            }
        }
        self.is_unfinished = true;
        Ok(())
    }

    /// Reads all advertisements that are waiting on the links of Actives.
    pub(super) fn drain_links(&mut self) -> Result<(), Error> {
        let mut batch = self.batch.take().unwrap_or_default();
        let mut result = Ok(());
        for _ in 0..PACKETS / BATCH {
            let count = match self.link_watch.receive(&mut batch) {
                Ok(count) => count,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            let now = self.now();
            for received in batch.iter() {
                self.handle_packet_on_link(now, &received);
            }
            self.is_unfinished |= count == BATCH;
            if count < BATCH {
                break;
            }
        }
        self.batch = Some(batch);
        result
    }

    /// Handles an advertisement that no raw socket receives. Of the others, takes note.
    fn handle_packet_on_link(&mut self, now: Instant, received: &Received<'_>) {
        let Some(id) = self.find(received) else {
            return;
        };
        if self.is_for_link_watch(id, received) {
            self.handle_packet_for(now, Some(id), received);
        } else {
            self.link_watch.expect(id, received.ip.endpoints.source());
        }
    }

    /// Whether an advertisement is taken from the link and not from the raw socket of its router: the
    /// kernel discards it there for its source, which is a virtual address, or it is of the protocol
    /// of another socket.
    fn is_for_link_watch(&self, id: RouterId, received: &Received<'_>) -> bool {
        let Some(router) = self.routers.get(&id) else {
            return false;
        };
        let is_other_protocol = received
            .ipv4
            .is_some_and(|packet| packet.protocol != router.protocol());
        (is_other_protocol || self.planner.has_holders(received.ip.endpoints.source()))
            && self
                .link_watch
                .covers(received.interface, router.config.fsm.vrid)
            && router.family() == Family::Ipv4
    }

    /// Whether a packet is an advertisement of this router to a peer whose address the host has in
    /// its place: the kernel delivers it here.
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
    pub(super) fn watch_links(&mut self) -> Result<(), Error> {
        let routers = self.routers.iter().filter_map(|(id, router)| {
            let is_meant = router.family() == Family::Ipv4 && is_active(&self.fleet, *id);
            let interface = router.interface().filter(|_| is_meant)?;
            Some((interface, router.config.fsm.vrid))
        });
        self.link_watch.update(routers)
    }

    /// Reports senders that reach a link, but not the raw socket.
    pub(super) fn report_unheard(&mut self, now: Instant) {
        for (id, source) in self.link_watch.take_unheard() {
            if let Some(suppressed) = self.events.pass(now, id, Topic::Unheard) {
                self.notify(Some(id), DriverEvent::Unheard { source, suppressed });
            }
        }
    }

    fn handle_packet(&mut self, now: Instant, received: &Received<'_>) {
        let found = self.find(received);
        if let Some(id) = found {
            if self.is_for_link_watch(id, received) || self.is_own_to_peer(id, received) {
                return;
            }
            self.link_watch.confirm(id, received.ip.endpoints.source());
        }
        self.handle_packet_for(now, found, received);
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
        // An owner that hears nobody has verified them all the same, and goes on above their sequence numbers: others would take what it sends for old.
        let is_verified = match &result {
            Ok(_) => true,
            Err(rejected) => rejected.discard == Discard::Owner,
        };
        if let Some(router) = router.as_mut().filter(|_| is_verified) {
            router.authenticator.accept(proof);
        }
        match result {
            Ok((id, heard)) => {
                self.report_mismatches(now, id, &heard);
                self.collect(now);
            }
            Err(rejected) => {
                let passed = found.and_then(|id| self.events.pass(now, id, Topic::Discarded));
                if let Some(suppressed) = passed {
                    let event = DriverEvent::Discarded {
                        discard: rejected.discard,
                        source: received.ip.endpoints.source(),
                        suppressed,
                    };
                    self.notify(found, event);
                }
            }
        }
    }

    /// The router that a packet is for. What is sent to a group is for the interface that it comes in by.
    fn find(&self, received: &Received<'_>) -> Option<RouterId> {
        let number = self.numbers.at(received.interface);
        let found = self
            .fleet
            .addressee(number, &received.ip, message_of(received))?;
        let router = self.routers.get(&found)?;
        let is_here = !router.is_multicast() || router.interface() == Some(received.interface);
        is_here.then_some(found)
    }

    /// Tells what is odd about an advertisement.
    fn report_mismatches(&mut self, now: Instant, id: RouterId, heard: &AcceptedAdvertisement) {
        let mismatches = heard.mismatches();
        let is_rival = is_active(&self.fleet, id) && !heard.priority().is_resign();
        let source = heard.source();
        let (priority, interval) = (heard.priority(), heard.interval());
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
            pass(is_rival, Topic::RivalHeard).map(|suppressed| DriverEvent::RivalHeard {
                source,
                priority,
                suppressed,
            }),
        ];
        for event in events.into_iter().flatten() {
            self.notify(Some(id), event);
        }
    }

    /// Has an advertisement sent with the next [`flush`](Self::flush).
    pub(super) fn enqueue(&mut self, now: Instant, id: RouterId, outgoing: Outgoing) {
        // A router has one set of octets. Two advertisements of one turn go out one after the other.
        if self.routers.get(&id).is_some_and(|it| it.is_outgoing) {
            self.flush(now);
        }
        let (Some(router), Some(machine)) = (self.routers.get_mut(&id), self.fleet.get(id)) else {
            return;
        };
        if let Err(error) = router.prepare(outgoing, machine) {
            // It was tried out when the configuration was taken in.
            tracing::error!(%id, %error, "an advertisement could not be encoded");
        }
        router.is_outgoing = true;
        self.outbox.push(id);
    }

    /// Sends all advertisements that wait.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.outbox.is_empty() {
            return;
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        for id in &outbox {
            if let Some(router) = self.routers.get_mut(id) {
                router.is_outgoing = false;
            }
        }
        let mut refused = Vec::new();
        for socket in &self.sockets {
            let datagrams = || {
                outbox
                    .iter()
                    .filter_map(|id| Some((*id, self.routers.get(id)?)))
                    .filter(|(_, router)| router.uses(socket) && router.frame_source().is_none())
                    .flat_map(|(id, router)| router.datagrams().map(move |datagram| (id, datagram)))
            };
            socket.send(datagrams().map(|(_, datagram)| datagram), |place, error| {
                if let Some((id, datagram)) = datagrams().nth(place) {
                    refused.push((id, describe(&datagram, error)));
                }
            });
        }
        let from_virtual_macs = || {
            outbox
                .iter()
                .filter_map(|id| Some((*id, self.routers.get(id)?)))
                .filter(|(_, router)| router.frame_source().is_some())
        };
        let frames = from_virtual_macs().flat_map(|(_, router)| router.frames());
        self.frames.send(frames, |place, error| {
            let mut datagrams = from_virtual_macs()
                .flat_map(|(id, router)| router.datagrams().map(move |datagram| (id, datagram)));
            if let Some((id, datagram)) = datagrams.nth(place) {
                refused.push((id, describe(&datagram, error)));
            }
        });
        let mut counts = BTreeMap::new();
        for (id, _) in &refused {
            *counts.entry(*id).or_insert(0) += 1;
        }
        for id in &outbox {
            self.note_sent(now, *id, counts.get(id).copied().unwrap_or(0));
        }
        outbox.clear();
        self.outbox = outbox;
        for (id, event) in refused {
            self.note_reason(now, id, &event);
            self.tell_refused(now, id, event);
        }
    }

    /// Takes note that an advertisement left, or that all its messages were refused.
    fn note_sent(&mut self, now: Instant, id: RouterId, refused: usize) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let (outgoing, messages) = router.outgoing();
        if refused >= messages {
            router.unsent_since.get_or_insert(now);
            if let Some(outgoing) = outgoing {
                // It fails for a router that has just been removed.
                let _known = self.fleet.not_sent(id, outgoing);
            }
            return;
        }
        router.unsent_since = None;
        let Some(fault) = router.cannot_send.take().map(Fault::CannotSend) else {
            return;
        };
        router.faults.remove(&fault);
        self.notify(Some(id), DriverEvent::Recovered(fault));
    }

    /// Notes a fault where nothing could be sent for so long that the others take over.
    fn note_reason(&mut self, now: Instant, id: RouterId, event: &DriverEvent) {
        let (Some(router), Some(machine)) = (self.routers.get_mut(&id), self.fleet.get(id)) else {
            return;
        };
        let lasts = router
            .unsent_since
            .is_some_and(|since| now >= since + machine.active_down_interval());
        let DriverEvent::SendFailed { error, .. } = event else {
            return;
        };
        if !lasts
            || router.is_shut_down
            || router.cannot_send.is_some()
            || !router.config.track_interface
        {
            return;
        }
        let reason = error.to_string();
        router.cannot_send = Some(reason.clone());
        let fault = Fault::CannotSend(reason);
        router.faults.insert(fault.clone());
        self.notify(Some(id), DriverEvent::Fault(fault));
    }

    fn tell_refused(&mut self, now: Instant, id: RouterId, mut event: DriverEvent) {
        // With something missing, it is no news that nothing can be sent.
        let passed = self
            .routers
            .get(&id)
            .filter(|router| !router.faults.iter().any(Fault::stops_router))
            .and_then(|_| self.events.pass(now, id, Topic::SendFailed));
        if let (Some(count), DriverEvent::SendFailed { suppressed, .. }) = (passed, &mut event) {
            *suppressed = count;
            self.notify(Some(id), event);
        }
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
