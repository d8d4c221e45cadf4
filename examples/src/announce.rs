//! Addresses that a routing daemon announces: each is on its interface while its services have
//! their quorums.

use std::collections::{HashMap, HashSet};

use ipvs_netlink::{ServiceKey, pool::Level};
use serde::Deserialize;
use serde_with::{As, DisplayFromStr};
use vrrp_net::{AddressChange, Error, Netlink, Outcome, VirtualAddress};

use crate::balancer::Balancer;

/// An address of a service. An address of several services has an entry for each.
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

/// An address on an interface.
type Place = (String, VirtualAddress);

/// Adds addresses to their interfaces, and removes them.
#[derive(Debug)]
pub struct Announcer {
    netlink: Netlink,
    all: Vec<Announce>,
    /// The addresses that may be on their interfaces. Those that `all` no longer has are removed.
    placed: HashSet<Place>,
}

impl Announcer {
    /// Begins with the addresses as they are, all of which may be on their interfaces.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system has no more sockets.
    pub fn new(all: Vec<Announce>) -> Result<Self, Error> {
        let netlink = Netlink::open()?;
        let placed = all.iter().map(Announce::place).collect();
        Ok(Self {
            netlink,
            all,
            placed,
        })
    }

    /// Changes the addresses to these. Addresses that are not among them are removed, others stay
    /// as they are, and [`update`](Self::update) adds new ones. Returns a line for each change and
    /// refusal.
    pub fn reconfigure(&mut self, all: Vec<Announce>) -> Vec<String> {
        self.all = all;
        self.remove_others()
    }

    /// Brings the addresses in line with the quorums. Returns a line for each change and refusal.
    /// While a quorum is unknown, its address stays as it is.
    pub fn update(&mut self, balancer: &Balancer) -> Vec<String> {
        let mut lines = self.remove_others();
        let mut levels: HashMap<Place, Level> = HashMap::new();
        for announce in &self.all {
            let level = balancer.pool().quorum(&announce.service);
            let level = level.unwrap_or(Level::Down);
            let of_all = levels.entry(announce.place()).or_insert(level);
            *of_all = of_both(*of_all, level);
        }
        let places: Vec<_> = self.all.iter().map(Announce::place).collect();
        for place in places {
            // An address of several services has its turn once.
            let is_wanted = match levels.remove(&place) {
                Some(Level::Up) => true,
                Some(Level::Down) => false,
                Some(Level::Unknown) | None => continue,
            };
            lines.extend(self.set(place, is_wanted));
        }
        lines
    }

    /// Removes all addresses, for good. [`update`](Self::update) tries again where that fails.
    pub fn withdraw(&mut self) -> Vec<String> {
        self.reconfigure(Vec::new())
    }

    /// Removes the addresses that are no longer announced.
    fn remove_others(&mut self) -> Vec<String> {
        let announced: HashSet<_> = self.all.iter().map(Announce::place).collect();
        let others: Vec<_> = self.placed.difference(&announced).cloned().collect();
        let others = others.into_iter();
        let mut lines: Vec<_> = others.filter_map(|place| self.set(place, false)).collect();
        lines.sort();
        lines
    }

    fn set(&mut self, place: Place, is_wanted: bool) -> Option<String> {
        let (name, address) = &place;
        let link = self.netlink.link(name);
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
                let is_new = before != is_wanted || outcome == Outcome::Changed;
                let report = is_new.then(|| format!("address {address} {verb} {name}"));
                if is_wanted {
                    self.placed.insert(place);
                } else {
                    self.placed.remove(&place);
                }
                report
            }
            Some(Err(error)) => Some(format!("address {address} not {verb} {name}: {error}")),
            None => None,
        }
    }
}

impl Announce {
    fn place(&self) -> Place {
        (self.interface.clone(), self.address.clone())
    }
}

/// The level of an address of two services, which attracts the clients of both.
const fn of_both(first: Level, second: Level) -> Level {
    match (first, second) {
        (Level::Down, _) | (_, Level::Down) => Level::Down,
        (Level::Unknown, _) | (_, Level::Unknown) => Level::Unknown,
        (Level::Up, Level::Up) => Level::Up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_two_services_needs_the_quorums_of_both() {
        use Level::{Down, Unknown, Up};
        for (first, second, expected) in [
            (Up, Up, Up),
            (Up, Down, Down),
            (Unknown, Down, Down),
            (Up, Unknown, Unknown),
        ] {
            assert_eq!(of_both(first, second), expected);
            assert_eq!(of_both(second, first), expected);
        }
    }
}
