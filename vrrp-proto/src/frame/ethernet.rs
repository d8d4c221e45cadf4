//! Ethernet II.

use super::{MacAddress, PacketError, collect};

/// Octets of a header without VLAN tags.
pub const HEADER_LEN: usize = 14;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;

/// EtherType of ARP.
pub const ARP: u16 = 0x0806;

/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// EtherTypes of VLAN tags: IEEE 802.1Q, and 802.1ad around it.
const VLAN_TAGS: [u16; 2] = [0x8100, 0x88a8];

/// The maximum number of skipped tags: a customer's tag inside a provider's tag.
const MAX_TAGS: usize = 2;

/// Builds the header of a frame without VLAN tags.
///
/// The source of a frame that carries an advertisement is the virtual MAC (M-03), its destination
/// the [`multicast_mac`](super::multicast_mac) of the group (M-04).
#[must_use]
pub fn header(destination: MacAddress, source: MacAddress, ethertype: u16) -> [u8; HEADER_LEN] {
    collect(
        destination
            .0
            .into_iter()
            .chain(source.0)
            .chain(ethertype.to_be_bytes()),
    )
}

/// A frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The destination: an interface or a group.
    pub destination: MacAddress,
    /// The source.
    pub source: MacAddress,
    /// The EtherType, that of the innermost header if there are VLAN tags.
    pub ethertype: u16,
    /// The payload after header and tags, with padding.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Parses a frame without its check sequence, with at most two VLAN tags.
    ///
    /// # Errors
    ///
    /// [`PacketError::TooShort`] when it ends within the header or a tag.
    pub fn parse(frame: &'a [u8]) -> Result<Self, PacketError> {
        let given = frame.len();
        let too_short = |needed| PacketError::TooShort { needed, given };
        let (destination, rest) = frame.split_first_chunk().ok_or(too_short(HEADER_LEN))?;
        let (source, rest) = rest.split_first_chunk().ok_or(too_short(HEADER_LEN))?;
        let (ethertype, mut payload) = rest.split_first_chunk().ok_or(too_short(HEADER_LEN))?;
        let mut ethertype = u16::from_be_bytes(*ethertype);
        for _ in 0..MAX_TAGS {
            if VLAN_TAGS.contains(&ethertype) {
                let Some((&[_, _, high, low], rest)) = payload.split_first_chunk() else {
                    return Err(too_short(
                        given.saturating_add(4).saturating_sub(payload.len()),
                    ));
                };
                ethertype = u16::from_be_bytes([high, low]);
                payload = rest;
            }
        }
        Ok(Self {
            destination: MacAddress(*destination),
            source: MacAddress(*source),
            ethertype,
            payload,
        })
    }
}
