//! The routers of each virtual address, and the addresses of each interface.

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use vrrp_fsm::fleet::RouterId;

/// The routers of each virtual address. Each family has a set of its own, because a pair with an
/// [`IpAddr`] takes more than twice the memory of one with an [`Ipv4Addr`].
#[derive(Debug, Default)]
pub(super) struct Holders {
    ipv4: BTreeSet<(Ipv4Addr, RouterId)>,
    ipv6: BTreeSet<(Ipv6Addr, RouterId)>,
}

impl Holders {
    pub(super) fn insert(&mut self, local: IpAddr, id: RouterId) {
        match local {
            IpAddr::V4(local) => self.ipv4.insert((local, id)),
            IpAddr::V6(local) => self.ipv6.insert((local, id)),
        };
    }

    pub(super) fn remove(&mut self, local: IpAddr, id: RouterId) {
        match local {
            IpAddr::V4(local) => self.ipv4.remove(&(local, id)),
            IpAddr::V6(local) => self.ipv6.remove(&(local, id)),
        };
    }

    /// Forgets a router.
    pub(super) fn forget(&mut self, id: RouterId) {
        self.ipv4.retain(|(_, of)| *of != id);
        self.ipv6.retain(|(_, of)| *of != id);
    }

    /// The routers that have this address.
    pub(super) fn of(&self, local: IpAddr) -> impl Iterator<Item = RouterId> {
        let (ipv4, ipv6) = match local {
            IpAddr::V4(local) => (Some(with(&self.ipv4, local)), None),
            IpAddr::V6(local) => (None, Some(with(&self.ipv6, local))),
        };
        let ipv4 = ipv4.into_iter().flatten();
        ipv4.chain(ipv6.into_iter().flatten())
    }

    /// The router of each address, in the order of the addresses.
    pub(super) fn all(&self) -> impl Iterator<Item = RouterId> {
        let ipv4 = self.ipv4.iter().map(|(_, id)| *id);
        ipv4.chain(self.ipv6.iter().map(|(_, id)| *id))
    }
}

fn with<A: Copy + Ord>(set: &BTreeSet<(A, RouterId)>, local: A) -> impl Iterator<Item = RouterId> {
    let from = set.range((local, RouterId::nth(0))..);
    from.take_while(move |(address, _)| *address == local)
        .map(|(_, id)| *id)
}

/// Pairs of an interface and an address on it, in a set for each family as in [`Holders`].
#[derive(Debug, Default)]
pub(super) struct Present {
    ipv4: HashSet<(u32, Ipv4Addr)>,
    ipv6: HashSet<(u32, Ipv6Addr)>,
}

impl Present {
    pub(super) fn insert(&mut self, interface: u32, local: IpAddr) {
        match local {
            IpAddr::V4(local) => self.ipv4.insert((interface, local)),
            IpAddr::V6(local) => self.ipv6.insert((interface, local)),
        };
    }

    pub(super) fn remove(&mut self, interface: u32, local: IpAddr) {
        match local {
            IpAddr::V4(local) => self.ipv4.remove(&(interface, local)),
            IpAddr::V6(local) => self.ipv6.remove(&(interface, local)),
        };
    }

    pub(super) fn contains(&self, interface: u32, local: IpAddr) -> bool {
        match local {
            IpAddr::V4(local) => self.ipv4.contains(&(interface, local)),
            IpAddr::V6(local) => self.ipv6.contains(&(interface, local)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.ipv4.clear();
        self.ipv6.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routers_of_an_address_are_found_in_either_family() {
        let mut holders = Holders::default();
        let [one, two] = [0, 1].map(RouterId::nth);
        let addresses = ["192.0.2.1", "2001:db8::1", "192.0.2.2"];
        let [v4, v6, other] = addresses.map(|it| it.parse().unwrap());
        for (address, id) in [(v4, one), (v4, two), (v6, two), (other, two)] {
            holders.insert(address, id);
        }
        assert!(holders.of(v4).eq([one, two]) && holders.of(v6).eq([two]));
        holders.remove(v4, one);
        assert!(holders.of(v4).eq([two]) && holders.all().eq([two, two, two]));
        holders.forget(two);
        assert_eq!(holders.all().next(), None);
    }
}
