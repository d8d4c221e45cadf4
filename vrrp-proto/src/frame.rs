//! Frames and packets around VRRP, for hosts that send and receive whole frames: Ethernet, IPv4 and
//! IPv6 headers, ARP and Neighbor Discovery.
//!
//! The functions that build frames return arrays of fixed size. An Ethernet frame has at least 60
//! octets without its check sequence. The driver of the network card pads the 42 octets of an ARP
//! frame; a host without such a driver must pad them with zeros.
//!
//! The functions that parse frames check every length, read nothing twice, and return a
//! [`PacketError`] for a packet that breaks a rule.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use vrrp_proto::{Family, GROUP_IPV4, Vrid, frame};
//!
//! let vrid = Vrid::new(51).ok_or("VRID")?;
//! let source = frame::virtual_mac(vrid, Family::Ipv4);
//! assert_eq!(source.to_string(), "00:00:5e:00:01:33");
//!
//! // The frame of an advertisement is these two headers and the message.
//! let message = [0x31, 51, 100, 1, 0x00, 0x64, 0xa8, 0x65, 192, 0, 2, 1];
//! let sender = Ipv4Addr::new(192, 0, 2, 11);
//! let ip = frame::ipv4::Header::advertisement(sender, GROUP_IPV4).encode(12)?;
//! let group = frame::multicast_mac(GROUP_IPV4.into());
//! let ethernet = frame::ethernet::header(group, source, frame::ethernet::IPV4);
//! let frame = [&ethernet[..], &ip, &message].concat();
//! assert_eq!(frame.len(), 46);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arp;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
mod mac;
pub mod neighbor;

use core::fmt;

pub use mac::{MacAddress, multicast_mac, solicited_node_group, virtual_mac};

/// The reason why a packet or frame was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PacketError {
    /// The packet ends within a header, or before the length in its header.
    TooShort {
        /// Octets needed.
        needed: usize,
        /// Octets present.
        given: usize,
    },
    /// A field has a value that is not allowed.
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
        /// The lowest value allowed.
        lowest: u32,
        /// The highest value allowed.
        highest: u32,
    },
    /// The packet is a fragment. No packet around VRRP is long enough to be fragmented, so
    /// fragments are not reassembled.
    Fragment,
    /// A checksum is wrong.
    Checksum {
        /// The header or message that the checksum belongs to.
        field: &'static str,
        /// The checksum.
        found: u16,
    },
    /// A Neighbor Discovery address is not of the kind that RFC 4861 section 7.1 asks for.
    Address {
        /// The field.
        field: &'static str,
    },
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { needed, given } => {
                write!(f, "{given} octets given, {needed} needed")
            }
            Self::Field {
                field,
                found,
                lowest,
                highest,
            } => write!(f, "{field} {found} is not in {lowest}..={highest}"),
            Self::Fragment => f.write_str("the packet is a fragment"),
            Self::Checksum { field, found } => write!(f, "{field} checksum {found:#06x} is wrong"),
            Self::Address { field } => {
                write!(f, "{field} is not allowed here (RFC 4861 section 7.1)")
            }
        }
    }
}

impl core::error::Error for PacketError {}

impl PacketError {
    const fn field(field: &'static str, found: u32, lowest: u32, highest: u32) -> Self {
        Self::Field {
            field,
            found,
            lowest,
            highest,
        }
    }
}

/// Collects octets into an array. Missing octets at its end are zero.
pub(crate) fn collect<const N: usize>(octets: impl IntoIterator<Item = u8>) -> [u8; N] {
    let mut array = [0; N];
    for (target, octet) in array.iter_mut().zip(octets) {
        *target = octet;
    }
    array
}
