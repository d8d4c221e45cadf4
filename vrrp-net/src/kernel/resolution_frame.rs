//! A frame that resolves an address.

use vrrp_proto::frame::{arp, neighbor};

/// A frame of ARP or Neighbor Discovery.
pub(crate) enum ResolutionFrame {
    Arp([u8; arp::FRAME_LEN]),
    Neighbor([u8; neighbor::FRAME_LEN]),
}

impl ResolutionFrame {
    pub(crate) fn octets(&self) -> &[u8] {
        match self {
            Self::Arp(octets) => octets,
            Self::Neighbor(octets) => octets,
        }
    }
}
