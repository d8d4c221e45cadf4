//! A burst of gratuitous ARP or of unsolicited neighbour advertisements.

use alloc::vec::Vec;
use core::{fmt, net::IpAddr};

use vrrp_proto::frame::{
    arp::{self, GratuitousTarget},
    neighbor, virtual_mac,
};

use super::OnLan;
use crate::{
    Instant,
    fleet::{AddressList, RouterKey},
};

/// The frames that an Active sends on [`Action::Announce`](crate::Action::Announce): they show the
/// neighbours on its LAN where the virtual addresses are.
///
/// As text it is one line: `0 18 lan 1 IPv4 vrid 51 repeat 5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The sending host.
    pub from: u32,
    /// The number of the message among those of the sender, from 0. All its frames have the same
    /// number, and the same fate.
    pub number: u64,
    /// When it was sent.
    pub sent: Instant,
    /// The virtual router.
    pub key: RouterKey,
    /// The virtual addresses.
    pub addresses: AddressList,
    /// Messages for each address.
    pub repeat: u8,
}

impl Announcement {
    /// The Ethernet frames, from the virtual MAC (RFC 9568 section 7.3): a gratuitous ARP to all,
    /// or an unsolicited neighbour advertisement to all nodes, for each address, and the whole
    /// sequence `repeat` times.
    pub fn frames(&self) -> impl Iterator<Item = Vec<u8>> {
        let once: Vec<Vec<u8>> = self
            .addresses
            .as_addresses()
            .iter()
            .map(|address| self.frame(address))
            .collect();
        (0..self.repeat).flat_map(move |_| once.clone())
    }

    fn frame(&self, address: IpAddr) -> Vec<u8> {
        let mac = virtual_mac(self.key.vrid, self.key.family);
        match address {
            IpAddr::V4(address) => {
                arp::gratuitous(mac, address, GratuitousTarget::default()).to_vec()
            }
            IpAddr::V6(address) => neighbor::unsolicited(mac, address, address).to_vec(),
        }
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            number,
            key,
            repeat,
            ..
        } = self;
        write!(f, "{from} {number} {} repeat {repeat}", OnLan(*key))
    }
}
