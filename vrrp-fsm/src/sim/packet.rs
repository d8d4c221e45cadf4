//! Packets on a simulated LAN.

use alloc::vec::Vec;

use vrrp_proto::{IpHeader, ah};

use crate::Instant;

/// A VRRP message on a LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The sending host.
    pub from: u32,
    /// The number of the message among those of the sender, from 0.
    pub number: u64,
    /// When it was sent.
    pub sent: Instant,
    /// The LAN.
    pub interface: u32,
    /// The IP header.
    pub ip: IpHeader,
    /// The message, with its HMAC trailer where it has one.
    pub octets: Vec<u8>,
    /// The IPv4 header and the AH header before it, where it travels inside AH.
    pub ah: Option<[u8; ah::PREFIX_LEN]>,
}
