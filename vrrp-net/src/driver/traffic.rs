//! Advertisements in and out.

use std::io;

use vrrp_fsm::{Event, Heard, Instant, Outgoing, State};
use vrrp_proto::{Advertisement, Counter, DecodeOptions, Discard, Vrid};

use super::{Driver, DriverEvent, RouterId, Transport, authentication::message_of, router::Router};
use crate::{Datagram, Error, ReceiveBatch, Received, socket::describe_interface, sys::BATCH};

/// Packets that are read from one socket before anything is decided: more than its buffer can hold, so that whatever was waiting is
/// among them, and not without end where somebody sends without end.
const PACKETS: usize = 8192;

/// Counters of all virtual routers together (O-16), in the words of RFC 8347. The others are in
/// [`VirtualRouter::counters`](vrrp_fsm::VirtualRouter::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DriverCounters {
    /// `checksum-errors`.
    pub checksum_errors: u64,
    /// `version-errors`.
    pub version_errors: u64,
    /// `vrid-errors`: also advertisements of virtual routers in which this host has no part (AMB-30), as far as they are received: see
    /// [`Driver::count_foreign`].
    pub vrid_errors: u64,
    /// `ip-ttl-errors`.
    pub ip_ttl_errors: u64,
}

impl DriverCounters {
    fn count(&mut self, discard: &Discard) {
        let counter = match discard.counter() {
            Some(Counter::Checksum) => &mut self.checksum_errors,
            Some(Counter::Version) => &mut self.version_errors,
            Some(Counter::Vrid) => &mut self.vrid_errors,
            Some(Counter::IpTtl) => &mut self.ip_ttl_errors,
            _ => return,
        };
        *counter += 1;
    }
}

impl Driver {
    /// Has the kernel let through, from now on, what is for a router that is about to be added.
    pub(super) fn admit(&mut self, router: &Router) -> Result<(), Error> {
        for socket in &mut self.sockets {
            if !self.counts_foreign && router.uses(socket) {
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
            socket.set_filter((!self.counts_foreign).then_some(vrids))?;
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
                break;
            };
            let count = socket.receive(batch)?;
            let now = self.now();
            for received in batch.iter() {
                self.handle_packet(now, &received);
            }
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }

    fn handle_packet(&mut self, now: Instant, received: &Received<'_>) {
        let found = self.find(received);
        let Some((id, router)) = found.and_then(|id| Some((id, self.routers.get_mut(&id)?))) else {
            self.count_stranger(received);
            return;
        };
        if router.machine.state() == State::Initialize {
            return;
        }
        match router.hear(received) {
            Ok(heard) => {
                self.tell_notes(now, id, &heard);
                self.handle_event(now, id, Event::Advertisement(heard));
            }
            Err(discard) => {
                let passed = router.limiters.discarded.pass(now);
                self.counters.count(&discard);
                if let Some(suppressed) = passed {
                    let source = received.ip.endpoints.source();
                    self.notify(
                        Some(id),
                        DriverEvent::Discarded {
                            discard,
                            source,
                            suppressed,
                        },
                    );
                }
            }
        }
    }

    /// The router that a packet is for, by the VRID at its place in the message, which nobody has verified yet.
    fn find(&self, received: &Received<'_>) -> Option<RouterId> {
        let vrid = Vrid::new(*message_of(received).get(1)?)?;
        let endpoints = received.ip.endpoints;
        let family = endpoints.family();
        if let Some(id) = self.by_key.get(&(received.interface, family, vrid)) {
            return Some(*id);
        }
        if endpoints.destination().is_multicast() {
            return None;
        }
        // What a peer sends may take another way in.
        self.by_vrid
            .get(&(family, vrid))?
            .iter()
            .copied()
            .find(|id| {
                self.routers.get(id).is_some_and(|router| {
                    matches!(&router.config.transport, Transport::Unicast { peers }
                        if peers.iter().any(|peer| peer.address == endpoints.source()))
                })
            })
    }

    /// Counts a packet that is for no router here (AMB-30).
    fn count_stranger(&mut self, received: &Received<'_>) {
        let options = DecodeOptions::default();
        match Advertisement::decode(message_of(received), &received.ip, &options) {
            Ok(_) => self.counters.vrid_errors += 1,
            Err(discard) => self.counters.count(&discard),
        }
    }

    /// Tells what is odd about an advertisement.
    fn tell_notes(&mut self, now: Instant, id: RouterId, heard: &Heard) {
        let notes = heard.notes();
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let limiters = &mut router.limiters;
        let source = heard.source();
        let interval = heard.interval();
        let events = [
            notes
                .interval_differs
                .then(|| limiters.interval_differs.pass(now))
                .flatten()
                .map(|suppressed| DriverEvent::IntervalDiffers {
                    source,
                    interval,
                    suppressed,
                }),
            notes
                .address_list_differs
                .then(|| limiters.address_list_differs.pass(now))
                .flatten()
                .map(|suppressed| DriverEvent::AddressListDiffers { source, suppressed }),
            notes
                .owner_conflict
                .then(|| limiters.owner_conflict.pass(now))
                .flatten()
                .map(|suppressed| DriverEvent::OwnerConflict { source, suppressed }),
        ];
        for event in events.into_iter().flatten() {
            self.notify(Some(id), event);
        }
    }

    /// Has an advertisement sent with the next [`flush`](Self::flush).
    pub(super) fn enqueue(&mut self, id: RouterId, outgoing: Outgoing) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        // A router has one set of octets. Two advertisements of one turn go out one after the other.
        if std::mem::replace(&mut router.is_outgoing, true) {
            let now = self.now();
            self.flush(now);
            if let Some(router) = self.routers.get_mut(&id) {
                router.is_outgoing = true;
            }
        }
        self.outbox.push((id, outgoing));
    }

    /// Sends all advertisements that wait.
    pub(super) fn flush(&mut self, now: Instant) {
        let mut outbox = std::mem::take(&mut self.outbox);
        for (id, outgoing) in &outbox {
            if let Some(router) = self.routers.get_mut(id) {
                router.is_outgoing = false;
                if let Err(error) = router.prepare(*outgoing) {
                    // It was tried out when the configuration was taken in.
                    tracing::error!(%id, %error, "an advertisement could not be encoded");
                }
            }
        }
        let mut refused = Vec::new();
        for socket in &self.sockets {
            let datagrams = || {
                outbox
                    .iter()
                    .filter_map(|(id, _)| Some((*id, self.routers.get(id)?)))
                    .filter(|(_, router)| router.uses(socket))
                    .flat_map(|(id, router)| router.datagrams().map(move |datagram| (id, datagram)))
            };
            socket.send(datagrams().map(|(_, datagram)| datagram), |place, error| {
                if let Some((id, datagram)) = datagrams().nth(place) {
                    refused.push((id, describe(&datagram, error)));
                }
            });
        }
        outbox.clear();
        self.outbox = outbox;
        for (id, event) in refused {
            self.tell_refused(now, id, event);
        }
    }

    fn tell_refused(&mut self, now: Instant, id: RouterId, mut event: DriverEvent) {
        // With something missing, it is no news that nothing can be sent.
        let passed = self
            .routers
            .get_mut(&id)
            .filter(|router| router.faults.is_empty())
            .and_then(|router: &mut Router| router.limiters.send_failed.pass(now));
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
