//! Neighbor Solicitations and Advertisements (RFC 4861).

use core::net::{IpAddr, Ipv6Addr};

use super::{
    MacAddress, PacketError, collect, ethernet, ipv6, multicast_mac, solicited_node_group,
};
use crate::{Endpoints, checksum::Sum};

/// Next header of ICMPv6.
pub const NEXT_HEADER: u8 = 58;

/// Octets of an advertisement's frame.
pub const FRAME_LEN: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + MESSAGE_LEN;

/// Octets of an advertisement with its one option.
const MESSAGE_LEN: usize = 32;

const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A Neighbor Solicitation: a request for the holder of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// The requester; unspecified in duplicate address detection (RFC 4862).
    pub source: Ipv6Addr,
    /// The requested address, to be answered with [`solicited`] if it is one of ours.
    pub target: Ipv6Addr,
}

impl Solicitation {
    /// Parses a solicitation. Returns `None` for any other packet.
    ///
    /// # Errors
    ///
    /// [`PacketError`] for a solicitation that must be discarded by RFC 4861 section 7.1.1.
    pub fn parse(packet: &ipv6::Packet<'_>) -> Result<Option<Self>, PacketError> {
        let Some(Message {
            target, options, ..
        }) = message(packet, SOLICITATION)?
        else {
            return Ok(None);
        };
        if packet.source.is_unspecified() {
            if packet.destination != solicited_node_group(target) {
                return Err(PacketError::Address {
                    field: "destination of a solicitation from the unspecified address",
                });
            }
            if link_layer_option(options, SOURCE_LINK_LAYER_ADDRESS)?.is_some() {
                return Err(PacketError::Address {
                    field: "link-layer option of a solicitation from the unspecified address",
                });
            }
        } else {
            link_layer_option(options, SOURCE_LINK_LAYER_ADDRESS)?;
        }
        Ok(Some(Self {
            source: packet.source,
            target,
        }))
    }
}

/// A Neighbor Advertisement: the holder of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Advertisement {
    /// The address.
    pub target: Ipv6Addr,
    /// The hardware address of its holder, where the message names one.
    pub target_mac: Option<MacAddress>,
    /// Whether the holder is a router.
    pub router: bool,
    /// Whether it answers a solicitation.
    pub solicited: bool,
    /// Whether it overrides cache entries.
    pub overrides: bool,
}

impl Advertisement {
    /// Parses an advertisement. Returns `None` for any other packet.
    ///
    /// # Errors
    ///
    /// [`PacketError`] for an advertisement that must be discarded by RFC 4861 section 7.1.2.
    pub fn parse(packet: &ipv6::Packet<'_>) -> Result<Option<Self>, PacketError> {
        let Some(Message {
            flags,
            target,
            options,
        }) = message(packet, ADVERTISEMENT)?
        else {
            return Ok(None);
        };
        let solicited = flags & SOLICITED != 0;
        if solicited && packet.destination.is_multicast() {
            return Err(PacketError::Address {
                field: "multicast destination of a solicited advertisement",
            });
        }
        Ok(Some(Self {
            target,
            target_mac: link_layer_option(options, TARGET_LINK_LAYER_ADDRESS)?,
            router: flags & ROUTER != 0,
            solicited,
            overrides: flags & OVERRIDE != 0,
        }))
    }
}

/// The common parts of solicitations and advertisements.
struct Message<'a> {
    flags: u8,
    target: Ipv6Addr,
    options: &'a [u8],
}

/// Returns the message, if it is of this type.
fn message<'a>(
    packet: &ipv6::Packet<'a>,
    message_type: u8,
) -> Result<Option<Message<'a>>, PacketError> {
    if packet.next_header != NEXT_HEADER || packet.payload.first() != Some(&message_type) {
        return Ok(None);
    }
    let too_short = PacketError::TooShort {
        needed: 24,
        given: packet.payload.len(),
    };
    let (&[_, code, checksum_high, checksum_low, flags, _, _, _], rest) =
        packet.payload.split_first_chunk().ok_or(too_short)?;
    let (target, options) = rest.split_first_chunk::<16>().ok_or(too_short)?;
    if packet.hop_limit != HOP_LIMIT {
        return Err(PacketError::field(
            "hop limit",
            u32::from(packet.hop_limit),
            255,
            255,
        ));
    }
    let endpoints = Endpoints::Ipv6 {
        source: packet.source,
        destination: packet.destination,
    };
    if !Sum::of(packet.payload)
        .with_pseudo_header_for(&endpoints, NEXT_HEADER, packet.payload.len())
        .is_whole()
    {
        return Err(PacketError::Checksum {
            field: "ICMPv6",
            found: u16::from_be_bytes([checksum_high, checksum_low]),
        });
    }
    if code != 0 {
        return Err(PacketError::field("ICMPv6 code", u32::from(code), 0, 0));
    }
    let target = Ipv6Addr::from(*target);
    if target.is_multicast() {
        return Err(PacketError::Address {
            field: "multicast target",
        });
    }
    Ok(Some(Message {
        flags,
        target,
        options,
    }))
}

/// Returns the Ethernet address in the first option of this type, if there is one. All options are
/// parsed: one of length zero makes the packet invalid.
fn link_layer_option(
    mut options: &[u8],
    option_type: u8,
) -> Result<Option<MacAddress>, PacketError> {
    let mut found = None;
    while let [this_type, units, ..] = *options {
        if units == 0 {
            return Err(PacketError::field("option length", 0, 1, 255));
        }
        let needed = usize::from(units).saturating_mul(8);
        let Some((option, rest)) = options.split_at_checked(needed) else {
            return Err(PacketError::TooShort {
                needed,
                given: options.len(),
            });
        };
        if let [_, 1, mac @ ..] = option
            && this_type == option_type
            && found.is_none()
        {
            found = mac.first_chunk().copied().map(MacAddress);
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(PacketError::TooShort {
            needed: 2,
            given: 1,
        })
    }
}

/// Builds the frame of an unsolicited advertisement to all nodes that announces a virtual address
/// with the Router and Override flags and the virtual MAC.
///
/// `source` is an address of the interface: the virtual address itself, as in keepalived and FRR,
/// or the link-local one (AMB-17).
#[must_use]
pub fn unsolicited(mac: MacAddress, address: Ipv6Addr, source: Ipv6Addr) -> [u8; FRAME_LEN] {
    frame(
        multicast_mac(IpAddr::V6(ALL_NODES)),
        mac,
        ALL_NODES,
        source,
        ROUTER | OVERRIDE,
        address,
        mac,
    )
}

/// Builds the frame of a solicited advertisement: it has the virtual MAC and the Router,
/// Solicited and Override flags. If the requester has no address yet, it is sent to all nodes
/// without the Solicited flag (RFC 4861 section 7.2.4).
///
/// `solicitor` is the Ethernet source of the solicitation, `ethernet_source` the MAC address that
/// answers: the virtual or the physical one.
#[must_use]
pub fn solicited(
    solicitation: &Solicitation,
    solicitor: MacAddress,
    mac: MacAddress,
    ethernet_source: MacAddress,
) -> [u8; FRAME_LEN] {
    let target = solicitation.target;
    if solicitation.source.is_unspecified() {
        let all_nodes_mac = multicast_mac(IpAddr::V6(ALL_NODES));
        frame(
            all_nodes_mac,
            ethernet_source,
            ALL_NODES,
            target,
            ROUTER | OVERRIDE,
            target,
            mac,
        )
    } else {
        let flags = ROUTER | SOLICITED | OVERRIDE;
        frame(
            solicitor,
            ethernet_source,
            solicitation.source,
            target,
            flags,
            target,
            mac,
        )
    }
}

fn frame(
    ethernet_destination: MacAddress,
    ethernet_source: MacAddress,
    destination: Ipv6Addr,
    source: Ipv6Addr,
    flags: u8,
    target: Ipv6Addr,
    mac: MacAddress,
) -> [u8; FRAME_LEN] {
    let message = |checksum: u16| -> [u8; MESSAGE_LEN] {
        collect(
            [ADVERTISEMENT, 0]
                .into_iter()
                .chain(checksum.to_be_bytes())
                .chain([flags, 0, 0, 0])
                .chain(target.octets())
                .chain([TARGET_LINK_LAYER_ADDRESS, 1])
                .chain(mac.0),
        )
    };
    let checksum = Sum::of(&message(0))
        .with_pseudo_header_for(
            &Endpoints::Ipv6 {
                source,
                destination,
            },
            NEXT_HEADER,
            MESSAGE_LEN,
        )
        .checksum();
    #[allow(clippy::cast_possible_truncation)]
    let ip = ipv6::Header {
        source,
        destination,
        next_header: NEXT_HEADER,
        traffic_class: 0,
        hop_limit: HOP_LIMIT,
    }
    .encode(MESSAGE_LEN as u16);
    collect(
        ethernet::header(ethernet_destination, ethernet_source, ethernet::IPV6)
            .into_iter()
            .chain(ip)
            .chain(message(checksum)),
    )
}
