//! IPv4 headers (RFC 791).

use core::net::Ipv4Addr;

use super::{PacketError, collect};
use crate::{Endpoints, IP_PROTOCOL, IpHeader, OutOfRange, TTL, checksum::Sum};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;

/// Network control, the precedence that routing protocols send with.
const TOS: u8 = 0xc0;

const DONT_FRAGMENT: u8 = 0x40;

/// A header without options, of a packet that must not be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub source: Ipv4Addr,
    /// The destination: a host or a group.
    pub destination: Ipv4Addr,
    /// The protocol of the payload: [`IP_PROTOCOL`], or 51 for AH.
    pub protocol: u8,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification. 0 is right for a packet that is never fragmented (RFC 6864). A Linux raw
    /// socket may replace 0, which breaks the digest of AH.
    pub identification: u16,
}

impl Header {
    /// Returns the header of an advertisement: protocol 112 (P-01), TTL 255 (P-04), TOS 0xC0.
    ///
    /// The source must be the primary address of the interface (P-08).
    #[must_use]
    pub const fn advertisement(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            protocol: IP_PROTOCOL,
            tos: TOS,
            ttl: TTL,
            identification: 0,
        }
    }

    /// Encodes the header for a payload of this length.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the payload is longer than the 65 515 octets that an IPv4 packet can
    /// carry.
    pub fn encode(&self, payload_len: usize) -> Result<[u8; HEADER_LEN], OutOfRange> {
        const HIGHEST: u16 = u16::MAX - 20;
        let total_len = payload_len
            .checked_add(HEADER_LEN)
            .and_then(|length| u16::try_from(length).ok())
            .ok_or(OutOfRange {
                field: "IPv4 payload length",
                value: payload_len as u64,
                lowest: 0,
                highest: u64::from(HIGHEST),
            })?;
        let header = |checksum: u16| {
            collect(
                [0x45, self.tos]
                    .into_iter()
                    .chain(total_len.to_be_bytes())
                    .chain(self.identification.to_be_bytes())
                    .chain([DONT_FRAGMENT, 0, self.ttl, self.protocol])
                    .chain(checksum.to_be_bytes())
                    .chain(self.source.octets())
                    .chain(self.destination.octets()),
            )
        };
        Ok(header(Sum::of(&header(0)).checksum()))
    }
}

/// A packet that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The sender.
    pub source: Ipv4Addr,
    /// The destination: a host or a group.
    pub destination: Ipv4Addr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// The header with its options.
    pub header: &'a [u8],
    /// The payload, without options and padding (P-55).
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses a packet. Octets after its total length, such as the padding of a short Ethernet
    /// frame, are left out.
    ///
    /// # Errors
    ///
    /// [`PacketError`] for a packet that is not IPv4, is truncated, is a fragment, or has a wrong
    /// header checksum.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, PacketError> {
        let given = packet.len();
        let Some((
            &[
                first,
                _,
                len_high,
                len_low,
                _,
                _,
                fragment_high,
                fragment_low,
                ttl,
                protocol,
                checksum_high,
                checksum_low,
                s0,
                s1,
                s2,
                s3,
                d0,
                d1,
                d2,
                d3,
            ],
            _,
        )) = packet.split_first_chunk::<HEADER_LEN>()
        else {
            return Err(PacketError::TooShort {
                needed: HEADER_LEN,
                given,
            });
        };
        if first >> 4 != 4 {
            return Err(PacketError::field(
                "IP version",
                u32::from(first >> 4),
                4,
                4,
            ));
        }
        let header_len = usize::from(first & 0x0f).saturating_mul(4);
        if header_len < HEADER_LEN {
            return Err(PacketError::field(
                "IPv4 header length",
                u32::from(first & 0x0f),
                5,
                15,
            ));
        }
        let total_len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let Some(whole) = packet.get(..total_len) else {
            return Err(PacketError::TooShort {
                needed: total_len,
                given,
            });
        };
        let Some((header, payload)) = whole.split_at_checked(header_len) else {
            return Err(PacketError::TooShort {
                needed: header_len,
                given: total_len,
            });
        };
        if !Sum::of(header).is_whole() {
            return Err(PacketError::Checksum {
                field: "IPv4 header",
                found: u16::from_be_bytes([checksum_high, checksum_low]),
            });
        }
        // The flag "more fragments", or an offset.
        if fragment_high & 0x3f != 0 || fragment_low != 0 {
            return Err(PacketError::Fragment);
        }
        Ok(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            protocol,
            ttl,
            header,
            payload,
        })
    }

    /// Returns the part of the header that decoding the payload needs.
    #[must_use]
    pub const fn ip_header(&self) -> IpHeader {
        IpHeader {
            endpoints: Endpoints::Ipv4 {
                source: self.source,
                destination: self.destination,
            },
            ttl: self.ttl,
        }
    }
}
