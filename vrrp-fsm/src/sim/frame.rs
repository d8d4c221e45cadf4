//! Frames of messages.

use alloc::vec::Vec;
use core::net::IpAddr;

use vrrp_proto::{
    Vrid,
    frame::{ethernet, ipv4, ipv6, multicast_mac, virtual_mac},
};

use super::{Packet, addresses::physical_mac};
use crate::fleet::RouterKey;

impl Packet {
    /// Returns the virtual router of the packet, by the VRID in the message.
    #[must_use]
    pub fn key(&self) -> Option<RouterKey> {
        Some(RouterKey {
            interface: self.interface,
            family: self.ip.endpoints.family(),
            vrid: Vrid::new(*self.octets.get(1)?)?,
        })
    }

    /// Returns the Ethernet frame: from the virtual MAC (RFC 9568 section 7.3) to that of the
    /// group, or by unicast from host to host. Empty for an invalid VRID, which no router sends.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let Some(key) = self.key() else {
            return Vec::new();
        };
        let (source, destination) = (self.ip.endpoints.source(), self.ip.endpoints.destination());
        let (from, to) = if destination.is_multicast() {
            (
                virtual_mac(key.vrid, key.family),
                multicast_mac(destination),
            )
        } else {
            (physical_mac(source), physical_mac(destination))
        };
        let mut frame = Vec::new();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ethernet::header(to, from, ethernet::IPV4));
                let header = ipv4::Header::advertisement(source, destination);
                match (&self.ah, header.encode(self.octets.len())) {
                    (Some(headers), _) => frame.extend(headers),
                    (None, Ok(header)) => frame.extend(header),
                    // No message is that long.
                    (None, Err(_)) => return Vec::new(),
                }
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = ipv6::Header::advertisement(source, destination);
                let Ok(length) = u16::try_from(self.octets.len()) else {
                    return Vec::new();
                };
                frame.extend(ethernet::header(to, from, ethernet::IPV6));
                frame.extend(header.encode(length));
            }
            _ => return frame,
        }
        frame.extend(&self.octets);
        frame
    }
}
