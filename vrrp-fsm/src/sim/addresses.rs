//! The addresses of a simulated network.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{Family, frame::MacAddress};

use crate::fleet::{AddressList, Member, RouterKey};

/// The primary address of a host for a virtual router: 10.LAN.0.1 for host 0 and so on, and
/// fe80::LAN:1. Other hosts use it as their [unicast peer](vrrp_proto::Peer).
#[must_use]
pub fn primary_address(host: u32, key: RouterKey) -> IpAddr {
    let [.., high, low] = (host + 1).to_be_bytes();
    let [.., lan_high, lan] = key.interface.to_be_bytes();
    match key.family {
        Family::Ipv4 => Ipv4Addr::new(10, lan, high, low).into(),
        Family::Ipv6 => Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            0,
            0,
            u16::from_be_bytes([lan_high, lan]),
            u16::from_be_bytes([high, low]),
        )
        .into(),
    }
}

/// The hardware address of the host with this primary address.
pub(super) fn physical_mac(address: IpAddr) -> MacAddress {
    let [lan, high, low] = match address {
        IpAddr::V4(address) => {
            let [_, rest @ ..] = address.octets();
            rest
        }
        IpAddr::V6(address) => {
            let [.., lan, high, low] = address.octets();
            [lan, high, low]
        }
    };
    MacAddress([0x02, 0, 0, lan, high, low])
}

/// The virtual addresses of a virtual router: the configured ones, or one derived from its key.
pub(super) fn virtual_addresses(member: &Member) -> AddressList {
    if let Some(configured) = &member.addresses {
        return configured.clone();
    }
    let key = member.key();
    let [.., high, low] = key.interface.to_be_bytes();
    let lan = u16::from_be_bytes([high, low]);
    let vrid = key.vrid.get();
    match key.family {
        Family::Ipv4 => AddressList::Ipv4(Vec::from([Ipv4Addr::new(10, low, 255, vrid)])),
        Family::Ipv6 => {
            let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 1, lan, vrid.into());
            AddressList::Ipv6(Vec::from([address]))
        }
    }
}
