//! The step from a decoded message to something that the machine has heard.

use vrrp_proto::{
    Addresses, Decoded, Discard, IpHeader, LocalAuthentication, LocalRouter, Protection, Transport,
};

use crate::{AcceptedAdvertisement, Profile, VirtualRouter};

/// What only the host knows of how a virtual router's messages travel, and what was proven about this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveContext<'a> {
    /// Multicast to a group, or unicast from peers.
    pub transport: Transport<'a>,
    /// How a message has to be authenticated.
    pub authentication: LocalAuthentication,
    /// What was proven about this packet before.
    pub protection: Protection,
    /// The local virtual addresses, to have the lists compared (P-44, P-45), or `None` to leave that out.
    pub addresses: Option<Addresses<'a>>,
}

impl VirtualRouter {
    /// Checks a decoded message against the configuration. What comes out is for [`Event::Advertisement`](crate::Event::Advertisement);
    /// its [`mismatches`](AcceptedAdvertisement::mismatches) are for the host's log.
    ///
    /// Nothing changes, so that a packet that fails cannot move a state, a timer or a learned value. For the statistics the host hands
    /// a discard to [`count_discard`](Self::count_discard).
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
        // RFC 5798 has no such check (P-30). The counter has it all the same (O-17).
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

    /// Counts a packet for this virtual router that was discarded, by
    /// [`Advertisement::decode`](vrrp_proto::Advertisement::decode), by [`check`](Self::check), or by the host before them. Nothing
    /// but the one counter changes.
    pub fn count_discard(&mut self, discard: &Discard) {
        self.counters.count_discard(discard);
    }
}
