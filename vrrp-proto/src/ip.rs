//! The parts of an IP header that matter for a message: addresses and TTL.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Family;

/// IP protocol number (IPv4) and next header (IPv6) of VRRP (RFC 9568 sections 5.1.1.4 and
/// 5.1.2.4).
pub const IP_PROTOCOL: u8 = 112;

/// The TTL or hop limit with which every advertisement is sent and must arrive (RFC 9568 sections
/// 5.1.1.3 and 5.1.2.3).
pub const TTL: u8 = 255;

/// The multicast group of IPv4 advertisements (RFC 9568 section 5.1.1.2).
pub const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The multicast group of IPv6 advertisements (RFC 9568 section 5.1.2.2).
pub const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Returns the multicast group of a family.
#[must_use]
pub const fn group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(GROUP_IPV4),
        Family::Ipv6 => IpAddr::V6(GROUP_IPV6),
    }
}

/// Source and destination of a packet, both of one family.
///
/// The order is that of the families, then of the sources, then of the destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Endpoints {
    /// IPv4.
    Ipv4 {
        /// The sender's primary address (P-08).
        source: Ipv4Addr,
        /// [`GROUP_IPV4`], or a peer.
        destination: Ipv4Addr,
    },
    /// IPv6.
    Ipv6 {
        /// The sender's link-local address (P-09).
        source: Ipv6Addr,
        /// [`GROUP_IPV6`], or a peer.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// Makes endpoints of a source and a destination. Returns `None` if their families differ.
    #[must_use]
    pub const fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::Ipv4 {
                source,
                destination,
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::Ipv6 {
                source,
                destination,
            }),
            _ => None,
        }
    }

    /// Makes endpoints from a source to the VRRP group of its family.
    #[must_use]
    pub const fn multicast(source: IpAddr) -> Self {
        match source {
            IpAddr::V4(source) => Self::Ipv4 {
                source,
                destination: GROUP_IPV4,
            },
            IpAddr::V6(source) => Self::Ipv6 {
                source,
                destination: GROUP_IPV6,
            },
        }
    }

    /// Returns the family of both addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Ipv4 { .. } => Family::Ipv4,
            Self::Ipv6 { .. } => Family::Ipv6,
        }
    }

    /// Returns the source address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::Ipv4 { source, .. } => IpAddr::V4(source),
            Self::Ipv6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// Returns the destination address.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        match *self {
            Self::Ipv4 { destination, .. } => IpAddr::V4(destination),
            Self::Ipv6 { destination, .. } => IpAddr::V6(destination),
        }
    }
}

/// The parts of the IP header that the receiver of a message needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IpHeader {
    /// Source and destination.
    pub endpoints: Endpoints,
    /// The TTL (IPv4) or hop limit (IPv6) with which the packet arrived.
    pub ttl: u8,
}
