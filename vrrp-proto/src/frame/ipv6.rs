//! IPv6 headers (RFC 8200).

use core::net::Ipv6Addr;

use super::{PacketError, collect};
use crate::{Endpoints, IP_PROTOCOL, IpHeader, TTL};

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 40;

/// Network control, the class that routing protocols send with.
const TRAFFIC_CLASS: u8 = 0xc0;

/// The fixed header. VRRP and Neighbor Discovery follow it directly, without extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub source: Ipv6Addr,
    /// The destination: a host or a group.
    pub destination: Ipv6Addr,
    /// The protocol of the payload.
    pub next_header: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit.
    pub hop_limit: u8,
}

impl Header {
    /// Returns the header of an advertisement: next header 112 (P-01), hop limit 255 (P-05),
    /// traffic class 0xC0.
    ///
    /// The source must be the link-local address of the interface (P-09).
    #[must_use]
    pub const fn advertisement(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            source,
            destination,
            next_header: IP_PROTOCOL,
            traffic_class: TRAFFIC_CLASS,
            hop_limit: TTL,
        }
    }

    /// Encodes the header for a payload of this length.
    #[must_use]
    pub fn encode(&self, payload_len: u16) -> [u8; HEADER_LEN] {
        let class_and_flow = u32::from(self.traffic_class) << 20 | 6 << 28;
        collect(
            class_and_flow
                .to_be_bytes()
                .into_iter()
                .chain(payload_len.to_be_bytes())
                .chain([self.next_header, self.hop_limit])
                .chain(self.source.octets())
                .chain(self.destination.octets()),
        )
    }
}

/// A packet that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The sender.
    pub source: Ipv6Addr,
    /// The destination: a host or a group.
    pub destination: Ipv6Addr,
    /// The next header. Extension headers are not parsed: VRRP and Neighbor Discovery packets have
    /// none.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// The payload after the fixed header, without padding (P-55).
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses a packet. Octets after its payload length, such as the padding of a short Ethernet
    /// frame, are left out.
    ///
    /// # Errors
    ///
    /// [`PacketError`] for a packet that is not IPv6 or is truncated.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, PacketError> {
        let too_short = |needed| PacketError::TooShort {
            needed,
            given: packet.len(),
        };
        let (&[first, _, _, _, len_high, len_low, next_header, hop_limit], rest) =
            packet.split_first_chunk().ok_or(too_short(HEADER_LEN))?;
        let (source, rest) = rest
            .split_first_chunk::<16>()
            .ok_or(too_short(HEADER_LEN))?;
        let (destination, rest) = rest
            .split_first_chunk::<16>()
            .ok_or(too_short(HEADER_LEN))?;
        if first >> 4 != 6 {
            return Err(PacketError::field(
                "IP version",
                u32::from(first >> 4),
                6,
                6,
            ));
        }
        let payload_len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let payload = rest
            .get(..payload_len)
            .ok_or(too_short(payload_len.saturating_add(HEADER_LEN)))?;
        Ok(Self {
            source: Ipv6Addr::from(*source),
            destination: Ipv6Addr::from(*destination),
            next_header,
            hop_limit,
            payload,
        })
    }

    /// Returns the part of the header that decoding the payload needs.
    #[must_use]
    pub const fn ip_header(&self) -> IpHeader {
        IpHeader {
            endpoints: Endpoints::Ipv6 {
                source: self.source,
                destination: self.destination,
            },
            ttl: self.hop_limit,
        }
    }
}
