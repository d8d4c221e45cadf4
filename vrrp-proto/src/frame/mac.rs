//! Link-layer addresses that follow from the protocol.

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::{Family, Vrid};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The zero address, which stands for no address.
    pub const ZERO: Self = Self([0; 6]);

    /// Returns the VRID and the family if this is a virtual MAC (RFC 9568 section 7.3).
    #[must_use]
    pub const fn virtual_router(self) -> Option<(Vrid, Family)> {
        let (vrid, family) = match self.0 {
            [0x00, 0x00, 0x5e, 0x00, 0x01, vrid] => (vrid, Family::Ipv4),
            [0x00, 0x00, 0x5e, 0x00, 0x02, vrid] => (vrid, Family::Ipv6),
            _ => return None,
        };
        match Vrid::new(vrid) {
            Some(vrid) => Some((vrid, family)),
            None => None,
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for octet in self.0 {
            write!(f, "{separator}{octet:02x}")?;
            separator = ":";
        }
        Ok(())
    }
}

impl From<[u8; 6]> for MacAddress {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

/// Returns the virtual MAC of a virtual router: 00-00-5E-00-01-VRID for IPv4, 00-00-5E-00-02-VRID
/// for IPv6 (RFC 9568 section 7.3).
#[must_use]
pub const fn virtual_mac(vrid: Vrid, family: Family) -> MacAddress {
    let family = match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 2,
    };
    MacAddress([0x00, 0x00, 0x5e, 0x00, family, vrid.get()])
}

/// Returns the Ethernet address of a multicast group: 01-00-5E and the low 23 bits (RFC 1112
/// section 6.4), or 33-33 and the low 32 bits (RFC 2464 section 7).
#[must_use]
pub const fn multicast_mac(group: IpAddr) -> MacAddress {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddress([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddress([0x33, 0x33, a, b, c, d])
        }
    }
}

/// Returns the solicited-node group of an address: ff02::1:ff00:0/104 and its low 24 bits (RFC 4291
/// section 2.7.1).
///
/// Two addresses with the same low 24 bits share a group: join it once, leave it with the last of
/// them.
#[must_use]
pub const fn solicited_node_group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0x00ff), low)
}
