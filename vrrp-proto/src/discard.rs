//! The reasons why a packet is discarded, and the counters of the MIB and the YANG model.

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::{AuthenticationMethod, ClockSkew, Interval, TRAILER_LEN, Version, Vrid};

/// The reason why a packet was discarded.
///
/// There is one variant for each counter of RFC 6527 and RFC 8347, and one for each cause that has
/// no counter. [`Advertisement::decode`](crate::Advertisement::decode) and
/// [`LocalRouter::check`](crate::LocalRouter::check) both return it. The order of their checks is
/// fixed: a packet with several faults always increments the same counter (P-57).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Discard {
    /// The TTL or hop limit shows that the packet was forwarded (P-06, P-07), or is below the
    /// minimum of a unicast peer.
    IpTtl {
        /// The TTL or hop limit of the packet.
        found: u8,
        /// The lowest allowed: 255 for multicast.
        required: u8,
    },
    /// The TTL or hop limit is above the maximum of a unicast peer.
    IpTtlTooHigh {
        /// The TTL or hop limit of the packet.
        found: u8,
        /// The highest allowed.
        allowed: u8,
    },
    /// The length of the message differs from the one in its header (P-36, P-37), or the header has
    /// an address count of 0 (P-23).
    PacketLength(LengthFault),
    /// The version is unknown, not allowed in this family, or not configured (P-11, P-54, AMB-27).
    Version(VersionFault),
    /// The type is not 1, ADVERTISEMENT (P-13).
    InvalidType {
        /// The type, 0 to 15.
        found: u8,
    },
    /// The checksum is wrong (P-35).
    Checksum(ChecksumFault),
    /// The VRID is 0 or not configured (P-16, P-42).
    Vrid(VridFault),
    /// The authentication failed (P-46 to P-50).
    Authentication(AuthenticationFault),
    /// The interval is 0 (P-27) or, in version 2, not the local one (P-29).
    Interval(IntervalFault),
    /// The address list breaks a rule (P-39), or, in version 2, differs from the local one (P-44).
    AddressList(AddressListFault),
    /// The local router owns the addresses, and its profile discards all advertisements (P-43).
    Owner,
    /// The source is the local primary address: our own packet came back, or the address is in use
    /// twice (AMB-14).
    OwnPacket {
        /// The source of the packet.
        source_address: IpAddr,
    },
    /// The source cannot be the address of a router: it is unspecified, loopback, multicast or
    /// broadcast.
    Source {
        /// The source of the packet.
        found: IpAddr,
    },
    /// The destination does not match the configured transport (P-02, P-03).
    Destination {
        /// The destination of the packet.
        found: IpAddr,
    },
    /// The source is not a configured unicast peer.
    Peer {
        /// The source of the packet.
        found: IpAddr,
    },
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpTtl { found, required } => write!(f, "TTL {found} is not in {required}..=255"),
            Self::IpTtlTooHigh { found, allowed } => {
                write!(f, "TTL {found} is not in 0..={allowed}")
            }
            Self::PacketLength(fault) => fault.fmt(f),
            Self::Version(fault) => fault.fmt(f),
            Self::InvalidType { found } => write!(f, "type {found} is not 1 (ADVERTISEMENT)"),
            Self::Checksum(fault) => fault.fmt(f),
            Self::Vrid(fault) => fault.fmt(f),
            Self::Authentication(fault) => fault.fmt(f),
            Self::Interval(fault) => fault.fmt(f),
            Self::AddressList(fault) => fault.fmt(f),
            Self::Owner => f.write_str(
                "the local router owns the addresses and its profile discards every advertisement",
            ),
            Self::OwnPacket { source_address } => {
                write!(f, "source {source_address} is the local primary address")
            }
            Self::Source { found } => write!(f, "source {found} cannot be the address of a router"),
            Self::Destination { found } => write!(
                f,
                "destination {found} does not match the configured transport"
            ),
            Self::Peer { found } => write!(f, "source {found} is not a configured peer"),
        }
    }
}

impl core::error::Error for Discard {}

impl Discard {
    /// Returns the standard counter for this reason, if there is one.
    #[must_use]
    pub const fn counter(&self) -> Option<Counter> {
        match self {
            Self::IpTtl { .. } | Self::IpTtlTooHigh { .. } => Some(Counter::IpTtl),
            Self::PacketLength(_) => Some(Counter::PacketLength),
            Self::Version(_) => Some(Counter::Version),
            Self::InvalidType { .. } => Some(Counter::InvalidType),
            Self::Checksum(_) => Some(Counter::Checksum),
            Self::Vrid(_) => Some(Counter::Vrid),
            Self::Authentication(_) => Some(Counter::Authentication),
            Self::Interval(_) => Some(Counter::Interval),
            Self::AddressList(_) => Some(Counter::AddressList),
            Self::Owner
            | Self::OwnPacket { .. }
            | Self::Source { .. }
            | Self::Destination { .. }
            | Self::Peer { .. } => None,
        }
    }
}

/// A counter of discarded packets, named as in RFC 8347 (O-16, O-17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Counter {
    /// `checksum-errors`, one for all virtual routers.
    Checksum,
    /// `version-errors`, one for all virtual routers.
    Version,
    /// `vrid-errors`, one for all virtual routers.
    Vrid,
    /// `ip-ttl-errors`, one for all virtual routers.
    IpTtl,
    /// `interval-errors`, of one virtual router.
    Interval,
    /// `invalid-type-pkts-rcvd`, of one virtual router.
    InvalidType,
    /// `address-list-errors`, of one virtual router.
    AddressList,
    /// `packet-length-errors`, of one virtual router.
    PacketLength,
    /// `authentication-errors`: not in RFC 8347, which has no authentication. RFC 2787 counts it as
    /// `vrrpStatsAuthFailures`, `vrrpStatsInvalidAuthType` and `vrrpStatsAuthTypeMismatch`.
    Authentication,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 9] = [
        Self::Checksum,
        Self::Version,
        Self::Vrid,
        Self::IpTtl,
        Self::Interval,
        Self::InvalidType,
        Self::AddressList,
        Self::PacketLength,
        Self::Authentication,
    ];

    /// Returns the name of the leaf in the YANG model of RFC 8347.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checksum => "checksum-errors",
            Self::Version => "version-errors",
            Self::Vrid => "vrid-errors",
            Self::IpTtl => "ip-ttl-errors",
            Self::Interval => "interval-errors",
            Self::InvalidType => "invalid-type-pkts-rcvd",
            Self::AddressList => "address-list-errors",
            Self::PacketLength => "packet-length-errors",
            Self::Authentication => "authentication-errors",
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fault in the length of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LengthFault {
    /// The message is shorter than a header.
    TooShort {
        /// Octets in the message.
        found: usize,
    },
    /// The header has an address count of 0 (P-23; erratum 8299).
    NoAddresses,
    /// The header gives another length: 16 + 4n in version 2, 8 + 4n and 8 + 16n in version 3
    /// (P-37).
    Differs {
        /// Octets that the header gives.
        expected: usize,
        /// Octets in the message.
        found: usize,
    },
    /// The message is followed by 28 octets in the form of an HMAC trailer, and the receiver
    /// expects none: the sender authenticates, the receiver does not.
    HmacTrailer {
        /// Octets of the message alone.
        expected: usize,
    },
}

impl fmt::Display for LengthFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { found } => write!(
                f,
                "message length {found} is shorter than the 8 octets of a header"
            ),
            Self::NoAddresses => f.write_str("address count 0 is not in 1..=255"),
            Self::Differs { expected, found } => write!(
                f,
                "message length {found} differs from the {expected} octets in its header"
            ),
            Self::HmacTrailer { expected } => write!(
                f,
                "{TRAILER_LEN} octets in the form of an HMAC trailer follow the message of \
                 {expected} octets, and HMAC is not configured here: configure the sender's keys, \
                 or remove them there"
            ),
        }
    }
}

impl core::error::Error for LengthFault {}

/// A fault in the version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum VersionFault {
    /// The version does not exist.
    Unknown {
        /// The version, 0 to 15.
        found: u8,
    },
    /// Version 2 inside IPv6 (P-54).
    V2OverIpv6,
    /// The virtual router is not configured for this version (P-11, AMB-27).
    NotConfigured {
        /// The version of the message.
        found: Version,
    },
}

impl fmt::Display for VersionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { found } => write!(f, "version {found} is not 2 or 3"),
            Self::V2OverIpv6 => f.write_str("version 2 does not exist over IPv6"),
            Self::NotConfigured { found } => {
                write!(f, "{found} is not configured for this virtual router")
            }
        }
    }
}

impl core::error::Error for VersionFault {}

/// A fault in the VRID of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum VridFault {
    /// The VRID is 0 (P-16, AMB-32).
    Zero,
    /// No such virtual router is configured on the interface in this family (P-42).
    NotConfigured {
        /// The VRID of the message.
        found: Vrid,
    },
}

impl fmt::Display for VridFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("VRID 0 is not in 1..=255"),
            Self::NotConfigured { found } => write!(f, "VRID {found} is not configured here"),
        }
    }
}

impl core::error::Error for VridFault {}

/// A fault in the interval of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum IntervalFault {
    /// The interval is 0, with which every Backup would time out at once (P-27, erratum 8301;
    /// AMB-09 for version 2).
    Zero {
        /// The version of the message, which gives the unit and the range: 1 to 255 seconds, or 1
        /// to 4095 centiseconds.
        version: Version,
    },
    /// A version 2 interval that is not the local one (P-29).
    Differs {
        /// The interval of the message.
        found: Interval,
        /// The local interval, as a version 2 message carries it.
        configured: Interval,
    },
}

impl fmt::Display for IntervalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { version } => write!(
                f,
                "{version} interval 0 is not in 1..={}",
                version.highest_interval()
            ),
            Self::Differs { found, configured } => {
                write!(f, "interval {found} is not the configured {configured}")
            }
        }
    }
}

impl core::error::Error for IntervalFault {}

/// A fault in the address list of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AddressListFault {
    /// The first IPv6 address is not link-local (P-39, erratum 8300).
    FirstNotLinkLocal {
        /// The first address.
        found: Ipv6Addr,
    },
    /// A version 2 list that is not the local one, from a sender that does not own the addresses
    /// (P-44).
    Differs {
        /// Addresses in the message.
        found: usize,
        /// Addresses configured.
        configured: usize,
    },
}

impl fmt::Display for AddressListFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstNotLinkLocal { found } => {
                write!(f, "first address {found} is not in fe80::/10")
            }
            Self::Differs { found, configured } => write!(
                f,
                "the message has {found} addresses that differ from the {configured} configured ones"
            ),
        }
    }
}

impl core::error::Error for AddressListFault {}

/// A fault in the authentication of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AuthenticationFault {
    /// Another method than the configured one (P-46).
    Method {
        /// The method of the message.
        found: AuthenticationMethod,
        /// The configured method.
        required: AuthenticationMethod,
    },
    /// The password is wrong (P-48).
    Password,
    /// The method is the configured one, but it was not verified: the packet was not inside AH, or
    /// the host did not verify the trailer.
    Unverified {
        /// The method that the message claims.
        method: AuthenticationMethod,
    },
    /// Two methods in one packet, such as a password inside AH.
    Combined,
    /// The packet is shorter than an AH header.
    TooShort {
        /// Octets in the packet.
        found: usize,
        /// Octets of an AH header.
        needed: usize,
    },
    /// A field of the AH header or of the trailer differs from its only allowed value.
    Malformed {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
        /// The only value allowed.
        required: u32,
    },
    /// The digest does not match the message and the key.
    Digest,
    /// The key id of the trailer is not configured.
    UnknownKey {
        /// The key id.
        id: u8,
    },
    /// The time in the trailer is outside the window: the clocks of sender and receiver differ, or
    /// the packet is old.
    Stale {
        /// The distance from the local clock, with its direction.
        skew: ClockSkew,
        /// The window to either side, in seconds.
        window: u16,
    },
    /// The packet, or a later one of the same sender, was accepted before.
    Replay {
        /// The sequence number of the packet.
        found: u64,
        /// The highest that was accepted.
        last: u64,
    },
}

impl fmt::Display for AuthenticationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method { found, required } => write!(
                f,
                "authentication is {found}, not the configured {required}"
            ),
            Self::Password => f.write_str("the password differs"),
            Self::Unverified { method } => write!(f, "{method} was not verified"),
            Self::Combined => f.write_str("the packet combines two methods of authentication"),
            Self::TooShort { found, needed } => write!(
                f,
                "{found} octets are fewer than the {needed} of an AH header"
            ),
            Self::Malformed {
                field,
                found,
                required,
            } => write!(f, "{field} {found} is not {required}"),
            Self::Digest => f.write_str("the digest differs"),
            Self::UnknownKey { id } => write!(f, "key id {id} is not configured"),
            Self::Stale { skew, window } => write!(
                f,
                "the sender's clock is {skew}, outside the window of {window} s: \
                 synchronise both clocks"
            ),
            Self::Replay { found, last } => {
                write!(f, "sequence number {found} does not come after {last}")
            }
        }
    }
}

impl core::error::Error for AuthenticationFault {}

/// The checksum of a message matches no accepted form. The fault contains the correct values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChecksumFault {
    /// The checksum in the message.
    pub found: u16,
    /// The right checksum of the message alone, where that form is accepted.
    pub message_only: Option<u16>,
    /// The right checksum of pseudo-header and message, where that form is accepted.
    pub pseudo_header: Option<u16>,
}

impl fmt::Display for ChecksumFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checksum {:#06x} is not", self.found)?;
        if let Some(right) = self.message_only {
            write!(f, " {right:#06x} (message only)")?;
        }
        if self.message_only.is_some() && self.pseudo_header.is_some() {
            f.write_str(" or")?;
        }
        if let Some(right) = self.pseudo_header {
            write!(f, " {right:#06x} (with pseudo-header)")?;
        }
        Ok(())
    }
}

impl core::error::Error for ChecksumFault {}
