//! One received packet, from its octets to the step of the machine.

use vrrp_proto::{
    Addresses, Advertisement, DecodeOptions, Decoded, Discard, Family, IpHeader,
    LocalAuthentication, LocalRouter, LocalTransport, Protection, group,
};

use crate::{AcceptedAdvertisement, Actions, Event, Instant, Profile, VirtualRouter};

/// The host's side of a received packet: the transport of the virtual router, the options for
/// decoding and authentication, and the result of verifying this packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveContext<'a> {
    /// Multicast to a group, or unicast from peers.
    pub transport: LocalTransport<'a>,
    /// The options of the decoder.
    pub decode: DecodeOptions,
    /// How a message must be authenticated.
    pub authentication: LocalAuthentication,
    /// The result of verifying this packet. The host verifies it first, because the host has the
    /// keys.
    pub protection: Protection,
    /// The local virtual addresses, which are compared with those of messages (P-44, P-45), or
    /// `None` for no comparison.
    pub addresses: Option<Addresses<'a>>,
}

impl ReceiveContext<'static> {
    /// Multicast to the group of this family, strict decoding, no authentication, and no comparison
    /// of address lists.
    #[must_use]
    pub fn multicast(family: Family) -> Self {
        Self {
            transport: LocalTransport::Multicast {
                group: group(family),
            },
            decode: DecodeOptions::default(),
            authentication: LocalAuthentication::None,
            protection: Protection::None,
            addresses: None,
        }
    }
}

impl VirtualRouter {
    /// Handles a packet of protocol 112: decodes, checks and counts it, and steps the machine. The
    /// actions are performed in order.
    ///
    /// `payload` is the payload of the IP packet, or of the AH header for a packet with IP AH.
    ///
    /// # Errors
    ///
    /// The first check of [`Advertisement::decode`] or [`check`](Self::check) that failed. Its
    /// counter has changed, and nothing else.
    #[inline]
    pub fn handle_packet(
        &mut self,
        now: Instant,
        ip: &IpHeader,
        payload: &[u8],
        context: &ReceiveContext<'_>,
    ) -> Result<(AcceptedAdvertisement, Actions), Discard> {
        match self.accept(ip, payload, context) {
            Ok(accepted) => {
                let actions = self.handle_event(now, Event::Advertisement(accepted));
                Ok((accepted, actions))
            }
            Err(discard) => {
                self.count_discard(&discard);
                Err(discard)
            }
        }
    }

    /// Decodes and checks a packet without changing the router.
    // Without inlining, each packet would copy the result.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn accept(
        &self,
        ip: &IpHeader,
        payload: &[u8],
        context: &ReceiveContext<'_>,
    ) -> Result<AcceptedAdvertisement, Discard> {
        let received = Advertisement::decode(payload, ip, &context.decode)?;
        self.check(&received, ip, context)
    }

    /// Checks a message that the host decoded. The result is for
    /// [`Event::Advertisement`](crate::Event::Advertisement); its
    /// [`mismatches`](AcceptedAdvertisement::mismatches) are for the host's log.
    ///
    /// The router does not change, so a discarded packet cannot change a state, a timer or a
    /// learned value. The host passes the discard to [`count_discard`](Self::count_discard).
    /// [`handle_packet`](Self::handle_packet) does all of this in one call.
    ///
    /// # Errors
    ///
    /// The first check of [`LocalRouter::check`] that failed.
    #[inline]
    pub fn check(
        &self,
        received: &Decoded<'_>,
        ip: &IpHeader,
        context: &ReceiveContext<'_>,
    ) -> Result<AcceptedAdvertisement, Discard> {
        let advertisement = &received.advertisement;
        let local = LocalRouter {
            vrid: self.settings.vrid,
            versions: self.settings.versions,
            interval: self.settings.interval,
            owner: self.settings.owner_rule(advertisement.version()),
            primary_address: self.primary_address,
            authentication: context.authentication,
            transport: context.transport,
            addresses: context.addresses,
        };
        let mut mismatches = local.check(received, ip, context.protection)?;
        // RFC 5798 has no such check (P-30). The counter counts the difference anyway (O-17).
        if self.settings.profile == Profile::Rfc5798 {
            mismatches.interval_differs = false;
        }
        Ok(AcceptedAdvertisement {
            source: ip.endpoints.source(),
            priority: advertisement.priority,
            interval: advertisement.interval,
            checksum: received.checksum,
            mismatches,
        })
    }

    /// Counts a discarded packet for this virtual router: by
    /// [`Advertisement::decode`](vrrp_proto::Advertisement::decode), by [`check`](Self::check), or
    /// by the host. Only one counter changes.
    pub fn count_discard(&mut self, discard: &Discard) {
        self.counters.count_discard(discard);
    }
}
