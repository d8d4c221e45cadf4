//! Addresses that a routing daemon announces: each is on its interface while its service has its
//! quorum.

use std::collections::BTreeSet;

use ipvs_netlink::{ServiceKey, pool::Level};
use serde::Deserialize;
use serde_with::{As, DisplayFromStr};
use vrrp_net::{AddressChange, Error, Netlink, Outcome, VirtualAddress};

use crate::balancer::Balancer;

/// An address of a service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// The service whose quorum decides.
    #[serde(with = "As::<DisplayFromStr>")]
    pub service: ServiceKey,
    /// The name of the interface, which must exist and be up; a dummy interface is best.
    pub interface: String,
    /// The address.
    #[serde(with = "As::<DisplayFromStr>")]
    pub address: VirtualAddress,
}

/// Adds addresses to their interfaces, and removes them.
#[derive(Debug)]
pub struct Announcer {
    netlink: Netlink,
    all: Vec<Announce>,
    /// The indexes in `all` of the addresses that are on their interfaces.
    placed: BTreeSet<usize>,
}

impl Announcer {
    /// Begins with the addresses as they are, all of which may be on their interfaces.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system has no more sockets.
    pub fn new(all: Vec<Announce>) -> Result<Self, Error> {
        let netlink = Netlink::open()?;
        let placed = (0..all.len()).collect();
        Ok(Self {
            netlink,
            all,
            placed,
        })
    }

    /// Brings the addresses in line with the quorums. Returns a line for each change and refusal.
    /// While a quorum is unknown, its address stays as it is.
    pub fn update(&mut self, balancer: &Balancer) -> Vec<String> {
        let level = |announce: &Announce| balancer.pool().quorum(&announce.service);
        let mut lines = Vec::new();
        for place in 0..self.all.len() {
            let is_wanted = match self.all.get(place).and_then(level) {
                Some(Level::Up) => true,
                Some(Level::Down) | None => false,
                Some(Level::Unknown) => continue,
            };
            lines.extend(self.set(place, is_wanted));
        }
        lines
    }

    /// Removes all addresses.
    pub fn withdraw(&mut self) -> Vec<String> {
        let places = 0..self.all.len();
        places.filter_map(|place| self.set(place, false)).collect()
    }

    fn set(&mut self, place: usize, is_wanted: bool) -> Option<String> {
        let announce = self.all.get(place)?;
        let link = self.netlink.link(&announce.interface);
        let (address, name) = (&announce.address, &announce.interface);
        let Some(interface) = link.ok().flatten().map(|link| link.index) else {
            let before = self.placed.remove(&place);
            return before.then(|| format!("{address}: there is no interface {name}"));
        };
        let change = if is_wanted {
            AddressChange::Add { interface, address }
        } else {
            AddressChange::Remove { interface, address }
        };
        let before = self.placed.contains(&place);
        let outcomes = self.netlink.apply(&[change]).unwrap_or_default();
        let verb = if is_wanted {
            "added to"
        } else {
            "removed from"
        };
        match outcomes.into_iter().next() {
            Some(Ok(outcome)) => {
                if is_wanted {
                    self.placed.insert(place);
                } else {
                    self.placed.remove(&place);
                }
                let is_new = before != is_wanted || outcome == Outcome::Changed;
                is_new.then(|| format!("address {address} {verb} {name}"))
            }
            Some(Err(error)) => Some(format!("address {address} not {verb} {name}: {error}")),
            None => None,
        }
    }
}
