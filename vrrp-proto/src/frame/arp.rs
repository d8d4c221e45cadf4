//! ARP over Ethernet for IPv4 (RFC 826).

use core::net::Ipv4Addr;

use super::{MacAddress, PacketError, collect, ethernet};

/// Octets of a packet.
pub const PACKET_LEN: usize = 28;

/// Octets of a frame with its Ethernet header, before padding.
pub const FRAME_LEN: usize = ethernet::HEADER_LEN + PACKET_LEN;

/// The beginning of every packet: Ethernet, IPv4, and the lengths of their addresses.
const PREFIX: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];

/// The operation of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// 1: who has the target address?
    Request,
    /// 2: the sender has the sender address.
    Reply,
    /// Another operation.
    Other(u16),
}

impl Operation {
    const fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Other(number) => number,
        }
    }
}

/// The target hardware address of a gratuitous ARP, which receivers ignore (AMB-16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum GratuitousTarget {
    /// The virtual MAC: RFC 9568 section 6.4.
    #[default]
    VirtualMac,
    /// The broadcast address, as keepalived, FRR and VPP send it.
    Broadcast,
    /// Zero, as in the announcement of RFC 5227 section 3.
    Zero,
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its operation.
    pub operation: Operation,
    /// The sender's hardware address.
    pub sender_mac: MacAddress,
    /// The sender's address; unspecified in a probe (RFC 5227 section 1.1).
    pub sender_address: Ipv4Addr,
    /// The target's hardware address, unknown in a request.
    pub target_mac: MacAddress,
    /// The target's address.
    pub target_address: Ipv4Addr,
}

impl Packet {
    /// Parses the payload of an Ethernet frame. Padding is left out.
    ///
    /// # Errors
    ///
    /// [`PacketError`] for a packet that is too short, or is not for Ethernet and IPv4.
    pub fn parse(packet: &[u8]) -> Result<Self, PacketError> {
        let too_short = PacketError::TooShort {
            needed: PACKET_LEN,
            given: packet.len(),
        };
        let (prefix, rest) = packet.split_first_chunk().ok_or(too_short)?;
        let (operation, rest) = rest.split_first_chunk().ok_or(too_short)?;
        let (sender_mac, rest) = rest.split_first_chunk().ok_or(too_short)?;
        let (sender_address, rest) = rest.split_first_chunk::<4>().ok_or(too_short)?;
        let (target_mac, rest) = rest.split_first_chunk().ok_or(too_short)?;
        let (target_address, _) = rest.split_first_chunk::<4>().ok_or(too_short)?;
        let [
            hardware_high,
            hardware_low,
            protocol_high,
            protocol_low,
            hardware_len,
            protocol_len,
        ] = *prefix;
        let hardware = u16::from_be_bytes([hardware_high, hardware_low]);
        let protocol = u16::from_be_bytes([protocol_high, protocol_low]);
        for (field, found, required) in [
            ("ARP hardware type", hardware, 1),
            ("ARP protocol type", protocol, ethernet::IPV4),
            ("ARP hardware address length", u16::from(hardware_len), 6),
            ("ARP protocol address length", u16::from(protocol_len), 4),
        ] {
            if found != required {
                return Err(PacketError::field(
                    field,
                    u32::from(found),
                    u32::from(required),
                    u32::from(required),
                ));
            }
        }
        Ok(Self {
            operation: match u16::from_be_bytes(*operation) {
                1 => Operation::Request,
                2 => Operation::Reply,
                other => Operation::Other(other),
            },
            sender_mac: MacAddress(*sender_mac),
            sender_address: Ipv4Addr::from(*sender_address),
            target_mac: MacAddress(*target_mac),
            target_address: Ipv4Addr::from(*target_address),
        })
    }

    /// Whether the packet announces the sender's own address.
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender_address == self.target_address
    }

    /// Returns the requested address, to be answered with [`reply`] if it is one of ours (A-04). A
    /// gratuitous request has none.
    #[must_use]
    pub fn asks_for(&self) -> Option<Ipv4Addr> {
        (self.operation == Operation::Request && !self.is_gratuitous())
            .then_some(self.target_address)
    }

    fn frame(&self, destination: MacAddress, source: MacAddress) -> [u8; FRAME_LEN] {
        collect(
            ethernet::header(destination, source, ethernet::ARP)
                .into_iter()
                .chain(PREFIX)
                .chain(self.operation.number().to_be_bytes())
                .chain(self.sender_mac.0)
                .chain(self.sender_address.octets())
                .chain(self.target_mac.0)
                .chain(self.target_address.octets()),
        )
    }
}

/// Builds the frame of a gratuitous ARP request that announces a virtual address (A-11, A-12). It
/// is broadcast from the virtual MAC: hosts learn the address, and bridges the port.
///
/// ```
/// use std::net::Ipv4Addr;
/// use vrrp_proto::{Family, Vrid, frame};
/// use frame::arp::{self, GratuitousTarget};
///
/// let mac = frame::virtual_mac(Vrid::new(51).ok_or("VRID")?, Family::Ipv4);
/// let frame = arp::gratuitous(mac, Ipv4Addr::new(192, 0, 2, 1), GratuitousTarget::default());
/// assert_eq!(frame.len(), 42);
/// # Ok::<(), &str>(())
/// ```
#[must_use]
pub fn gratuitous(mac: MacAddress, address: Ipv4Addr, target: GratuitousTarget) -> [u8; FRAME_LEN] {
    let target_mac = match target {
        GratuitousTarget::VirtualMac => mac,
        GratuitousTarget::Broadcast => MacAddress::BROADCAST,
        GratuitousTarget::Zero => MacAddress::ZERO,
    };
    Packet {
        operation: Operation::Request,
        sender_mac: mac,
        sender_address: address,
        target_mac,
        target_address: address,
    }
    .frame(MacAddress::BROADCAST, mac)
}

/// Builds the frame of an ARP reply (A-04): it has the virtual MAC (A-05), and is sent to the
/// requester.
///
/// `ethernet_source` is the MAC address that sends it: the physical MAC by the note of RFC 9568
/// section 8.1.2, the virtual one where a macvlan sends (A-06, AMB-19).
#[must_use]
pub fn reply(request: &Packet, mac: MacAddress, ethernet_source: MacAddress) -> [u8; FRAME_LEN] {
    Packet {
        operation: Operation::Reply,
        sender_mac: mac,
        sender_address: request.target_address,
        target_mac: request.sender_mac,
        target_address: request.sender_address,
    }
    .frame(request.sender_mac, ethernet_source)
}
