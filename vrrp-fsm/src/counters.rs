//! Counters of a virtual router.

use vrrp_proto::{Counter, Discard, Version};

use crate::Outgoing;

/// Counters of one virtual router, named as in RFC 8347 (O-17); RFC 6527 has the same counters
/// under other names.
///
/// They continue across Shutdown and Startup, and saturate. `checksum-errors`, `version-errors` and
/// `vrid-errors` count for all virtual routers together (O-16) and belong to the host; here they
/// are part of [`other_discards`](Self::other_discards).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Counters {
    /// `master-transitions`: the number of transitions to Active.
    #[doc(alias = "master_transitions")]
    pub active_transitions: u32,
    /// Discarded packets without a counter of their own: checksum, version, VRID, destination, or a
    /// source that is not a unicast address or not a configured peer.
    pub other_discards: u32,
    /// `advertisement-rcvd`: advertisements that passed every check.
    pub advertisements_received: u64,
    /// `advertisement-sent`: messages that were sent. With both versions or both checksum forms,
    /// each message counts; copies to peers do not. The host subtracts messages that it could not
    /// send: [`VirtualRouter::not_sent`](crate::VirtualRouter::not_sent).
    pub advertisements_sent: u64,
    /// `priority-zero-pkts-rcvd`.
    pub priority_zero_received: u64,
    /// `priority-zero-pkts-sent`.
    pub priority_zero_sent: u64,
    /// `interval-errors`: an interval that differs from the local one. In version 3 the
    /// advertisement is accepted and counted too.
    pub interval_errors: u64,
    /// `ip-ttl-errors`.
    pub ip_ttl_errors: u64,
    /// `invalid-type-pkts-rcvd`.
    pub invalid_type_received: u64,
    /// `address-list-errors`: also those of accepted advertisements.
    pub address_list_errors: u64,
    /// `packet-length-errors`.
    pub packet_length_errors: u64,
    /// Failed authentication, which RFC 2787 counts.
    pub authentication_errors: u64,
    /// Packets from this router's primary address: our own packets came back, or the address is in
    /// use twice (AMB-14). Not in the models.
    pub own_packets: u64,
    /// Advertisements received while the router owns the addresses, discarded or not (P-43, O-05).
    /// Not in the models.
    pub owner_conflicts: u64,
}

impl Counters {
    pub(crate) fn count_sent(&mut self, outgoing: Outgoing) {
        let (messages, resignations) = messages(outgoing);
        self.advertisements_sent = self.advertisements_sent.saturating_add(messages);
        self.priority_zero_sent = self.priority_zero_sent.saturating_add(resignations);
    }

    /// Subtracts an advertisement that was counted but not sent.
    pub(crate) fn count_unsent(&mut self, outgoing: Outgoing) {
        let (messages, resignations) = messages(outgoing);
        self.advertisements_sent = self.advertisements_sent.saturating_sub(messages);
        self.priority_zero_sent = self.priority_zero_sent.saturating_sub(resignations);
    }

    pub(crate) fn count_discard(&mut self, discard: &Discard) {
        let counter = match (discard.counter(), discard) {
            (Some(Counter::Interval), _) => &mut self.interval_errors,
            (Some(Counter::IpTtl), _) => &mut self.ip_ttl_errors,
            (Some(Counter::InvalidType), _) => &mut self.invalid_type_received,
            (Some(Counter::AddressList), _) => &mut self.address_list_errors,
            (Some(Counter::PacketLength), _) => &mut self.packet_length_errors,
            (Some(Counter::Authentication), _) => &mut self.authentication_errors,
            (None, Discard::OwnPacket { .. }) => &mut self.own_packets,
            (None, Discard::Owner) => &mut self.owner_conflicts,
            _ => {
                self.other_discards = self.other_discards.saturating_add(1);
                return;
            }
        };
        count(counter);
    }
}

/// Returns the number of messages of an advertisement, and the number of those with priority 0.
fn messages(outgoing: Outgoing) -> (u64, u64) {
    let of_v3 = if outgoing.versions.include(Version::V3) {
        outgoing.checksum.count()
    } else {
        0
    };
    let of_v2 = u8::from(outgoing.versions.include(Version::V2));
    let messages = u64::from(of_v3 + of_v2);
    let resignations = if outgoing.priority.is_resign() {
        messages
    } else {
        0
    };
    (messages, resignations)
}

/// Increments a counter, which saturates.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
