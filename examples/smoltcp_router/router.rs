//! A virtual router that takes frames and the time, and returns frames. It depends on no operating
//! system, and neither this module nor `stack` needs the standard library or an allocator.

#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]

use core::net::IpAddr;

use smoltcp::{iface::MulticastError, wire::IpCidr};
use vrrp_fsm::{
    Action, Actions, Event, Instant, Outgoing, ReceiveContext, ShutdownCause, Transition,
    VirtualRouter,
};
use vrrp_proto::{
    Addresses, EncodeError, Endpoints, IP_PROTOCOL, IpHeader, MessageAuthentication, OutOfRange,
    frame::{
        MacAddress,
        arp::{self, GratuitousTarget},
        ethernet::{self, Frame},
        ipv4, ipv6, multicast_mac, neighbor, virtual_mac,
    },
    group,
};

use crate::stack::{MAX_FRAME_LEN, Send, Stack};

const IPV4_HEADERS_LEN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
const IPV6_HEADERS_LEN: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN;

/// The result of a step.
pub(crate) type Result = core::result::Result<Option<Transition>, SendError>;

/// Why an advertisement could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The message.
    #[error(transparent)]
    Message(#[from] EncodeError),
    /// The IP header.
    #[error(transparent)]
    Header(#[from] OutOfRange),
}

/// The state machine and two stacks: the router's own, which is always there, and that of the
/// virtual router, which exists while this router is Active.
pub(crate) struct Router<'a> {
    machine: VirtualRouter,
    primary_address: IpAddr,
    mac: MacAddress,
    own: Stack,
    virtual_mac: MacAddress,
    virtual_stack: Option<Stack>,
    addresses: &'a [IpCidr],
    list: Addresses<'a>,
}

impl<'a> Router<'a> {
    /// Creates a router in Initialize, with `mac` and `primary` as its own addresses. `list` has
    /// the same virtual addresses as `addresses`, without their prefixes.
    pub(crate) fn new(
        now: Instant,
        machine: VirtualRouter,
        mac: MacAddress,
        primary: IpCidr,
        addresses: &'a [IpCidr],
        list: Addresses<'a>,
    ) -> core::result::Result<Self, MulticastError> {
        let config = machine.config();
        let mut own = Stack::new(now, mac, &[primary]);
        own.join(group(config.family))?;
        Ok(Self {
            machine,
            primary_address: primary.address().into(),
            mac,
            own,
            virtual_mac: virtual_mac(config.vrid, config.family),
            virtual_stack: None,
            addresses,
            list,
        })
    }

    /// Starts the router.
    pub(crate) fn startup(&mut self, now: Instant, send: Send<'_>) -> Result {
        let primary_address = self.primary_address;
        let actions = self
            .machine
            .handle_event(now, Event::Startup { primary_address });
        self.perform(now, actions, send)
    }

    /// Stops the router. An Active resigns.
    pub(crate) fn shutdown(&mut self, now: Instant, send: Send<'_>) -> Result {
        let event = Event::Shutdown(ShutdownCause::Administrative);
        let actions = self.machine.handle_event(now, event);
        self.perform(now, actions, send)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Handles the timers that have expired.
    pub(crate) fn handle_timeout(&mut self, now: Instant, send: Send<'_>) -> Result {
        let actions = self.machine.handle_timeout(now);
        let result = self.perform(now, actions, send);
        for stack in [&mut self.own].into_iter().chain(&mut self.virtual_stack) {
            stack.poll(now, None, send);
        }
        result
    }

    /// Handles a received frame.
    pub(crate) fn receive(&mut self, now: Instant, octets: &[u8], send: Send<'_>) -> Result {
        let Ok(frame) = Frame::parse(octets) else {
            return Ok(None);
        };
        let tagged = octets.len() != ethernet::HEADER_LEN + frame.payload.len();
        if tagged || octets.len() > MAX_FRAME_LEN {
            return Ok(None);
        }
        if let Some((payload, ip)) = advertisement_in(&frame) {
            return self.handle_advertisement(now, payload, &ip, send);
        }
        self.own.poll(now, Some(octets), send);
        let asked = self.virtual_stack.is_some() && self.answer(&frame, send);
        if let Some(virtual_stack) = &mut self.virtual_stack {
            if asked {
                // The stack learns the address of the asker. Its own answer is dropped, because it
                // would not say that this is a router.
                virtual_stack.poll(now, None, send);
                virtual_stack.poll(now, Some(octets), &mut |_| {});
            } else {
                virtual_stack.poll(now, Some(octets), send);
            }
        }
        Ok(None)
    }

    /// Handles an advertisement. A packet that fails a check only changes a counter.
    fn handle_advertisement(
        &mut self,
        now: Instant,
        payload: &[u8],
        ip: &IpHeader,
        send: Send<'_>,
    ) -> Result {
        let context = ReceiveContext {
            addresses: Some(self.list),
            ..ReceiveContext::multicast(self.list.family())
        };
        match self.machine.handle_packet(now, ip, payload, &context) {
            Ok((_, actions)) => self.perform(now, actions, send),
            Err(_) => Ok(None),
        }
    }

    /// Carries out the actions of the state machine, in order.
    fn perform(&mut self, now: Instant, actions: Actions, send: Send<'_>) -> Result {
        for action in actions {
            match action {
                Action::SendAdvertisement(outgoing) => self.advertise(outgoing, send)?,
                Action::InstallAddresses => {
                    let mut stack = Stack::new(now, self.virtual_mac, self.addresses);
                    stack.poll(now, None, send);
                    self.virtual_stack = Some(stack);
                }
                Action::Announce { repeat } => (0..repeat).for_each(|_| self.announce(send)),
                Action::RemoveAddresses => self.virtual_stack = None,
                _ => {}
            }
        }
        Ok(actions.transition())
    }

    /// Sends an advertisement, from the virtual MAC so that the switches learn where that is
    /// (M-03).
    fn advertise(&self, outgoing: Outgoing, send: Send<'_>) -> core::result::Result<(), SendError> {
        let endpoints = Endpoints::multicast(self.primary_address);
        let to = multicast_mac(endpoints.destination());
        let mut frame = [0; MAX_FRAME_LEN];
        for (message, form) in
            self.machine
                .advertisements(outgoing, MessageAuthentication::None, self.list)
        {
            let (headers, rest) = match endpoints {
                Endpoints::Ipv4 { .. } => frame.split_at_mut(IPV4_HEADERS_LEN),
                Endpoints::Ipv6 { .. } => frame.split_at_mut(IPV6_HEADERS_LEN),
            };
            let length = message.encode(rest, &endpoints, form)?;
            let (link, network) = headers.split_at_mut(ethernet::HEADER_LEN);
            match endpoints {
                Endpoints::Ipv4 {
                    source,
                    destination,
                } => {
                    let header = ipv4::Header::advertisement(source, destination).encode(length)?;
                    network.copy_from_slice(&header);
                    link.copy_from_slice(&ethernet::header(to, self.virtual_mac, ethernet::IPV4));
                }
                Endpoints::Ipv6 {
                    source,
                    destination,
                } => {
                    // It fits, because the frame is shorter than that.
                    let length = u16::try_from(length).unwrap_or(u16::MAX);
                    let header = ipv6::Header::advertisement(source, destination).encode(length);
                    network.copy_from_slice(&header);
                    link.copy_from_slice(&ethernet::header(to, self.virtual_mac, ethernet::IPV6));
                }
            }
            let length = headers.len() + length;
            send(&frame[..length]);
        }
        Ok(())
    }

    fn announce(&self, send: Send<'_>) {
        for address in &self.list {
            match address {
                IpAddr::V4(address) => {
                    let target = GratuitousTarget::default();
                    send(&arp::gratuitous(self.virtual_mac, address, target));
                }
                IpAddr::V6(address) => {
                    send(&neighbor::unsolicited(self.virtual_mac, address, address));
                }
            }
        }
    }

    /// Answers a request for a virtual address. Returns whether the frame was such a
    /// request.
    fn answer(&self, frame: &Frame<'_>, send: Send<'_>) -> bool {
        let is_ours = |address: IpAddr| self.list.iter().any(|own| own == address);
        match frame.ethertype {
            ethernet::ARP => {
                let Ok(request) = arp::Packet::parse(frame.payload) else {
                    return false;
                };
                let asked = request.asks_for().is_some_and(|own| is_ours(own.into()));
                if asked {
                    // The frame comes from the physical MAC, and its content names the
                    // virtual MAC.
                    send(&arp::reply(&request, self.virtual_mac, self.mac));
                }
                asked
            }
            ethernet::IPV6 => {
                let solicitation = ipv6::Packet::parse(frame.payload)
                    .and_then(|packet| neighbor::Solicitation::parse(&packet));
                let Ok(Some(solicitation)) = solicitation else {
                    return false;
                };
                let asked = is_ours(solicitation.target.into());
                if asked {
                    let mac = self.virtual_mac;
                    send(&neighbor::solicited(&solicitation, frame.source, mac, mac));
                }
                asked
            }
            _ => false,
        }
    }
}

/// The message in a frame and the facts of its IP header, if the frame is one of VRRP.
fn advertisement_in<'a>(frame: &Frame<'a>) -> Option<(&'a [u8], IpHeader)> {
    match frame.ethertype {
        ethernet::IPV4 => {
            let packet = ipv4::Packet::parse(frame.payload).ok()?;
            (packet.protocol == IP_PROTOCOL).then(|| (packet.payload, packet.ip_header()))
        }
        ethernet::IPV6 => {
            let packet = ipv6::Packet::parse(frame.payload).ok()?;
            (packet.next_header == IP_PROTOCOL).then(|| (packet.payload, packet.ip_header()))
        }
        _ => None,
    }
}
