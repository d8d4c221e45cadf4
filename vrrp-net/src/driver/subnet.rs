//! Virtual addresses that are the primary ones of their subnets.
//!
//! The kernel removes the other addresses of a subnet along with its primary one, unless
//! `promote_secondaries` is set (`__inet_del_ifa` in net/ipv4/devinet.c). The setting is made for
//! the moment of the removal. Where that is not possible, the other addresses are added again at
//! once. The same holds where another instance runs: it may put the setting back to 0 between our
//! setting and our removal.

use std::collections::BTreeSet;

use vrrp_proto::Family;

use super::DriverEvent;
use crate::{
    ADDRESS_PROTOCOL, Error, InterfaceAddress, Netlink, Outcome, VirtualAddress,
    kernel::{netlink::RawAddress, sysctl::Sysctl},
    plan::{Actual, Change, Claim},
};

/// The other addresses of the subnets of virtual addresses, while a virtual address is removed.
#[derive(Debug, Default)]
pub(super) struct SparedSubnets {
    /// The interfaces whose setting was changed, by their names.
    promoting: Vec<String>,
    /// The addresses that must be there afterwards, with the names of their interfaces.
    kept: Vec<(String, RawAddress)>,
}

impl SparedSubnets {
    /// Prepares for the removals among these changes.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] where the kernel does not list its addresses.
    pub(super) fn prepare(
        netlink: &mut Netlink,
        actual: &Actual,
        changes: &[Change],
    ) -> Result<Self, Error> {
        let mut spared = Self::default();
        let removed: Vec<(u32, &InterfaceAddress)> = changes
            .iter()
            .filter(|change| change.spares_subnet())
            .filter_map(|change| match change {
                Change::RemoveAddress { interface, address } => Some((*interface, address)),
                _ => None,
            })
            .collect();
        let interfaces: BTreeSet<u32> = removed.iter().map(|(interface, _)| *interface).collect();
        // The interfaces on which the setting may not protect the other addresses.
        let mut unprotected = BTreeSet::new();
        for interface in interfaces {
            let Some(link) = actual.link(interface) else {
                continue;
            };
            match promote(netlink, &link.name) {
                Ok(Promotion::Everywhere) => {}
                Ok(promotion) => {
                    if promotion == Promotion::Begun {
                        spared.promoting.push(link.name.clone());
                    }
                    if actual.has_company() {
                        unprotected.insert(interface);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the kernel promotes no secondary address");
                    unprotected.insert(interface);
                }
            }
        }
        if unprotected.is_empty() {
            return Ok(spared);
        }
        let is_kept = |raw: &RawAddress| {
            let mut removed = removed
                .iter()
                .filter(|(interface, _)| *interface == raw.interface);
            unprotected.contains(&raw.interface)
                && removed
                    .clone()
                    .any(|(_, own)| raw.address.is_in_subnet_of(own))
                && removed.all(|(_, own)| !raw.address.is_same(own))
        };
        let all = match netlink.raw_addresses() {
            Ok(all) => all,
            Err(error) => {
                spared.restore(netlink);
                return Err(error);
            }
        };
        for raw in all {
            if let Some(link) = actual.link(raw.interface).filter(|_| is_kept(&raw))
                && !may_belong_to_another(&raw, actual)
            {
                spared.kept.push((link.name.clone(), raw));
            }
        }
        Ok(spared)
    }

    /// Puts the settings and the addresses back. Returns the events about addresses that had been
    /// removed.
    pub(super) fn restore(self, netlink: &mut Netlink) -> Vec<DriverEvent> {
        for name in &self.promoting {
            if let Err(error) = promotion(name).set(0) {
                tracing::warn!(%error, "promote_secondaries was not put back");
            }
        }
        let events = self.kept.into_iter().filter_map(|(interface, raw)| {
            let own = &raw.address;
            let address = VirtualAddress::new(own.address).with_prefix_len(own.prefix_len);
            let address = address.ok()?;
            match netlink.add_raw_address(&raw) {
                Ok(Outcome::AlreadySo) => None,
                Ok(Outcome::Changed) => {
                    Some(DriverEvent::HostAddressRestored { interface, address })
                }
                Err(error) => Some(DriverEvent::HostAddressLost {
                    interface,
                    address,
                    error,
                }),
            }
        });
        events.collect()
    }
}

/// Whether an address may be a virtual one of another instance. That instance may remove it just
/// now, and adds it again itself where it needs it.
fn may_belong_to_another(raw: &RawAddress, actual: &Actual) -> bool {
    let own = &raw.address;
    let claim = Claim::Address(raw.interface, own.address);
    actual.has_company() && (own.protocol == ADDRESS_PROTOCOL || actual.claims().include(&claim))
}

/// The reason why the kernel promotes a secondary address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promotion {
    /// By the setting of all interfaces, which no instance changes.
    Everywhere,
    /// By the setting of the interface, which was made before.
    There,
    /// By the setting of the interface, which was made just now.
    Begun,
}

/// Makes the kernel promote a secondary address of an interface in place of the primary one of its
/// subnet.
fn promote(netlink: &Netlink, name: &str) -> Result<Promotion, Error> {
    netlink.check_namespace(|| format!("set promote_secondaries of {name}"))?;
    let is_set = |name| promotion(name).get().is_ok_and(|value| value != 0);
    if is_set("all") {
        return Ok(Promotion::Everywhere);
    }
    if is_set(name) {
        return Ok(Promotion::There);
    }
    promotion(name).set(1).map(|_| Promotion::Begun)
}

const fn promotion(interface: &str) -> Sysctl<'_> {
    Sysctl {
        family: Family::Ipv4,
        interface,
        key: "promote_secondaries",
    }
}

#[cfg(test)]
mod tests {
    use vrrp_lab::Namespace;

    use super::*;
    use crate::AddressChange;

    const VIRTUAL: &str = "198.51.100.7/24";
    const OWN: &str = "198.51.100.1/24";
    const OF_ANOTHER: &str = "198.51.100.8/24";

    /// The addresses of `lo` in the subnet after the first one was removed. Another instance sets
    /// `promote_secondaries` to `before` before that, and to 0 in the middle of it, and removes its
    /// own address.
    fn left(before: i32) -> (Vec<String>, i32) {
        let namespace = Namespace::new().unwrap();
        namespace.run(|| {
            let mut netlink = Netlink::open().unwrap();
            let lo = netlink.link("lo").unwrap().unwrap().index;
            let parse = |text: &str| -> VirtualAddress { text.parse().unwrap() };
            let [address, own, of_another] = [VIRTUAL, OWN, OF_ANOTHER].map(parse);
            let add = |address| AddressChange::Add {
                interface: lo,
                address,
            };
            for result in netlink.apply(&[add(&address), add(&of_another)]).unwrap() {
                assert_eq!(result.unwrap(), Outcome::Changed);
            }
            let add_own = ["address", "add", OWN, "dev", "lo"];
            let added = namespace.command("ip").args(add_own).status().unwrap();
            assert!(added.success());
            promotion("lo").set(before).unwrap();
            let mut actual = Actual::new(netlink.interfaces().unwrap(), true);
            actual.set_company(true);
            let removed = actual.addresses(lo, address.address()).next().unwrap();
            let changes = [Change::remove_address(lo, removed)];
            let spared = SparedSubnets::prepare(&mut netlink, &actual, &changes).unwrap();
            promotion("lo").set(0).unwrap();
            let remove = |address| AddressChange::Remove {
                interface: lo,
                address,
            };
            let gone = [remove(&of_another), remove(&address)];
            for result in netlink.apply(&gone).unwrap() {
                result.unwrap();
            }
            let events = spared.restore(&mut netlink);
            let restored = |event: &DriverEvent| {
                matches!(event, DriverEvent::HostAddressRestored { address, .. } if *address == own)
            };
            assert!(events.len() == 1 && events.iter().all(restored), "{events:?}");
            let interfaces = netlink.interfaces().unwrap();
            let lo = interfaces.named("lo").unwrap();
            let there = lo.addresses.iter();
            let there = there.map(|it| format!("{}/{}", it.address, it.prefix_len));
            let there = there.filter(|it| it.starts_with("198.51.100."));
            (there.collect(), promotion("lo").get().unwrap())
        })
    }

    #[test]
    fn addresses_of_the_host_stay_where_another_instance_puts_the_setting_back_too_early() {
        for before in [0, 1] {
            assert_eq!(left(before), (vec![OWN.to_owned()], 0));
        }
    }
}
