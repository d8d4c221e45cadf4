//! Version of VRRP and address family.

use core::fmt;

/// Version of the protocol: the high nibble of the first octet of every message.
///
/// Version 2 (RFC 3768, and RFC 2338 before it) exists over IPv4 only; version 3 (RFC 9568, and RFC
/// 5798 before it) over IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Version {
    /// Version 2: intervals in whole seconds, eight octets of authentication data.
    V2,
    /// Version 3: intervals in centiseconds, no authentication.
    V3,
}

impl Version {
    /// Returns the number on the wire, 2 or 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// Returns the longest interval: 255 seconds in version 2, 4095 centiseconds in version 3.
    pub(crate) const fn highest_interval(self) -> u16 {
        match self {
            Self::V2 => 255,
            Self::V3 => 4095,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VRRPv{}", self.number())
    }
}

/// Address family of a virtual router, of its addresses and of its messages.
///
/// The same VRID in another family is another virtual router (RFC 9568 section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Returns the family of an address.
    #[must_use]
    pub const fn of(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(_) => Self::Ipv4,
            core::net::IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// Returns the octets of one address: 4 or 16.
    #[must_use]
    pub const fn address_len(self) -> usize {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}
